"""What is said of figures that are worth little, and where nothing is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from finetune.data.data_options import ChoiceDataOptions, QuestionDataOptions, TagDataOptions, TextDataOptions
from finetune.data.examples import Answer, ChoiceExample, QuestionExample, TaggedExample, TextExample
from finetune.scoring.doubts import doubts, unknown_share
from finetune.tasks.multiple_choice import MultipleChoice
from finetune.tasks.question_answering import Found, QuestionAnswering, Span
from finetune.tasks.task import Feature, Task
from finetune.tasks.text_classification import TextClassification
from finetune.tasks.token_classification import Tagged, TokenClassification
from minibert.tokenizer import Tokenizer
from tests.finetune.running import SHORT, TASKS, arguments, run_here

CLASSES = TextDataOptions(), ("x", "y")
SEVERAL = TextDataOptions(multi_label=True), ("x", "y")
NUMBER = TextDataOptions(regression=True), ("score",)


def texts(*labels: Any) -> list[TextExample]:
    return [TextExample("a", None, label, where="dev.csv:1") for label in labels]


def scores(*rows: list[float]) -> list[Any]:
    return [np.array(row, np.float32) for row in rows]


@pytest.mark.parametrize(
    ("kind", "examples", "predictions", "said"),
    [
        (CLASSES, texts("x", "y"), scores([0, 1], [0, 2]), "the class 'y' was predicted for every row"),
        (CLASSES, texts("x", "y"), scores([0, 1], [2, 1]), ""),
        (CLASSES, texts("y", "y"), scores([0, 1], [0, 2]), ""),
        (SEVERAL, texts(("x",), ()), scores([-1, -2], [-3, -1]), "no label was predicted for any row"),
        (SEVERAL, texts(("x",), ()), scores([-1, 2], [-3, -1]), ""),
        (NUMBER, texts(0.0, 5.0), scores([2.50], [2.54]), "the scores hardly differ from row to row"),
        (NUMBER, texts(0.0, 5.0), scores([2.5], [2.6]), ""),
    ],
)
def test_of_texts(kind: Any, examples: Any, predictions: Any, said: str, tokenizer: Tokenizer) -> None:
    data_options, labels = kind
    assert TextClassification(data_options, tokenizer, labels).nothing_learned(examples, predictions) == said


@pytest.mark.parametrize(
    ("labels", "numbers", "said"),
    [
        ("013", [0.0, 0.0, 0.0], "mrr is no better than chance (0.8333)"),
        ("001", [0.1, 0.0, 0.0], "mrr is no better than chance (0.6111)"),
        ("001", [0.0, 0.0, 0.001], ""),  # in the right order, though hardly apart
        ("000", [0.0, 0.0, 0.0], ""),
        ("111", [0.0, 0.0, 0.0], ""),
    ],
)
@pytest.mark.parametrize("regression", [False, True])
def test_of_candidates(regression: bool, labels: str, numbers: list[float], said: str, tokenizer: Tokenizer) -> None:
    data_options = TextDataOptions(group_column="query", regression=regression)
    task = TextClassification(data_options, tokenizer, ("score",) if regression else ("0", "1", "3"))
    given = [float(label) if regression else label for label in labels]
    examples = [TextExample("a", None, label, "dev.csv:1", group="q") for label in given]
    predictions = scores(*([number] if regression else [0.0, 0.0, number] for number in numbers))
    assert task.nothing_learned(examples, predictions) == said


def test_of_tags(tokenizer: Tokenizer) -> None:
    task = TokenClassification(TagDataOptions(), tokenizer, ("O", "B-x"))
    examples = [TaggedExample(("a", "b"), tags, 1, "dev.conll:1") for tags in (("O", "B-x"), ("O", "O"))]
    none, one = Tagged(("O", "O"), (1.0, 1.0)), Tagged(("B-x", "O"), (1.0, 1.0))
    assert task.nothing_learned(examples, [none, none]) == "no entity was found"
    assert task.nothing_learned(examples, [none, one]) == ""
    assert task.nothing_learned(examples[1:], [none]) == ""


def test_of_tags_that_spell_no_entities(tokenizer: Tokenizer) -> None:
    task = TokenClassification(TagDataOptions(scheme="none"), tokenizer, ("NOUN", "VERB"))
    examples = [TaggedExample(("a", "b"), ("NOUN", "VERB"), 1, "dev.conll:1")]
    assert task.nothing_learned(examples, [Tagged(("VERB", "VERB"), (1.0, 1.0))]) == (
        "every word was given the tag 'VERB'"
    )
    assert task.nothing_learned(examples, [Tagged(("VERB", "NOUN"), (1.0, 1.0))]) == ""


def test_of_questions(tokenizer: Tokenizer) -> None:
    task = QuestionAnswering(QuestionDataOptions(no_answer_threshold=0.0), tokenizer)
    examples = [QuestionExample(name, "who", "a", answers, "t", "dev.json")
                for name, answers in (("q1", (Answer("a", 0),)), ("q2", ()))]  # fmt: skip
    unsure, sure = Found((Span(0, 1, 1.0),), "a", 1.0), Found((Span(0, 1, 1.0),), "a", -1.0)
    assert task.nothing_learned(examples, [unsure, sure]) == "no question was answered"
    assert task.nothing_learned(examples, [sure, unsure]) == ""
    assert task.nothing_learned(examples[1:], [unsure]) == ""


def test_of_choices(tokenizer: Tokenizer) -> None:
    task = MultipleChoice(ChoiceDataOptions(), tokenizer)
    examples = [ChoiceExample("q", choices, 0, 1, "dev.jsonl:1") for choices in (("a", "b"), ("a", "b", "c", "d"))]
    wrong, right = np.array([0, 1, 0, 0], np.float32), np.array([1, 0], np.float32)
    assert task.nothing_learned(examples, [right, wrong]) == ""
    assert task.nothing_learned(examples[1:], [wrong]) == "accuracy is no better than chance (0.2500)"


class Silent(TextClassification):
    """A task that has nothing to say itself."""

    def nothing_learned(self, examples: Any, predictions: Any) -> str:
        return ""


@pytest.mark.parametrize(
    ("examples", "losses", "unknown", "said"),
    [
        (100, [0.7, 0.6, 0.5, 0.4], 0, []),
        (
            100,
            [0.7, 0.69, 0.7, 0.695],
            0,
            ["the loss ended at 0.6950, about where it began (0.7000): probably"],
        ),
        (100, [0.7, 0.7], 0, []),
        (
            100,
            [],
            3,
            ["60% of the training texts' tokens are unknown to the model: its vocabulary is probably"],
        ),
        (6, [], 0, ["dev has only 6 examples, too few for reliable figures: each counts for 17%"]),
    ],
)
def test_of_losses_vocabularies_and_small_files(
    examples: int, losses: list[float], unknown: int, said: list[str], tokenizer: Tokenizer
) -> None:
    task: Task[Any, Any] = Silent(TextDataOptions(), tokenizer, ("x", "y"))
    (cat,) = tokenizer.encode_plain(["cat"])[0]
    ids = np.array([tokenizer.unk_id] * unknown + [cat] * (5 - unknown))
    feature = Feature(0, (tokenizer.lay_out(ids),))
    assert unknown_share([feature], tokenizer) == unknown / 5
    found = list(doubts(task, texts("x") * examples, [None], trained_on=[feature], losses=losses))
    assert len(found) == len(said)
    assert all(doubt.startswith(start) for doubt, start in zip(found, said, strict=True))


def test_a_run_ends_with_them(
    plain: None, base: Path, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    args = (*arguments(TASKS[0], base, files, tmp_path / "run"), *SHORT, "--learning-rate", 1e-9, "--log-every", 1)
    assert run_here(monkeypatch, *args) == 0
    end = capsys.readouterr().out.partition("\nseed  ")[2]
    assert "\nnote     the loss ended at 0." in end
    last = "note     dev has only 40 examples, too few for reliable figures: each counts for 2%"
    assert f"{last}\n\nmodel and figures in {tmp_path}" in end
