"""The patching map, against models run by hand with one state or head replaced."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

import minibert
from minibert.fast import accelerate
from minibert.heads import Model
from minibert.intervening import patched
from minibert.patching import patching_map
from minibert.tokenizer import Batch
from tests.helpers import randomize, refusal, tiny_model
from tests.minibert.test_tracing import held

PLACE = 4


def random_model() -> Model:
    model = accelerate(tiny_model("Bert").double())
    randomize(model, seed=3)
    return model


def text(*ids: int) -> Batch:
    zeros = torch.zeros(1, len(ids), dtype=torch.long)
    return Batch(
        input_ids=torch.tensor([ids]),
        token_type_ids=zeros,
        sequence_ids=zeros,
        attention_mask=zeros == 0,
        special_tokens_mask=zeros == 1,
        offsets=torch.zeros(1, len(ids), 2, dtype=torch.long),
        lengths=torch.tensor([len(ids)]),
    )


def score(hidden: Tensor) -> Tensor:
    """(B, T, H) -> (B,)"""
    return hidden[:, PLACE] @ torch.linspace(-1, 1, hidden.size(-1), dtype=hidden.dtype)


ORIGINAL, CHANGED = text(2, 9, 17, 30, 4, 3), text(2, 9, 18, 31, 4, 3)


@pytest.mark.parametrize(("name", "row"), [("embeddings", 0), ("blocks.0", 1), ("blocks.1", 2)])
def test_a_state_restored_is_an_intervention(name: str, row: int) -> None:
    model = random_model()
    found = patching_map(model, ORIGINAL, CHANGED, score)
    state = minibert.trace(model, ORIGINAL)[name]
    for token in range(6):
        record = minibert.intervene(model, CHANGED, {name: patched(state, positions=[token])})
        share = (score(record["blocks.1"]).item() - found.changed) / (found.original - found.changed)
        assert found.states[row, token] == pytest.approx(share, abs=1e-10)


def test_a_head_restored_is_an_intervention() -> None:
    model = random_model()
    found = patching_map(model, ORIGINAL, CHANGED, score)
    context = minibert.trace(model, ORIGINAL)["blocks.1.attention.context"]
    for head in range(3):
        change = {"blocks.1.attention.context": patched(context, heads=[head])}
        restored = score(minibert.intervene(model, CHANGED, change)["blocks.1"]).item()
        share = (restored - found.changed) / (found.original - found.changed)
        assert found.heads[1, head] == pytest.approx(share, abs=1e-10)


def test_the_last_state_of_the_scored_token_restores_all_and_others_nothing() -> None:
    found = patching_map(random_model(), ORIGINAL, CHANGED, score)
    assert found.states.shape == (3, 6)
    assert found.heads.shape == (2, 3)
    assert_close(torch.tensor(found.states[2]), torch.eye(6, dtype=torch.float64)[PLACE], rtol=0, atol=1e-10)
    equal = [0, 1, 4, 5]  # before the first block, these tokens are the same in both texts
    assert_close(torch.tensor(found.states[0, equal]), torch.zeros(4, dtype=torch.float64), rtol=0, atol=1e-10)


def test_what_cannot_be_compared_is_refused_and_nothing_stays() -> None:
    model = random_model()
    before = held(model)
    message = refusal(lambda: patching_map(model, ORIGINAL, text(2, 9, 3), score))
    assert message == "expected two batches of one text, with as many tokens in both, not (1, 6) and (1, 3)"
    message = refusal(lambda: patching_map(model, ORIGINAL, ORIGINAL, lambda hidden: hidden[:, 0, 0] * 0 + 2))
    assert message == "both texts have the score 2: there is nothing to restore"
    assert held(model) == before
