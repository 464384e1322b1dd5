"""Metrics: names -> numbers, over all dev examples at once, of which there is at least one.

With several processes, each answers its share of the examples, `gather_in_order` puts the answers together in the
examples' order, and every process computes from them the figures that a single process would, to the last bit.
torchmetrics computes counts and correlations.

All are shares from 0 to 1, or correlations from -1 to 1. Undefined values are 0: a precision without a prediction, a
recall without an example, a correlation with something constant.
"""

import importlib
import warnings
from collections import Counter
from collections.abc import Sequence
from statistics import fmean
from typing import Any, NamedTuple, TypeVar

import torch
import torch.distributed as dist

from finetune.data.tags import Entity
from finetune.scoring.ranking import RANKING
from minibert.errors import InputError, did_you_mean
from minibert.files.text import reason
from minibert.training.processes import Processes

T = TypeVar("T")

# The metrics that can choose the best epoch (--metric). Task -> names, the default first.
METRICS: dict[str, tuple[str, ...]] = {
    "single_label_classification": ("accuracy", "f1", "macro_f1", "mcc"),  # f1: of class 1, if there are two
    "multi_label_classification": ("micro_f1", "macro_f1", "exact_match"),
    "regression": ("spearman", "pearson"),
    "tags: entities": ("f1", "precision", "recall"),
    "tags: words": ("f1", "precision", "recall"),
    "tags: classes": ("accuracy", "macro_f1"),
    "question-answering": ("f1", "exact"),
    "multiple-choice": ("accuracy",),
}

# Tasks whose metrics torchmetrics computes.
COUNTED = {"single_label_classification", "multi_label_classification", "regression", "multiple-choice"}


def check_metric(task: str, name: str | None, *, classes: int = 0, ranked: bool = False) -> str:
    """Return the metric that chooses the best epoch: `name`, or the task's default for None. Higher is always better.

    task: a key of `METRICS`; classes: the number of a classifier's classes; ranked: are there groups of candidates?

    torchmetrics is imported here, which takes seconds: before the first step, and not after an epoch.

    Raises InputError if the task has no such metric (the message names those that it has), if f1 is asked for and there
    are not two classes, or if torchmetrics is missing or broken.
    """
    if task in COUNTED:
        import_torchmetrics()
    names = METRICS[task]
    if task == "single_label_classification" and classes != 2:
        names = tuple(known for known in names if known != "f1")
    if ranked:
        names = (*RANKING, *names)
    if name is None:
        return names[0]
    if name not in names:
        raise InputError(f"--metric: expected one of {', '.join(names)}, found {name!r}{did_you_mean(name, names)}")
    return name


def import_torchmetrics() -> None:
    """Import torchmetrics. Raises InputError if it, or what it imports, such as matplotlib, is missing or broken."""
    try:
        importlib.import_module("torchmetrics.functional.classification")
    except Exception as error:  # any library may raise anything
        raise InputError(f"torchmetrics, which computes the metrics, can't be imported: {reason(error)}") from error


def gather_in_order(processes: Processes, items: Sequence[tuple[int, T]]) -> list[T]:
    """Gather every process's (index of the example, answer); return the answers in the examples' order, in each.

    An index that several processes give counts once.
    """
    shares: list[Any] = [list(items)]
    if processes.world_size > 1:
        shares = [None] * processes.world_size
        dist.all_gather_object(shares, list(items))
    answers = {index: answer for share in shares for index, answer in share}
    return [answers[index] for index in sorted(answers)]


# --- Counts ----------------------------------------------------------------------------------------------------------


class ClassFigures(NamedTuple):
    """The figures of one class, label or type of entity, or of all of them together."""

    name: str
    precision: float
    recall: float
    f1: float
    support: int  # how many there really are


def _figures(name: str, right: int, predicted: int, real: int) -> ClassFigures:
    """Return the figures of a class with `real` and `predicted` members, of which `right` are both."""
    precision = right / predicted if predicted else 0.0
    recall = right / real if real else 0.0
    f1 = 2 * right / (predicted + real) if predicted + real else 0.0
    return ClassFigures(name, precision, recall, f1, support=real)


def _together(counts: Sequence[tuple[int, int, int]]) -> ClassFigures:
    """Return the micro figures: those of all classes' counts added up."""
    return _figures("all", *(sum(column) for column in zip(*counts, strict=True)))


def _macro(counts: Sequence[tuple[int, int, int]]) -> dict[str, float]:
    """Return the macro means, over the classes that occur or are predicted."""
    seen = [_figures("", *count) for count in counts if any(count)]
    names = ("precision", "recall", "f1")
    return {f"macro_{name}": fmean(getattr(figures, name) for figures in seen) if seen else 0.0 for name in names}


# --- Texts: a class, several classes or a number ---------------------------------------------------------------------


def text_metrics(problem_type: str, targets: Sequence[Any], answers: Sequence[Any], classes: int) -> dict[str, float]:
    """Return the metrics of a problem type; targets, answers: as `finetune.data.labels.label_targets` returns them."""
    if problem_type == "regression":
        return regression_metrics(targets, answers)
    if problem_type == "multi_label_classification":
        return multi_label_metrics(targets, answers)
    return classification_metrics(targets, answers, classes)


def text_figures(
    problem_type: str, targets: Sequence[Any], answers: Sequence[Any], labels: Sequence[str]
) -> list[ClassFigures]:
    """Return each class's figures, in the labels' order; none for regression. Arguments as of `text_metrics`."""
    if problem_type == "regression":
        return []
    counts = _class_counts(targets, answers, len(labels))
    return [_figures(label, *count) for label, count in zip(labels, counts, strict=True)]


def classification_metrics(targets: Sequence[int], predictions: Sequence[int], classes: int) -> dict[str, float]:
    """Return accuracy, macro_precision, macro_recall, macro_f1, micro_f1, mcc; with two classes also precision, recall
    and f1 of class 1.

    An example has one class, so micro_f1 equals the accuracy. Classes that neither occur in `targets` nor are predicted
    are left out of the macro means.
    """
    counts = _class_counts(targets, predictions, classes)
    micro = _together(counts)
    metrics = {"accuracy": micro.recall, **_macro(counts), "micro_f1": micro.f1}
    metrics["mcc"] = _matthews(targets, predictions, classes)
    if classes == 2:
        binary = _figures("1", *counts[1])
        metrics |= {"precision": binary.precision, "recall": binary.recall, "f1": binary.f1}
    return metrics


def _class_counts(targets: Sequence[Any], answers: Sequence[Any], classes: int) -> list[tuple[int, int, int]]:
    """Return (right, predicted, real) of each class; with several labels per example, it is (C,) of 0 and 1."""
    from torchmetrics.functional.classification import multiclass_stat_scores, multilabel_stat_scores  # takes seconds

    told, truth = torch.tensor(answers), torch.tensor(targets)
    if truth.ndim == 2:
        scores = multilabel_stat_scores(told, truth, num_labels=classes, average=None)
    else:
        at_least = max(classes, 2)  # torchmetrics needs two; a model from elsewhere may have one
        scores = multiclass_stat_scores(told, truth, num_classes=at_least, average=None)[:classes]
    return [(tp, tp + fp, tp + fn) for tp, fp, _, fn, _ in scores.tolist()]


def _matthews(targets: Sequence[int], predictions: Sequence[int], classes: int) -> float:
    """Return Matthews' correlation coefficient of two or more classes, to six decimals: it is computed in float32."""
    from torchmetrics.functional.classification import multiclass_matthews_corrcoef

    # With two classes, torchmetrics finds a slight or even a full correlation of constant answers.
    if len(set(targets)) < 2 or len(set(predictions)) < 2:
        return 0.0
    answers, truth = torch.tensor(predictions), torch.tensor(targets)
    return round(float(multiclass_matthews_corrcoef(answers, truth, num_classes=classes)), 6)


def multi_label_metrics(targets: Sequence[Sequence[int]], predictions: Sequence[Sequence[int]]) -> dict[str, float]:
    """Return exact_match (all labels of an example right), accuracy (of the single yes-or-no answers), micro_precision,
    micro_recall, micro_f1, macro_precision, macro_recall and macro_f1.

    targets, predictions: (examples, labels) of 0 and 1. Macro means leave out labels that neither occur nor are
    predicted.
    """
    answers, truth = torch.tensor(predictions), torch.tensor(targets)
    right = answers == truth
    counts = _class_counts(targets, predictions, truth.shape[1])
    micro = _together(counts)
    return {
        "exact_match": int(right.all(dim=1).sum()) / len(right),
        "accuracy": int(right.sum()) / right.numel(),
        "micro_precision": micro.precision,
        "micro_recall": micro.recall,
        "micro_f1": micro.f1,
        **_macro(counts),
    }


def regression_metrics(targets: Sequence[float], predictions: Sequence[float]) -> dict[str, float]:
    """Return pearson and spearman, to six decimals, as torchmetrics ranks in float32."""
    from torchmetrics.functional import pearson_corrcoef, spearman_corrcoef

    if len(set(targets)) < 2 or len(set(predictions)) < 2:
        return {"pearson": 0.0, "spearman": 0.0}
    answers, truth = torch.tensor(predictions, dtype=torch.float64), torch.tensor(targets, dtype=torch.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about nearly constant numbers: the result is NaN, which becomes 0 below
        found = {"pearson": pearson_corrcoef(answers, truth), "spearman": spearman_corrcoef(answers, truth)}
    return {name: round(float(value.nan_to_num()), 6) for name, value in found.items()}


# --- Entities --------------------------------------------------------------------------------------------------------


def entity_metrics(golds: Sequence[Sequence[Entity]], predictions: Sequence[Sequence[Entity]]) -> dict[str, float]:
    """Return precision, recall and f1 of whole entities of all types: type, start and end must match (CoNLL-2003).

    golds, predictions: the entities of each sentence (`finetune.data.tags.entities`).
    """
    micro = _together([*_entity_counts(golds, predictions).values(), (0, 0, 0)])
    return {"precision": micro.precision, "recall": micro.recall, "f1": micro.f1}


def entity_figures(golds: Sequence[Sequence[Entity]], predictions: Sequence[Sequence[Entity]]) -> list[ClassFigures]:
    """Return each type's figures, sorted by name."""
    return [_figures(kind, *count) for kind, count in _entity_counts(golds, predictions).items()]


def _entity_counts(
    golds: Sequence[Sequence[Entity]], predictions: Sequence[Sequence[Entity]]
) -> dict[str, tuple[int, int, int]]:
    """Return (right, predicted, real) by type, sorted."""
    right, predicted, real = Counter[str](), Counter[str](), Counter[str]()
    for gold, answer in zip(golds, predictions, strict=True):
        right.update(entity.type for entity in set(gold) & set(answer))
        predicted.update(entity.type for entity in answer)
        real.update(entity.type for entity in gold)
    return {kind: (right[kind], predicted[kind], real[kind]) for kind in sorted({*predicted, *real})}
