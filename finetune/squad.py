"""Question answering: SQuAD v1.1 and v2.0 files -> `QuestionExample`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from finetune.examples import QuestionExample


@dataclass(frozen=True)
class Questions:
    """A whole file: SQuAD's JSON is one object, so that all of it is in memory."""

    examples: tuple[QuestionExample, ...]
    version_2: bool  # questions may have no answer: the file says v2.0, or one of them is marked is_impossible


def read_squad(path: str, *, labelled: bool = True) -> Questions:
    """Reads .json or .json.gz, or standard input (`-`); or .jsonl with the fields question, context and perhaps id.

    labelled: every question must have an answer or be marked is_impossible. Otherwise answers are not looked at.
    .jsonl is for what is to be predicted, so it is never labelled; without an id the row's number is its id.

    Raises:
        InputError, naming the file and the question or field: not SQuAD's JSON, a field missing or of another type, an
        empty question or context, an id that stands twice, a question without an answer.
    """
    raise NotImplementedError


@dataclass(frozen=True)
class Misplaced:
    """Questions whose answer does not stand where `answer_start` says."""

    count: int
    first: str  # a phrase for the user, that names the first of them: "" where there is none


def without_misplaced(questions: Sequence[QuestionExample]) -> tuple[list[QuestionExample], Misplaced]:
    """Those to train on: every answer of theirs stands where it should; and what was left out.

    Scoring compares texts, so that there all questions stay.
    """
    raise NotImplementedError
