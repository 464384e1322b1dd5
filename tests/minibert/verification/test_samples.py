"""The batches of `verify`: every padding, every length, every segment, targets at real tokens."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from minibert.config import BertConfig
from minibert.heads import BertForQuestionAnswering
from minibert.verification.samples import (
    CHOICES,
    IGNORED,
    LAYOUTS,
    LONGEST,
    ROWS,
    WINDOWED_LAYOUTS,
    Layout,
    Sample,
    draw_sample,
    layouts,
)
from tests.helpers import FAMILY, TINY, tiny_model

LONG = TINY.replace(max_position_embeddings=64, type_vocab_size=3)
WINDOWED = FAMILY["longformer"].replace(max_position_embeddings=64, attention_window=(4, 16))
PADDINGS = ("right", "left", "none")


def sample(padding: str, architecture: str = "BertForPreTraining", config: BertConfig = LONG) -> Sample:
    return draw_sample(tiny_model(architecture, config), config, Layout(padding), seed=0)


def test_there_is_every_padding() -> None:
    assert tuple(layout.padding for layout in LAYOUTS) == PADDINGS


@pytest.mark.parametrize(
    ("padding", "first", "last"),
    [("right", [True] * 6, [True] + [False] * 5), ("left", [True] + [False] * 5, [True] * 6)],
)
def test_padding_stands_on_its_side(padding: str, first: list[bool], last: list[bool]) -> None:
    drawn = sample(padding)
    assert drawn.real.sum(1).tolist() == [40, 32, 24, 16, 8, 1]
    assert (drawn.real[:, 0].tolist(), drawn.real[:, -1].tolist()) == (first, last)
    assert (drawn.input_ids[~drawn.real] == LONG.pad_token_id).all()
    assert drawn.arguments(tiny_model("Bert"))["attention_mask"] is drawn.real


def test_without_padding_there_is_no_mask() -> None:
    drawn = sample("none")
    assert drawn.real.all() and tuple(drawn.real.shape) == (ROWS, LONGEST)
    assert drawn.arguments(tiny_model("Bert"))["attention_mask"] is None


@pytest.mark.parametrize("padding", PADDINGS)
def test_all_segments_occur_in_order(padding: str) -> None:
    drawn = sample(padding)
    assert set(drawn.token_type_ids[drawn.real].tolist()) == {0, 1, 2}
    assert (drawn.token_type_ids[~drawn.real] == 0).all()


def test_tokens_are_of_the_whole_vocabulary() -> None:
    assert set(sample("none").input_ids.flatten().tolist()) == set(range(40))


def test_the_seed_decides() -> None:
    def ids(seed: int) -> Tensor:
        return draw_sample(tiny_model("Bert", LONG), LONG, Layout("none"), seed=seed).input_ids

    assert torch.equal(ids(3), ids(3)) and not torch.equal(ids(3), ids(4))


@pytest.mark.parametrize("padding", PADDINGS)
def test_targets_stand_at_real_tokens(padding: str) -> None:
    labels = sample(padding).targets["labels"]
    real = sample(padding).real
    assert (labels[~real] == IGNORED).all()
    assert ((labels != IGNORED).sum(1) >= 1).all()
    assert (labels != IGNORED).sum() < real.sum()
    answers = sample(padding, BertForQuestionAnswering.__name__)
    for end in ("start_positions", "end_positions"):
        assert answers.real[torch.arange(ROWS), answers.targets[end]].all()


def test_choices_are_sequences_of_a_question() -> None:
    model = tiny_model("BertForMultipleChoice", LONG)
    arguments = sample("right", "BertForMultipleChoice").arguments(model)
    assert {name: tuple(each.shape) for name, each in arguments.items() if each is not None} == dict.fromkeys(
        ("input_ids", "token_type_ids", "attention_mask"), (ROWS // CHOICES, CHOICES, LONGEST)
    )


def test_used_parts_by_rank() -> None:
    drawn = sample("right")
    real = int(drawn.real.sum())
    assert tuple(drawn.used_part("a.context", torch.zeros(ROWS, 3, LONGEST, 8)).shape) == (real, 3, 8)
    assert tuple(drawn.used_part("a", torch.zeros(ROWS, LONGEST, 24)).shape) == (real, 24)
    assert tuple(drawn.used_part("a", torch.zeros(ROWS, 24)).shape) == (ROWS, 24)
    values = torch.arange(ROWS * LONGEST).view(ROWS, LONGEST, 1)
    assert drawn.used_part("a", values).flatten().tolist() == drawn.real_positions.tolist()


# --- Longformer ------------------------------------------------------------------------------------------------------


def windowed(architecture: str, layout: Layout) -> Sample:
    return draw_sample(tiny_model(architecture, WINDOWED), WINDOWED, layout, seed=0)


def test_windowed_batches_have_no_whole_number_of_windows_and_a_row_of_padding() -> None:
    drawn = windowed("Bert", Layout("left", "many"))
    assert drawn.real.sum(1).tolist() == [41, 32, 24, 16, 8, 0]
    wide = WINDOWED.replace(attention_window=(4, 512), max_position_embeddings=4098)
    drawn = draw_sample(tiny_model("Bert", WINDOWED), wide, Layout("right"), seed=0)
    assert drawn.real.sum(1).tolist() == [289, 144, 0]  # the first and the last are more than 256 tokens apart


@pytest.mark.parametrize("layout", WINDOWED_LAYOUTS, ids=str)
def test_global_tokens_are_as_many_as_the_layout_says(layout: Layout) -> None:
    drawn = windowed("BertForMaskedLM", layout)
    assert drawn.global_tokens is not None
    counts = drawn.global_tokens.sum(1).tolist()
    mask = drawn.arguments(tiny_model("BertForMaskedLM", WINDOWED))["attention_mask"]
    if layout.global_tokens is None:
        assert counts == [0] * 6 and mask is drawn.real
        return
    if layout.global_tokens == "many":
        assert counts[5] == 0 and min(counts[:4]) > 1 and len(set(counts)) > 3
    else:
        assert counts == {"one": [1, 1, 1, 1, 1, 0], "none": [0] * 6}[layout.global_tokens]
    assert mask is not None and torch.equal(mask == 2, drawn.global_tokens) and torch.equal(mask > 0, drawn.real)


@pytest.mark.parametrize("padding", ["right", "left"])
@pytest.mark.parametrize(
    "architecture", ["BertForSequenceClassification", "BertForQuestionAnswering", "BertForMultipleChoice", "Bert"]
)
def test_without_a_layout_of_theirs_global_tokens_are_those_of_the_task(architecture: str, padding: str) -> None:
    drawn = windowed(architecture, Layout(padding))
    assert drawn.global_tokens is not None
    ids, real, chosen = (each.tolist() for each in (drawn.input_ids, drawn.real, drawn.global_tokens))
    for row, there, is_global in zip(ids, real, chosen, strict=True):
        separators = [place for place, token in enumerate(row) if token == 2 and there[place]]
        expected = range(0)
        if architecture == "BertForSequenceClassification":
            expected = range(1)
        elif architecture != "Bert":
            last = max(place for place in range(len(row)) if there[place])
            assert separators == [separators[0], separators[0] + 1, last] and row.count(2) == 3
            is_question = architecture == "BertForQuestionAnswering"
            expected = range(separators[0]) if is_question else range(separators[1] + 1, len(row))
            assert sum(is_global)
        assert is_global == [there[place] and place in expected for place in range(len(row))]


def test_without_a_separator_in_common_no_task_has_global_tokens_of_its_own() -> None:
    nothing = WINDOWED.replace(sep_token_id=None)
    for architecture, expected in (("BertForQuestionAnswering", WINDOWED_LAYOUTS[:3]), ("Bert", WINDOWED_LAYOUTS)):
        assert layouts(tiny_model(architecture, nothing), nothing) == expected
    assert layouts(tiny_model("Bert"), TINY) == LAYOUTS


def test_global_tokens_are_used_as_queries_of_their_own() -> None:
    drawn = windowed("Bert", Layout("right", "many"))
    assert drawn.global_tokens is not None
    for part in ("query", "probabilities", "context"):
        assert drawn.uses(f"blocks.0.attention.global_{part}") is drawn.global_tokens
    for part in ("probabilities", "context"):
        assert torch.equal(drawn.uses(f"blocks.0.attention.{part}"), drawn.real & ~drawn.global_tokens)
    for name in ("query", "key", "value", "global_key", "global_value", "output"):
        assert drawn.uses(f"blocks.0.attention.{name}") is drawn.real
