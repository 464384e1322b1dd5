"""What is needed only at the end of a run never costs the run, and what is written replaces nothing that is read."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from finetune.train import Finetuning
from tests.finetune.running import SHORT, arguments, run_here
from tests.finetune.test_resume import RUN, Cut, run_until
from tests.helpers import contents
from tests.minibert.running import run as run_minibert
from tests.pretrain.running import summary

TASK = "text-classification"


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    return err


def test_a_damaged_log_any_name_and_what_a_kill_left_cost_nothing(
    base: Path, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(files, tmp_path / "files")
    for name in ("train.csv", "dev.csv"):
        rows = (files / name).read_text().replace("animal", "_a$_$b")
        (tmp_path / "files" / name).write_text(rows)
    run = tmp_path / "a$_$b"
    args = (*arguments(TASK, base, tmp_path / "files", run), *RUN)
    assert run_until(8, *args) == -9
    with (run / "metrics.jsonl").open("ab") as log:
        log.write(b"\xff\xfe\0\n")
    (run / f".summary.json.{os.getpid()}.partial").write_text("half")
    capsys.readouterr()
    assert run_here(monkeypatch, *args, "--resume") == 0
    out = capsys.readouterr().out
    assert f"{run / 'metrics.jsonl'}, line 10: damaged, skipped: not JSON\n" in out and "not drawn" not in out
    for name in ("curves.png", "confusion.png"):
        assert (run / name).read_bytes()[:4] == b"\x89PNG"
    assert list(run.glob(".*.partial")) == [] and summary(run)["steps"] == 18
    # Cut off behind the last save's renaming: no save comes after it.
    (run / "summary.json").unlink()
    (run / "state" / ".step-00000018.replaced").mkdir()
    (run / "state" / ".step-00000018.partial").mkdir()
    assert run_here(monkeypatch, *args, "--resume") == 0
    assert list((run / "state").glob(".*")) == []


def test_pictures_that_fail_are_lines_for_the_user(
    base: Path, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("Key backend: 'x' is not\na valid value")

    monkeypatch.setattr("minibert.training.drawing.installed_fonts", fail)
    monkeypatch.setattr("finetune.scoring.confusion.drawable", fail)
    run = tmp_path / "run"
    assert run_here(monkeypatch, *arguments(TASK, base, files, run), *SHORT) == 0
    shown = capsys.readouterr()
    for name in ("curves.png", "confusion.png"):
        assert f"{run / name}: not drawn: Key backend: 'x' is not a valid value\n" in shown.out
        assert not (run / name).exists()
    assert shown.out.endswith(f"\nmodel and figures in {run}\n")
    assert shown.err == "" and summary(run)["by_class"]


@pytest.mark.usefixtures("plain")
def test_the_model_is_written_before_the_test_file_is_scored(
    base: Path, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(*_: Any) -> None:
        raise Cut

    original = Finetuning.evaluate

    def evaluate(self: Finetuning, log: Any) -> None:
        original(self, log)
        monkeypatch.setattr("finetune.train.predictions_of", cut)  # what is asked next is the test file

    monkeypatch.setattr(Finetuning, "evaluate", evaluate)
    args = (*arguments(TASK, base, files, tmp_path / "run"), "--epochs", 1, "--test", files / "test.csv")
    with pytest.raises(Cut):
        run_here(monkeypatch, *args)
    assert (tmp_path / "run" / "model.safetensors").exists()


@pytest.mark.usefixtures("plain")
def test_a_broken_torchmetrics_is_refused_before_anything_is_written(
    base: Path, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_here(monkeypatch, *arguments(TASK, base, files, tmp_path / "run"), "--epochs", 1) == 0
    monkeypatch.setitem(sys.modules, "torchmetrics.functional.classification", None)
    monkeypatch.setattr("finetune.inference.predictions_of", lambda *_: pytest.fail("predicted"))
    capsys.readouterr()
    evaluating = ("evaluate", tmp_path / "run", "--data", files / "dev.csv")
    for args in (arguments(TASK, base, files, tmp_path / "new"), evaluating):
        assert run_here(monkeypatch, *args) == 2
        assert one_line(capsys).startswith("error: torchmetrics, which computes the metrics, can't be imported: ")
    assert not (tmp_path / "new").exists()


@pytest.mark.usefixtures("plain")
def test_a_damaged_seed_is_refused_before_another_is_trained(
    base: Path, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    args = (*arguments(TASK, base, files, tmp_path / "run"), *SHORT, "--seeds", 2)
    assert run_here(monkeypatch, *args) == 0
    whole = summary(tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "seed-1")  # as if it had been stopped after the first seed
    (tmp_path / "run" / "summary.json").unlink()
    first = tmp_path / "run" / "seed-0" / "summary.json"
    content = first.read_text()
    capsys.readouterr()
    for bad in (content.replace('"accuracy"', '"acc"'), content.replace('"seed": 0', '"seed": "0"')):
        first.write_text(bad)
        assert run_here(monkeypatch, *args, "--resume") == 2
        assert f"{first} is damaged" in one_line(capsys)
        assert not (tmp_path / "run" / "seed-1").exists()
    first.write_text("{")  # then it is not finished, and is finished again
    assert run_here(monkeypatch, *args, "--resume") == 0
    assert summary(tmp_path / "run")["over_seeds"] == whole["over_seeds"]


@pytest.mark.usefixtures("plain")
def test_no_command_replaces_what_it_reads(
    base: Path, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert run_here(monkeypatch, *arguments(TASK, base, files, run), "--epochs", 1) == 0
    data = shutil.copy(files / "dev.csv", tmp_path / "dev.csv")
    (tmp_path / "link.html").symlink_to(run / "config.json")
    os.link(data, tmp_path / "hard.npy")
    before = contents(tmp_path)
    capsys.readouterr()
    for args in (
        ("predict", run, "--input", data, "--output", data),
        ("predict", run, "--input", data, "--output", run / "config.json"),
        ("evaluate", run, "--data", data, "--json", tmp_path / "hard.npy"),
        ("evaluate", run, "--data", data, "--json", run / "summary.json"),
    ):
        assert run_here(monkeypatch, *args) == 2
        assert "would overwrite what this command reads" in one_line(capsys)
    for words in (
        ("embed", run, "--input", data, "--output", tmp_path / "hard.npy"),
        ("explore", run, "the cat", "--out", tmp_path / "link.html"),
        ("explore", base, "the cat", "--compare", run, "--out", tmp_path / "new.html", "--json", run / "vocab.txt"),
    ):
        assert run_minibert(monkeypatch, *map(str, words)) == 2
        assert "would overwrite what this command reads" in one_line(capsys)
    assert contents(tmp_path) == before
