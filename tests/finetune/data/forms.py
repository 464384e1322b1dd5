"""What a form is: a file as a published data set has it, and what becomes of it; counting by other means."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Count = Callable[[str], int]


@dataclass(frozen=True)
class Form:
    """A file as a published set has it, and what we make of it."""

    like: str  # the set that has this form
    odd: str  # what is odd about it
    task: str
    file: str  # its name, by which some of it is decided
    content: str | bytes
    count: Count | int = 0  # by other means than our readers; of what is refused, once the remedy is followed
    first: tuple[Any, ...] = ()
    last: tuple[Any, ...] = ()
    options: str = ""
    said: tuple[str, ...] = ()  # parts of what the user is told
    refused: str = ""  # part of what is said where the file is refused; "" where it is read at once
    remedy: str | None = None  # further options; "": the message's command; None: the file must become another

    @property
    def id(self) -> str:
        """How pytest names it."""
        return f"{self.task.split('-')[0]} {self.like}"

    @property
    def converted(self) -> bool:
        """Whether the message has a command that makes a readable file."""
        return self.remedy == ""


# --- Counting by other means ------------------------------------------------------------------------------------------


def csv_rows(delimiter: str = ",", *, header: bool = True, **more: Any) -> Count:
    """Python's csv."""
    return lambda text: sum(map(bool, csv.reader(io.StringIO(text, ""), delimiter=delimiter, **more))) - header


def lines(*, header: bool = False) -> Count:
    """Lines with something in them."""
    return lambda text: len(re.findall(r"^.*\S.*$", text, re.MULTILINE)) - header


def tsv_rows(*, header: bool = True) -> Count:
    """Python's csv, told that marks mean nothing."""
    return csv_rows("\t", header=header, quoting=csv.QUOTE_NONE)


def blocks(text: str) -> int:
    """What stands between blank lines, and has lines with a tag at the end."""
    found = re.split(r"\n[ \t\r]*\n", text.replace("\r", ""))
    return sum(bool(re.search(r"^(?!-DOCSTART-|#)\S.*\S$", block.strip(), re.MULTILINE)) for block in found)


def questions(text: str) -> int:
    """Python's json, and its own walk through it."""

    def walk(value: Any) -> int:
        if isinstance(value, dict):
            return ("question" in value) + sum(map(walk, value.values()))
        return sum(map(walk, value)) if isinstance(value, list) else 0

    return walk(json.loads(text))
