"""Stopping and going on: a run that was stopped, killed or cut off ends with the very bytes of one that was not."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from finetune.tasks.text_classification import TextClassification
from finetune.train import Finetuning
from tests.finetune.running import TASKS, arguments, file_name, run_here, start
from tests.pretrain.running import finished, kill_all, metrics, states, summary, tree, wait_until, weights

pytestmark = pytest.mark.usefixtures("plain")

# 6 steps an epoch; dropout, the order of the batches and the best epoch show any difference.
RUN = ("--epochs", 3, "--batch-size", 16, "--learning-rate", "3e-3", "--dtype", "float32", "--log-every", 1)


class Cut(Exception):
    """As good as a kill: nothing is saved on the way out."""


def run_until(step: int, *args: object, kill: bool = True) -> int:
    """The exit code of a run that is cut off before this step; or, without `kill`, is sent a SIGTERM in it."""
    original = Finetuning.step

    def cut(self: Finetuning, stop: Any) -> Any:
        if self.progress.step == step:
            if kill:
                raise Cut
            signal.raise_signal(signal.SIGTERM)
        return original(self, stop)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Finetuning, "step", cut)
        try:
            return run_here(patch, *args)
        except Cut:
            return -9


def figures(run: Path) -> dict[str, Any]:
    """The summary without what a clock or the memory decides."""
    times = {"seconds", "examples_per_second", "peak_rss_bytes"}
    return {name: value for name, value in summary(run).items() if name not in times}


def losses(run: Path) -> dict[int, float]:
    """The last word on every step."""
    return {line["step"]: line["loss"] for line in metrics(run) if "loss" in line}


@pytest.mark.parametrize(
    ("task", "method"),
    [
        *((task, ()) for task in TASKS),
        ("text-classification", ("--lora-rank", 2)),
        ("token-classification", ("--freeze-encoder",)),
        ("multiple-choice", ("--accumulate", 2, "--layer-decay", 0.8)),
    ],
)
def test_a_run_cut_off_three_times_ends_with_the_same_bytes(
    task: str, method: tuple[object, ...], base: Path, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    test = ("--test", files / file_name(task, "test"))
    assert run_here(monkeypatch, *arguments(task, base, files, tmp_path / "whole"), *RUN, *method, *test) == 0
    args = (*arguments(task, base, files, tmp_path / "cut"), *RUN, *method, *test, "--save-every", 4, "--resume")
    for step in (3, 6, 17):  # before the first state, right after an epoch, in the last one
        assert run_until(step, *args) == -9
    assert run_here(monkeypatch, *args) == 0
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")
    assert figures(tmp_path / "cut") == figures(tmp_path / "whole")
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")
    config = (tmp_path / "cut" / "config.json", tmp_path / "whole" / "config.json")
    assert config[0].read_bytes() == config[1].read_bytes()


def test_a_state_that_was_gone_on_from_is_no_longer_in_use(
    base: Path, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows could not remove it."""
    args = (*arguments("text-classification", base, files, tmp_path / "run"), *RUN)
    assert run_until(6, *args) == -9
    original = Finetuning.step

    def step(self: Finetuning, stop: Any) -> Any:
        assert self.best and str(tmp_path / "run" / "state") not in Path("/proc/self/maps").read_text()
        return original(self, stop)

    monkeypatch.setattr(Finetuning, "step", step)
    assert run_here(monkeypatch, *args, "--resume") == 0


@pytest.mark.parametrize("step", [5, 17])  # the last of an epoch, the last of all
def test_a_signal_saves_the_state_and_the_run_goes_on_with_the_same_bytes(
    step: int, base: Path, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    task = "text-classification"
    assert run_here(monkeypatch, *arguments(task, base, files, tmp_path / "whole"), *RUN) == 0
    args = (*arguments(task, base, files, tmp_path / "run"), *RUN)
    capsys.readouterr()
    assert run_until(step, *args, kill=False) == 130
    assert capsys.readouterr().err == f"error: stopped at step {step + 1}; continue with --resume\n"
    assert states(tmp_path / "run")[-1] == f"step-{step + 1:08d}"
    assert not (tmp_path / "run" / "summary.json").exists()
    assert run_here(monkeypatch, *args, "--resume") == 0
    assert weights(tmp_path / "run") == weights(tmp_path / "whole")
    assert figures(tmp_path / "run") == figures(tmp_path / "whole")


FIGURES = (0.5, 0.7, 0.7, 0.6, 0.9, 0.9)  # on dev, after each epoch


def run_with_figures(from_epoch: int, *args: object, ends: str = "") -> int:
    """The exit code of a run with these figures, from an epoch's on; `ends`: the method before which it is killed."""
    left = iter(FIGURES[from_epoch - 1 :])

    def cut(*_: object) -> None:
        raise Cut

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TextClassification, "metrics", lambda *_: {"accuracy": next(left)})
        if ends:
            patch.setattr(Finetuning, ends, cut)
        try:
            return run_here(patch, *args)
        except Cut:
            return -9


def test_an_early_stop_and_the_same_after_kills_before_and_after_it_was_decided(
    base: Path, files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = "text-classification"
    more = (*RUN, "--epochs", 6)
    assert run_with_figures(1, *arguments(task, base, files, tmp_path / "whole"), *more) == 0
    found = summary(tmp_path / "whole")
    assert (found["epochs"], found["stopped_early"], found["best_epoch"]) == (6, False, 5)
    more = (*more, "--early-stop", 2)
    capsys.readouterr()
    assert run_with_figures(1, *arguments(task, base, files, tmp_path / "early"), *more) == 0
    said = "stopped early, after epoch 4 of 6: accuracy has not improved since epoch 2\n"
    assert said in capsys.readouterr().out
    found = summary(tmp_path / "early")
    assert (found["epochs"], found["stopped_early"], found["best_epoch"], found["steps"]) == (4, True, 2, 24)
    last = (*arguments(task, base, files, tmp_path / "last"), *RUN, "--epochs", 4, "--early-stop", 2)
    assert run_with_figures(1, *last) == 0 and not summary(tmp_path / "last")["stopped_early"]  # it would have ended
    assert losses(tmp_path / "early") == dict(list(losses(tmp_path / "whole").items())[:24])  # the same schedule

    args = (*arguments(task, base, files, tmp_path / "cut"), *more, "--resume")
    assert run_with_figures(1, *args, "--save-every", 5, ends="evaluate") == -9
    assert run_with_figures(1, *args, ends="finish") == -9
    capsys.readouterr()
    assert run_with_figures(9, *args) == 0  # nothing is evaluated again
    assert said in capsys.readouterr().out
    assert weights(tmp_path / "cut") == weights(tmp_path / "early")
    assert figures(tmp_path / "cut") == figures(tmp_path / "early")


def test_a_resumed_run_must_have_the_same_class_weights(
    base: Path, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "weights.json"
    file.write_text('{"animal": 1, "colour": 2}')
    args = (*arguments("text-classification", base, files, tmp_path / "run"), *RUN, "--class-weights", file)
    assert run_until(8, *args) == -9
    file.write_text('{"animal": 1, "colour": 3}')
    assert run_here(monkeypatch, *args, "--resume") == 2
    assert f"{file} differs from the file that {tmp_path / 'run'} was trained on so far" in capsys.readouterr().err


def test_several_seeds_go_on_in_the_one_that_was_cut_off(
    base: Path, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = "text-classification"
    whole = (*arguments(task, base, files, tmp_path / "whole"), *RUN, "--seeds", 2)
    assert run_here(monkeypatch, *whole) == 0
    args = (*arguments(task, base, files, tmp_path / "cut"), *RUN, "--seeds", 2, "--resume")
    assert run_until(8, *args) == -9
    assert run_here(monkeypatch, *args) == 0
    for place in ("", "seed-0", "seed-1"):
        assert weights(tmp_path / "cut" / place) == weights(tmp_path / "whole" / place)


def test_several_seeds_with_one_that_was_damaged_since(
    base: Path, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    args = (*arguments("text-classification", base, files, tmp_path / "run"), *RUN, "--seeds", 2)
    assert run_here(monkeypatch, *args) == 0
    shutil.rmtree(tmp_path / "run" / "seed-1")  # as if it had been stopped after the first seed
    for path in ("summary.json", "config.json", "model.safetensors"):
        (tmp_path / "run" / path).unlink()
    first = tmp_path / "run" / "seed-0"
    whole, weights_before = (first / "summary.json").read_text(), weights(first)
    remedy = f"delete {first / 'summary.json'} and use --resume to rebuild the model and figures from the saved state"
    for content, damage in (
        ("{}", " is damaged"),
        ('{"metrics": {"accuracy": "high"}, "seed": 0}', " is damaged (a figure that is not a finite number)"),
        (whole.replace('"accuracy": ', '"accuracy": 1'), ": its figures differ from the saved state's"),
    ):
        (first / "summary.json").write_text(content)
        capsys.readouterr()
        assert run_here(monkeypatch, *args, "--resume") == 2
        assert capsys.readouterr().err == f"error: {first / 'summary.json'}{damage}; {remedy}\n"
    (first / "model.safetensors").write_bytes(weights_before[:-1] + b"x")
    (first / "summary.json").write_text(whole)
    assert run_here(monkeypatch, *args, "--resume") == 2
    damage = "is damaged: its SHA-256 differs from the one in config.json"
    assert capsys.readouterr().err == f"error: {first / 'model.safetensors'} {damage}; {remedy}\n"
    assert not (tmp_path / "run" / "seed-1").exists()
    (first / "summary.json").unlink()
    assert run_here(monkeypatch, *args, "--resume") == 0
    assert weights(first) == weights_before
    (tmp_path / "run" / "summary.json").unlink()
    for seed in (0, 1):
        (tmp_path / "run" / f"seed-{seed}" / "curves.png").mkdir()
        (tmp_path / "run" / f"seed-{seed}" / "metrics.jsonl").write_text("{}\nno JSON\n")
    assert run_here(monkeypatch, *args, "--resume") == 0
    out = capsys.readouterr().out
    assert "/curves.png is not a file; left out\n" in out
    assert "/metrics.jsonl, line 1: damaged, skipped: step is None (and 1 more)\n" in out
    for place in (tmp_path / "run", *(tmp_path / "run").glob("seed-*")):
        (place / ("summary.json" if place.name == "run" else "metrics.jsonl")).unlink()
    assert run_here(monkeypatch, *args, "--resume") == 0
    assert "/metrics.jsonl is missing; left out\n" in capsys.readouterr().out


def test_several_seeds_are_not_trained_on_different_files(
    base: Path, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    task = "text-classification"
    shutil.copytree(files, tmp_path / "files")
    args = (*arguments(task, base, tmp_path / "files", tmp_path / "run"), *RUN, "--seeds", 2)
    assert run_here(monkeypatch, *args) == 0
    shutil.rmtree(tmp_path / "run" / "seed-1")  # as if it had been stopped after the first seed
    (tmp_path / "run" / "summary.json").unlink()
    train = tmp_path / "files" / "train.csv"
    content = train.read_text()
    train.write_text(content + "the cat saw two,animal\n")
    capsys.readouterr()
    assert run_here(monkeypatch, *args, "--resume") == 2
    run = tmp_path / "run" / "seed-0"
    assert capsys.readouterr().err == f"error: {train} differs from the file that {run} was trained on so far\n"
    assert not (tmp_path / "run" / "seed-1").exists()
    train.write_text(content)
    assert run_here(monkeypatch, *args, "--resume") == 0


def test_an_unfinished_run_wants_resume_and_the_same_options_and_files(
    base: Path, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    task = "text-classification"
    shutil.copytree(files, tmp_path / "files")
    args = (*arguments(task, base, tmp_path / "files", tmp_path / "run"), *RUN)
    assert run_until(8, *args) == -9
    before = tree(tmp_path / "run")
    train = tmp_path / "files" / "train.csv"
    changed = train.read_text() + "the cat saw two,animal\n"
    for more, message in (
        ((), "continue with --resume"),
        (("--resume", "--seed", 3), "with a different configuration: seed is 3, was 0"),
        (("--resume", "--max-length", 20), "max_length is 20, was not given"),
    ):
        assert run_here(monkeypatch, *args, *more) == 2
        assert message in capsys.readouterr().err
    train.write_text(changed)
    assert run_here(monkeypatch, *args, "--resume") == 2
    assert "train.csv differs from the file" in capsys.readouterr().err
    assert tree(tmp_path / "run") == before


def test_a_finished_run_is_left_alone(
    base: Path, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    args = (*arguments("text-classification", base, files, tmp_path / "run"), *RUN)
    assert run_here(monkeypatch, *args) == 0
    before = tree(tmp_path / "run")
    capsys.readouterr()
    for more in ((), ("--resume",)):
        assert run_here(monkeypatch, *args, *more) == 0
        assert "this run is finished" in capsys.readouterr().out
    assert tree(tmp_path / "run") == before


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_state(
    base: Path, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    args = (*arguments("text-classification", base, files, tmp_path / "run"), *RUN)
    original = Finetuning.stop_unless_finite

    def spoilt(self: Finetuning, sums: Any, gradient_norm: float) -> None:
        original(self, sums._replace(loss=float("nan")) if self.progress.step == 8 else sums, gradient_norm)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Finetuning, "stop_unless_finite", spoilt)
        assert run_here(patch, *args) == 3
    message = capsys.readouterr().err
    assert len(message.splitlines()) == 1
    assert "step 9: not finite: loss nan" in message and "last good state:" in message and "step-00000006" in message
    assert run_here(monkeypatch, *args, "--resume") == 0


@pytest.mark.slow
def test_kill_9_and_resume_in_a_process_of_its_own(
    base: Path, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    common = (*RUN, "--epochs", 30, "--save-every", 7)
    whole = arguments("token-classification", base, files, tmp_path / "whole")
    finished(start(*whole, *common))
    args = (*arguments("token-classification", base, files, tmp_path / "run"), *common)
    process = start(*args)
    wait_until(lambda: len(states(tmp_path / "run")) > 1, process)
    kill_all(process)
    assert not (tmp_path / "run" / "summary.json").exists()
    finished(start(*args, "--resume"))
    assert weights(tmp_path / "run") == weights(tmp_path / "whole")
    assert figures(tmp_path / "run") == figures(tmp_path / "whole")


@pytest.mark.slow
def test_ctrl_c_in_a_process_of_its_own(base: Path, files: Path, tmp_path: Path) -> None:
    args = (*arguments("text-classification", base, files, tmp_path / "run"), *RUN, "--epochs", 500)
    process = start(*args)
    wait_until(lambda: bool(states(tmp_path / "run")), process)
    os.killpg(process.pid, signal.SIGINT)
    _, err = finished(process, 130)
    assert "continue with --resume" in err and len(err.splitlines()) == 1
