"""Question answering: SQuAD v1.1 and v2.0 files, or lines to be predicted -> `QuestionExample`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from finetune.examples import Answer, QuestionExample, check_id
from finetune.tables import Row, TableFormat, read_rows
from minibert.errors import InputError
from minibert.text_files import STANDARD_INPUT, check_text, json_type, read_whole, reason, shown, suffix

FIELDS = ("question", "context")  # of a question to be predicted


@dataclass(frozen=True)
class Questions:
    """A whole file: SQuAD's JSON is one object, so that all of it is in memory."""

    examples: tuple[QuestionExample, ...]
    version_2: bool  # questions may have no answer: the file says so, by its version or by is_impossible


def read_squad(path: str, *, labelled: bool = True) -> Questions:
    """Reads SQuAD's JSON, plain or .gz, or from standard input (`-`).

    labelled: every question has answers, or in v2.0 none. Otherwise answers are not looked at.

    Raises:
        InputError, naming the file and the article, paragraph or question: no JSON, or not SQuAD's; a field missing or
        of another type; an empty question, context or answer; an id that stands twice; a question of v1.1 without an
        answer, one of v2.0 with answers that is marked is_impossible.
    """
    try:
        content = json.loads(read_whole(path))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{shown(path)}: no readable JSON ({reason(error)}), expected SQuAD's") from error
    found = list(_questions(content, path))
    version_2 = str(content.get("version", "")).lower().removeprefix("v").startswith("2")
    version_2 = version_2 or any("is_impossible" in fields for _, _, fields in found)
    examples: dict[str, QuestionExample] = {}
    for title, context, fields in found:
        example = _example(title, context, fields, path, labelled=labelled, version_2=version_2)
        name = str(example.id)  # as answers are looked up in JSON, whose keys are strings
        if name in examples:
            raise InputError(f"{example.where}: stands there more than once, expected ids that differ")
        examples[name] = example
    if not examples:
        raise InputError(f"{shown(path)}: no question in it")
    return Questions(tuple(examples.values()), version_2)


def read_questions(path: str) -> Iterator[QuestionExample]:
    """Questions to be predicted: of a SQuAD file, or streamed from .jsonl or from standard input (`-`).

    Lines have the fields question and context, and may have an id; else it is the row's number.

    Raises:
        InputError: as `read_squad` or `finetune.tables.read_rows`; an empty question or context.
    """
    if path != STANDARD_INPUT and suffix(path) != ".jsonl":
        return iter(read_squad(path, labelled=False).examples)
    return question_examples(read_rows(path, FIELDS, TableFormat(kind="jsonl"), optional=["id"]))


def question_examples(rows: Iterable[Row]) -> Iterator[QuestionExample]:
    """The questions of rows of `FIELDS` and an id or None; errors as `read_questions`."""
    for row, where, (question, context, id) in rows:
        yield QuestionExample(
            id=str(row) if id is None else check_id(id, f"{where}: field 'id'"),
            question=check_text(question, f"{where}: field 'question'"),
            context=check_text(context, f"{where}: field 'context'"),
            answers=(),
            is_impossible=False,
            title="",
            where=where,
        )


def _questions(content: Any, path: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(title of the article, context, the question's own fields) of each question."""
    _check_object(content, shown(path))
    for number, article in enumerate(_list(content, "data", shown(path))):
        place = f"{shown(path)}: article {number}"
        _check_object(article, place)
        title = str(article.get("title", f"article {number}"))
        for count, paragraph in enumerate(_list(article, "paragraphs", place)):
            place = f"{shown(path)}: article {number} ({title:.60}), paragraph {count}"
            _check_object(paragraph, place)
            context = check_text(paragraph.get("context"), f"{place}: field 'context'")
            for fields in _list(paragraph, "qas", place):
                _check_object(fields, place)
                check_id(fields.get("id"), f"{place}: a question's field 'id'")
                yield title, context, fields


def _example(
    title: str, context: str, fields: dict[str, Any], path: str, *, labelled: bool, version_2: bool
) -> QuestionExample:
    where = f"{shown(path)}: question {fields['id']}"
    answers = tuple(_answer(answer, where) for answer in _list(fields, "answers", where)) if labelled else ()
    is_impossible = labelled and fields.get("is_impossible", version_2 and not answers)
    if not isinstance(is_impossible, bool):
        raise InputError(f"{where}: field 'is_impossible' is {json_type(is_impossible)}, expected true or false")
    if labelled and is_impossible == bool(answers):
        there = f"{len(answers)} answer(s), though it is_impossible" if is_impossible else "no answer"
        raise InputError(f"{where}: {there}; expected an answer, or in v2.0 none and is_impossible")
    return QuestionExample(
        id=fields["id"],
        question=check_text(fields.get("question"), f"{where}: field 'question'"),
        context=context,
        answers=answers,
        is_impossible=is_impossible,
        title=title,
        where=where,
    )


def _answer(answer: Any, where: str) -> Answer:
    _check_object(answer, f"{where}: an answer")
    text = check_text(answer.get("text"), f"{where}: an answer's field 'text'")
    start = answer.get("answer_start")
    if isinstance(start, bool) or not isinstance(start, int):
        raise InputError(f"{where}: field 'answer_start' is {json_type(start)}, expected the index of a character")
    return Answer(text, start)


def _check_object(value: Any, place: str) -> None:
    if not isinstance(value, dict):
        raise InputError(f"{place}: expected a JSON object as in SQuAD's files, found {json_type(value)}")


def _list(record: dict[str, Any], field: str, place: str) -> list[Any]:
    if not isinstance(record.get(field), list):
        found = f"is {json_type(record[field])}" if field in record else "is not there"
        raise InputError(f"{place}: field {field!r} {found}, expected an array as in SQuAD's files")
    return record[field]


# --- Answers that stand elsewhere ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Misplaced:
    """Questions with an answer that does not stand where its `answer_start` says."""

    count: int
    first: str  # which the first one is, and what stands there instead; "" where there is none


def without_misplaced(questions: Sequence[QuestionExample]) -> tuple[list[QuestionExample], Misplaced]:
    """Those to train on, every answer of which stands where it should; and what was left out.

    Scoring compares texts alone, so that there all questions stay.
    """
    kept: list[QuestionExample] = []
    first = ""
    for question in questions:
        wrong = _misplaced_answer(question)
        if wrong is None:
            kept.append(question)
        elif not first:
            there = question.context[max(wrong.start, 0) :][: len(wrong.text)]
            first = f"{question.where}: the answer {wrong.text!r:.60} is said to start at {wrong.start}, where "
            first += f"{there!r:.60} stands"
    return kept, Misplaced(len(questions) - len(kept), first)


def _misplaced_answer(question: QuestionExample) -> Answer | None:
    return next((a for a in question.answers if a.start < 0 or not question.context.startswith(a.text, a.start)), None)
