"""Texts, pairs, labels and targets out of tables, and what of them is refused."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from finetune.examples import TextExample
from finetune.labels import find_labels
from finetune.tables import TableFormat
from finetune.texts import TextColumns, read_texts
from tests.finetune.files import DATA, needs_data, standard_input, write
from tests.helpers import refusal


def read(path: str, columns: TextColumns | None = None, **options: Any) -> list[TextExample]:
    return list(read_texts(path, columns or TextColumns(), **options))


def test_a_text_with_its_label_knows_its_row(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "label,text\n good ,Very nice. \n")
    assert read(path) == [TextExample("Very nice. ", None, "good", row=2, where=f"{path}:2")]


def test_pairs_and_texts_without_labels(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "a,b\nOne.,Two.\n")
    assert [(x.text, x.pair, x.label) for x in read(path, TextColumns("a", "b", None))] == [("One.", "Two.", None)]


def test_the_same_column_may_be_both_texts(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "a\nOne.\n")
    assert [(x.text, x.pair) for x in read(path, TextColumns("a", "a", None))] == [("One.", "One.")]


def test_texts_from_standard_input_come_as_they_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    path = standard_input(monkeypatch, "One, two.\nThree.\n")
    assert [(x.text, x.row, x.where) for x in read(path, TextColumns("review", None, None))] == [
        ("One, two.", 1, "standard input:1"), ("Three.", 2, "standard input:2"),
    ]  # fmt: skip


def test_labels_of_jsonl_are_words(tmp_path: Path) -> None:
    lines = [f'{{"text": "a", "label": {label}}}' for label in ('"1"', "1", "-2", "true", '"Ja"', "1.5")]
    path = write(tmp_path / "a.jsonl", "\n".join(lines))
    assert [x.label for x in read(path)] == ["1", "1", "-2", "true", "Ja", "1.5"]


def test_targets_are_numbers(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "text,label\na,3\nb, -1.5e2 \n")
    assert [x.label for x in read(path, problem_type="regression")] == [3.0, -150.0]
    path = write(tmp_path / "a.jsonl", '{"text": "a", "label": 2}\n{"text": "a", "label": "0.5"}\n')
    assert [x.label for x in read(path, problem_type="regression")] == [2.0, 0.5]


def test_several_labels(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", 'text,label\na,"x, y,x"\nb,\nc,z\n')
    assert [x.label for x in read(path, problem_type="multi_label_classification")] == [("x", "y"), (), ("z",)]
    path = write(tmp_path / "b.csv", "text,label\na,x|y\n")
    labels = [x.label for x in read(path, problem_type="multi_label_classification", label_separator="|")]
    assert labels == [("x", "y")]
    path = write(tmp_path / "a.jsonl", '{"text": "a", "label": [1, "x,y"]}\n{"text": "b", "label": []}\n')
    assert [x.label for x in read(path, problem_type="multi_label_classification")] == [("1", "x,y"), ()]


@pytest.mark.parametrize(
    ("line", "problem_type", "message"),
    [
        (',"good"', "single_label_classification", "a.csv:3: column 'text' is empty, expected text"),
        (' ,"good"', "single_label_classification", "a.csv:3: column 'text' is empty"),
        ("a,", "single_label_classification", "a.csv:3: label is empty"),
        ('a," "', "single_label_classification", "a.csv:3: label is empty"),
        ("a,good", "regression", "a.csv:3: label is 'good', expected a finite number"),
        ("a,nan", "regression", "a.csv:3: label is 'nan', expected a finite number"),
        ("a,-inf", "regression", "a.csv:3: label is '-inf', expected a finite number"),
        ("a,1e999", "regression", "a.csv:3: label is '1e999', expected a finite number"),
        ("a,1e300", "regression", "a.csv:3: label is '1e300', expected a finite number"),  # infinite in float32
        ("a,", "regression", "a.csv:3: label is '', expected a finite number"),
        ('a,"x,,y"', "multi_label_classification", "a.csv:3: label is empty"),
    ],
)
def test_rows_that_are_refused(tmp_path: Path, line: str, problem_type: str, message: str) -> None:
    path = write(tmp_path / "a.csv", f"text,label\na,1\n{line}\n")
    assert message in refusal(lambda: read(path, problem_type=problem_type))


@pytest.mark.parametrize(
    ("fields", "problem_type", "message"),
    [
        ('"text": 5, "label": 1', "single_label_classification", "a.jsonl:1: column 'text' is a number, expected a"),
        ('"text": "\\ud83d", "label": 1', "single_label_classification", "column 'text' holds half a surrogate pair"),
        ('"text": "a", "label": null', "single_label_classification", "a.jsonl:1: label is null, expected a word or"),
        ('"text": "a", "label": ["x"]', "single_label_classification", "a.jsonl:1: label is an array"),
        ('"text": "a", "label": true', "regression", "a.jsonl:1: label is True, expected a finite number"),
        ('"text": "a", "label": NaN', "regression", "a.jsonl:1: label is nan"),
        ('"text": "a", "label": null', "regression", "a.jsonl:1: label is None"),
        ('"text": "a", "label": ' + "9" * 400, "regression", "a.jsonl:1: label is 9999"),
        ('"text": "a", "label": 5', "multi_label_classification", "a.jsonl:1: label is a number, expected a list"),
        ('"text": "a", "label": [[]]', "multi_label_classification", "a.jsonl:1: label is an array"),
    ],
)
def test_jsonl_fields_that_are_refused(tmp_path: Path, fields: str, problem_type: str, message: str) -> None:
    path = write(tmp_path / "a.jsonl", f"{{{fields}}}\n")
    assert message in refusal(lambda: read(path, problem_type=problem_type))


# --- Real files ------------------------------------------------------------------------------------------------------


@needs_data
def test_waimai() -> None:
    examples = read(str(DATA / "waimai_10k.csv"), TextColumns("review", None, "label"))
    assert Counter(x.label for x in examples) == {"1": 4000, "0": 7987}
    assert find_labels(examples, "waimai_10k.csv") == ("0", "1")


@needs_data
@pytest.mark.parametrize("quoting", [False, True])
@pytest.mark.parametrize(("name", "bad", "good"), [("train", 2528, 6023), ("dev", 322, 721)])
def test_cola(name: str, bad: int, good: int, quoting: bool) -> None:
    table = TableFormat(header=False, quoting=quoting)
    examples = read(str(DATA / "cola" / f"{name}.tsv"), TextColumns("4", None, "2"), table=table)
    assert Counter(x.label for x in examples) == {"0": bad, "1": good}


@needs_data
@pytest.mark.parametrize(("name", "count"), [("train", 5749), ("dev", 1500), ("test", 1379)])
def test_stsb(name: str, count: int) -> None:
    path, columns = str(DATA / "stsb" / f"sts-{name}.csv"), TextColumns("6", "7", "5")
    table = TableFormat(delimiter="\t", header=False, quoting=False)
    targets = [x.label for x in read(path, columns, table=table, problem_type="regression")]
    assert (len(targets), min(targets), max(targets)) == (count, 0.0, 5.0)  # type: ignore[type-var]
    table = TableFormat(delimiter="\t", header=False)
    assert "--no-quoting" in refusal(lambda: read(path, columns, table=table, problem_type="regression"))
