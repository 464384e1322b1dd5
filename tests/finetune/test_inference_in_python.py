"""`finetune.predict` and `finetune.evaluate`: they return what the commands write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import finetune
import minibert
from tests.finetune.running import INPUTS, TASKS, TEXTS, file_name, lines, run_here, write_inputs
from tests.helpers import refusal

SHORTER = {
    "text-classification": TEXTS,
    "token-classification": TEXTS,
    "question-answering": [("who ran", text) for text in TEXTS],
    "multiple-choice": [("who ran", ["cat", "red", "to"]) for _ in TEXTS],
}


@pytest.mark.parametrize("task", TASKS)
def test_predict_returns_what_the_command_writes(
    task: str, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "answers.jsonl"
    assert run_here(monkeypatch, "predict", runs / task, "--input", write_inputs(task, tmp_path), "--output", out) == 0
    expected = lines(out)
    objects = [row if isinstance(row, dict) else {"text": row} for row in INPUTS[task]]
    assert finetune.predict(runs / task, SHORTER[task]) == expected
    assert finetune.predict(minibert.load(runs / task), iter(objects)) == expected
    assert len(finetune.predict(str(runs / task), objects[0])) == 1


def test_evaluate_returns_what_the_command_writes(
    runs: Path, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, data = runs / "text-classification", files / file_name("text-classification", "test")
    assert run_here(monkeypatch, "evaluate", model, "--data", data, "--json", tmp_path / "figures.json") == 0
    expected = json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))
    with open("/dev/full", "w", buffering=1) as nobody:
        monkeypatch.setattr("sys.stdout", nobody)
        assert run_here(monkeypatch, "evaluate", model, "--data", data, "--json", tmp_path / "figures.json") == 0
        assert run_here(monkeypatch, "evaluate", model, "--data", data) == 3
    assert finetune.evaluate(model, data) == expected
    assert finetune.evaluate(minibert.load(model), data) == expected


def test_predict_takes_pairs_and_options_of_reading(runs: Path) -> None:
    model = runs / "text-classification"
    (found,) = finetune.predict(model, [("the cat", "a red")], text_pair_column="pair", max_length=8)
    assert (found["text"], found["pair"]) == ("the cat", "a red")


@pytest.mark.parametrize(
    ("task", "row", "message"),
    [
        ("text-classification", " ", "row 1: column 'text' is empty, expected text"),
        ("text-classification", {"txt": "a cat"}, "row 1: field 'text' is missing; the object has 'txt'"),
        ("text-classification", ("a", "b"), "row 1: 2 values, expected 1: 'text'"),
        ("question-answering", "who ran", "row 1: 1 value, expected 2: 'question', 'context'"),
        ("multiple-choice", ("who", ["cat"]), "row 1: field 'choices' is a list of 1, expected a list of at"),
        ("token-classification", 7, "row 1: field 'text' is a number, expected a string"),
    ],
)
def test_predict_refuses_rows_of_which_none_is_one(task: str, row: Any, message: str, runs: Path) -> None:
    said = refusal(lambda: finetune.predict(runs / task, [row, row]))
    assert said.startswith(f"rows: no row can be answered: {message}")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_length": 1}, "--max-length must be at least 3, not 1"),
        ({"device": "gpu"}, "device: 'gpu' is not one of auto, cpu, cuda"),
        ({"dtype": "float16"}, "dtype: 'float16' is not one of auto, float32"),
        ({"header": False}, "--no-header has no effect here: rows from Python have named values"),
        ({"label_column": "stars"}, "--label-column has no effect here: labels are not read"),
    ],
)
def test_predict_refuses_options_that_are_none(options: dict[str, Any], message: str, runs: Path) -> None:
    assert refusal(lambda: finetune.predict(runs / "text-classification", TEXTS, **options)).startswith(message)


def test_predict_says_of_a_row_that_is_none_why(runs: Path) -> None:
    found = finetune.predict(runs / "text-classification", ["the cat", " ", "a red"])
    assert found[1] == {"error": "row 2: column 'text' is empty, expected text"}
    assert [answer.get("text") for answer in found] == ["the cat", None, "a red"]


def test_predict_leaves_a_loaded_model_where_and_as_it_is(runs: Path, base: Path) -> None:
    model, tokenizer = minibert.load(runs / "text-classification")
    message = refusal(lambda: finetune.predict((model, tokenizer), TEXTS, device="cpu"))
    assert message == "device 'cpu': expected none, because a loaded model stays on its device"
    message = refusal(lambda: finetune.predict((model.double(), tokenizer), TEXTS, dtype="float32"))
    assert message == "the model: its weights are torch.float64, expected torch.float32 for dtype float32"
    assert len(finetune.predict((model, tokenizer), TEXTS, dtype="float64")) == 3
    assert "the model is a BertWithPooler, expected a model for" in refusal(
        lambda: finetune.predict(minibert.load(base), TEXTS)
    )
