"""The classes of a classifier: found in the training file, in an order that does not depend on the rows' order."""

from __future__ import annotations

from collections.abc import Sequence

from finetune.examples import TextExample


def find_labels(examples: Sequence[TextExample], path: str) -> tuple[str, ...]:
    """All labels of the training file: by value where all are integers, otherwise sorted by code points.

    Raises:
        InputError: there is one label alone (two or more must be there to tell apart), or no example.
    """
    raise NotImplementedError


def label_ids(examples: Sequence[TextExample], labels: Sequence[str]) -> list[int]:
    """The index of each example's label.

    Raises:
        InputError, naming file and row: a label that is not among `labels`.
    """
    raise NotImplementedError


def label_vectors(examples: Sequence[TextExample], labels: Sequence[str]) -> list[list[int]]:
    """For each example a 1 for each label that holds, else a 0: for multi_label_classification.

    Raises:
        InputError, naming file and row: a label that is not among `labels`.
    """
    raise NotImplementedError
