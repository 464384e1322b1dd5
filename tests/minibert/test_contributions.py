"""The parts of a state sum to it; each is what it is alone; the parts of a score and the remainder sum to the score."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from minibert.contributions import parts_of_score, parts_of_state, sum_of
from minibert.fast import accelerate
from minibert.heads import BertForPreTraining, Model
from minibert.tracing import trace
from tests.helpers import FAMILY, TINY, randomize, tiny_model
from tests.minibert.test_tracing import batch


def random_model(family: str = "bert", architecture: str = "BertForPreTraining") -> Model:
    model = accelerate(tiny_model(architecture, FAMILY[family]).double())
    randomize(model, seed=3)
    return model


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "albert"])
@pytest.mark.parametrize(("row", "position"), [(0, 0), (0, 10), (1, 4)])
def test_the_parts_sum_to_the_last_state_without_remainder(family: str, row: int, position: int) -> None:
    model = random_model(family, "Bert")
    record = trace(model, batch())
    parts = parts_of_state(model, record, position, row=row)
    assert_close(sum_of(parts), record["blocks.1"][row, position], rtol=0, atol=1e-10)
    assert not any(part.requires_grad for part in parts.values())


def test_there_is_a_part_for_each_head_feed_forward_embedding_and_bias() -> None:
    model = random_model()
    of_block = [
        *(f"attention.head.{head}" for head in range(3)), "attention.output.bias", "attention_norm.bias",
        "feed_forward", "feed_forward.output.bias", "feed_forward_norm.bias",
    ]  # fmt: skip
    assert list(parts_of_state(model, trace(model, batch()), 0)) == [
        *(f"embeddings.{name}" for name in ("token", "position", "segment", "norm.bias")),
        *(f"blocks.{layer}.{name}" for layer in range(2) for name in of_block),
    ]


def test_the_first_heads_part_written_out() -> None:
    model = random_model()
    record, block = trace(model, batch()), model.encoder.blocks[1]
    found = parts_of_state(model, record, 2, row=1)["blocks.1.attention.head.1"]
    part = block.attention.output.weight[:, 8:16] @ record["blocks.1.attention.context"][1, 1, 2]
    for norm, name in ((block.attention_norm, "attention"), (block.feed_forward_norm, "feed_forward")):
        deviation = (record[f"blocks.1.{name}.sum"][1, 2].var(unbiased=False) + 1e-12).sqrt()
        part = (part - part.mean()) / deviation * norm.weight
    assert_close(found, part.detach(), rtol=0, atol=1e-10)


def test_a_bias_that_is_zero_has_no_part() -> None:
    model = random_model()
    with torch.no_grad():
        model.encoder.blocks[0].feed_forward.output.bias.zero_()
    parts = parts_of_state(model, trace(model, batch()), 0)
    assert [name for name, part in parts.items() if not part.any()] == ["blocks.0.feed_forward.output.bias"]


def test_a_score_is_the_sum_of_its_parts_and_the_remainder() -> None:
    model = random_model()
    assert isinstance(model, BertForPreTraining)
    record = trace(model, batch(), masked_positions=torch.tensor([4]))
    found, remainder = parts_of_score(parts_of_state(model, record, 4), lambda state: model.mlm_head(state[None])[0, 7])
    assert sum(found.values()) + remainder == pytest.approx(record["mlm_head"][0, 7].item(), abs=1e-10)
    assert abs(remainder) > 1e-3  # the head is not linear


def test_what_a_part_adds_is_how_the_score_changes_with_it() -> None:
    model = random_model()
    assert isinstance(model, BertForPreTraining)
    parts = parts_of_state(model, trace(model, batch()), 4)

    def score(state: Tensor) -> Tensor:
        return model.mlm_head(state[None])[0, 7]

    found, _ = parts_of_score(parts, score)
    for name in ("embeddings.token", "blocks.0.attention.head.2", "blocks.1.feed_forward_norm.bias"):
        state, step = sum_of(parts), 1e-6 * parts[name]
        with torch.no_grad():
            slope = (score(state + step) - score(state - step)).item() / 2e-6
        assert found[name] == pytest.approx(slope, abs=1e-8)


def test_a_linear_score_has_no_remainder() -> None:
    model = random_model("bert", "Bert")
    record = trace(copy.deepcopy(model), batch())
    parts = parts_of_state(model, record, 3)
    direction = torch.linspace(-1, 1, TINY.hidden_size, dtype=torch.float64)
    found, remainder = parts_of_score(parts, lambda state: state @ direction)
    assert remainder == pytest.approx(0, abs=1e-10)
    assert sum(found.values()) == pytest.approx((record["blocks.1"][0, 3] @ direction).item(), abs=1e-10)
