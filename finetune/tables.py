"""Rows of .csv, .tsv and .jsonl files, or one text a line: whatever the file, the chosen columns of a row."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal, NamedTuple

from finetune.files import json_type, read_lines, reason, shown, suffix
from minibert.errors import InputError

Kind = Literal["auto", "csv", "tsv", "jsonl", "txt"]


@dataclass(frozen=True)
class TableFormat:
    """How to read a table; the defaults go by the file's name.

    Raises:
        InputError: an unknown kind, a delimiter that is empty, or longer than the fields' quotation marks allow.
    """

    kind: Kind = "auto"  # auto: by suffix. A file without one of the suffixes is csv where a delimiter is given
    delimiter: str | None = None  # None: a comma, in .tsv a tab. "\\t" as a shell passes it on is a tab as well
    header: bool = True  # the first row names the columns; otherwise they are numbered from 1
    quoting: bool = True  # fields may stand in quotation marks, and then hold delimiters and line ends


class Row(NamedTuple):
    """The chosen columns of a row, in the order in which they were chosen."""

    row: int  # the line of the file at which it begins, from 1
    where: str  # "reviews.csv:17"
    cells: tuple[Any, ...]  # strings; from .jsonl whatever the field holds


def read_rows(path: str, columns: Sequence[str], table: TableFormat | None = None) -> Iterator[Row]:
    """Streams the rows of a file, plain or .gz, or of standard input (`-`), one at a time.

    columns: names from the header, or the fields of .jsonl objects; numbers from 1 ("1", "4") where there is no header.
    A .txt file has one column, the line, and takes any one name. Standard input is taken for .jsonl where its first
    character is "{", for csv where a delimiter is given, and otherwise for one text a line.

    Rows must have as many fields as the header. Without a header they need at least the columns chosen: what stands
    after them is nobody's business.

    Raises:
        InputError, naming file and row: what cannot be read or is not UTF-8, no row at all, columns that are not there
        (with those that are), a row of another number of fields, quotation marks that do not close, a line that is no
        JSON object.
    """
    raise NotImplementedError
