"""Changed intermediates, against models changed by hand and sums written out, in float64."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

import minibert
from minibert.architectures import ARCHITECTURES
from minibert.errors import InputError
from minibert.fast import accelerate
from minibert.heads import Model
from minibert.intervening import Change, averaged, changing, patched, scaled
from minibert.tracing import trace
from minibert.windowed import GLOBAL
from tests.helpers import FAMILY, TINY, randomize, refusal, tiny_model
from tests.minibert.test_tracing import batch, held

NOT_A_NAME = "expected the name of an intermediate that can be changed"
EXACT = {"rtol": 0, "atol": 1e-10}


def random_model(architecture: str = "BertForPreTraining") -> Model:
    model = accelerate(tiny_model(architecture).double())
    randomize(model, seed=3)
    return model


def one_more(value: Tensor) -> Tensor:
    return value + 1


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor], *, start: str = "") -> None:
    """Equal from the intermediate `start` on."""
    names = list(found)
    assert names == list(expected)
    for name in names[names.index(start) if start else 0 :]:
        assert_close(found[name], expected[name], **EXACT)


@pytest.mark.parametrize("factor", [0.0, 0.5])
def test_scaled_heads_are_a_model_with_those_output_columns_scaled(factor: float) -> None:
    model, given = random_model(), batch()
    found = minibert.intervene(model, given, {"blocks.1.attention.context": scaled(factor, heads=[0, 2])})
    changed = copy.deepcopy(model)
    size = TINY.hidden_size // TINY.num_attention_heads
    with torch.no_grad():
        for head in (0, 2):
            changed.encoder.blocks[1].attention.output.weight[:, head * size : (head + 1) * size] *= factor
    assert_same(found, trace(changed, given), start="blocks.1.attention.output")
    assert not torch.allclose(found["blocks.1"], trace(model, given)["blocks.1"], atol=1e-3)


def test_sublayers_that_are_off_leave_the_residual_stream() -> None:
    model, given = random_model(), batch()
    block = model.encoder.blocks[0]
    off = {"blocks.0.attention.output": scaled(0.0), "blocks.0.feed_forward.output": scaled(0.0)}
    found = minibert.intervene(model, given, off)
    expected = block.feed_forward_norm(block.attention_norm(found["embeddings"]))
    assert_close(found["blocks.0"], expected.detach(), **EXACT)


def test_the_mean_is_that_of_each_text_without_its_padding() -> None:
    model, given = random_model(), batch()
    before = trace(model, given)["blocks.0.feed_forward.output"]
    found = minibert.intervene(model, given, {"blocks.0.feed_forward.output": averaged(given.attention_mask)})
    lengths = given.attention_mask.sum(1).tolist()
    assert lengths == [11, 7, 1]
    for row, length in enumerate(lengths):
        mean = before[row, :length].mean(0)
        assert_close(found["blocks.0.feed_forward.output"][row], mean.expand(11, -1), **EXACT)


def test_a_text_that_is_all_padding_has_the_mean_over_it() -> None:
    value = torch.arange(6.0).reshape(1, 3, 2)
    found = averaged(torch.zeros(1, 3, dtype=torch.bool))(value)
    assert found.tolist() == [[[2.0, 3.0]] * 3]


def test_the_mean_of_one_head_leaves_the_others() -> None:
    model, given = random_model(), batch()
    before = trace(model, given)["blocks.0.attention.context"]
    change = averaged(given.attention_mask, heads=[1])
    found = minibert.intervene(model, given, {"blocks.0.attention.context": change})["blocks.0.attention.context"]
    assert_close(found[1, 1], before[1, 1, :7].mean(0).expand(11, -1), **EXACT)
    assert torch.equal(found[:, [0, 2]], before[:, [0, 2]])


def test_a_state_patched_at_one_token_is_what_the_next_block_reads() -> None:
    model, given = random_model(), batch()
    record, state = trace(model, given), torch.linspace(-1, 1, TINY.hidden_size, dtype=torch.float64)
    found = minibert.intervene(model, given, {"blocks.0": patched(state, positions=[2])})
    stream = record["blocks.0"].clone()
    stream[:, 2] = state
    assert torch.equal(found["blocks.0"], stream)
    with torch.no_grad():
        expected = model.encoder.blocks[1](stream, given.attention_mask[:, None, None])
    assert_close(found["blocks.1"], expected, **EXACT)


def test_changes_of_one_name_are_made_in_turn() -> None:
    model, given = random_model(), batch()
    found = minibert.intervene(model, given, {"embeddings": [one_more, scaled(2.0, positions=[0])]})
    before = trace(model, given)["embeddings"]
    assert_close(found["embeddings"][:, 0], 2 * (before[:, 0] + 1), **EXACT)
    assert_close(found["embeddings"][:, 1:], before[:, 1:] + 1, **EXACT)


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_every_intermediate_but_the_probabilities_can_be_changed(architecture: str) -> None:
    model, given = random_model(architecture), batch()
    before = trace(model, given)
    names = list(before)
    for number, name in enumerate(names):
        if name.endswith("probabilities"):
            continue
        found = minibert.intervene(model, given, {name: one_more})
        assert_close(found[name], before[name] + 1, **EXACT)
        for earlier in names[:number]:
            if not (name.endswith(".context") or before[earlier].equal(before[name])):  # one tensor under two names
                assert torch.equal(found[earlier], before[earlier]), (name, earlier)


def test_one_of_the_layers_that_share_a_block_is_changed_alone() -> None:
    model = tiny_model("Bert", FAMILY["albert"].replace(num_hidden_layers=3)).double()
    randomize(model, seed=3)
    given, names = batch(), [f"blocks.{layer}.attention.output" for layer in range(3)]
    found = minibert.intervene(model, given, {names[1]: scaled(0.0)})
    assert [bool(found[name].any()) for name in names] == [True, False, True]
    assert torch.equal(found["blocks.0"], trace(model, given)["blocks.0"])


def test_the_heads_of_global_tokens_have_names_of_their_own() -> None:
    model = tiny_model("Bert", FAMILY["longformer"]).double()
    randomize(model, seed=3)
    mask = batch().attention_mask.to(torch.int8)
    mask[:, 0] = GLOBAL
    given = replace(batch(), attention_mask=mask)
    found = minibert.intervene(model, given, {"blocks.0.attention.global_context": scaled(0.0)})
    assert not found["blocks.0.attention.global_context"].any()
    assert found["blocks.0.attention.context"].any()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"blocks.0.attention.contxt": scaled(0.0)}, f"{NOT_A_NAME}: did you mean blocks.0.attention.context?"),
        ({"blocks.0.attention.probabilities": scaled(0.0)}, NOT_A_NAME),
        ({"blocks.0.attention": scaled(0.0)}, NOT_A_NAME),
        ({"blocks": scaled(0.0)}, "blocks: not computed in this forward pass, so it can't be changed"),
        ({"blocks.0.attention.context": scaled(0.0, heads=[3])}, "head 3: expected a number from 0 to 2"),
        ({"blocks.0": scaled(0.0, positions=[-1])}, "position -1: expected a number from 0 to 10"),
        ({"blocks.0": scaled(0.0, heads=[0])}, "heads [0]: an intermediate of (3, 11, 24) is not of each head"),
        ({"blocks.0": lambda value: value[:1]}, "the change returned the shape (1, 11, 24), expected (3, 11, 24)"),
    ],
)  # fmt: skip
def test_what_cannot_be_changed_is_refused_and_nothing_stays(changes: dict[str, Change], message: str) -> None:
    model = random_model()
    before = held(model)
    assert message in refusal(lambda: minibert.intervene(model, batch(), changes))
    assert held(model) == before


def test_nothing_stays_on_the_modules() -> None:
    model, given = random_model(), batch()
    before = held(model)
    plain = trace(model, given)
    minibert.intervene(model, given, {"blocks.0": one_more, "blocks.1.attention.query": one_more})
    assert held(model) == before
    assert_same(trace(model, given), plain)


@pytest.mark.parametrize("family", ["bert", "albert"])
def test_changes_hold_in_every_forward_pass_inside(family: str) -> None:
    model, given = tiny_model("Bert", FAMILY[family]), batch()
    with torch.no_grad(), changing(model, {"blocks.1": scaled(0.0)}):
        assert not model(given.input_ids).any()
        assert not model(given.input_ids).any()
    assert model(given.input_ids).any()
    with pytest.raises(InputError, match="not computed"), changing(model, {"blocks.1": scaled(0.0)}):
        pass
