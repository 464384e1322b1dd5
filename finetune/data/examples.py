"""What a row of labelled data becomes: one frozen dataclass for each task.

Each example knows its place: `where` is how a message names it ("reviews.csv:17"), with the line of the file at which
it begins. Without labels, as `predict` reads, what would be the label is None.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from minibert.errors import InputError
from minibert.files.text import check_text, json_type

Id = str | int  # what a file calls a row: kept as it is
Label = str | float | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TextExample:
    """A text or a pair of texts, to be classified or scored (BERT section 4.1)."""

    text: str
    pair: str | None
    label: Label | None  # a class; a number for regression; any number of classes where several may hold at once
    where: str
    id: Id | None = None


@dataclass(frozen=True, slots=True)
class TaggedExample:
    """A sentence that is cut into words already, with a tag for each (BERT section 5.3)."""

    words: tuple[str, ...]
    tags: tuple[str, ...] | None
    row: int  # the line of the file at which it begins, from 1
    where: str
    text: str = ""  # what the words were cut from
    offsets: tuple[tuple[int, int], ...] = ()  # the [start, end) characters of each word in the text
    rows: Sequence[int] | None = None  # of each word; None: word i stands in row + i, unless the sentence is a line
    id: Id | None = None


class Answer(NamedTuple):
    """A gold answer: its text, and the character of the context at which it begins."""

    text: str
    start: int


@dataclass(frozen=True, slots=True)
class QuestionExample:
    """A question and the passage that may hold its answer (BERT sections 4.2 and 4.3)."""

    id: Id
    question: str
    context: str
    answers: tuple[Answer, ...]  # none: there is no answer in the context, or none is known
    title: str  # the article's
    where: str


@dataclass(frozen=True, slots=True)
class ChoiceExample:
    """A question or the beginning of a text, and two or more choices of which one is right (BERT section 4.4)."""

    question: str
    choices: tuple[str, ...]
    answer: int | None  # the right one's index, from 0
    where: str
    id: Id | None = None


def check_id(value: Any, what: str) -> Id:
    """`value` itself; `what` names it in the message ("a.jsonl:17: field 'id'").

    Raises InputError: it is neither text nor a whole number.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if not isinstance(value, str):
        raise InputError(f"{what} is {json_type(value)}, expected a string or a whole number")
    return check_text(value, what)
