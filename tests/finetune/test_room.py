"""A fine-tuning that can't fit is refused before anything is written; what it learns decides what it needs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import finetune.setup
from finetune.train import Finetuning
from minibert.training import room
from tests.finetune.running import run_here, write_task

pytestmark = pytest.mark.usefixtures("plain")


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    return write_task("text-classification", tmp_path / "texts.csv", 60)


def needed(base: Path, texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *more: object) -> dict[str, int]:
    """What is said to be needed, by what it is for."""
    said: list[dict[str, int]] = []
    monkeypatch.setattr(finetune.setup, "check_room", lambda parts, *_, **__: said.append(parts))
    monkeypatch.setattr(Finetuning, "go", lambda _: None)
    args = ("text-classification", "--model", base, "--train", texts, "--out", tmp_path / "run", "--dtype", "float32")
    assert run_here(monkeypatch, *args, *more) == 0
    return said[-1]


# The model has 32 hidden dimensions, 2 layers, and 64 positions. Its parts, in numbers:
EMBEDDINGS = (64 + 2) * 32 + 2 * 32  # without the tokens
BLOCKS = 2 * (4 * 32 * 32 + 2 * 32 * 64 + 9 * 32 + 64)
HEAD = 33 * 32 + 33 * 2


def test_all_learns(base: Path, texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = needed(base, texts, tmp_path, monkeypatch, "--epochs", 1, "--accumulate", 2)
    vocabulary = json.loads((base / "config.json").read_text())["vocab_size"]
    assert parts["weights"] == 4 * (vocabulary * 32 + EMBEDDINGS + BLOCKS + HEAD)
    assert parts["gradients"] == 4 * (EMBEDDINGS + BLOCKS + HEAD)
    assert parts["optimizer"] == 2 * parts["gradients"]


def test_the_weights_of_the_best_epoch_are_set_aside(
    base: Path, texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = needed(base, texts, tmp_path, monkeypatch, "--epochs", 2)
    assert parts["optimizer"] == 3 * 4 * (EMBEDDINGS + BLOCKS + HEAD)


def test_adapters_and_the_head_alone(base: Path, texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = needed(base, texts, tmp_path, monkeypatch, "--epochs", 1, "--lora-rank", 4)
    adapters = 2 * 2 * 2 * 4 * 32  # of two projections in each of two layers, two matrices (4, 32)
    assert parts["optimizer"] == 2 * 4 * (adapters + HEAD)


def test_a_frozen_encoders_answers_are_kept(
    base: Path, texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = needed(base, texts, tmp_path, monkeypatch, "--epochs", 1, "--freeze-encoder")
    assert parts["optimizer"] == 2 * 4 * HEAD
    assert parts["the encoder's output"] == 4 * 60 * 32


def test_what_does_not_fit_is_refused(
    base: Path, texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(room, "machine_memory", lambda: 1_000_000)
    args = ("text-classification", "--model", base, "--train", texts, "--out", tmp_path / "run")
    assert run_here(monkeypatch, *args) == 2
    shown = capsys.readouterr().err
    assert len(shown.splitlines()) == 1 and "this machine has 0.0 GB: a smaller --model, --batch-size" in shown
    assert not (tmp_path / "run").exists()


def test_an_allocation_that_fails_is_one_line(
    base: Path, texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing(*_: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(Finetuning, "step", failing)
    args = ("text-classification", "--model", base, "--train", texts, "--out", tmp_path / "run")
    assert run_here(monkeypatch, *args) == 3
    shown = capsys.readouterr().err
    assert len(shown.splitlines()) == 1 and "error: step 1: out of memory; last good state: none yet" in shown
