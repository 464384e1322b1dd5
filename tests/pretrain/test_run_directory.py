"""A run's directory: whether a command may start, go on, or has nothing left to do there."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from minibert.training.run_directory import RunStatus
from pretrain.options import PretrainOptions
from pretrain.run_directory import PretrainDirectory
from tests.helpers import refusal

OPTIONS = PretrainOptions(out="run", data="arrays", model="tiny", steps=10)
RESUME = dataclasses.replace(OPTIONS, resume=True)


@pytest.fixture
def run(tmp_path: Path) -> PretrainDirectory:
    """A run that was begun and has no state yet."""
    directory = PretrainDirectory(tmp_path / "run")
    directory.path.mkdir()
    directory.configuration.write_text(OPTIONS.to_toml(), encoding="utf-8")
    return directory


@pytest.mark.parametrize("options", [OPTIONS, RESUME])
def test_a_place_that_is_absent_or_empty_is_new(tmp_path: Path, options: PretrainOptions) -> None:
    assert PretrainDirectory(tmp_path / "not" / "there").status(options) is RunStatus.NEW
    assert PretrainDirectory(tmp_path).status(options) is RunStatus.NEW


def test_an_unfinished_run_goes_on_when_asked_to(run: PretrainDirectory) -> None:
    assert run.status(RESUME) is RunStatus.UNFINISHED
    message = refusal(lambda: run.status(OPTIONS))
    assert str(run.path) in message and "unfinished" in message and "--resume" in message


def test_a_run_is_finished_when_its_summary_is_there(run: PretrainDirectory) -> None:
    for path in (run.metrics, run.curves, run.path / "config.json"):
        path.touch()
    assert run.status(RESUME) is RunStatus.UNFINISHED
    run.summary.write_text("{}")
    assert run.status(RESUME) is run.status(OPTIONS) is RunStatus.FINISHED


def test_a_finished_run_loses_the_lock_that_a_kill_at_its_very_end_left(run: PretrainDirectory) -> None:
    run.lock.touch()
    assert run.status(RESUME) is RunStatus.UNFINISHED and run.lock.exists()
    run.summary.write_text("{}")
    assert run.status(OPTIONS) is RunStatus.FINISHED and not run.lock.exists()


@pytest.mark.parametrize("options", [OPTIONS, RESUME])
def test_anything_else_is_refused(tmp_path: Path, options: PretrainOptions) -> None:
    (tmp_path / "file").touch()
    assert "is not a directory" in refusal(lambda: PretrainDirectory(tmp_path / "file").status(options))
    assert "holds no pretraining run" in refusal(lambda: PretrainDirectory(tmp_path).status(options))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seed": 3}, "seed is 3, was 0"),
        ({"model": "mini"}, "model is 'mini', was 'tiny'"),
        ({"steps": 20}, "steps is 20, was 10"),
        ({"steps": None, "minutes": 2.0}, "minutes is 2.0, was not given; steps is not given, was 10"),
        ({"phases": ((32, 1.0),)}, "phases is [[32, 1.0]], was [[128, 1.0]]"),
        ({"dtype": "float64"}, "dtype is 'float64', was 'auto'"),
        ({"data": None, "corpus": ("a.txt",)}, "corpus is ['a.txt'], was []; data is not given, was 'arrays'"),
        ({"init": "model"}, "init is 'model', was not given"),
    ],
)
@pytest.mark.parametrize("is_finished", [True, False])
def test_another_configuration_is_refused_by_field(
    run: PretrainDirectory, change: dict[str, Any], said: str, is_finished: bool
) -> None:
    if is_finished:
        run.summary.write_text("{}")
    message = refusal(lambda: run.status(dataclasses.replace(RESUME, **change)))
    assert message.endswith(f"with a different configuration: {said}")
    assert ("a finished run" if is_finished else "an unfinished run") in message


def test_how_often_it_reports_may_change(run: PretrainDirectory) -> None:
    changed = dataclasses.replace(
        RESUME, out="moved", save_every=1, save_seconds=3.0, evaluations=1, log_every=1, device="cpu"
    )
    assert run.status(changed) is RunStatus.UNFINISHED


def test_a_configuration_that_cannot_be_read_is_named(run: PretrainDirectory) -> None:
    run.configuration.write_bytes(b"\xff")
    assert "run.toml: not readable as TOML" in refusal(lambda: run.status(RESUME))


def test_the_places_are_those_of_the_contract(tmp_path: Path) -> None:
    run = PretrainDirectory(tmp_path)
    places = (run.configuration, run.data, run.state, run.kept, run.metrics, run.curves, run.summary)
    assert [place.relative_to(tmp_path).as_posix() for place in places] == [
        "run.toml", "data", "state", "kept", "metrics.jsonl", "curves.png", "summary.json",
    ]  # fmt: skip
