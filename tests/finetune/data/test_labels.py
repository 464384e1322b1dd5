"""The order of classes, and labels that training never had."""

from __future__ import annotations

import random
from typing import Any

import pytest

from finetune.data.examples import Label, TextExample
from finetune.data.labels import counted, find_labels, label_targets
from tests.helpers import refusal


def examples(*labels: Label) -> list[TextExample]:
    return [TextExample("a", None, label, where=f"dev.csv:{n}") for n, label in enumerate(labels, start=2)]


@pytest.mark.parametrize(
    ("found", "order"),
    [
        (("10", "9", "-1", "9"), ("-1", "9", "10")),
        (("1", "01", "0"), ("0", "01", "1")),
        (("10", "9", "x"), ("10", "9", "x")),
        (("b", "B", "ä", "二"), ("B", "b", "ä", "二")),
        (("1.5", "1"), ("1", "1.5")),
        (("²", "3"), ("3", "²")),
    ],
)
def test_labels_have_one_order_whatever_the_rows_have(found: tuple[str, ...], order: tuple[str, ...]) -> None:
    for seed in range(5):
        assert find_labels(examples(*random.Random(seed).sample(found, len(found))), "train.csv") == order


def test_labels_that_hold_together_are_found_one_by_one() -> None:
    assert find_labels(examples(("x", "y"), (), ("z", "x")), "train.csv") == ("x", "y", "z")


@pytest.mark.parametrize("found", [(("0",), ("1",), ()), (("0", "1"), ("1",)), (("0",), ("2",)), ("0", "1")])
def test_the_classes_0_and_1_may_be_among_several(found: tuple[Label, ...]) -> None:
    assert find_labels(examples(*found), "train.csv")[0] == "0"


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (("b", "a", "b"), "labels: a (1), b (2)"),
        ((("x", "y"), (), ("x",)), "labels: x (2), y (1)"),
        (tuple("mlkjihgfedcba"), f"labels: {', '.join(f'{label} (1)' for label in 'abcdefghijkl')}, ..."),
        (("a" * 50, "b"), f"labels: {'a' * 40} (1), b (1)"),
        (("a\r\nb", "c"), "labels: a b (1), c (1)"),
    ],
)
def test_a_user_is_told_how_often_labels_stand_there(found: tuple[Label, ...], said: str) -> None:
    rows = examples(*found)
    assert counted(rows, find_labels(rows, "train.csv")) == said


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (("1", "1"), "train.csv: expected labels of at least two classes, found only '1'"),
        ((), "train.csv: expected labels of at least two classes, found none"),
        (((), ()), "train.csv: expected labels of at least two classes, found none"),
        (
            (("0",), ("1",), ("0",)),
            "train.csv: every row has a single 1 or 0, as for one class; expected all classes of a row in one "
            "column, as names or as a 1 or 0 for each; if there is only one class, leave out --multi-label",
        ),
        ((("1", "0"), ("0", "1")), "train.csv: every row has all 2 labels, expected rows with different labels"),
    ],
)
def test_one_class_cannot_be_learned(found: Any, message: str) -> None:
    assert refusal(lambda: find_labels(examples(*found), "train.csv")) == message


def test_targets_are_places_in_the_order_or_numbers() -> None:
    assert label_targets(examples("b", "a", "b"), ("a", "b"), "single_label_classification") == [1, 0, 1]
    several = examples(("b",), (), ("b", "a"))
    assert label_targets(several, ("a", "b"), "multi_label_classification") == [[0, 1], [0, 0], [1, 1]]
    assert label_targets(examples(0.5, 2.0), ("score",), "regression") == [0.5, 2.0]


@pytest.mark.parametrize("kind", ["single_label_classification", "multi_label_classification"])
def test_a_label_that_training_never_had(kind: str) -> None:
    message = refusal(lambda: label_targets(examples("a", "c"), ("a", "b"), kind))
    assert message == "dev.csv:3: label 'c' does not occur in the training data, which has 'a', 'b'"
    many = tuple(map(str, range(50)))
    assert refusal(lambda: label_targets(examples("c"), many, kind)).endswith("'18', '19', ...")
