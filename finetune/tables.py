"""Rows of .csv, .tsv and .jsonl files, or one text a line: whatever the file, the chosen columns of a row."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, Literal, NamedTuple, get_args

from minibert.errors import InputError
from minibert.text_files import STANDARD_INPUT, json_type, read_lines, reason, shown, suffix

Kind = Literal["auto", "csv", "tsv", "jsonl", "txt"]

_COLUMN_NUMBER = re.compile("[1-9][0-9]{0,8}")

# A quotation mark that never closes would take the rest of the file for one row: it shall not fill the memory.
LONGEST_ROW = 2**24  # characters


@dataclass(frozen=True)
class TableFormat:
    """How to read a table; the defaults go by the file's name.

    Raises:
        InputError: an unknown kind; a delimiter that is empty or breaks lines, or of several characters with quoting.
    """

    kind: Kind = "auto"  # auto: by suffix; without one of ours it is csv where a delimiter is given, else refused
    delimiter: str | None = None  # None: a comma, in .tsv a tab; \t spelled out, as a shell passes it on, is a tab too
    header: bool = True  # the first row names the columns; otherwise they are numbered from 1
    quoting: bool = True  # fields may stand in quotation marks, and then hold delimiters and line ends

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise InputError(f"format: expected one of {', '.join(get_args(Kind))}, found {self.kind!r}")
        if self.delimiter is None:
            return
        object.__setattr__(self, "delimiter", self.delimiter.replace("\\t", "\t"))
        if not self.delimiter or any(character in self.delimiter for character in "\r\n"):
            raise InputError(
                f"delimiter: expected what stands between two fields, such as ',', found {self.delimiter!r}"
            )
        if self.quoting and (len(self.delimiter) > 1 or self.delimiter == '"'):
            raise InputError(
                f"delimiter: expected one character that is no quotation mark, found {self.delimiter!r}; any others "
                "go with --no-quoting alone"
            )


class Row(NamedTuple):
    """The chosen columns of a row, in the order in which they were chosen."""

    row: int  # the line of the file at which it begins, from 1
    where: str  # "reviews.csv:17"
    cells: tuple[Any, ...]  # strings; from .jsonl whatever the field holds


def read_rows(
    path: str, columns: Sequence[str], table: TableFormat | None = None, *, optional: Sequence[str] = ()
) -> Iterator[Row]:
    """Streams the rows of a file, plain or .gz, or of standard input (`-`), one at a time.

    columns: names from the header, or the fields of .jsonl objects; numbers from 1 ("1", "4") where there is no header.
    optional: fields of .jsonl objects that need not be there: None then, behind the columns.
    A .txt file has one column, the line, and takes any one name. Standard input is .jsonl where its first character is
    "{", csv where a delimiter is given, and otherwise one text a line.

    Rows must have as many fields as the header. Without a header they need at least the columns chosen: what stands
    after them is nobody's business. Blank lines are no rows, except in .txt.

    Raises:
        InputError, naming file and row: what cannot be read or is not UTF-8, no row at all, columns that are not there
        (with those that are), a row of another number of fields, quotation marks that do not close, a line that is no
        JSON object.
    """
    table = table or TableFormat()
    kind, lines = _kind(path, table)
    if kind == "jsonl":
        rows = jsonl_rows(path, lines, columns, optional)
    elif kind == "txt":
        rows = _text_rows(path, lines, columns)
    else:
        records = _records(path, lines, table, table.delimiter or ("\t" if kind == "tsv" else ","))
        rows = _named_rows(path, records, columns) if table.header else _numbered_rows(path, records, columns)
    empty = True
    for row in rows:
        empty = False
        yield row
    if empty:
        raise InputError(f"{shown(path)}: no row in it, expected at least one")


def _kind(path: str, table: TableFormat) -> tuple[str, Iterator[tuple[int, str]]]:
    """What to read the file as, and its lines, from the first one on."""
    lines = read_lines(path)
    if table.kind != "auto":
        return table.kind, lines
    if path == STANDARD_INPUT:
        first = list(islice(lines, 1))
        is_json = any(line.startswith("{") for _, line in first)
        return "jsonl" if is_json else "csv" if table.delimiter else "txt", chain(first, lines)
    known = suffix(path).removeprefix(".")
    if known in get_args(Kind):
        return known, lines
    if table.delimiter:
        return "csv", lines
    raise InputError(f"{path}: expected .csv, .tsv, .jsonl or .txt, plain or .gz; other names need a delimiter")


# --- Fields between delimiters ---------------------------------------------------------------------------------------

Record = tuple[int, list[str]]  # the line at which it begins, its fields


def _records(path: str, lines: Iterable[tuple[int, str]], table: TableFormat, delimiter: str) -> Iterator[Record]:
    if not table.quoting:
        for row, line in lines:
            if line.strip("\r\n"):
                yield row, line.rstrip("\r\n").split(delimiter)
        return
    hint = "where quotation marks are part of the text, use --no-quoting"
    row, size = 1, 0  # where a row begins, and how long it is so far: it may span lines

    def bounded() -> Iterator[str]:
        nonlocal size
        for _, line in lines:
            size += len(line)
            if size > LONGEST_ROW:
                raise InputError(f"{shown(path)}:{row}: a row of more than {LONGEST_ROW:,} characters; {hint}")
            yield line

    csv.field_size_limit(LONGEST_ROW)
    # strict: text that merely holds quotation marks shall be refused, not read as something else.
    reader = csv.reader(bounded(), delimiter=delimiter, strict=True)
    try:
        for fields in reader:
            if fields:
                yield row, fields
            row, size = reader.line_num + 1, 0
    except csv.Error as error:
        if str(error).startswith("new-line"):
            hint = "a carriage return stands alone, expected lines that end with a line feed"
        raise InputError(f"{shown(path)}:{row}: no readable row ({reason(error).split(' - ')[0]}); {hint}") from error


def _named_rows(path: str, records: Iterator[Record], columns: Sequence[str]) -> Iterator[Row]:
    first = next(records, None)
    if first is None:
        return
    header = first[1]
    for column in columns:
        if header.count(column) != 1:
            found = "stands there more than once" if column in header else "is not there"
            raise InputError(f"{shown(path)}:{first[0]}: column {column!r} {found}; the header's are {_listed(header)}")
    chosen = [header.index(column) for column in columns]
    for row, fields in records:
        if len(fields) != len(header):
            raise InputError(
                f"{shown(path)}:{row}: {len(fields)} field(s), expected {len(header)}, as many as the header has"
            )
        yield Row(row, f"{shown(path)}:{row}", tuple(fields[index] for index in chosen))


def _numbered_rows(path: str, records: Iterator[Record], columns: Sequence[str]) -> Iterator[Row]:
    for column in columns:
        if not _COLUMN_NUMBER.fullmatch(column):
            raise InputError(f"{shown(path)}: column {column!r}: without a header expected a number from 1")
    chosen = [int(column) - 1 for column in columns]
    for row, fields in records:
        if len(fields) <= max(chosen):
            raise InputError(f"{shown(path)}:{row}: no column {max(chosen) + 1}, the row has {len(fields)} field(s)")
        yield Row(row, f"{shown(path)}:{row}", tuple(fields[index] for index in chosen))


def _listed(names: Iterable[str]) -> str:
    """For messages: the first twenty."""
    names = list(names)
    return ", ".join(map(repr, names[:20])) + (", ..." if len(names) > 20 else "") or "none"


# --- Lines -----------------------------------------------------------------------------------------------------------


def jsonl_rows(
    path: str, lines: Iterable[tuple[int, str]], columns: Sequence[str], optional: Sequence[str] = ()
) -> Iterator[Row]:
    """As `read_rows` of .jsonl, from (row, line) of a file that is open already."""
    for row, line in lines:
        where = f"{shown(path)}:{row}"
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:  # ValueError: bad JSON, or an integer too long to convert
            raise InputError(f"{where}: expected one JSON object a line ({reason(error)})") from error
        if not isinstance(record, dict):
            raise InputError(f"{where}: expected a JSON object, found {json_type(record)}")
        yield Row(row, where, _fields(record, columns, where, optional))


def given_rows(items: Iterable[Any], columns: Sequence[str], optional: Sequence[str] = ()) -> Iterator[Row]:
    """Rows that are no file's but Python's: mappings that have the columns, tuples of the columns' values in their
    order, or, where one column is asked for, that value alone.

    Raises:
        InputError, naming the row, from 1: a column that a mapping does not have, or another number of values.
    """
    for row, item in enumerate(items, start=1):
        where = f"row {row}"
        if isinstance(item, Mapping):
            yield Row(row, where, _fields(item, columns, where, optional))
            continue
        cells = tuple(item) if isinstance(item, tuple | list) else (item,)
        if len(cells) != len(columns):
            raise InputError(f"{where}: {len(cells)} value(s), expected {len(columns)}: {_listed(columns)}")
        yield Row(row, where, (*cells, *(None for _ in optional)))


def _fields(record: Mapping[str, Any], columns: Sequence[str], where: str, optional: Sequence[str]) -> tuple[Any, ...]:
    for column in columns:
        if column not in record:
            raise InputError(f"{where}: field {column!r} is not there; the object's are {_listed(record)}")
    return (*(record[column] for column in columns), *map(record.get, optional))


def _text_rows(path: str, lines: Iterable[tuple[int, str]], columns: Sequence[str]) -> Iterator[Row]:
    if len(columns) > 1:
        raise InputError(f"{shown(path)}: one text a line is one column, but {_listed(columns)} are asked for")
    for row, line in lines:
        yield Row(row, f"{shown(path)}:{row}", (line.rstrip("\r\n"),))
