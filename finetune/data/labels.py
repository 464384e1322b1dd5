"""The classes of a classifier, found in the training file, in an order that does not depend on that of the rows."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from finetune.data.examples import Label, TextExample
from minibert.errors import InputError, plural
from minibert.files.tables import listed

NAMED_LABELS = 12  # shown in a note
_INTEGER = re.compile(r"-?[0-9]{1,18}")


def find_labels(examples: Sequence[TextExample], path: str) -> tuple[str, ...]:
    """Return all labels of the training file: by value if all are integers, otherwise sorted by code points.

    Raises InputError if there are fewer than two labels, or if multi-label rows are all alike: each has all labels, or
    each has a single 0 or 1.
    """
    found = {label for example in examples for label in _several(example.label)}
    if len(found) < 2:
        there = f"only {found.pop()!r}" if found else "none"
        raise InputError(f"{path}: expected labels of at least two classes, found {there}")
    if all(isinstance(example.label, tuple) and set(example.label) == found for example in examples):
        raise InputError(f"{path}: every row has all {len(found)} labels, expected rows with different labels")
    if all(example.label in (("0",), ("1",)) for example in examples):
        raise InputError(
            f"{path}: every row has a single 1 or 0, as for one class; expected all classes of a row in one column, as "
            "names or as a 1 or 0 for each; if there is only one class, leave out --multi-label"
        )
    if all(map(_INTEGER.fullmatch, found)):
        return tuple(sorted(found, key=lambda label: (int(label), label)))
    return tuple(sorted(found))


def count_labels(examples: Sequence[TextExample]) -> Counter[str]:
    """Return the number of examples of each label."""
    return Counter(label for example in examples for label in _several(example.label))


def counted(examples: Sequence[TextExample], labels: Sequence[str]) -> str:
    """Return a note with the number of examples of each label, or of the first ones, for the user to check."""
    counts = count_labels(examples)
    return f"labels: {named(labels, {label: f'{counts[label]:,}' for label in labels})}"


def named(labels: Sequence[str], told: Mapping[str, str] | None = None) -> str:
    """Return the first labels for a note, each with what is `told` of it."""
    shown = [f"{' '.join(label.split()):.40}" + (f" ({told[label]})" if told else "") for label in labels]
    return ", ".join(shown[:NAMED_LABELS]) + (", ..." if len(labels) > NAMED_LABELS else "")


def seen_once(counts: Mapping[str, int], *, held_out: bool) -> str:
    """Return a note about labels of which there is one example, for the user to check, or "". held_out: is a share of
    the examples held out?"""
    once = sorted(label for label, count in counts.items() if count == 1)
    where = " A single example can't be both trained on and held out" if held_out else ""
    each = " each" if once[1:] else ""
    labels = f"{plural(len(once), 'label')} with only one example{each} ({named(once)})"
    return f"{labels}: misspelled?{where}" if once else ""


def label_targets(examples: Sequence[TextExample], labels: Sequence[str], problem_type: str) -> list[Any]:
    """Return the target of each example: a number for regression; for single_label_classification the index of its
    label; for multi_label_classification a 1 for each label that applies, otherwise a 0.

    Raises InputError, naming file and row, if a label is not among `labels`.
    """
    if problem_type == "regression":
        return [example.label for example in examples]
    ids = {label: index for index, label in enumerate(labels)}
    for example in examples:
        if unknown := [label for label in _several(example.label) if label not in ids]:
            raise InputError(
                f"{example.where}: label {unknown[0]!r} does not occur in the training data, which has {listed(labels)}"
            )
    if problem_type == "single_label_classification":
        return [ids[label] for example in examples for label in _several(example.label)]
    vectors = [[0] * len(labels) for _ in examples]
    for vector, example in zip(vectors, examples, strict=True):
        for label in _several(example.label):
            vector[ids[label]] = 1
    return vectors


def _several(label: Label | None) -> tuple[str, ...]:
    """Return the classes of an example as a tuple, even if it has just one."""
    if isinstance(label, tuple):
        return label
    assert isinstance(label, str), "classes are read with a label column, and not as numbers"
    return (label,)
