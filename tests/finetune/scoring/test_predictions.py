"""`evaluate --predictions`: figures of answers that others gave, and files that don't belong together."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.finetune.data.test_squad import question, squad
from tests.finetune.files import write
from tests.finetune.running import run_here


def score(
    monkeypatch: pytest.MonkeyPatch, directory: Path, data: str, predictions: str, *more: object
) -> tuple[int, dict[str, Any]]:
    """The exit code, and the figures that were written. data: the name of a file in the directory."""
    path = write(directory / "predictions", predictions)
    figures = directory / "figures.json"
    args = ("evaluate", "--predictions", path, "--data", directory / data, "--json", figures, *more)
    code = run_here(monkeypatch, *args)
    return code, json.loads(figures.read_text()) if figures.exists() else {}


def test_answers_that_are_missing_count_as_wrong_and_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    content = squad(question("a"), question("b"), question(id=7), question("d"))  # type: ignore[arg-type]
    write(tmp_path / "dev.json", json.dumps(content))
    code, found = score(monkeypatch, tmp_path, "dev.json", json.dumps({"a": "Zoë", "7": "the zoë!", "x": "", "y": ""}))
    assert code == 0
    assert (found["task"], found["examples"], found["missing"]) == ("question-answering", 4, 2)
    assert found["metrics"] == {"exact": 0.5, "f1": 0.5}
    shown = capsys.readouterr()
    assert shown.err.splitlines() == [
        f"note     {tmp_path}/predictions: no answer to 2 of 4 questions; a missing answer counts as wrong",
        f"note     {tmp_path}/predictions: 2 answers without a question in {tmp_path}/dev.json",
    ]
    assert shown.out.splitlines() == [
        f"{'exact':20} 0.5000",
        f"{'f1':20} 0.5000",
        f"{'examples':20} 4",
        f"{'missing':20} 2",
    ]


def test_where_questions_have_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = squad(question("a"), question("b", answers=[], is_impossible=True), version="v2.0")
    write(tmp_path / "dev.json", json.dumps(content))
    _, found = score(monkeypatch, tmp_path, "dev.json", json.dumps({"a": "", "b": ""}))
    assert found["metrics"] == {
        "exact": 0.5, "f1": 0.5, "has_ans_exact": 0.0, "has_ans_f1": 0.0, "no_ans_exact": 1.0, "no_ans_f1": 1.0,
    }  # fmt: skip


TAGGED = "Ann\tB-per\nLee\tI-per\nran\tO\n\nYork\tB-loc\n"


@pytest.mark.parametrize(
    "predictions",
    [
        "B-per\nI-per\nO\n\nO\n",
        "B-per\r\nI-per\r\nO\r\nO",
        "Ann B-per B-per\nLee I-per I-per\nran O O\n\nYork B-loc O\n",
        "B-per\nL-per\nO\n\nO\n",
    ],
    ids=["sentences", "tags alone", "columns", "BILOU"],
)
def test_a_tag_a_line(predictions: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "test.conll", TAGGED)
    code, found = score(monkeypatch, tmp_path, "test.conll", predictions)
    assert (code, found["task"], found["examples"]) == (0, "token-classification", 2)
    assert found["metrics"] == {"precision": 1.0, "recall": 0.5, "f1": 2 / 3}
    assert [(one["name"], one["recall"]) for one in found["by_class"]] == [("loc", 0.0), ("per", 1.0)]


def test_tags_of_no_scheme_are_scored_by_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "test.conll", "1\tAnn\tNNP\t_\n2\tran\tVBD\t_\n")
    more = ("--tag-column", 3, "--scheme", "none")
    _, found = score(monkeypatch, tmp_path, "test.conll", "NNP\nNNP\n", *more)
    assert found["metrics"] == {"accuracy": 0.5, "macro_f1": (2 / 3 + 0) / 2}


def test_tags_may_be_a_column_of_conll_u(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rest = "_\t_\t0\troot\t_\t_\n"
    content = f"# text = He ran\n1-2\tHe ran\t_\t_\t{rest}1\tHe\the\tPRON\t{rest}2\tran\trun\tVERB\t{rest}"
    gold, found = (write(tmp_path / f"{name}.conllu", content) for name in ("gold", "found"))
    args = ("evaluate", "--predictions", found, "--data", gold, "--json", tmp_path / "figures.json")
    assert run_here(monkeypatch, *args) == 0
    assert json.loads((tmp_path / "figures.json").read_text())["metrics"] == {"accuracy": 1.0, "macro_f1": 1.0}


def test_a_class_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "test.csv", "text,label\na,good\nb,bad\nc,good\nd,bad\n")
    code, found = score(monkeypatch, tmp_path, "test.csv", "good\nbad\nbad\nfair\n")
    assert (code, found["task"], found["metrics"]["accuracy"]) == (0, "text-classification", 0.5)
    assert [(one["name"], one["support"]) for one in found["by_class"]] == [("bad", 2), ("fair", 0), ("good", 2)]
    assert re.search("predictions: no example in .* has the class 'fair'\n", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("data", "predictions", "more", "metric", "value"),
    [
        ("a\tx,y\nb\tx\n", "x\nx,y\n", "--multi-label", "accuracy", 0.5),
        ("a\tx,y\nb\tz\n", "x, y\n\n", "--multi-label", "exact_match", 0.5),
        ("a\t1\nb\t2\nc\t4\n", "-1\n0\n2.0\n", "--regression", "pearson", 1.0),
    ],
)
def test_labels_and_numbers_a_line(
    data: str, predictions: str, more: str, metric: str, value: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "test.tsv", data)
    columns = ("--no-header", "--text-column", 1, "--label-column", 2)
    _, found = score(monkeypatch, tmp_path, "test.tsv", predictions, *columns, more)
    assert found["metrics"][metric] == value


@pytest.mark.parametrize(("more", "figures"), [((), 4), (("--regression",), 6)])
def test_a_score_a_line_ranks_candidates(
    more: tuple[str, ...], figures: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    write(tmp_path / "test.csv", "text,query,label\na,p,1\nb,p,0\nc,q,0\nd,q,1\n")
    args = ("test.csv", "3\n-1\n0.5\n0.5\n", "--group-column", "query")
    _, found = score(monkeypatch, tmp_path, *args, *more)
    assert len(found["metrics"]) == figures and found["metrics"]["mrr"] == 0.75
    assert capsys.readouterr().err == f"note     {tmp_path}/test.csv: 2 queries with 2 candidates\n"
    code, _ = score(monkeypatch, tmp_path, "test.csv", "3\n-1\nno\n0.5\n", "--group-column", "query")
    assert code == 2 and "predictions:3: label is 'no', expected a finite number" in capsys.readouterr().err


def test_a_choice_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {"question": "Who?", "choices": ["a", "b"], "answer": 1}
    write(tmp_path / "test.jsonl", f"{json.dumps(asked)}\n" * 4)
    _, found = score(monkeypatch, tmp_path, "test.jsonl", "1\n0\n1\n1\n", "--task", "multiple-choice")
    assert found["metrics"] == {"accuracy": 0.75}


NONE_LEFT_OUT = "rows can't be skipped here: fix this one, or remove it and its answer"


@pytest.mark.parametrize(
    ("data", "content", "predictions", "more", "message"),
    [
        ("a.json", squad(question("a")), {"b": "x"}, (), "predictions: no answer to any of the questions in"),
        ("a.json", squad(question("a")), {"a": None}, (), "predictions: the answer to a is null, expected a string"),
        ("a.json", squad(question("a")), ["x"], (), "is an array, expected an object that maps each id to an answer"),
        ("a.json", squad(question("a")), "{", (), "predictions: not readable as JSON ("),
        ("a.conll", TAGGED, "O\nO\n", (), "predictions: 2 answers, expected 4: one per line for each of the words in"),
        ("a.conll", TAGGED, "O\nx B-per\nO\nPER\n", (), "predictions:4: 'PER' is not a tag of any scheme, expected"),
        (
            "a.jsonl",
            '{"tokens": ["a"], "ner_tags": ["O"]}\n',
            "O\n",
            (),
            "; scored as text-classification (see --task)",
        ),
        ("a.json", '{"text": "a", "label": 1}\n', "1\n", (), "; scored as question-answering (see --task)"),
        (
            "a.csv",
            "text,label\na,x\nb,y\n",
            "x\n",
            (),
            "predictions: 1 answer, expected 2: one per line for each of the ",
        ),
        ("a.csv", "text,label\na,\nb,y\n", "x\ny\n", (), f"a.csv:2: label is empty, expected text; {NONE_LEFT_OUT}"),
        ("a.conll", "Ann\tO\nran\n", "O\nO\n", (), f"expected 2, as in the first row; {NONE_LEFT_OUT}"),
        ("a.json", squad(question("a", question="")), {"a": "x"}, (), f"is empty, expected text; {NONE_LEFT_OUT}"),
        (
            "a.jsonl",
            '{"question": "Who?", "choices": ["a"], "answer": 0}\n',
            "0\n",
            ("--task", "multiple-choice"),
            f"expected a list of at least two strings; {NONE_LEFT_OUT}",
        ),
        ("a.csv", "text,label\na,x\nb,y\n", "x\n\n", (), "predictions:2: label is empty, expected text"),
        (
            "a.csv",
            "text,label\na,1\nb,2\n",
            "1\nx\n",
            ("--regression",),
            "predictions:2: label is 'x', expected a finite",
        ),
        ("a.csv", "text,label\na,1\nb,2\n", "1\n2\n", ("--max-length", 9), "--max-length has no effect here"),
        ("a.csv", "text,label\na,1\nb,2\n", "1\n2\n", ("--task", "tagging"), "--task: expected one of "),
    ],
)
def test_files_that_do_not_belong_together(
    data: str, content: Any, predictions: Any, more: tuple[object, ...], message: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    write(tmp_path / data, content if isinstance(content, str) else json.dumps(content))
    given = predictions if isinstance(predictions, str) else json.dumps(predictions)
    assert score(monkeypatch, tmp_path, data, given, *more) == (2, {})
    said = capsys.readouterr().err
    assert message in said and len(said.splitlines()) == 1


def test_a_model_has_no_part_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    args = ("evaluate", tmp_path, "--predictions", "a.json", "--data", "b.json")
    assert run_here(monkeypatch, *args) == 2
    assert "give either a model directory or --predictions, not both" in capsys.readouterr().err
