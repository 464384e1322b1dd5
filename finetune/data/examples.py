"""What a row of labelled data becomes: one frozen dataclass for each task.

Each example knows its place: `where` is how messages name it ("reviews.csv:17"), with the line of the file on which it
begins. Without labels, as in `predict`, the field for the label is None.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from minibert.files.tables import Id

Label = str | float | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TextExample:
    """A text or a pair of texts, to be classified or scored (BERT section 4.1)."""

    text: str
    pair: str | None
    label: Label | None  # a class; a number for regression; any number of classes for multi-label
    where: str
    id: Id | None = None
    group: str | None = None  # the query of which it is a candidate


@dataclass(frozen=True, slots=True)
class TaggedExample:
    """A sentence that is already cut into words, with a tag for each (BERT section 5.3)."""

    words: tuple[str, ...]
    tags: tuple[str, ...] | None
    row: int  # the line of the file on which it begins, from 1
    where: str
    text: str = ""  # of the sentence, from which the words were cut
    offsets: tuple[tuple[int, int], ...] = ()  # the [start, end) characters of each word in the text
    rows: Sequence[int] | None = None  # of each word; None: word i is in row + i, unless the sentence is one line
    id: Id | None = None


class Answer(NamedTuple):
    """A gold answer: its text, and the index of its first character in the context."""

    text: str
    start: int


@dataclass(frozen=True, slots=True)
class QuestionExample:
    """A question and the passage that may hold its answer (BERT sections 4.2 and 4.3)."""

    id: Id
    question: str
    context: str
    answers: tuple[Answer, ...]  # empty: the context has no answer, or none is known
    title: str  # of the article
    where: str


@dataclass(frozen=True, slots=True)
class ChoiceExample:
    """A question or the beginning of a text, and two or more choices, one of which is right (BERT section 4.4)."""

    question: str
    choices: tuple[str, ...]
    answer: int | None  # the index of the right one, from 0
    where: str
    id: Id | None = None
