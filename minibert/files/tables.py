"""Rows of .csv, .tsv and .jsonl files, or one text per line: from any file, the chosen columns of each row."""

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, NamedTuple

from minibert.errors import InputError, plural
from minibert.files.tally import Tally
from minibert.files.text import STANDARD_INPUT, check_text, json_type, parse_object, read_lines, reason, shown, suffix

JSON_FILES = {".jsonl", ".json"}  # with one object per line
COLUMN_FILES = {".conll", ".conllu", ".iob", ".iob1", ".iob2", ".bio", ".bioes", ".bilou"}  # with one word per row
NO_ROW = "no row found, expected at least one"
COLUMN_NUMBER = re.compile("[1-9][0-9]{0,8}")

# A quotation mark that never closes makes one row of the rest of the file, which must not fill the memory.
LONGEST_ROW = 2**24  # characters


Id = str | int  # of a row, exactly as the file gives it


@dataclass(frozen=True)
class TableFormat:
    """How to read a table; the defaults depend on the file's name.

    Raises InputError if the delimiter is empty, contains a line end, or has several characters with quoting.
    """

    delimiter: str | None = None  # None: a comma, in .tsv a tab; a literal \t, as passed on by a shell, is a tab too
    header: bool = True  # the first row names the columns; otherwise they are numbered from 1
    # Fields may be in quotation marks, and then contain delimiters and line ends. None: yes, unless the delimiter is a
    # tab: there, marks are usually text, and two of them would make one row of everything between them.
    quoting: bool | None = None

    def __post_init__(self) -> None:
        if self.delimiter is None:
            return
        object.__setattr__(self, "delimiter", self.delimiter.replace("\\t", "\t"))
        if not self.delimiter or any(character in self.delimiter for character in "\r\n"):
            raise InputError(
                f"delimiter: expected one or more characters that separate fields, found {self.delimiter!r}"
            )
        if self.quoting is not False and (len(self.delimiter) > 1 or self.delimiter == '"'):
            raise InputError(
                f"delimiter: expected a single character that is not a quotation mark, found {self.delimiter!r}; any "
                "other delimiter needs --no-quoting"
            )


class Row(NamedTuple):
    """The chosen columns of a row, in the order in which they were chosen."""

    row: int  # the line of the file on which it begins, from 1
    where: str  # "reviews.csv:17"
    cells: tuple[Any, ...]  # strings; from .jsonl, any JSON values
    field_id: Any = None  # the field id of a JSON object, if it has one

    @property
    def id(self) -> Id | None:
        """The file's name for the row, if it has one. Raises InputError if `check_id` does."""
        return None if self.field_id is None else check_id(self.field_id, f"{self.where}: field 'id'")


def read_rows(
    path: str, columns: Sequence[str], table: TableFormat | None = None, *, tally: Tally | None = None, see: str = ""
) -> Iterator[Row]:
    """Stream the rows of a file, plain or .gz, or of standard input (`-`), one at a time.

    columns: names from the header, or the fields of .jsonl objects; without a header, numbers from 1 ("1", "4"). see: a
    remedy for messages about a missing column. A .txt file has one column, the line, under any name; but with a
    delimiter it is read as .csv if several columns are asked for, or if the delimiter is a tab and the first line has
    one. Standard input is .jsonl if its first character is "{", .csv if a delimiter is given, and otherwise one text
    per line. A .json file is read as .jsonl.

    Rows must have as many fields as the header. Without a header they need the chosen columns; further ones are
    ignored. Blank lines are not rows, except in .txt.

    Raises InputError, naming file and row, if the file can't be read, is not UTF-8 or has no row, a column is missing
    (the message lists the others), or quotation marks don't close; and, unless the `tally` skips bad rows, if a row has
    another number of fields, or a line is not a JSON object or lacks a field.
    """
    table, tally = table or TableFormat(), tally or Tally()
    kind, lines = _kind(path, table, columns)
    if kind == "txt" and len(columns) > 1:
        raise InputError(
            f"{shown(path)}: a file with one text per line has a single column, but {listed(columns)} are needed; "
            "expected .csv, .tsv or .jsonl; for a table with another extension, give --delimiter"
        )
    tally.form = kind
    if kind == "jsonl":
        return jsonl_rows(path, lines, columns, tally, see)
    if kind == "txt":
        rows = _text_rows(path, tally.counted(lines), tally, table.delimiter or "\t")
    else:
        delimiter = table.delimiter or ("\t" if kind == "tsv" else ",")
        rows = _delimited_rows(path, tally.counted(lines), columns, table, tally, see, delimiter=delimiter)
    return tally.nonempty(rows, f"{shown(path)}: {NO_ROW}")


def _kind(path: str, table: TableFormat, columns: Sequence[str]) -> tuple[str, Iterator[tuple[int, str]]]:
    """Return what to read the file as, and its lines from the first one on."""
    lines = read_lines(path)
    if path == STANDARD_INPUT:
        first = list(islice(lines, 1))
        is_json = any(line.startswith("{") for _, line in first)
        return "jsonl" if is_json else "csv" if table.delimiter else "txt", chain(first, lines)
    known = "jsonl" if suffix(path) in JSON_FILES else suffix(path).removeprefix(".")
    if known == "txt" and table.delimiter:
        first = list(islice(lines, 1))
        tabbed = table.delimiter == "\t" and any("\t" in line for _, line in first)  # rare in texts
        return "csv" if tabbed or len(columns) > 1 else known, chain(first, lines)
    if known in ("csv", "tsv", "jsonl", "txt"):
        return known, lines
    if table.delimiter:
        return "csv", lines
    raise InputError(
        f"{path}: expected .csv, .tsv, .jsonl or .txt, plain or .gz; for a table with another extension, give "
        "--delimiter"
    )


def check_id(value: Any, what: str) -> Id:
    """Return `value`; `what` names it in the message ("a.jsonl:17: field 'id'").

    Raises InputError if it is neither text nor a whole number.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if not isinstance(value, str):
        raise InputError(f"{what} is {json_type(value)}, expected a string or a whole number")
    return check_text(value, what)


# --- Fields between delimiters ---------------------------------------------------------------------------------------

Record = tuple[int, list[str]]  # the line on which it begins, its fields


def _records(
    path: str, lines: Iterable[tuple[int, str]], delimiter: str, tally: Tally, *, quoting: bool
) -> Iterator[Record]:
    if not quoting:
        for row, line in lines:
            if line.strip("\r\n"):
                yield row, line.rstrip("\r\n").split(delimiter)
            else:
                tally.blank += 1
        return
    hint = "if quotation marks are part of the text, use --no-quoting"
    row, size = 1, 0  # the line on which a row begins; its characters so far: it may span lines

    def bounded() -> Iterator[str]:
        nonlocal size
        for _, line in lines:
            size += len(line)
            if size > LONGEST_ROW:
                raise InputError(f"{shown(path)}:{row}: the row exceeds {LONGEST_ROW:,} characters; {hint}")
            yield line

    csv.field_size_limit(LONGEST_ROW)
    # strict: text that merely contains quotation marks must be refused, not misread.
    reader = csv.reader(bounded(), delimiter=delimiter, strict=True)
    try:
        for fields in reader:
            if fields:
                tally.spanning += sum("\n" in cell for cell in fields)
                yield row, fields
            else:
                tally.blank += 1
            row, size = reader.line_num + 1, 0
    except csv.Error as error:
        if str(error).startswith("new-line"):
            hint = "it has a carriage return without a line feed, but lines must end with a line feed"
        raise InputError(
            f"{shown(path)}:{row}: not readable as a row ({reason(error).split(' - ')[0]}); {hint}"
        ) from error


def _delimited_rows(
    path: str, lines: Iterable[tuple[int, str]], columns: Sequence[str], table: TableFormat, tally: Tally, see: str,
    *, delimiter: str,
) -> Iterator[Row]:  # fmt: skip
    quoting = delimiter != "\t" if table.quoting is None else table.quoting
    records = _records(path, lines, delimiter, tally, quoting=quoting)
    header: list[str] = []  # empty: columns have numbers, and rows may differ in length
    if table.header:
        row, header = next(records, (0, header))
        if not header:
            return iter(())
        tally.lines = tally.blank = tally.spanning = 0  # count only below the header
        chosen = _by_name(columns, header, f"{shown(path)}:{row}", see, quoting=quoting)
    else:
        chosen = _by_number(columns, shown(path), see)

    def chosen_of(record: Record) -> Row:
        row, fields = record
        where = f"{shown(path)}:{row}"
        if header and len(fields) != len(header):
            marks = not quoting and any('"' in cell for cell in fields)
            hint = "; if quotation marks are not part of the text, use --quoting" if marks else ""
            expected = f"expected {len(header)}, as in the header"
            raise InputError(f"{where}: the row has {plural(len(fields), 'field')}, {expected}{hint}")
        if not header:
            tally.widths.add(len(fields))
            if len(fields) <= max(chosen):
                raise InputError(
                    f"{where}: there is no column {max(chosen) + 1}; the row has {plural(len(fields), 'field')}"
                )
        cells = tuple(fields[index] for index in chosen)
        if table.quoting is None and not quoting:
            tally.quoted += sum(len(cell) > 1 and cell[0] == cell[-1] == '"' for cell in cells)
        return Row(row, where, cells)

    return tally.made(records, chosen_of)


def _by_name(columns: Sequence[str], header: Sequence[str], where: str, see: str, *, quoting: bool) -> list[int]:
    """Return the indices of the columns."""
    for column in columns:
        if header.count(column) != 1:
            found = "appears more than once" if column in header else "is missing"
            hint = "; --quoting removes the quotation marks" if not quoting and f'"{column}"' in header else ""
            hint = hint or _other_delimiter(header) or (see and f"; {see}, or use --no-header if there is no header")
            raise InputError(f"{where}: column {column!r} {found}; the header has {listed(header)}{hint}")
    return [header.index(column) for column in columns]


def _other_delimiter(header: Sequence[str]) -> str:
    """Return a hint for messages: the delimiter of a header that is one field, though it looks like several."""
    mark = next((mark for mark in ("\t", ";", "|", ",") if len(header) == 1 and mark in header[0]), None)
    return "" if mark is None else f"; use --delimiter {mark!r} to split it into columns"


def _by_number(columns: Sequence[str], where: str, see: str) -> list[int]:
    """Return the indices of columns in a file without a header."""
    for column in columns:
        if not COLUMN_NUMBER.fullmatch(column):
            hint = see and f"; {see}"
            raise InputError(
                f"{where}: column {column!r}: expected a number, counted from 1, since there is no header{hint}"
            )
    return [int(column) - 1 for column in columns]


def listed(names: Iterable[str]) -> str:
    """Return the first twenty names, for messages."""
    names = list(names)
    return ", ".join(map(repr, names[:20])) + (", ..." if len(names) > 20 else "") or "none"


# --- Lines -----------------------------------------------------------------------------------------------------------


def jsonl_rows(
    path: str, lines: Iterable[tuple[int, str]], columns: Sequence[str], tally: Tally, see: str = ""
) -> Iterator[Row]:
    """Stream the rows of .jsonl, given as (row, line), as `read_rows` does."""

    def chosen_of(numbered: tuple[int, str]) -> Row:
        row, line = numbered
        where = f"{shown(path)}:{row}"
        return _row_of(parse_object(line, where), row, where, columns, see)

    rows = tally.made(not_blank(tally.counted(lines), tally), chosen_of)
    return tally.nonempty(rows, f"{shown(path)}: {NO_ROW}")


def not_blank(lines: Iterable[tuple[int, str]], tally: Tally) -> Iterator[tuple[int, str]]:
    """Yield the lines that are not blank; the tally counts the others."""
    for row, line in lines:
        if line.strip():
            yield row, line
        else:
            tally.blank += 1


def given_rows(items: Iterable[Any], columns: Sequence[str], tally: Tally) -> Iterator[Row]:
    """Stream rows from Python: mappings with the columns, tuples of their values in order, or, of one column, its
    value.

    Raises InputError, naming the row, from 1, if it lacks a column or has too many or few values, as the `tally`
    decides.
    """

    def chosen_of(numbered: tuple[int, Any]) -> Row:
        row, item = numbered
        where = f"row {row}"
        if isinstance(item, Mapping):
            return _row_of(item, row, where, columns)
        cells = tuple(item) if isinstance(item, tuple | list) else (item,)
        if len(cells) != len(columns):
            raise InputError(f"{where}: {plural(len(cells), 'value')}, expected {len(columns)}: {listed(columns)}")
        return Row(row, where, cells)

    return tally.made(enumerate(items, start=1), chosen_of)


def _row_of(record: Mapping[str, Any], row: int, where: str, columns: Sequence[str], see: str = "") -> Row:
    for column in columns:
        if column not in record:
            hint = see and f"; {see}"
            raise InputError(f"{where}: field {column!r} is missing; the object has {listed(record)}{hint}")
    return Row(row, where, tuple(record[column] for column in columns), record.get("id"))


def _text_rows(path: str, lines: Iterable[tuple[int, str]], tally: Tally, delimiter: str) -> Iterator[Row]:
    for row, line in lines:
        tally.delimited += delimiter in line
        yield Row(row, f"{shown(path)}:{row}", (line.rstrip("\r\n"),))
