"""One door to the examples of every task, of a file or of Python."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from finetune.data.data_options import DATA_OPTIONS
from finetune.data.reading import given_examples, read_examples
from minibert.files.tally import Tally
from tests.finetune.files import write
from tests.helpers import refusal

OBJECTS: dict[str, dict[str, Any]] = {
    "text-classification": {"text": "Fine.", "label": "good"},
    "token-classification": {"tokens": ["Ann", "ran"], "ner_tags": ["B-x", "O"]},
    "question-answering": {"question": "Who?", "context": "Ann ran."},
    "multiple-choice": {"question": "Who?", "choices": ["Ann", "Bob"], "answer": 0},
}
LABELS = {"label", "tags", "answers", "answer"}


def asked(example: Any) -> dict[str, Any]:
    """An example without its place and its labels."""
    return {name: getattr(example, name) for name in example.__dataclass_fields__ if name not in {*LABELS, "where"}}


@pytest.mark.parametrize("task", OBJECTS)
def test_a_file_and_python_have_the_same_examples(task: str, tmp_path: Path) -> None:
    options, one = DATA_OPTIONS[task](), {"id": "q-7", **OBJECTS[task]}
    path = write(tmp_path / "a.jsonl", json.dumps(one))
    (read,) = read_examples(path, options, Tally(), labelled=False)
    (given,) = given_examples([one], options, Tally())
    assert asked(read) == asked(given)
    assert (read.id, read.where, given.where) == ("q-7", f"{path}:1", "row 1")
    assert all(not getattr(example, name, None) for example in (read, given) for name in LABELS)
    if task != "question-answering":  # whose labelled files are one object
        (labelled,) = read_examples(path, options, Tally())
        assert asked(labelled) == asked(read)
        assert any(getattr(labelled, name, None) is not None for name in LABELS)


@pytest.mark.parametrize("task", OBJECTS)
@pytest.mark.parametrize(("id", "found"), [(1.5, "a number"), (True, "a boolean"), (["q"], "an array")])
def test_an_id_is_text_or_a_whole_number(task: str, id: object, found: str) -> None:
    tally, good = Tally("skip"), OBJECTS[task]
    items = [{**good, "id": id}, {**good, "id": 0}, {**good, "id": None}]
    ids = [example.id for example in given_examples(items, DATA_OPTIONS[task](), tally)]
    assert ids == [0, "3" if task == "question-answering" else None]
    assert tally.bad == [f"row 1: field 'id' is {found}, expected a string or a whole number"]


@pytest.mark.parametrize("task", OBJECTS)
def test_a_file_without_rows(task: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", "\n")
    message = refusal(lambda: list(read_examples(path, DATA_OPTIONS[task](), Tally(), labelled=False)))
    assert message == f"{path}: no row found, expected at least one"
