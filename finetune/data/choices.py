"""Multiple choice: .jsonl with the fields question, choices and answer -> `ChoiceExample`."""

from collections.abc import Iterator
from typing import Any

from finetune.data.examples import ChoiceExample
from minibert.errors import InputError
from minibert.files.tables import Row, jsonl_rows
from minibert.files.tally import Tally
from minibert.files.text import check_text, json_type, read_lines, suffix

FIELDS = ("question", "choices")
EXPECTED = "a question, a list of choices, and, as the answer, the index of the right one, counted from 0"


def read_choices(path: str, *, labelled: bool = True, tally: Tally | None = None) -> Iterator[ChoiceExample]:
    """Stream the questions of a .jsonl file, plain or .gz, or of standard input (`-`).

    Each question may have its own number of choices, at least two. `answer` is the index of the right one, from 0; it
    is ignored unless the examples are `labelled`.

    Raises InputError, naming file and row, if the file is a table, `tables.jsonl_rows` refuses it, a question or choice
    is empty, there are fewer than two choices, or the answer is not the index of one.
    """
    columns, tally = [*FIELDS, *(["answer"] if labelled else [])], tally or Tally()
    if suffix(path) in (".csv", ".tsv"):
        raise InputError(f"{path}: {suffix(path)} is not supported, expected .jsonl with {EXPECTED}")
    see = f"expected {EXPECTED}" if labelled else ""
    return tally.made(jsonl_rows(path, read_lines(path), columns, tally, see), choice_example)


def choice_example(row: Row) -> ChoiceExample:
    """Return the question of a row of `FIELDS`, with its answer if the row has one; errors as in `read_choices`."""
    where, (question, choices, *answer) = row.where, row.cells
    if not isinstance(choices, list) or len(choices) < 2:
        there = f"a list of {len(choices)}" if isinstance(choices, list) else json_type(choices)
        raise InputError(f"{where}: field 'choices' is {there}, expected a list of at least two strings")
    question = check_text(question, f"{where}: field 'question'")
    choices = tuple(check_text(choice, f"{where}: choice {number}") for number, choice in enumerate(choices))
    right = _index(answer[0], len(choices), where) if answer else None
    return ChoiceExample(question, choices, right, where, row.id)


def _index(answer: Any, count: int, where: str) -> int:
    if isinstance(answer, bool) or not isinstance(answer, int):
        raise InputError(f"{where}: field 'answer' is {answer!r:.60}, expected the index of a choice, counted from 0")
    if not 0 <= answer < count:
        raise InputError(f"{where}: field 'answer' is {answer}, but the choices are numbered 0 to {count - 1}")
    return answer
