"""A loss or gradient that is not finite stops the run, with the last good state kept, and never silently."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import minibert
from minibert.training.state import load_newest_state
from pretrain.train import Pretraining
from tests.pretrain.running import run_here, states

pytestmark = pytest.mark.usefixtures("plain")


def spoiled(run: Path, directory: Path, parameter: str, row: int) -> Path:
    """A finished run's model with an infinite weight."""
    model, tokenizer = minibert.load(run)
    with torch.no_grad():
        model.get_parameter(parameter)[row] = torch.inf
    minibert.save(model, tokenizer, directory)
    return directory


@pytest.fixture
def model(common: tuple[object, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    assert run_here(monkeypatch, *common, "--steps", 1, "--out", tmp_path / "model") == 0
    return tmp_path / "model"


def test_a_loss_that_is_not_finite_stops_the_run(
    common: tuple[object, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    original = Pretraining.go

    def spoilt(self: Pretraining) -> None:
        with torch.no_grad():
            self.model.mlm_head.dense.bias[0] = torch.inf
        original(self)

    monkeypatch.setattr(Pretraining, "go", spoilt)
    assert run_here(monkeypatch, *common, "--steps", 5, "--out", tmp_path / "run") == 3
    shown = capsys.readouterr().err
    assert len(shown.splitlines()) == 1
    for part in ("step 1: not finite", "pairs 0 to 7 of phase 0, epoch 0, seed 0", "last good state: none yet"):
        assert part in shown
    assert states(tmp_path / "run") == [] and not (tmp_path / "run" / "summary.json").exists()


def test_a_gradient_that_is_not_finite_stops_the_run_at_its_last_good_state(
    common: tuple[object, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    original = Pretraining.stop_unless_finite

    def spoilt(self: Pretraining, sums: Any, gradient_norm: float) -> None:
        original(self, sums, float("nan") if self.progress.step == 7 else gradient_norm)

    run = tmp_path / "run"
    common = (*common, "--steps", 12, "--save-every", 3, "--out", run)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Pretraining, "stop_unless_finite", spoilt)
        assert run_here(patch, *common) == 3
        shown = capsys.readouterr().err
        assert len(shown.splitlines()) == 1 and "gradient norm nan" in shown
        for part in ("step 8: not finite", "pairs 56 to 63", f"last good state: {run / 'state' / 'step-00000006'}"):
            assert part in shown
        assert states(run) == ["step-00000003", "step-00000006"]
        assert load_newest_state(run / "state", print).step == 6  # type: ignore[union-attr]
        assert run_here(patch, *common, "--resume") == 3  # and again, never silently


def test_a_held_out_loss_that_is_not_finite_stops_the_run(
    model: Path, arrays: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The position is used from the second phase on, and by the evaluation before the first step."""
    bad = spoiled(model, tmp_path / "bad", "encoder.embeddings.position.weight", 20)
    recipe = tmp_path / "phases.toml"
    recipe.write_text("phases = [[16, 0.8], [32, 0.2]]\nbatch_size = 8\nsteps = 10\n")
    capsys.readouterr()
    assert run_here(monkeypatch, "--data", arrays, "--init", bad, "--recipe", recipe, "--dtype", "float32", "--out",
                    tmp_path / "run") == 3  # fmt: skip
    shown = capsys.readouterr().err
    assert len(shown.splitlines()) == 1 and "step 0: not finite on held-out documents" in shown
