"""The batches of `verify`: every padding, every length, every segment, targets at real tokens."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from minibert.config import BertConfig
from minibert.heads import BertForQuestionAnswering
from minibert.verification.samples import CHOICES, IGNORED, LONGEST, PADDINGS, ROWS, Sample, draw_sample
from tests.helpers import TINY, tiny_model

LONG = TINY.replace(max_position_embeddings=64, type_vocab_size=3)


def sample(padding: str, architecture: str = "BertForPreTraining", config: BertConfig = LONG) -> Sample:
    return draw_sample(tiny_model(architecture, config), config, padding, seed=0)


def test_there_is_every_padding() -> None:
    assert PADDINGS == ("right", "left", "none")


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
        return draw_sample(tiny_model("Bert", LONG), LONG, "none", seed=seed).input_ids

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


def test_real_parts_by_rank() -> None:
    drawn = sample("right")
    real = int(drawn.real.sum())
    assert tuple(drawn.real_part(torch.zeros(ROWS, 3, LONGEST, 8)).shape) == (real, 3, 8)
    assert tuple(drawn.real_part(torch.zeros(ROWS, LONGEST, 24)).shape) == (real, 24)
    assert tuple(drawn.real_part(torch.zeros(ROWS, 24)).shape) == (ROWS, 24)
    values = torch.arange(ROWS * LONGEST).view(ROWS, LONGEST, 1)
    assert drawn.real_part(values).flatten().tolist() == drawn.real_positions.tolist()
