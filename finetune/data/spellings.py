"""How files spell the classes that hold together: names between commas, a list, a 1 or 0 for each class, or refused."""

import ast
import re
from contextlib import suppress
from typing import Any

from minibert.errors import InputError
from minibert.files.text import parse_json

# Lists as Python shows them. Each element between commas: of two strings side by side Python would make one.
_VALUE = r"""(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|-?[0-9.]+|True|False)"""
_ELEMENT = rf"\s*{_VALUE}\s*"
_ELEMENTS = rf"{_ELEMENT}(?:,{_ELEMENT})*,?\s*"
_LIST = re.compile(rf"\[(?:{_ELEMENTS}|\s*)\]|\((?=[^)]*,){_ELEMENTS}\)|\{{{_ELEMENTS}\}}")
_ARRAY = re.compile(rf"\[\s*{_VALUE}(?:\s+{_VALUE})+\s*\]")  # as numpy shows it
_OBJECT = re.compile(rf"\{{{_ELEMENT}:.*\}}", re.DOTALL)
_SPACED = re.compile("[01](?: +[01])+")
_ONES_AND_ZEROS = ({"0", "1"}, {"0.0", "1.0"}, {"false", "true"})


def spelled(cell: str) -> str:
    """What a cell of a table is that is no class: "a list" or "an object" as JSON or Python shows it, else ""."""
    text = cell.strip()
    if _OBJECT.fullmatch(text):
        return "an object"
    return "a list" if _LIST.fullmatch(text) or _ARRAY.fullmatch(text) else ""


def parts_of(cell: str, what: str, separator: str | None) -> Any:
    """The classes of a table's cell, or what JSON it is, which is as in `.jsonl` then.

    Raises InputError: it begins as a list or an object and is none, or has another separator than the one asked for,
    which stands between ones and zeros too.
    """
    text = cell.strip()
    if text.startswith(("[", "{")) or _LIST.fullmatch(text):
        return _list_of(text, what)
    # What stands between classes in other files, where nobody said that it may be a part of their names.
    other = next((mark for mark in (";", "|") if separator is None and mark in text), None)
    if other is not None:
        raise InputError(
            f"{what} is {text!r:.60}, expected commas between classes; --label-separator {other!r} takes that, "
            "--label-separator , takes it for a part of a class"
        )
    if separator is None and _SPACED.fullmatch(text):
        raise InputError(
            f"{what} is {text!r:.60}, expected commas between ones and zeros; --label-separator ' ' takes that"
        )
    return text.split(separator or ",") if text else []


def _list_of(text: str, what: str) -> Any:
    with suppress(ValueError, RecursionError):
        return parse_json(text)
    with suppress(ValueError, SyntaxError):  # 1.2.3, a broken escape
        if _LIST.fullmatch(text):
            return list(ast.literal_eval(text))
    expected = "expected classes with commas between them, or a list as JSON or Python writes it"
    raise InputError(f"{what} is {text!r:.60}, {expected}")


class Spelling:
    """The one spelling that a file keeps to: names of classes, or a 1 or 0 for each.

    Of three ones and zeros or more one stands twice, which classes don't: so much is certain. Two may be either.
    """

    def __init__(self) -> None:
        self.count: int | None = None  # of the classes; 0 where they are named; None as long as that is open
        self.first = ""  # the row that decided

    def classes(self, words: list[str], what: str) -> tuple[str, ...]:
        """The classes that hold, each once; where each has a 1 or 0, they are named by their numbers, from 0.

        Raises InputError: the row is spelled otherwise than those before, or nobody can say how.
        """
        digits = any(set(words) <= pair for pair in _ONES_AND_ZEROS) and len(set(words)) < len(words)
        if digits and len(words) == 2:
            raise InputError(
                f"{what} is {', '.join(words)}: a 1 or 0 for each of two classes can't be told from the classes 0 and "
                "1; expected their names"
            )
        if words:
            count = len(words) if digits else 0
            if self.count is None:
                self.count, self.first = count, what
            elif count != self.count:
                raise InputError(
                    f"{what} has {_told(count)}, {self.first} has {_told(self.count)}; expected one spelling"
                )
        if digits:
            return tuple(str(number) for number, word in enumerate(words) if word in ("1", "1.0", "true"))
        return tuple(dict.fromkeys(words))


def _told(count: int) -> str:
    return f"a 1 or 0 for each of {count} classes" if count else "names of classes"
