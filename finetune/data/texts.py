"""Text classification, pairs and regression: rows of a table -> `TextExample`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from finetune.data.examples import Label, TextExample, check_id
from finetune.data.spellings import Spelling, parts_of, spelled
from finetune.data.tables import Row, TableFormat, read_rows
from finetune.data.tally import Tally
from minibert.errors import InputError
from minibert.files.text import check_text, json_type


@dataclass(frozen=True)
class TextColumns:
    """Which columns hold what: names, or numbers from 1 (see `finetune.data.tables.read_rows`)."""

    text: str = "text"
    pair: str | None = None
    label: str | None = "label"  # None: there is none, as in what is to be predicted

    @property
    def chosen(self) -> list[str]:
        """Those that there are."""
        return [column for column in (self.text, self.pair, self.label) if column is not None]

    @property
    def see(self) -> str:
        """For messages: the options that name them."""
        pair, label = ("" if self.pair is None else ", --text-pair-column"), self.label and " and --label-column"
        return f"see --text-column{pair}{label or ''}"


def read_texts(
    path: str,
    columns: TextColumns,
    table: TableFormat | None = None,
    *,
    problem_type: str = "single_label_classification",
    label_separator: str | None = None,
    tally: Tally | None = None,
) -> Iterator[TextExample]:
    """Streams the examples of a table (see `finetune.data.tables`).

    Labels are words or numbers and are kept as the file writes them, white space around them left out: "1" and "01" are
    two labels. With problem_type regression they are finite numbers. With multi_label_classification there may be any
    number of them: labels between `label_separator`s (None: commas; ; and | are refused), a list as JSON or Python
    writes it, a list with a 1 or 0 for each class, whose name is its number then, or an object of classes with a 1 or 0
    for each.

    Raises:
        InputError, naming file and row: as `read_rows`; an empty text or label; a label of another spelling; a target
        that is no finite number.
    """
    tally = tally or Tally()
    rows = read_rows(path, columns.chosen, table, tally=tally, optional=["id"], see=columns.see)
    return text_examples(rows, columns, tally, problem_type=problem_type, label_separator=label_separator)


def text_examples(
    rows: Iterable[Row],
    columns: TextColumns,
    tally: Tally,
    *,
    problem_type: str = "single_label_classification",
    label_separator: str | None = None,
) -> Iterator[TextExample]:
    """The examples of rows, which have the columns chosen, and in .jsonl an id or None; errors as `read_texts`."""
    spelling = Spelling()

    def example_of(found: Row) -> TextExample:
        row, where, cells = found
        width = len(columns.chosen)
        named = dict(zip(columns.chosen, cells[:width], strict=True))
        text = _text(named, columns.text, where)
        pair = None if columns.pair is None else _text(named, columns.pair, where)
        label: Label | None = None
        if columns.label is not None:
            cell, what = named[columns.label], f"{where}: label"
            if problem_type == "regression":
                label = _number(cell, what)
            elif problem_type == "multi_label_classification":
                label = spelling.classes(_words(cell, what, label_separator), what)
            else:
                label = _word(cell, what, "; --multi-label reads lists")
        found_id = next(iter(cells[width:]), None)
        id = None if found_id is None else check_id(found_id, f"{where}: field 'id'")
        return TextExample(text=text, pair=pair, label=label, row=row, where=where, id=id)

    return tally.made(rows, example_of)


def _text(found: dict[str, Any], column: str, where: str) -> str:
    return check_text(found[column], f"{where}: column {column!r}")


def _word(cell: Any, what: str, hint: str = "") -> str:
    """A class as text: JSON's 1 is the label "1", its true the label "true". hint: what reads more than one."""
    if cell is None or isinstance(cell, list | dict):
        raise InputError(f"{what} is {json_type(cell)}, expected a word or a number{'' if cell is None else hint}")
    word = check_text(cell if isinstance(cell, str) else str(cell).lower(), what).strip()
    if kind := spelled(word):
        raise InputError(f"{what} is {word!r:.60}, {kind}, expected a word or a number{hint}")
    return word


def _words(cell: Any, what: str, separator: str | None) -> list[str]:
    """Classes as text; of an object those with a 1 or true."""
    if isinstance(cell, str):
        cell = parts_of(cell, what, separator)
    if isinstance(cell, dict):
        if odd := [name for name, holds in cell.items() if holds not in (0, 1)]:
            raise InputError(f"{what} has {cell[odd[0]]!r:.60} for {odd[0]!r:.60}, expected a 1 or 0 for each class")
        cell = [name for name, holds in cell.items() if holds]
    if not isinstance(cell, list):
        raise InputError(f"{what} is {json_type(cell)}, expected a list of words or numbers")
    share = next((word for word in cell if isinstance(word, float) and not word.is_integer()), None)
    if share is not None:
        raise InputError(f"{what} has {share} in its list, expected the names of classes, or a 1 or 0 for each")
    return [_word(word, what) for word in cell]


LARGEST_TARGET = 3.4e38  # of float32, in which the loss is computed


def _number(cell: Any, what: str) -> float:
    try:
        spelled_for_python = isinstance(cell, bool) or (isinstance(cell, str) and "_" in cell)  # 1_000
        number = math.nan if spelled_for_python else float(cell)
    except (TypeError, ValueError, OverflowError):  # OverflowError: an integer of JSON that no float can hold
        number = math.nan
    if not abs(number) <= LARGEST_TARGET:
        raise InputError(f"{what} is {cell!r:.60}, expected a finite number")
    return number
