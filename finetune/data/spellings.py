"""How files spell several classes of a row: names between commas, a list, or a 1 or 0 for each class."""

import ast
import re
from contextlib import suppress
from typing import Any

from minibert.errors import InputError
from minibert.files.text import parse_json

# Lists as Python shows them. Elements need commas between them: Python would join two adjacent strings.
_VALUE = r"""(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|-?[0-9.]+|True|False)"""
_ELEMENT = rf"\s*{_VALUE}\s*"
_ELEMENTS = rf"{_ELEMENT}(?:,{_ELEMENT})*,?\s*"
_LIST = re.compile(rf"\[(?:{_ELEMENTS}|\s*)\]|\((?=[^)]*,){_ELEMENTS}\)|\{{{_ELEMENTS}\}}")
_ARRAY = re.compile(rf"\[\s*{_VALUE}(?:\s+{_VALUE})+\s*\]")  # as numpy shows it
_OBJECT = re.compile(rf"\{{{_ELEMENT}:.*\}}", re.DOTALL)
_SPACED = re.compile("[01](?: +[01])+")
_ONES_AND_ZEROS = ({"0", "1"}, {"0.0", "1.0"}, {"false", "true"})


def spelled(cell: str) -> str:
    """Return what a cell is if it is not a class: "a list" or "an object", as JSON or Python shows it. Otherwise ""."""
    text = cell.strip()
    if _OBJECT.fullmatch(text):
        return "an object"
    return "a list" if _LIST.fullmatch(text) or _ARRAY.fullmatch(text) else ""


def parts_of(cell: str, what: str, separator: str | None) -> Any:
    """Return the classes of a table's cell, or its JSON, which is then treated as in `.jsonl`.

    Raises InputError if it begins like a list or an object but isn't one, or its separator is not the one asked for,
    which also separates ones and zeros.
    """
    text = cell.strip()
    if text.startswith(("[", "{")) or _LIST.fullmatch(text):
        return _list_of(text, what)
    # Other files' separators, unless the user gave one: then these may be part of a name.
    other = next((mark for mark in (";", "|") if separator is None and mark in text), None)
    if other is not None:
        raise InputError(
            f"{what} is {text!r:.60}, expected commas between classes; if {other!r} separates them, use "
            f"--label-separator {other!r}; if it is part of a class, use --label-separator ','"
        )
    if separator is None and _SPACED.fullmatch(text):
        raise InputError(
            f"{what} is {text!r:.60}, expected commas between 1s and 0s; for spaces, use --label-separator ' '"
        )
    return text.split(separator or ",") if text else []


def _list_of(text: str, what: str) -> Any:
    with suppress(ValueError, RecursionError):
        return parse_json(text)
    with suppress(ValueError, SyntaxError):  # 1.2.3, a broken escape
        if _LIST.fullmatch(text):
            return list(ast.literal_eval(text))
    expected = "expected classes separated by commas, or a list in the notation of JSON or Python"
    raise InputError(f"{what} is {text!r:.60}, {expected}")


class Spelling:
    """The one notation that a file keeps to: names of classes, or a 1 or 0 for each class.

    Among three or more ones and zeros one value occurs twice, as no class would: that is certain. Two may be either.
    """

    def __init__(self) -> None:
        self.count: int | None = None  # of the classes; 0 if they are named; None until that is decided
        self.first = ""  # the row that decided

    def classes(self, words: list[str], what: str) -> tuple[str, ...]:
        """Return the classes that apply, each once; if each has a 1 or 0, their names are their numbers, from 0.

        Raises InputError if the row's notation differs from that of earlier rows or is ambiguous.
        """
        digits = any(set(words) <= pair for pair in _ONES_AND_ZEROS) and len(set(words)) < len(words)
        if digits and len(words) == 2:
            raise InputError(
                f"{what} is {', '.join(words)}, which may mean a 1 or 0 for each of two classes, or the class "
                f"{words[0]} twice; expected names of classes"
            )
        if words:
            count = len(words) if digits else 0
            if self.count is None:
                self.count, self.first = count, what
            elif count != self.count:
                raise InputError(
                    f"{what} has {_told(count)}, but {self.first} has {_told(self.count)}; "
                    "expected the same notation in every row"
                )
        if digits:
            return tuple(str(number) for number, word in enumerate(words) if word in ("1", "1.0", "true"))
        return tuple(dict.fromkeys(words))


def _told(count: int) -> str:
    return f"a 1 or 0 for each of {count} classes" if count else "names of classes"
