r"""Files in the forms that published data sets have: read right, or refused with a remedy that then helps.

The sets are others', the rows are our own. Each form has the bytes of a file, the options that it is read with, and
what comes out: how many examples, the first and the last, from training's reading and again from predict's. The count
is taken once more by other means than our readers: Python's csv and json, blocks between blank lines, or by hand.
`python -m tests.finetune.data.test_published_forms` shows all of it as a table.
"""

from __future__ import annotations

import shlex
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from finetune.data.examples import ChoiceExample, QuestionExample, TaggedExample, TextExample
from finetune.data.reading import read_examples
from finetune.options import parse_options
from finetune.setup import TrainingData, prepare
from minibert.errors import InputError
from minibert.files.tally import Tally
from tests.finetune.data.forms import Form
from tests.finetune.data.forms_of_questions import QUESTIONS
from tests.finetune.data.forms_of_tags import TAGS
from tests.finetune.data.forms_of_texts import TEXTS
from tests.finetune.files import write
from tests.finetune.running import write_model
from tests.helpers import refusal

FORMS = [*TEXTS, *TAGS, *QUESTIONS]


@dataclass(frozen=True)
class Outcome:
    """What became of a form's file."""

    said: str  # where it was refused
    data: TrainingData | None  # what was read of it, at once or by the remedy
    path: str  # of the file read
    counted: int  # in that, by other means


def outcome(form: Form, base: Path, directory: Path) -> Outcome:
    """Reads a file as training does before its first step, and again with the remedy where it is refused."""
    path = write(directory / form.file, form.content)
    said, options = "", shlex.split(form.options.replace("\\t", "'\\t'"))
    if form.refused:
        said = refusal(lambda: prepared(form, base, path, options))
        if form.remedy is None:
            return Outcome(said, None, path, -1)
        if form.converted:
            subprocess.run(said[said.index("iconv") :], shell=True, check=True, cwd=directory)
            path = str(directory / f"utf8-{form.file}")
        options += shlex.split(form.remedy.replace("\\t", "'\\t'"))
    data = prepared(form, base, path, options)
    return Outcome(said, data, path, form.count if isinstance(form.count, int) else form.count(text_of(form)))


def to_be_predicted(found: Outcome) -> list[Any]:
    """What `predict` reads of the file: the same without labels, bad rows aside."""
    assert found.data is not None
    task = found.data.task
    return list(read_examples(found.path, task.data_options, Tally("skip"), labelled=False))


def prepared(form: Form, base: Path, path: str, options: list[str]) -> TrainingData:
    args = ["--model", str(base), "--train", path, "--dev", path, "--out", "run", *options]
    return prepare(parse_options(form.task, args), processes=1)


def text_of(form: Form) -> str:
    """Its content as text, for the other count."""
    if isinstance(form.content, str):
        return form.content
    return form.content.decode("utf-16" if form.content.startswith(b"\xff\xfe") else "cp1252")


def row_of(example: Any) -> tuple[Any, ...]:
    """What stands in a file of an example."""
    match example:
        case TextExample(text=text, pair=None, label=label):
            return (text, label)
        case TextExample(text=text, pair=pair, label=label):
            return (text, pair, label)
        case TaggedExample(words=words, tags=tags):
            return (" ".join(words), " ".join(tags or ()))
        case QuestionExample(id=id, question=question, answers=answers):
            return (id, question, *(answer.text for answer in answers))
        case ChoiceExample(question=question, choices=choices, answer=answer):
            return (question, *choices, answer)
    raise AssertionError(example)


@pytest.fixture(autouse=True)
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """What computes figures takes seconds to import, and none are computed."""
    monkeypatch.setattr("finetune.scoring.metrics.import_torchmetrics", lambda: None)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.id)
def test_a_form_is_read_right_or_refused_with_a_remedy_that_helps(form: Form, base: Path, tmp_path: Path) -> None:
    found = outcome(form, base, tmp_path)
    assert form.refused in found.said and bool(form.refused) == bool(found.said)
    if found.data is not None:
        examples = found.data.train.examples
        assert len(examples) == found.counted
        assert (row_of(examples[0]), row_of(examples[-1])) == (form.first, form.last)
        assert all(any(part in note for note in found.data.notes) for part in form.said), found.data.notes
        assert list(map(asked_of, to_be_predicted(found))) == list(map(asked_of, found.data.dev.examples))


def asked_of(example: Any) -> tuple[Any, ...]:
    """An example without its label."""
    if isinstance(example, QuestionExample):
        return (example.id, example.question, example.context)
    return row_of(example)[:-1]


def test_there_are_forms_of_every_task() -> None:
    assert len(FORMS) == len({form.id for form in FORMS}) == 68
    assert {form.task for form in FORMS} == {
        "text-classification", "token-classification", "question-answering", "multiple-choice",
    }  # fmt: skip


def show() -> None:
    """All forms as a table."""
    with tempfile.TemporaryDirectory() as directory:
        base = write_model(Path(directory) / "model")
        print(f"{'like':34} {'read':>4} {'counted':>7}  what is odd; what is said where it is refused")
        for form in FORMS:
            try:
                found = outcome(form, base, Path(directory))
            except InputError as error:
                print(f"{form.id}: {error}")
                continue
            read = "-" if found.data is None else len(found.data.train.examples)
            said = found.said.replace(f"{directory}/", "")
            print(f"{form.id:34} {read:>4} {found.counted if found.data else '-':>7}  {form.odd}{said and f': {said}'}")


if __name__ == "__main__":
    show()
