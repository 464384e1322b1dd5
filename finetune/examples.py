"""What a row of labelled data becomes: one frozen dataclass for each task.

Each example knows its place: `row` is the line of the file at which it begins, counted from 1, and `where` is how a
message names it ("reviews.csv:17"). Without labels, as `predict` reads, what would be the label is None.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

Label = str | float | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TextExample:
    """A text or a pair of texts, to be classified or scored (BERT section 4.1)."""

    text: str
    pair: str | None
    label: Label | None  # a class; a number for regression; any number of classes where several may hold at once
    row: int
    where: str


@dataclass(frozen=True, slots=True)
class TaggedExample:
    """A sentence that is cut into words already, with a tag for each (BERT section 5.3)."""

    words: tuple[str, ...]
    tags: tuple[str, ...] | None
    row: int  # of the first word; word i stands in row + i, unless the sentence is a line of text
    where: str
    text: str = ""  # what the words were cut from
    offsets: tuple[tuple[int, int], ...] = ()  # the [start, end) characters of each word in the text


class Answer(NamedTuple):
    """A gold answer: its text, and the character of the context at which it begins."""

    text: str
    start: int


@dataclass(frozen=True, slots=True)
class QuestionExample:
    """A question and the passage that may hold its answer (BERT sections 4.2 and 4.3)."""

    id: str
    question: str
    context: str
    answers: tuple[Answer, ...]  # none: there is no answer in the context, or none is known
    is_impossible: bool  # said to have no answer (SQuAD v2.0)
    title: str  # the article's
    where: str


@dataclass(frozen=True, slots=True)
class ChoiceExample:
    """A question or the beginning of a text, and two or more choices of which one is right (BERT section 4.4)."""

    question: str
    choices: tuple[str, ...]
    answer: int | None  # the right one's index, from 0
    row: int
    where: str
