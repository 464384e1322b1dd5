"""Which positions a block is given and gives, and that what comes out is the same as if all had been computed."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from minibert.config import BertConfig
from minibert.model import Bert, visible_keys
from minibert.rows import ListedRows
from tests.helpers import TINY, seeded

# Lengths 8, 3, 0 and 5 of 8: 32 positions, so that a sixteenth of them is 2.
MASK = torch.arange(8) < torch.tensor([8, 3, 0, 5])[:, None]


def test_padding_is_left_out_but_for_a_filling_to_a_sixteenth() -> None:
    mask = torch.arange(8) < torch.tensor([8, 3, 4, 6])[:, None]  # 21 of 32
    rows = ListedRows.needed((4, 8), visible_keys(mask), torch.tensor([0]))
    assert rows.inside is not None
    assert rows.inside.tolist() == [*range(8), *range(8, 11), *range(16, 20), *range(24, 30), 11]


def test_a_sequence_without_a_token_keeps_what_its_attention_looks_at() -> None:
    rows = ListedRows.needed((4, 8), visible_keys(MASK), torch.tensor([0]))
    assert rows.inside is not None
    assert set(range(16, 24)) <= set(rows.inside.tolist())


def test_a_wanted_position_is_kept_though_it_is_padding() -> None:
    rows = ListedRows.needed((4, 8), visible_keys(MASK), torch.tensor([13, 31]))
    assert rows.inside is not None
    assert {13, 31} <= set(rows.inside.tolist())


@pytest.mark.parametrize("mask", [None, torch.arange(8) < torch.tensor([8, 8, 7, 8])[:, None]])
def test_nothing_is_moved_where_next_to_nothing_is_padded(mask: Tensor | None) -> None:
    keys = None if mask is None else visible_keys(mask)
    assert ListedRows.needed((4, 8), keys, torch.tensor([0])).inside is None


def test_there_and_back() -> None:
    rows = ListedRows((2, 3), inside=torch.tensor([0, 3, 4, 2]))
    listed = torch.tensor([[1.0], [2.0], [3.0], [4.0]])
    assert rows.side_by_side(listed).tolist() == [[[1], [0], [4]], [[2], [3], [0]]]
    assert rows.chosen(rows.side_by_side(listed)).tolist() == listed.tolist()
    assert rows.kept(listed) is listed
    last = rows.giving(torch.tensor([2, 0, 2]))
    assert last.chosen(rows.side_by_side(listed)).tolist() == [[4], [1], [4]]
    assert last.kept(listed).tolist() == [[4], [1], [4]]


# --- The encoder -----------------------------------------------------------------------------------------------------


def encoder(**fields: object) -> Bert:
    return Bert(TINY.replace(**fields), generator=seeded(1)).double()


@pytest.mark.parametrize("mask", [None, MASK, MASK.flip(1)], ids=["no mask", "padded right", "padded left"])
@pytest.mark.parametrize("fields", [{}, {"share_layers": True}, {"num_hidden_layers": 1}], ids=str)
def test_wanted_states_and_their_gradients_are_those_of_the_whole(
    fields: dict[str, object], mask: Tensor | None
) -> None:
    model = encoder(**fields).eval()
    input_ids = torch.randint(5, TINY.vocab_size, (4, 8), generator=seeded(2))
    wanted = torch.tensor([0, 8, 16, 24, 9, 2, 27, 0])  # some next to others, one of them twice
    weights = torch.randn(len(wanted), TINY.hidden_size, generator=seeded(3), dtype=torch.float64)

    def gradients(states: Tensor) -> list[Tensor]:
        return list(torch.autograd.grad((states * weights).sum(), list(model.parameters())))

    whole = model(input_ids, attention_mask=mask).flatten(0, 1)[wanted]
    states = model(input_ids, attention_mask=mask, wanted=wanted)
    assert_close(states, whole, rtol=0, atol=1e-12)
    assert_close(gradients(states), gradients(whole), rtol=0, atol=1e-11)


def test_the_last_block_computes_the_wanted_positions_alone() -> None:
    config: BertConfig = TINY
    model = encoder().eval()
    sizes: list[int] = []
    for block in model.blocks:
        block.feed_forward.register_forward_hook(lambda _module, _args, output: sizes.append(output.shape[0]))
    model(torch.full((4, 8), 7), attention_mask=MASK, wanted=torch.tensor([0, 8, 24]))
    assert sizes == [24] * (config.num_hidden_layers - 1) + [3]  # 8 + 3 + all 8 of the empty one + 5


def test_a_position_outside_the_batch_is_refused() -> None:
    model = encoder().eval()
    for mask in (None, MASK):
        with pytest.raises(IndexError):
            model(torch.full((4, 8), 7), attention_mask=mask, wanted=torch.tensor([32]))
