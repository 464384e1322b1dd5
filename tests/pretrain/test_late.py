"""What is needed only at the end of a run never costs the run: pictures, the log, files that it began with."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from pretrain.evaluate import HeldOut
from pretrain.train import Pretraining
from tests.pretrain.running import run_here, states, summary


def before_step(monkeypatch: pytest.MonkeyPatch, step: int, happens: Any) -> None:
    """Has something happen before a step of the next run."""
    original = Pretraining.step

    def changed(self: Pretraining, stop: Any) -> Any:
        if self.progress.step == step:
            happens()
        return original(self, stop)

    monkeypatch.setattr(Pretraining, "step", changed)


class Cut(Exception):
    """As good as a kill."""


def cut() -> None:
    raise Cut


def test_a_damaged_log_any_name_and_what_a_kill_left_cost_nothing(
    common: tuple[object, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "a$_$b"
    args = (*common, "--steps", 4, "--save-every", 1, "--out", run)
    with monkeypatch.context() as patch:
        before_step(patch, 2, cut)
        with pytest.raises(Cut):
            run_here(patch, *args)
    with (run / "metrics.jsonl").open("ab") as log:
        log.write(b'{"step": 2, "mlm_loss": "5"}\n\xff\n')
    for name in (f".summary.json.{os.getpid()}.partial", f".run.toml.{os.getpid()}.partial", ".curves.png.partial"):
        (run / name).write_text("half")
    capsys.readouterr()
    assert run_here(monkeypatch, *args, "--resume") == 0
    line = f"{run / 'metrics.jsonl'}, line 4: damaged, skipped: 'mlm_loss' is '5' (and 1 more)\n"
    out = capsys.readouterr().out
    assert line in out and "not drawn" not in out
    assert out.index(line) < out.index("unigram_loss")  # already when the run goes on
    assert (run / "curves.png").read_bytes()[:4] == b"\x89PNG" and summary(run)["steps"] == 4
    assert list(run.glob(".*.partial")) == []


def test_a_picture_that_fails_and_files_that_are_gone_cost_nothing(
    arrays: Path, shape: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data, model, run = (tmp_path / name for name in ("data", "model.json", "run"))
    shutil.copytree(arrays, data)
    shutil.copy(shape, model)

    def fail(*_: Any, **__: Any) -> None:
        raise ValueError("no\nfont")

    def gone() -> None:
        model.unlink()
        (data / "manifest.json").unlink()

    before_step(monkeypatch, 2, gone)
    monkeypatch.setattr("pretrain.curves.draw_curves", fail)
    args = ("--data", data, "--model", model, "--seq-len", 32, "--batch-size", 8, "--dtype", "float32", "--out", run)
    assert run_here(monkeypatch, *args, "--steps", 4, "--save-every", 3) == 0
    shown = capsys.readouterr()
    assert f"{run / 'curves.png'}: not drawn: no font\n" in shown.out and shown.err == ""
    assert shown.out.endswith(f"\nmodel and figures in {run}\n")
    assert summary(run)["steps"] == 4 and (run / "model.safetensors").exists()


def test_the_last_state_is_there_before_it_is_scored(
    common: tuple[object, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HeldOut, "figures", lambda *_, **__: cut())
    with pytest.raises(Cut):
        run_here(monkeypatch, *common, "--evaluations", 1, "--steps", 2, "--out", tmp_path / "run")
    assert states(tmp_path / "run") == ["step-00000002"]


def test_a_damaged_model_of_init_is_refused_before_the_text_is_prepared(
    text: Path, tmp_path: Path, common: tuple[object, ...], monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr("pretrain.train.draw_run", lambda *_, **__: None)
    assert run_here(monkeypatch, *common, "--steps", 1, "--out", tmp_path / "model") == 0
    with (tmp_path / "model" / "model.safetensors").open("r+b") as weights:
        weights.write(b"\0")
    monkeypatch.setattr("pretrain.setup.prepare", lambda *_: pytest.fail("prepared"))
    capsys.readouterr()
    args = ("--corpus", text, "--init", tmp_path / "model", "--steps", 1, "--seq-len", 32, "--out", tmp_path / "run")
    assert run_here(monkeypatch, *args) == 2
    assert "model.safetensors is damaged" in capsys.readouterr().err and not (tmp_path / "run").exists()


def test_a_directory_with_nothing_but_what_a_kill_left_is_new(
    common: tuple[object, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pretrain.train.draw_run", lambda *_, **__: None)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / f".run.toml.{os.getpid()}.partial").write_text("half")
    assert run_here(monkeypatch, *common, "--steps", 1, "--out", tmp_path / "run") == 0


def test_a_damaged_summary_is_made_again(
    common: tuple[object, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("pretrain.train.draw_run", lambda *_, **__: None)
    args = (*common, "--steps", 2, "--out", tmp_path / "run")
    assert run_here(monkeypatch, *args) == 0
    figures = summary(tmp_path / "run")
    (tmp_path / "run" / "summary.json").write_bytes(b'{"steps": 2, \xff')
    assert run_here(monkeypatch, *args) == 2 and "continue with --resume" in capsys.readouterr().err
    assert run_here(monkeypatch, *args, "--resume") == 0
    assert summary(tmp_path / "run")["mlm_loss"] == figures["mlm_loss"]
