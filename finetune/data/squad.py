"""Question answering: SQuAD v1.1 and v2.0 files, or lines to predict -> `QuestionExample`."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from finetune.data.examples import Answer, QuestionExample
from minibert.errors import InputError, plural
from minibert.files.tables import Row, check_id, jsonl_rows
from minibert.files.tally import Tally
from minibert.files.text import (
    STANDARD_INPUT,
    check_text,
    json_type,
    parse_json,
    read_lines,
    read_whole,
    reason,
    shown,
    suffix,
)

FIELDS = ("question", "context")  # of a question to predict
# For files of other libraries: an object per line, or an array of them, each with its own context, answers.text and
# answers.answer_start.
FLAT = "; docs/finetuning.md shows how to convert records that each have a context"


class Questions(NamedTuple):
    """A whole file: SQuAD's JSON is one object, so all of it is in memory."""

    examples: tuple[QuestionExample, ...]
    version_2: bool  # questions may have no answer, according to the file's version or is_impossible


def read_squad(path: str, *, labelled: bool = True, tally: Tally | None = None) -> Questions:
    """Read SQuAD's JSON, plain or .gz, or from standard input (`-`).

    labelled: every question has answers, or in v2.0 may have none. Otherwise answers are ignored.

    Raises InputError, naming the file and the article, paragraph or question, if it is not JSON or not SQuAD's; and,
    unless the `tally` skips bad questions, if a field is missing, empty or of another type, an id occurs twice, a
    question of v1.1 has no answer, or one of v2.0 has answers but is marked is_impossible.
    """
    examples, version_2 = _read(path, labelled=labelled, tally=tally or Tally())
    return Questions(tuple(examples), version_2)


def _read(path: str, *, labelled: bool, tally: Tally) -> tuple[Iterator[QuestionExample], bool]:
    """Return a file's questions, which are checked one by one, and whether it is v2.0."""
    try:
        content = parse_json(read_whole(path))
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{shown(path)}: not readable as JSON ({reason(error)}), expected SQuAD's format{FLAT}"
        ) from error
    found = list(_questions(content, path))
    if not found:
        raise InputError(f"{shown(path)}: no question found")
    version_2 = str(content.get("version", "")).lower().removeprefix("v").startswith("2")
    version_2 = version_2 or any("is_impossible" in one.fields for one in found if isinstance(one.fields, dict))
    ids: set[str] = set()

    def example_of(one: _Question) -> QuestionExample:
        example = _example(one, path, labelled=labelled, version_2=version_2)
        name = str(example.id)  # answers are looked up in JSON, whose keys are strings
        if name in ids:
            raise InputError(f"{example.where}: the id appears more than once, expected unique ids")
        ids.add(name)
        return example

    return tally.made(found, example_of), version_2


def read_questions(path: str, *, labelled: bool = False, tally: Tally | None = None) -> Iterator[QuestionExample]:
    """Return the questions of a SQuAD file; questions to predict may also come from .jsonl or standard input (`-`).

    Lines have the fields question and context, and may have an id; otherwise the id is the row's number.

    Raises InputError if `read_squad` or `minibert.files.tables.jsonl_rows` does, or a question or context is empty.
    """
    tally = tally or Tally()
    if labelled or (path != STANDARD_INPUT and suffix(path) != ".jsonl"):
        return _read(path, labelled=labelled, tally=tally)[0]
    return tally.made(jsonl_rows(path, read_lines(path), FIELDS, tally), question_to_predict)


def question_to_predict(row: Row) -> QuestionExample:
    """Return the question of a row of `FIELDS`; errors as in `read_questions`."""
    id = str(row.row) if row.id is None else row.id
    cells = zip(FIELDS, row.cells, strict=True)
    question, context = (check_text(cell, f"{row.where}: field {field!r}") for field, cell in cells)
    return QuestionExample(id, question, context, answers=(), title="", where=row.where)


class _Question(NamedTuple):
    """A question as the file has it, unchecked."""

    title: str  # of the article
    place: str  # of the paragraph
    context: Any
    fields: Any


def _questions(content: Any, path: str) -> Iterator[_Question]:
    if isinstance(content, list):
        hint = FLAT if any(isinstance(record, dict) and "context" in record for record in content[:1]) else ""
        raise InputError(f"{shown(path)}: expected a JSON object as in SQuAD's files, found an array{hint}")
    _check_object(content, shown(path))
    for number, article in enumerate(_list(content, "data", shown(path))):
        place = f"{shown(path)}: article {number}"
        _check_object(article, place)
        title = str(article.get("title", f"article {number}"))
        for count, paragraph in enumerate(_list(article, "paragraphs", place)):
            place = f"{shown(path)}: article {number} ({title:.60}), paragraph {count}"
            _check_object(paragraph, place)
            for fields in _list(paragraph, "qas", place):
                yield _Question(title, place, paragraph.get("context"), fields)


def _example(question: _Question, path: str, *, labelled: bool, version_2: bool) -> QuestionExample:
    title, place, context, fields = question
    context = check_text(context, f"{place}: field 'context'")
    _check_object(fields, place)
    check_id(fields.get("id"), f"{place}: a question's field 'id'")
    where = f"{shown(path)}: question {fields['id']}"
    answers = tuple(_answer(answer, where) for answer in _list(fields, "answers", where)) if labelled else ()
    is_impossible = labelled and fields.get("is_impossible", version_2 and not answers)
    if not isinstance(is_impossible, bool):
        raise InputError(f"{where}: field 'is_impossible' is {json_type(is_impossible)}, expected true or false")
    if labelled and is_impossible == bool(answers):
        there = f"{plural(len(answers), 'answer')}, although is_impossible is true" if is_impossible else "no answer"
        raise InputError(f"{where}: {there}; expected an answer or, in v2.0, a true is_impossible and no answer")
    asked = check_text(fields.get("question"), f"{where}: field 'question'")
    return QuestionExample(fields["id"], asked, context, answers, title, where)


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
        found = f"is {json_type(record[field])}" if field in record else "is missing"
        hint = FLAT if field in ("data", "paragraphs") and "context" in record else ""
        raise InputError(f"{place}: field {field!r} {found}, expected an array as in SQuAD's files{hint}")
    return record[field]


# --- Misplaced answers -----------------------------------------------------------------------------------------------


def without_misplaced(questions: Sequence[QuestionExample]) -> tuple[list[QuestionExample], str]:
    """Return the questions to train on, whose answers all start at their `answer_start`; and, for the first of the
    others, a note on what is there instead ("" if there are no others).

    Scoring compares only texts, so it keeps all questions.
    """
    kept: list[QuestionExample] = []
    first = ""
    for question in questions:
        context = question.context
        misplaced = (one for one in question.answers if one.start < 0 or not context.startswith(one.text, one.start))
        wrong = next(misplaced, None)
        if wrong is None:
            kept.append(question)
        elif not first:
            there = context[max(wrong.start, 0) :][: len(wrong.text)]
            first = f"{question.where}: the answer {wrong.text!r:.60} should start at {wrong.start}, but "
            first += f"{there!r:.60} is there"
    return kept, first


def count_absent(questions: Sequence[QuestionExample]) -> int:
    """Return how many questions have answers none of which occurs in the passage."""
    answered = [question for question in questions if question.answers]
    return sum(not any(answer.text in question.context for answer in question.answers) for question in answered)
