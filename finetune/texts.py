"""Text classification, pairs and regression: rows of a table -> `TextExample`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from finetune.examples import TextExample
from finetune.tables import TableFormat


@dataclass(frozen=True)
class TextColumns:
    """Which columns hold what: names, or numbers from 1 (see `finetune.tables.read_rows`)."""

    text: str = "text"
    pair: str | None = None
    label: str | None = "label"  # None: there is none, as in what is to be predicted


def read_texts(
    path: str,
    columns: TextColumns,
    table: TableFormat | None = None,
    *,
    problem_type: str = "single_label_classification",
    label_separator: str = ",",
) -> Iterator[TextExample]:
    """Streams the examples of a table (see `finetune.tables`).

    Labels are words or numbers and are kept as the file writes them: "1" and "01" are two labels. With problem_type
    regression they are finite numbers; with multi_label_classification a .jsonl list, or labels between
    `label_separator`s, and then there may be none.

    Raises:
        InputError, naming file and row: as `read_rows`; an empty text or label; a target that is no finite number.
    """
    raise NotImplementedError
