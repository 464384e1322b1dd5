"""Questions with choices, and answers out of range."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from finetune.data.choices import read_choices
from finetune.data.examples import ChoiceExample
from minibert.files.tally import Tally
from tests.finetune.files import write
from tests.helpers import refusal

GOOD = {"question": "Who?", "choices": ["A cat.", "A dog.", "He."], "answer": 2}


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "no-suffix"])
def test_questions_may_have_any_number_of_choices(tmp_path: Path, name: str) -> None:
    more = {"question": "Where?", "choices": ["Here.", "There."], "answer": 0, "id": "extra"}
    path = write(tmp_path / name, f"{json.dumps(GOOD)}\n{json.dumps(more)}\n")
    assert list(read_choices(path)) == [
        ChoiceExample("Who?", ("A cat.", "A dog.", "He."), 2, where=f"{path}:1"),
        ChoiceExample("Where?", ("Here.", "There."), 0, where=f"{path}:2", id="extra"),
    ]


def test_answers_need_not_be_there_to_be_predicted(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", '{"question": "Who?", "choices": ["a", "b"]}\n{"question": "Who?", "choices": '
                 '["a", "b"], "answer": "unknown"}\n')  # fmt: skip
    assert [x.answer for x in read_choices(path, labelled=False)] == [None, None]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"answer": 3}, "a.jsonl:2: field 'answer' is 3, but the choices are numbered 0 to 2"),
        ({"answer": -1}, "a.jsonl:2: field 'answer' is -1, but the choices are"),
        ({"answer": "2"}, "a.jsonl:2: field 'answer' is '2', expected the index of a choice, counted from 0"),
        ({"answer": True}, "a.jsonl:2: field 'answer' is True, expected the index"),
        ({"answer": 1.0}, "a.jsonl:2: field 'answer' is 1.0, expected the index"),
        ({"answer": None}, "a.jsonl:2: field 'answer' is None, expected the index"),
        ({"choices": ["He."], "answer": 0}, "a.jsonl:2: field 'choices' is a list of 1, expected a list of at"),
        ({"choices": [], "answer": 0}, "a.jsonl:2: field 'choices' is a list of 0"),
        ({"choices": "abc"}, "a.jsonl:2: field 'choices' is a string"),
        ({"choices": ["a", " ", "c"]}, "a.jsonl:2: choice 1 is empty, expected text"),
        ({"choices": ["a", 5, "c"]}, "a.jsonl:2: choice 1 is a number, expected a string"),
        ({"question": ""}, "a.jsonl:2: field 'question' is empty, expected text"),
        ({"question": None}, "a.jsonl:2: field 'question' is null"),
    ],
)
def test_lines_that_are_refused(tmp_path: Path, fields: dict[str, Any], message: str) -> None:
    path = write(tmp_path / "a.jsonl", f"{json.dumps(GOOD)}\n{json.dumps(GOOD | fields)}\n")
    assert message in refusal(lambda: list(read_choices(path)))


def test_bad_lines_are_left_out_and_named(tmp_path: Path) -> None:
    lines = (GOOD | {"question": " "}, GOOD, {"question": "Who?", "choices": ["a", "b"]}, GOOD | {"answer": 7})
    path, tally = write(tmp_path / "a.jsonl", "".join(f"{json.dumps(line)}\n" for line in lines)), Tally("skip")
    assert [x.where for x in read_choices(path, tally=tally)] == [f"{path}:2"]
    assert tally.bad == [
        f"{path}:1: field 'question' is empty, expected text",
        f"{path}:3: field 'answer' is missing; the object has 'question', 'choices'; expected a question, a list "
        "of choices, and, as the answer, the index of the right one, counted from 0",
        f"{path}:4: field 'answer' is 7, but the choices are numbered 0 to 2",
    ]


def test_a_field_that_is_not_there(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", '{"question": "Who?", "choices": ["a", "b"], "label": 0}\n')
    assert "a.jsonl:1: field 'answer' is missing; the object has 'question', 'choices', 'label'" in refusal(
        lambda: list(read_choices(path))
    )


@pytest.mark.parametrize("name", ["a.csv", "a.tsv.gz"])
@pytest.mark.parametrize("labelled", [True, False])
def test_tables_are_refused(tmp_path: Path, name: str, labelled: bool) -> None:
    path = write(tmp_path / name, "question,choices\nWho?,He\n")
    said = refusal(lambda: list(read_choices(path, labelled=labelled)))
    assert said.startswith(f"{path}: .{name.split('.')[1]} is not supported, expected .jsonl with a question, a list")


@pytest.mark.parametrize("id", ["q-77", 630])
def test_ids_stay_what_they_are(id: str | int, tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", json.dumps({"id": id, "question": "Who?", "choices": ["a", "b"]}))
    (found,) = read_choices(path, labelled=False)
    assert found.id == id and type(found.id) is type(id)
