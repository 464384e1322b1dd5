"""Text classification, pairs and regression: rows of a table -> `TextExample`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from finetune.examples import Label, TextExample
from finetune.tables import Row, TableFormat, read_rows
from minibert.errors import InputError
from minibert.text_files import check_text, json_type


@dataclass(frozen=True)
class TextColumns:
    """Which columns hold what: names, or numbers from 1 (see `finetune.tables.read_rows`)."""

    text: str = "text"
    pair: str | None = None
    label: str | None = "label"  # None: there is none, as in what is to be predicted

    @property
    def chosen(self) -> list[str]:
        """Those that there are."""
        return [column for column in (self.text, self.pair, self.label) if column is not None]


def read_texts(
    path: str,
    columns: TextColumns,
    table: TableFormat | None = None,
    *,
    problem_type: str = "single_label_classification",
    label_separator: str = ",",
) -> Iterator[TextExample]:
    """Streams the examples of a table (see `finetune.tables`).

    Labels are words or numbers and are kept as the file writes them, white space around them left out: "1" and "01" are
    two labels. With problem_type regression they are finite numbers; with multi_label_classification a .jsonl list, or
    labels between `label_separator`s, and then there may be none.

    Raises:
        InputError, naming file and row: as `read_rows`; an empty text or label; a target that is no finite number.
    """
    rows = read_rows(path, columns.chosen, table)
    return text_examples(rows, columns, problem_type=problem_type, label_separator=label_separator)


def text_examples(
    rows: Iterable[Row],
    columns: TextColumns,
    *,
    problem_type: str = "single_label_classification",
    label_separator: str = ",",
) -> Iterator[TextExample]:
    """The examples of rows, which have the columns chosen; errors as `read_texts`."""
    for row, where, cells in rows:
        found = dict(zip(columns.chosen, cells, strict=True))
        label = None
        if columns.label is not None:
            label = _label(found[columns.label], f"{where}: label", problem_type, label_separator)
        yield TextExample(
            text=_text(found, columns.text, where),
            pair=None if columns.pair is None else _text(found, columns.pair, where),
            label=label,
            row=row,
            where=where,
        )


def _text(found: dict[str, Any], column: str, where: str) -> str:
    return check_text(found[column], f"{where}: column {column!r}")


def _label(cell: Any, what: str, problem_type: str, separator: str) -> Label:
    if problem_type == "regression":
        return _number(cell, what)
    if problem_type == "multi_label_classification":
        return _several(cell, what, separator)
    return _word(cell, what)


def _word(cell: Any, what: str) -> str:
    """A class as text: JSON's 1 is the label "1", its true the label "true"."""
    if cell is None or isinstance(cell, list | dict):
        raise InputError(f"{what} is {json_type(cell)}, expected a word or a number")
    return check_text(cell if isinstance(cell, str) else str(cell).lower(), what).strip()


def _several(cell: Any, what: str, separator: str) -> tuple[str, ...]:
    """Classes that hold together, each once."""
    if isinstance(cell, str):
        cell = cell.split(separator) if cell.strip() else []
    if not isinstance(cell, list):
        raise InputError(f"{what} is {json_type(cell)}, expected a list of words or numbers")
    return tuple(dict.fromkeys(_word(word, what) for word in cell))


LARGEST_TARGET = 3.4e38  # of float32, in which the loss is computed


def _number(cell: Any, what: str) -> float:
    try:
        number = math.nan if isinstance(cell, bool) else float(cell)
    except (TypeError, ValueError, OverflowError):  # OverflowError: an integer of JSON that no float can hold
        number = math.nan
    if not abs(number) <= LARGEST_TARGET:
        raise InputError(f"{what} is {cell!r:.60}, expected a finite number")
    return number
