"""Figures of merit: names -> numbers, on all dev examples at once.

Over several processes each scores its share of the examples, `gather_in_order` puts the answers together in the
examples' order, and every process computes the same figures from the same lists: they are those of one process to the
last bit. What is counted comes from torchmetrics.

Undefined values are 0: a precision without a prediction, a recall without an example, a correlation with something
constant. All are shares from 0 to 1, or correlations from -1 to 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

from finetune.tags import Entity
from minibert.training.processes import Processes

T = TypeVar("T")

# The metric by which the best epoch is kept, and the others that --metric may name. Task -> names, the default first.
METRICS: dict[str, tuple[str, ...]] = {
    "single_label_classification": ("accuracy", "f1", "macro_f1", "mcc"),  # f1: of class 1, where there are two
    "multi_label_classification": ("micro_f1", "macro_f1", "exact_match"),
    "regression": ("spearman", "pearson"),
    "token-classification": ("f1",),
    "question-answering": ("f1", "exact"),
    "multiple-choice": ("accuracy",),
}


def check_metric(task: str, name: str | None, *, classes: int = 0) -> str:
    """The metric to keep the best epoch by: `name`, or the task's default where it is None. Higher is always better.

    task: a key of `METRICS`.

    Raises:
        InputError: the task has no such metric (with those that it has), or f1 where there are not two classes.
    """
    raise NotImplementedError


def gather_in_order(processes: Processes, items: Sequence[tuple[int, T]]) -> list[T]:
    """All processes' (index of the example, answer), put together: the answers in the examples' order, in every process.

    An index that several processes give (where a share was filled up) counts once.
    """
    raise NotImplementedError


def classification_metrics(targets: Sequence[int], predictions: Sequence[int], classes: int) -> dict[str, float]:
    """accuracy, macro_precision, macro_recall, macro_f1, micro_f1, mcc; with two classes also precision, recall and f1
    of class 1.

    Classes that neither stand in `targets` nor are predicted are left out of the macro means.
    """
    raise NotImplementedError


class ClassFigures(NamedTuple):
    """How one class or one type of entity fares."""

    name: str
    precision: float
    recall: float
    f1: float
    support: int  # how many there really are


def class_figures(targets: Sequence[int], predictions: Sequence[int], labels: Sequence[str]) -> list[ClassFigures]:
    """Each class for itself, in the labels' order."""
    raise NotImplementedError


def regression_metrics(targets: Sequence[float], predictions: Sequence[float]) -> dict[str, float]:
    """pearson and spearman."""
    raise NotImplementedError


def multi_label_metrics(targets: Sequence[Sequence[int]], predictions: Sequence[Sequence[int]]) -> dict[str, float]:
    """exact_match (all labels of an example right), accuracy (of single yes-or-no answers), micro_f1 and macro_f1.

    targets, predictions: (examples, labels) of 0 and 1.
    """
    raise NotImplementedError


def multi_label_figures(
    targets: Sequence[Sequence[int]], predictions: Sequence[Sequence[int]], labels: Sequence[str]
) -> list[ClassFigures]:
    """Each label for itself, in the labels' order."""
    raise NotImplementedError


def entity_metrics(golds: Sequence[Sequence[Entity]], predictions: Sequence[Sequence[Entity]]) -> dict[str, float]:
    """precision, recall and f1 of whole entities over all types: right are type, start and end (CoNLL-2003).

    golds, predictions: the entities of each sentence (`finetune.tags.entities`).
    """
    raise NotImplementedError


def entity_figures(golds: Sequence[Sequence[Entity]], predictions: Sequence[Sequence[Entity]]) -> list[ClassFigures]:
    """Each type for itself, sorted by name."""
    raise NotImplementedError
