"""Stopping and going on: a run that was stopped, killed or cut off ends with the very bytes of one that was not."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from minibert.training.state import load_newest_state, save_state
from pretrain.arrays.prepare import PrepareOptions, prepare
from pretrain.train import Pretraining
from tests.pretrain.running import (
    DROPPING,
    documents,
    finished,
    kill_all,
    metrics,
    run_here,
    start,
    states,
    summary,
    tree,
    wait_until,
    weights,
    write_text,
)

pytestmark = pytest.mark.usefixtures("plain")


# Fields of the config that were not there from the beginning.
NEWER = ("positions_skip_padding", "embedding_size", "share_layers", "classifier_dropout", "span_dropout", "pooler_act",
         "pooler_input_dropout", "attention_window", "sep_token_id")  # fmt: skip


class Cut(Exception):
    """As good as a kill: nothing is saved on the way out."""


def cut_before_step(monkeypatch: pytest.MonkeyPatch, step: int, kill: bool = True) -> pytest.MonkeyPatch:
    """From now on, runs end before this step; or, without `kill`, are sent a SIGTERM in it."""
    original = Pretraining.step

    def cut(self: Pretraining, stop: Any) -> Any:
        if self.progress.step == step:
            if kill:
                raise Cut
            signal.raise_signal(signal.SIGTERM)
        return original(self, stop)

    monkeypatch.setattr(Pretraining, "step", cut)
    return monkeypatch


def run_until(step: int, *args: object, kill: bool = True) -> int:
    with pytest.MonkeyPatch.context() as patch:
        cut_before_step(patch, step, kill)
        try:
            return run_here(patch, *args)
        except Cut:
            return -9


def losses(run: Path) -> dict[int, float]:
    """The last word on every step."""
    return {line["step"]: line["mlm_loss"] for line in metrics(run) if "mlm_loss" in line}


# --- The same bytes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
@pytest.mark.parametrize(
    "extra", [(), ("--accumulate", "2", "--whole-word-mask"), ("--no-nsp",), ("--pair-objective", "sop")]
)
def test_a_run_cut_off_three_times_ends_with_the_same_bytes(
    common: tuple[object, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, optimizer: str,
    extra: tuple[str, ...],
) -> None:  # fmt: skip
    common = (*common, "--optimizer", optimizer, "--learning-rate", 3e-3, *extra, "--steps", 40, "--save-every", 5)
    assert run_here(monkeypatch, *common, "--out", tmp_path / "whole") == 0
    out = ("--out", tmp_path / "cut", "--resume")
    for step in (7, 23, 39):
        assert run_until(step, *common, *out) == -9
        assert states(tmp_path / "cut")[-1] == f"step-{step // 5 * 5:08d}"
    assert run_here(monkeypatch, *common, *out) == 0
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")
    ours, theirs = (summary(tmp_path / name) for name in ("cut", "whole"))
    times = {"seconds", "tokens_per_second", "peak_rss_bytes"}
    assert {name: ours[name] for name in set(ours) - times} == {name: theirs[name] for name in set(theirs) - times}
    assert [line["step"] for line in metrics(tmp_path / "cut") if line.get("event") == "resume"] == [5, 20, 35]


def test_the_same_over_a_change_of_phase(
    common: tuple[object, ...], arrays: Path, shape: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tmp_path / "phases.toml"
    recipe.write_text("phases = [[16, 0.3], [24, 0.3], [32, 0.4]]\nbatch_size = 8\ndropout = 0.1\n")
    args = ("--data", arrays, "--model", shape, "--recipe", recipe, "--dtype", "float32", "--steps", 20)
    assert run_here(monkeypatch, *args, "--out", tmp_path / "whole") == 0
    for step in (6, 13, 20):  # at the change at 6, behind that at 12, at the end
        out = ("--out", tmp_path / str(step), "--save-every", 1)
        if step < 20:
            assert run_until(step, *args, *out) == -9
        assert run_here(monkeypatch, *args, *out, "--resume") == 0
        assert weights(tmp_path / str(step)) == weights(tmp_path / "whole")


def test_a_state_of_before_a_field_was_in_the_config_is_gone_on_from(
    common: tuple[object, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    common = (*common, "--steps", 6, "--save-every", 3)
    assert run_here(monkeypatch, *common, "--out", tmp_path / "whole") == 0

    def older(directory: Path, step: int, tensors: Any, facts: dict[str, Any]) -> None:
        config = {name: value for name, value in facts["config"].items() if name not in NEWER}
        save_state(directory, step, tensors, facts | {"config": config})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("minibert.training.loop.save_state", older)
        assert run_until(4, *common, "--out", tmp_path / "cut") == -9
    assert run_here(monkeypatch, *common, "--out", tmp_path / "cut", "--resume") == 0
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")


def test_a_signal_saves_the_state_and_the_run_goes_on_with_the_same_bytes(
    common: tuple[object, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    common = (*common, "--steps", 20)
    assert run_here(monkeypatch, *common, "--out", tmp_path / "whole") == 0
    capsys.readouterr()
    assert run_until(6, *common, "--out", tmp_path / "run", kill=False) == 130
    shown = capsys.readouterr()
    assert shown.err == "error: stopped at step 7; continue with --resume\n"
    assert states(tmp_path / "run") == ["step-00000007"]
    assert not (tmp_path / "run" / "summary.json").exists()
    assert run_here(monkeypatch, *common, "--out", tmp_path / "run", "--resume") == 0
    assert "continuing from step 7" in capsys.readouterr().out
    assert weights(tmp_path / "run") == weights(tmp_path / "whole")


@pytest.mark.parametrize("kill", [False, True])
def test_an_evaluation_that_was_due_is_made_after_a_stop(
    common: tuple[object, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kill: bool
) -> None:
    args = (*common, "--steps", 8, "--save-every", 4, "--out", tmp_path / "run")  # due after steps 4 and 8
    with pytest.MonkeyPatch.context() as patch:
        if kill:  # between the state and the evaluation
            patch.setattr(Pretraining, "evaluate", lambda *_: (_ for _ in ()).throw(Cut))
            with pytest.raises(Cut):
                run_here(patch, *args)
        else:
            assert run_until(3, *args, kill=False) == 130
    assert states(tmp_path / "run") == ["step-00000004"]
    assert run_here(monkeypatch, *args, "--resume") == 0
    assert [line["step"] for line in metrics(tmp_path / "run") if "heldout_mlm_loss" in line] == [4, 8]


def test_a_signal_in_the_last_step_loses_nothing(
    common: tuple[object, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    common = (*common, "--steps", 6, "--out", tmp_path / "run")
    assert run_until(5, *common, kill=False) == 130
    assert states(tmp_path / "run") == ["step-00000006"]
    assert run_here(monkeypatch, *common, "--resume") == 0
    assert summary(tmp_path / "run")["steps"] == 6


def test_a_run_cut_off_while_its_result_is_written_is_finished_by_a_resume(
    common: tuple[object, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    common = (*common, "--steps", 6)
    assert run_here(monkeypatch, *common, "--out", tmp_path / "whole") == 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("minibert.files.writing.write_whole", lambda *_: (_ for _ in ()).throw(Cut()))
        with contextlib.suppress(Cut):
            run_here(patch, *common, "--out", tmp_path / "run")
    assert not (tmp_path / "run" / "summary.json").exists()
    assert run_here(monkeypatch, *common, "--out", tmp_path / "run", "--resume") == 0
    assert weights(tmp_path / "run") == weights(tmp_path / "whole")
    assert set(tree(tmp_path / "run")) == set(tree(tmp_path / "whole"))


def test_a_damaged_newest_state_is_reported_and_the_one_before_it_used(
    common: tuple[object, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    common = (*common, "--steps", 20, "--save-every", 4)
    assert run_here(monkeypatch, *common, "--out", tmp_path / "whole") == 0
    run = tmp_path / "run"
    assert run_until(14, *common, "--out", run) == -9
    newest = run / "state" / "step-00000012"
    content = bytearray((newest / "tensors.safetensors").read_bytes())
    content[len(content) // 2] ^= 1
    (newest / "tensors.safetensors").write_bytes(content)
    capsys.readouterr()
    assert run_here(monkeypatch, *common, "--out", run, "--resume") == 0
    shown = capsys.readouterr().out
    assert f"{newest}: damaged, skipped" in shown and "continuing from step 8" in shown
    assert weights(run) == weights(tmp_path / "whole")


def test_only_damaged_states_are_refused_and_left_as_they_are(
    common: tuple[object, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    common = (*common, "--steps", 20, "--save-every", 4, "--out", tmp_path / "run")
    assert run_until(9, *common) == -9
    for record in (tmp_path / "run" / "state").glob("step-*/state.json"):
        record.write_text("{")
    before = tree(tmp_path / "run")
    capsys.readouterr()
    assert run_here(monkeypatch, *common, "--resume") == 2
    assert "every saved state is damaged (2 in all)" in capsys.readouterr().err
    assert tree(tmp_path / "run") == before


def test_a_run_measured_in_minutes_counts_all_its_parts(
    arrays: Path, shape: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    args = ("--data", arrays, "--model", shape, *DROPPING, "--minutes", 0.02, "--out", tmp_path / "run")
    assert run_until(10, *args, kill=False) == 130
    state = load_newest_state(tmp_path / "run" / "state", print)
    assert state is not None and 0 < state.facts["position"]["seconds"] < 1.2
    assert run_here(monkeypatch, *args, "--resume") == 0
    assert 1.2 <= summary(tmp_path / "run")["seconds"] < 2


# --- Where a run may go on -------------------------------------------------------------------------------------------


def test_a_finished_run_is_left_alone_with_and_without_resume(
    common: tuple[object, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    common = (*common, "--steps", 3, "--out", tmp_path / "run")
    assert run_here(monkeypatch, *common) == 0
    before = tree(tmp_path)
    for more in ((), ("--resume",), ("--save-every", 7)):
        capsys.readouterr()
        assert run_here(monkeypatch, *common, *more) == 0
        shown = capsys.readouterr()
        assert "this run is finished" in shown.out and shown.err == ""
        assert tree(tmp_path) == before


def test_an_unfinished_run_is_refused_without_resume(
    common: tuple[object, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    common = (*common, "--steps", 9, "--save-every", 2, "--out", tmp_path / "run")
    assert run_until(5, *common) == -9
    before = tree(tmp_path)
    capsys.readouterr()
    assert run_here(monkeypatch, *common) == 2
    shown = capsys.readouterr().err
    assert len(shown.splitlines()) == 1 and str(tmp_path / "run") in shown and "--resume" in shown
    assert tree(tmp_path) == before


@pytest.mark.parametrize("resume", [(), ("--resume",)])
@pytest.mark.parametrize("is_finished", [True, False])
def test_another_configuration_is_refused_and_its_fields_named(
    common: tuple[object, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    resume: tuple[str, ...], is_finished: bool,
) -> None:  # fmt: skip
    common = (*common, "--save-every", 2, "--steps", 5)
    out = ("--out", tmp_path / "run")
    assert (run_here(monkeypatch, *common, *out) if is_finished else run_until(3, *common, *out)) in (0, -9)
    before = tree(tmp_path)
    capsys.readouterr()
    assert run_here(monkeypatch, *common, *out, *resume, "--seed", 3, "--mask-rate", 0.2) == 2
    shown = capsys.readouterr().err
    assert len(shown.splitlines()) == 1
    assert "seed is 3, was 0" in shown and "mask_rate is 0.2, was 0.3" in shown and "dropout" not in shown
    assert tree(tmp_path) == before


def test_a_model_file_that_was_edited_meanwhile_is_refused(
    arrays: Path, shape: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "own.json"
    own.write_text(shape.read_text())
    args = ("--data", arrays, "--model", own, *DROPPING, "--save-every", 2, "--steps", 5, "--out", tmp_path / "run")
    assert run_until(3, *args) in (0, -9)
    own.write_text(json.dumps(json.loads(shape.read_text()) | {"layer_norm_eps": 1e-5}))
    capsys.readouterr()
    assert run_here(monkeypatch, *args, "--resume") == 2
    assert "layer_norm_eps is 1e-05, was 1e-12" in capsys.readouterr().err


def test_resume_where_nothing_was_begins_and_says_so(
    common: tuple[object, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    common = (*common, "--steps", 3, "--out", tmp_path / "run", "--resume")
    assert run_until(1, *common) == -9
    assert "no saved state: starting at step 0" in capsys.readouterr().out
    assert run_here(monkeypatch, *common) == 0  # a run that was cut off before its first state
    assert "no saved state: starting at step 0" in capsys.readouterr().out


def test_token_arrays_that_changed_meanwhile_are_refused(
    arrays: Path, shape: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(arrays, tmp_path / "arrays")
    args = ("--data", tmp_path / "arrays", "--model", shape, *DROPPING, "--steps", 9, "--save-every", 2, "--out",
            tmp_path / "run")  # fmt: skip
    assert run_until(5, *args) == -9
    shutil.rmtree(tmp_path / "arrays")
    corpus = write_text(tmp_path / "text.txt", documents(40, seed=8))
    prepare(PrepareOptions(corpus=(str(corpus),), vocab_size=100, workers=1), tmp_path / "arrays")
    before = tree(tmp_path)
    capsys.readouterr()
    assert run_here(monkeypatch, *args, "--resume") == 2
    shown = capsys.readouterr().err
    assert len(shown.splitlines()) == 1 and "differs from the arrays" in shown
    assert tree(tmp_path) == before


# --- Real signals, kills and disks: processes of their own -----------------------------------------------------------

STEPS = ("--steps", "300", "--save-every", "10", "--optimizer", "muon")


@pytest.fixture(scope="module")
def whole(arrays: Path, shape: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[int, bytes]:
    """The weights of the run that was never stopped, for each number of processes; made when asked for."""
    return {}


def whole_run(
    whole: dict[int, bytes], processes: int, common: tuple[object, ...], tmp_path_factory: pytest.TempPathFactory
) -> bytes:
    if processes not in whole:
        out = tmp_path_factory.mktemp("whole") / "run"
        finished(start(*common, *STEPS, "--out", out, processes=processes))
        whole[processes] = weights(out)
    return whole[processes]


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_from_outside(
    common: tuple[object, ...], tmp_path: Path, whole: dict[int, bytes], tmp_path_factory: pytest.TempPathFactory,
    number: signal.Signals, processes: int,
) -> None:  # fmt: skip
    run = tmp_path / "run"
    process = start(*common, *STEPS, "--out", run, processes=processes)
    wait_until(lambda: bool(states(run)), process)
    if number is signal.SIGINT:
        os.killpg(process.pid, number)  # as a terminal does; torchrun passes it on to its workers
    else:
        process.send_signal(number)
    _, err = finished(process, 130 if processes == 1 else 1)
    lines = [line for line in err.splitlines() if line.startswith("error:")]
    assert len(lines) == 1 and lines[0].startswith("error: stopped at step ")
    step = int(lines[0].split()[4].rstrip(";"))
    assert states(run)[-1] == f"step-{step:08d}"
    if processes == 1:
        assert err.splitlines() == lines
    finished(start(*common, *STEPS, "--out", run, "--resume", processes=processes))
    assert weights(run) == whole_run(whole, processes, common, tmp_path_factory)


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_kill_9_and_again_and_again(
    common: tuple[object, ...], tmp_path: Path, whole: dict[int, bytes], tmp_path_factory: pytest.TempPathFactory,
    processes: int,
) -> None:  # fmt: skip
    run = tmp_path / "run"
    for _ in range(3):
        before = states(run)
        process = start(*common, *STEPS, "--out", run, "--resume", processes=processes)
        wait_until(lambda before=before: states(run)[-1:] > before[-1:], process)  # type: ignore[misc]
        kill_all(process)
        assert process.returncode == -9
    finished(start(*common, *STEPS, "--out", run, "--resume", processes=processes))
    assert weights(run) == whole_run(whole, processes, common, tmp_path_factory)


def limit_files_to(size: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def test_a_full_disk_stops_the_run_with_its_last_good_state_whole(
    common: tuple[object, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files may hold as much as the log does at step 6, and the state is larger than that."""
    run = tmp_path / "run"
    common = (*common, "--steps", 12, "--save-every", 4, "--out", run)
    assert run_until(6, *common) == -9
    before = tree(run / "state")
    largest = max(len(content) for content in before.values() if content)
    process = start(*common, "--resume", preexec=lambda: limit_files_to(largest - 1))
    _, err = finished(process, 3)
    assert len(err.splitlines()) == 1
    assert "step-00000008 could not be written" in err and "the last good state is that of step 4" in err
    assert tree(run / "state") == before
    assert run_here(monkeypatch, *common, "--resume") == 0
    assert run_here(monkeypatch, *common[:-1], tmp_path / "whole") == 0
    assert weights(run) == weights(tmp_path / "whole")


def test_a_full_disk_while_the_model_is_written(
    common: tuple[object, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    common = (*common, "--steps", 3, "--out", run)
    assert run_until(2, *common) == -9
    capsys.readouterr()

    def full(path: Path, content: bytes) -> int:
        raise OSError(28, "No space left on device", str(path))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        assert run_here(patch, *common, "--resume") == 3
    shown = capsys.readouterr().err
    assert len(shown.splitlines()) == 1 and "No space left on device" in shown
    assert states(run) == ["step-00000003"]
    assert not {"model.safetensors", "summary.json"} & {path.name for path in run.iterdir()}
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert run_here(monkeypatch, *common, "--resume") == 0
    assert json.loads((run / "summary.json").read_text())["steps"] == 3
