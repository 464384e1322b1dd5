"""Whom the tokens of a Longformer attend to, and which of them are global where nothing is said."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from minibert.fast import accelerate
from minibert.heads import TaskModel
from minibert.model import Bert
from minibert.windowed import after_question, picture, question, with_global
from tests.helpers import FAMILY, ragged_batch, refusal, tiny_model

LONGFORMER = FAMILY["longformer"]


def drawn(picture: Tensor) -> list[str]:
    """One string a query: # for a key that it attends to."""
    return ["".join("#" if seen else "." for seen in row) for row in picture]


def test_the_picture_is_a_band_with_global_columns() -> None:
    mask = torch.tensor([[1, 1, 1, 1, 2, 1, 1, 0], [0, 0, 0, 0, 0, 0, 0, 0]])
    assert drawn(picture(mask, 2)[0, 0]) == [
        "##..#...",
        "###.#...",
        ".####...",
        "..###...",
        "...###..",  # a global token's own row is computed apart, with other projections
        "....###.",
        "....###.",
        "....#.##",  # padding has itself, and its context is set to 0
    ]
    assert drawn(picture(mask, 2)[1, 0]) == drawn(torch.eye(8))


def test_padding_gets_nothing_from_the_attention() -> None:
    model = tiny_model("Bert", LONGFORMER)
    _, _, attention_mask = ragged_batch()
    context = model.blocks[0].attention.context(torch.randn(3, 11, 24), attention_mask.to(torch.int8))
    assert torch.equal((context == 0).all(dim=-1), ~attention_mask)


def test_a_window_as_wide_as_the_text_is_full_attention() -> None:
    wide = Bert(LONGFORMER.replace(attention_window=(40, 40))).double()
    full = Bert(LONGFORMER.replace(attention_window=None, sep_token_id=None)).double()
    full.load_state_dict({name: value for name, value in wide.state_dict().items() if ".global_" not in name})
    input_ids, token_type_ids, attention_mask = ragged_batch()
    given = {"token_type_ids": token_type_ids, "attention_mask": attention_mask}
    found, expected = (model.eval()(input_ids, **given)[attention_mask] for model in (wide, full))
    assert (found - expected).abs().max() < 1e-14


def test_global_tokens_are_marked_among_the_real_ones() -> None:
    real = torch.tensor([[True, True, True, False]])
    is_global = torch.tensor([[True, False, False, True]])
    assert with_global(real, is_global).tolist() == [[2, 1, 1, 0]]
    assert with_global(None, is_global).tolist() == [[2, 1, 1, 2]]


@pytest.mark.parametrize(
    ("ids", "before", "after"),
    [
        ([5, 6, 2, 7, 8, 2], "##....", "...###"),  # BERT's separators
        ([5, 6, 2, 2, 8, 2], "##....", "....##"),  # RoBERTa's: two between the segments
        ([5, 6, 2, 2, 2, 2], "##....", "....##"),
        ([5, 6, 7, 7, 8, 9], "......", "......"),
    ],
)
def test_the_question_stands_before_the_first_separator(ids: list[int], before: str, after: str) -> None:
    input_ids = torch.tensor([ids])
    assert drawn(question(input_ids, 2)) == [before]
    assert drawn(after_question(input_ids, 2)) == [after]


@pytest.mark.parametrize(
    ("architecture", "marked"),
    [
        ("BertForSequenceClassification", "#......"),
        ("BertForQuestionAnswering", "##....."),
        ("BertForMultipleChoice", "...##.."),
        ("BertForTokenClassification", "......."),
    ],
)
def test_each_task_has_its_global_tokens(architecture: str, marked: str) -> None:
    model = tiny_model(architecture, LONGFORMER)
    assert isinstance(model, TaskModel)
    input_ids = torch.tensor([[5, 6, 2, 7, 2, 1, 1]])
    mask = model.with_global_tokens(input_ids, input_ids != 1)
    assert mask is not None and drawn(mask == 2) == [marked]
    chosen = torch.tensor([[1, 1, 1, 2, 1, 0, 0]])
    assert model.with_global_tokens(input_ids, chosen) is chosen  # whoever marks tokens decides
    plain = tiny_model(architecture)
    assert isinstance(plain, TaskModel) and plain.with_global_tokens(input_ids, None) is None


def test_an_impossible_mask_is_refused() -> None:
    model, input_ids = tiny_model("Bert", LONGFORMER), torch.tensor([[5, 6, 2]])
    assert refusal(lambda: model(input_ids, attention_mask=torch.tensor([[3, 1, 1]]))) == (
        "attention_mask must be 0 at padding, 1 at other tokens and 2 at global ones"
    )
    assert refusal(lambda: model(input_ids, attention_mask=torch.ones(1, 3))) == (
        "attention_mask must be bool, True at real tokens, not torch.float32"
    )
    assert refusal(lambda: tiny_model("Bert")(input_ids, attention_mask=torch.ones(1, 3, dtype=torch.int8))) == (
        "attention_mask must be bool, True at real tokens, not torch.int8"
    )


@pytest.mark.parametrize("shape", [(1, 3), (2, 1), (2, 2)])
def test_a_mask_of_another_shape_is_refused_before_it_marks_anything(shape: tuple[int, int]) -> None:
    model, input_ids = tiny_model("BertForSequenceClassification", LONGFORMER), torch.full((2, 3), 5)
    message = f"attention_mask has the shape {shape}, input_ids (2, 3)"
    assert refusal(lambda: model(input_ids, attention_mask=torch.ones(shape, dtype=torch.bool))) == message


def test_a_classifier_takes_short_integers_and_empty_batches() -> None:
    model = accelerate(tiny_model("BertForSequenceClassification", LONGFORMER))
    input_ids = torch.tensor([[5, 6, 7]])
    assert torch.equal(model(input_ids.int()), model(input_ids))
    assert model(input_ids[:0]).shape == (0, 3)


def test_integers_without_a_global_token_leave_none() -> None:
    model = tiny_model("BertForSequenceClassification", LONGFORMER)
    input_ids, local = torch.tensor([[5, 6, 7]]), torch.ones(1, 3, dtype=torch.int64)
    assert isinstance(model, TaskModel) and model.with_global_tokens(input_ids, local) is local
