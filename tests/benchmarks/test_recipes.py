"""The peer's preparation against ours: the same tokens, the same targets; and how it reads answers off."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.data import write_files
from benchmarks.peers.recipes import RECIPES, PeerFeature, best_span
from benchmarks.scores import score
from benchmarks.tasks import BENCHMARK_TASKS, FinetuneWork, read_examples
from finetune.data.data_options import ChoiceDataOptions, QuestionDataOptions, TagDataOptions, TextDataOptions
from finetune.tasks.registry import TASKS
from finetune.tasks.task import Feature
from minibert.tokenizer import Tokenizer
from tests.benchmarks.conftest import FOLDERS

DATA_OPTIONS = {
    "cola": TextDataOptions(text_column="4", label_column="2", header=False, quoting=False),
    "stsb": TextDataOptions("6", "7", "5", header=False, quoting=False, regression=True),
    "wnut17": TagDataOptions(),
    "squad": QuestionDataOptions(max_length=384, stride=128),
    "choices": ChoiceDataOptions(),
}


def both(task: str, hf_model: Path, data: Path, out: Path) -> tuple[Any, list[Any], list[PeerFeature], list[Feature]]:
    """The peer's recipe, the training examples, and each side's features."""
    train, dev = write_files(task, data / FOLDERS[task], out)
    work = FinetuneWork(task, str(hf_model), str(train), str(dev), 1, 1e-3, 4, "cpu")
    examples = list(read_examples(task, work.train))
    recipe = RECIPES[task](work, examples)
    kind = TASKS[BENCHMARK_TASKS[task].command]
    ours = kind.found_in(DATA_OPTIONS[task].fitted(512), Tokenizer.load(hf_model), examples, work.train)
    return recipe, examples, recipe.features(examples), ours.features(examples)


@pytest.mark.parametrize("task", RECIPES)
def test_both_sides_read_the_same_tokens(task: str, hf_model: Path, data: Path, tmp_path: Path) -> None:
    _, _, theirs, ours = both(task, hf_model, data, tmp_path)
    assert [feature.example for feature in theirs] == [feature.example for feature in ours]
    for one, other in zip(theirs, ours, strict=True):
        ids, segments = (one.inputs[name] for name in ("input_ids", "token_type_ids"))
        ids, segments = (ids, segments) if isinstance(ids[0], list) else ([ids], [segments])
        assert ids == [sequence.ids.tolist() for sequence in other.sequences]
        assert [row.count(0) for row in segments] == [sequence.second for sequence in other.sequences]
    if task == "squad":
        assert len(theirs) > 18  # windows


def test_both_sides_learn_the_same_targets(hf_model: Path, data: Path, tmp_path: Path) -> None:
    for task in ("cola", "stsb", "choices"):
        _, _, theirs, ours = both(task, hf_model, data, tmp_path)
        assert [one.inputs["labels"] for one in theirs] == [other.target for other in ours]
    _, _, theirs, ours = both("squad", hf_model, data, tmp_path)
    spans = [(one.inputs["start_positions"], one.inputs["end_positions"]) for one in theirs]
    assert spans == [other.target for other in ours]
    assert (0, 0) in spans
    recipe, examples, theirs, ours = both("wnut17", hf_model, data, tmp_path)
    for one, other in zip(theirs, ours, strict=True):
        words, positions = other.place
        assert one.place == dict(zip(words.tolist(), positions.tolist(), strict=True))
        found = [recipe.labels[one.inputs["labels"][position]] for position in positions]
        assert found == [examples[one.example].tags[word] for word in words]
        assert sum(label != -100 for label in one.inputs["labels"]) == len(words)


@pytest.mark.parametrize("task", RECIPES)
def test_right_logits_are_read_as_right_answers(task: str, hf_model: Path, data: Path, tmp_path: Path) -> None:
    recipe, examples, features, _ = both(task, hf_model, data, tmp_path)
    outputs: list[Any] = []
    for feature in features:
        if task == "squad":
            size = len(feature.inputs["input_ids"])
            rows = np.zeros((2, size))
            place = feature.inputs["start_positions"], feature.inputs["end_positions"]
            rows[0, place[0]] = rows[1, place[1]] = 9
            outputs.append(tuple(rows))
        elif task == "wnut17":
            labels = np.array(feature.inputs["labels"])
            outputs.append(np.eye(len(recipe.labels))[np.maximum(labels, 0)])
        elif task == "stsb":
            outputs.append(np.array([feature.inputs["labels"]]))
        else:
            outputs.append(np.eye(4)[feature.inputs["labels"]])
    found = score(task, examples, recipe.answers(examples, features, outputs))
    assert [found[name] for name in BENCHMARK_TASKS[task].metrics] == pytest.approx(
        [1.0 for _ in BENCHMARK_TASKS[task].metrics]
    )


def test_an_answer_lies_in_the_passage_in_order_and_is_not_too_long() -> None:
    offsets = [(0, 0)] * 3 + [(place, place + 1) for place in range(60)]
    starts, ends = np.zeros(63), np.zeros(63)
    starts[[1, 10, 40]] = 9, 5, 4  # the question's token is no answer
    ends[[9, 41, 45]] = 9, 6, 2  # one before every beginning; one too far from the first
    assert best_span(starts, ends, (3, 62, offsets)) == (10.0, (37, 39))


def test_seqeval_and_ours_agree_on_impossible_tags_too() -> None:
    class Sentence:
        tags = ("B-a", "I-a", "O", "B-b", "I-b", "O")

    found = score("wnut17", [Sentence()] * 2, [["I-a", "I-a", "O", "I-b", "I-a", "O"], list(Sentence.tags)])
    assert found["f1"] == pytest.approx(found["finetune_f1"]) and 0.5 < found["f1"] < 1
