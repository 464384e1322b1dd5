"""Text classification, pairs and regression: rows of a table -> `TextExample`."""

import math
import re
from collections.abc import Iterable, Iterator
from typing import Any

from finetune.data.data_options import TextDataOptions
from finetune.data.examples import Label, TextExample
from finetune.data.spellings import Spelling, parts_of, spelled
from minibert.errors import InputError
from minibert.files.tables import Row, check_id, read_rows
from minibert.files.tally import Tally
from minibert.files.text import check_text, json_type


def read_texts(
    path: str, data_options: TextDataOptions, *, labelled: bool = True, tally: Tally | None = None
) -> Iterator[TextExample]:
    """Stream the examples of a table (see `minibert.files.tables`).

    Labels are words or numbers, kept as the file writes them without surrounding white space: "1" and "01" are two
    labels. With `regression` they are finite numbers. With `multi_label` a row may have any number of labels: separated
    by `label_separator` (None: commas; ; and | are refused), as a list that JSON or Python writes, as a list with a 1
    or 0 for each class, which is then named by its number, or as an object that maps classes to 1 or 0. With
    `group_column` labels are grades.

    Raises InputError, naming file and row, if `read_rows` does, a text, label or group is empty, a label is spelled
    differently from earlier ones, a target is not a finite number, or a grade is not a number from 0.
    """
    columns, tally = data_options.columns(labelled=labelled), tally or Tally()
    see = f"see {', '.join(columns)}".replace(", --label-column", " and --label-column")
    rows = read_rows(path, [*columns.values()], data_options.table, tally=tally, see=see)
    return text_examples(rows, data_options, tally, labelled=labelled)


def text_examples(
    rows: Iterable[Row], data_options: TextDataOptions, tally: Tally, *, labelled: bool
) -> Iterator[TextExample]:
    """Yield the examples of rows that have the chosen columns; errors as in `read_texts`."""
    columns, spelling = [*data_options.columns(labelled=False).values()], Spelling()
    group_column = data_options.group_column

    def label_of(cell: Any, what: str) -> Label:
        if data_options.multi_label:
            return spelling.classes(_words(cell, what, data_options.label_separator), what)
        hint = "; use --multi-label to read lists"
        label: Label = _number(cell, what) if data_options.regression else _word(cell, what, hint)
        if group_column is not None and not is_grade(label):
            raise InputError(f"{what} is {label!r:.60}, {GRADES}")
        return label

    def example_of(row: Row) -> TextExample:
        named = zip(columns, row.cells, strict=not labelled)
        cells = {column: (cell, f"{row.where}: column {column!r}") for column, cell in named}
        group = None if group_column is None else str(check_id(*cells[group_column]))  # 7 in .jsonl is "7" in .csv
        pair = data_options.text_pair_column
        return TextExample(
            text=check_text(*cells[data_options.text_column]),
            pair=None if pair is None else check_text(*cells[pair]),
            label=label_of(row.cells[-1], f"{row.where}: label") if labelled else None,
            where=row.where,
            id=row.id,
            group=group,
        )

    return tally.made(rows, example_of)


GRADES = "expected a grade because of --group-column: 1 for a relevant candidate, 0 for the others, or 0, 1, 2, ..."
_WHOLE = re.compile("[0-9]{1,18}")


def is_grade(label: Label) -> bool:
    """Return whether a class is a whole number from 0, or a number of regression not below 0."""
    return bool(_WHOLE.fullmatch(label)) if isinstance(label, str) else isinstance(label, float) and label >= 0


def _word(cell: Any, what: str, hint: str = "") -> str:
    """Return a class as text: JSON's 1 is the label "1", true the label "true". hint: the option that reads several."""
    if cell is None or isinstance(cell, list | dict):
        raise InputError(f"{what} is {json_type(cell)}, expected a word or a number{'' if cell is None else hint}")
    word = check_text(cell if isinstance(cell, str) else str(cell).lower(), what).strip()
    if kind := spelled(word):
        raise InputError(f"{what} is {kind} ({word!r:.60}), expected a word or a number{hint}")
    return word


def _words(cell: Any, what: str, separator: str | None) -> list[str]:
    """Return classes as text; of an object, those with a 1 or true."""
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
        raise InputError(f"{what} has {share} in its list, expected names of classes, or a 1 or 0 for each class")
    return [_word(word, what) for word in cell]


LARGEST_TARGET = 3.4e38  # the maximum of float32, in which the loss is computed


def _number(cell: Any, what: str) -> float:
    try:
        spelled_for_python = isinstance(cell, bool) or (isinstance(cell, str) and "_" in cell)  # 1_000
        number = math.nan if spelled_for_python else float(cell)
    except (TypeError, ValueError, OverflowError):  # OverflowError: an integer of JSON that no float can hold
        number = math.nan
    if not abs(number) <= LARGEST_TARGET:
        raise InputError(f"{what} is {cell!r:.60}, expected a finite number")
    return number
