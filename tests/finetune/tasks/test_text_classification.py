"""Single texts and pairs; one class, several, or a number."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

import minibert
from tests.finetune.running import ANIMALS, COLOURS, SHAPE, lines, run_here, sentence, write_model
from tests.pretrain.running import summary

pytestmark = pytest.mark.usefixtures("plain")

LEARNING = ("--epochs", 12, "--learning-rate", "5e-3", "--batch-size", 16, "--dtype", "float32")


def test_a_number_is_told_and_not_a_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    base = write_model(tmp_path / "base", SHAPE.replace(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0))
    rng = random.Random(0)
    rows = [[sentence(rng, [ANIMALS[number]]), number] for number in [0, 1, 2, 3] * 30]
    (tmp_path / "train.tsv").write_text("".join(f"x\t{' '.join(words)}\t{n}\n" for words, n in rows))
    args = ("text-classification", "--model", base, "--train", tmp_path / "train.tsv", "--out", tmp_path / "run",
            "--no-header", "--text-column", 2, "--label-column", 3, "--regression", *LEARNING,
            "--epochs", 25)  # fmt: skip
    assert run_here(monkeypatch, *args) == 0
    assert "data     108 examples to train on, 12 to choose the epoch on\n" in capsys.readouterr().out
    found = summary(tmp_path / "run")
    assert found["metric"] == "spearman" and found["metrics"]["pearson"] > 0.9
    assert getattr(minibert.load(tmp_path / "run")[0], "problem_type") == "regression"  # noqa: B009 - of this class
    args = ("predict", tmp_path / "run", "--input", tmp_path / "train.tsv", "--output", tmp_path / "answers.jsonl")
    assert run_here(monkeypatch, *args) == 0
    answers = lines(tmp_path / "answers.jsonl")
    assert sum(abs(answer["score"] - n) for answer, (_, n) in zip(answers, rows, strict=True)) / len(rows) < 0.5


def test_pairs(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the second text is about, which the first one leaves open."""
    rng = random.Random(0)
    rows = []
    for number in range(120):
        words = (ANIMALS, COLOURS)[number % 2]
        first, second = (" ".join(sentence(rng, [rng.choice(words)])) for words in (ANIMALS + COLOURS, words))
        rows.append({"a": first, "b": second, "label": ("animal", "colour")[number % 2]})
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    args = ("text-classification", "--model", base, "--train", tmp_path / "train.jsonl", "--out", tmp_path / "run",
            "--text-column", "a", "--text-pair-column", "b", *LEARNING)  # fmt: skip
    assert run_here(monkeypatch, *args) == 0
    assert summary(tmp_path / "run")["metrics"]["accuracy"] > 0.9


def test_several_labels_at_once(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(0)
    rows = []
    for number in range(160):
        kinds = [(ANIMALS, "animal")] * (number % 2) + [(COLOURS, "colour")] * (number // 2 % 2)
        text = " ".join(sentence(rng, [rng.choice(words) for words, _ in kinds]))
        rows.append({"text": text, "label": [name for _, name in kinds]})
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    args = ("text-classification", "--model", base, "--train", tmp_path / "train.jsonl", "--out", tmp_path / "run",
            "--multi-label", *LEARNING, "--epochs", 25, "--learning-rate", "2e-3")  # fmt: skip
    assert run_here(monkeypatch, *args) == 0
    assert summary(tmp_path / "run")["metrics"]["exact_match"] > 0.8
    args = ("predict", tmp_path / "run", "--input", tmp_path / "train.jsonl", "--output", tmp_path / "answers.jsonl")
    assert run_here(monkeypatch, *args) == 0
    answers = lines(tmp_path / "answers.jsonl")
    right = sum(answer["labels"] == row["label"] for answer, row in zip(answers, rows, strict=True))
    assert right / len(rows) > 0.8


def test_long_texts_are_cut_and_it_is_said(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f"{'the cat ' * count},{('one', 'two')[count % 2]}\n" for count in (1, 2, 3, 4, 5, 50) * 4]
    (tmp_path / "train.csv").write_text("text,label\n" + "".join(rows))
    args = ("text-classification", "--model", base, "--train", tmp_path / "train.csv", "--out", tmp_path / "run",
            "--dev", tmp_path / "train.csv", "--epochs", 1)  # fmt: skip
    assert run_here(monkeypatch, *args) == 0
    assert "train: 4 examples have 64 tokens or more; anything beyond that is cut off" in capsys.readouterr().out
