"""Which positions a block is given and gives, and that what comes out is the same as if all had been computed."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from minibert.errors import InputError
from minibert.fast import accelerate
from minibert.fast.unpadding import Unpadded
from minibert.model import Bert, FeedForward, visible_keys
from tests.helpers import TINY, seeded

# Lengths 8, 3, 0 and 5 of 8: 32 positions, so that a sixteenth of them is 2.
MASK = torch.arange(8) < torch.tensor([8, 3, 0, 5])[:, None]


def test_padding_is_left_out_but_for_a_filling_to_a_sixteenth() -> None:
    mask = torch.arange(8) < torch.tensor([8, 3, 4, 6])[:, None]  # 21 of 32
    rows = Unpadded.of((4, 8), mask, torch.tensor([0]))
    assert rows.given is not None
    assert rows.given.tolist() == [*range(8), *range(8, 11), *range(16, 20), *range(24, 30), 11]


def test_a_sequence_without_a_token_keeps_what_its_attention_looks_at() -> None:
    rows = Unpadded.of((4, 8), visible_keys(MASK)[:, 0, 0], torch.tensor([0]))
    assert rows.given is not None
    assert set(range(16, 24)) <= set(rows.given.tolist())


def test_a_wanted_position_is_kept_though_it_is_padding() -> None:
    rows = Unpadded.of((4, 8), visible_keys(MASK)[:, 0, 0], torch.tensor([13, 31]))
    assert rows.given is not None
    assert {13, 31} <= set(rows.given.tolist())


@pytest.mark.parametrize("mask", [None, torch.arange(8) < torch.tensor([8, 8, 7, 8])[:, None]])
def test_nothing_is_moved_where_next_to_nothing_is_padded(mask: Tensor | None) -> None:
    assert Unpadded.of((4, 8), mask, torch.tensor([0])).given is None


def test_there_and_back() -> None:
    rows = Unpadded((2, 3), given=torch.tensor([0, 3, 4, 2]))
    listed = torch.tensor([[1.0], [2.0], [3.0], [4.0]])
    assert rows.pad(listed).tolist() == [[[1], [0], [4]], [[2], [3], [0]]]
    assert rows.select(rows.pad(listed)).tolist() == listed.tolist()
    assert rows.residual(listed) is listed
    last = rows.returning(torch.tensor([2, 0, 2]))
    assert last.select(rows.pad(listed)).tolist() == [[4], [1], [4]]
    assert last.residual(listed).tolist() == [[4], [1], [4]]


# --- The encoder -----------------------------------------------------------------------------------------------------


def encoder(**fields: object) -> Bert:
    undropped = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    return accelerate(Bert(TINY.replace(**undropped, **fields), generator=seeded(1)).double())


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("mask", [None, MASK, MASK.flip(1)], ids=["no mask", "padded right", "padded left"])
@pytest.mark.parametrize("fields", [{}, {"share_layers": True}, {"num_hidden_layers": 1}], ids=str)
def test_states_and_their_gradients_are_those_of_the_whole(
    fields: dict[str, object], mask: Tensor | None, *, training: bool
) -> None:
    model = encoder(**fields).train(training)
    input_ids = torch.randint(5, TINY.vocab_size, (4, 8), generator=seeded(2))
    positions = torch.tensor([27, 8, 16, 24, 9, 2, 0, 27])  # in no order, some next to others, one of them twice
    weights = torch.randn(len(positions), TINY.hidden_size, generator=seeded(3), dtype=torch.float64)

    def gradients(states: Tensor) -> list[Tensor]:
        return list(torch.autograd.grad((states * weights).sum(), list(model.parameters())))

    whole = model(input_ids, attention_mask=mask).flatten(0, 1)[positions]
    states = model.states_at(input_ids, positions, attention_mask=mask)
    assert_close(states, whole, rtol=0, atol=1e-12)
    assert_close(gradients(states), gradients(whole), rtol=0, atol=1e-11)


@pytest.mark.parametrize(("training", "given"), [(True, 24), (False, 32)])  # 8 + 3 + all 8 of the empty one + 5
def test_the_last_block_computes_the_wanted_positions_alone(
    monkeypatch: pytest.MonkeyPatch, *, training: bool, given: int
) -> None:
    model = encoder().train(training)
    sizes: list[int] = []
    forward = FeedForward.forward  # not a hook: with one, all positions are computed
    monkeypatch.setattr(FeedForward, "forward", lambda self, x: (sizes.append(len(x)), forward(self, x))[1])
    model.states_at(torch.full((4, 8), 7), torch.tensor([0, 8, 24]), attention_mask=MASK)
    assert sizes == [given] * (TINY.num_hidden_layers - 1) + [3]


@pytest.mark.parametrize("outside", [32, -1])
@pytest.mark.parametrize("mask", [None, MASK], ids=["no mask", "mask"])
def test_a_position_outside_the_batch_is_refused(mask: Tensor | None, outside: int) -> None:
    with pytest.raises(IndexError):
        encoder().train().states_at(torch.full((4, 8), 7), torch.tensor([0, outside]), attention_mask=mask)


@pytest.mark.parametrize(
    ("positions", "message"),
    [
        (torch.tensor([[0, 1]]), "positions must have the shape (M,), not (1, 2)"),
        (torch.zeros(32, dtype=torch.bool), "positions must be int64 or int32, not torch.bool"),
    ],
)
def test_what_is_no_list_of_positions_is_refused(positions: Tensor, message: str) -> None:
    with pytest.raises(InputError) as caught:
        encoder().states_at(torch.full((4, 8), 7), positions)
    assert str(caught.value) == message


def test_positions_may_be_int32() -> None:
    model, input_ids, positions = encoder().train(), torch.full((4, 8), 7), torch.tensor([9, 2])
    found = model.states_at(input_ids, positions.int(), attention_mask=MASK)
    assert_close(found, model.states_at(input_ids, positions, attention_mask=MASK), rtol=0, atol=0)
