"""What bad input takes away again of a run's directory; the rest is tested with each kind of run."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from minibert.errors import InputError, Interrupted
from minibert.training.lock import Held
from minibert.training.loop import opened
from minibert.training.processes import Processes
from minibert.training.run_directory import RunDirectory, RunStatus, gone_on_bad_input
from tests.helpers import refusal


def test_bad_input_takes_away_what_was_made_and_only_that(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    place = tmp_path / "kept" / "a" / "run"
    with pytest.raises(InputError), gone_on_bad_input(place, when=True):
        place.mkdir(parents=True)
        (place / "run.toml").touch()
        raise InputError("bad")
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")] == ["kept"]


def test_bad_input_empties_a_directory_that_was_empty(tmp_path: Path) -> None:
    with pytest.raises(InputError), gone_on_bad_input(tmp_path, when=True):
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "x").touch()
        (tmp_path / "run.toml").touch()
        raise InputError("bad")
    assert tmp_path.is_dir() and not any(tmp_path.iterdir())


def test_a_second_process_is_kept_out_and_nothing_is_left_of_the_lock(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    with opened(run, Processes(), lambda: RunStatus.NEW) as unfinished:
        second = opened(run, Processes(), lambda: RunStatus.NEW)
        assert unfinished and refusal(second.__enter__) == f"{tmp_path}: another process is training there"
    assert not any(tmp_path.iterdir())


def test_a_summary_that_is_no_file_is_refused_before_anything_is_done(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    os.mkfifo(run.summary)
    assert refusal(lambda: run.is_finished) == f"{run.summary} is a named pipe, expected a file"
    run.summary.unlink()
    run.summary.mkdir()
    assert refusal(lambda: run.is_finished) == f"{run.summary} is a directory, expected a file"


def test_what_is_taken_away_is_no_longer_in_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows would not remove it."""
    place = tmp_path / "run"

    def refuse() -> None:
        mapped = np.memmap(place / "tokens.bin", shape=(3,), mode="w+")
        raise InputError(f"bad {mapped[0]}")

    def rmtree(path: Path, ignore_errors: bool) -> None:
        assert path == place and str(place) not in Path("/proc/self/maps").read_text()

    monkeypatch.setattr(shutil, "rmtree", rmtree)
    with pytest.raises(InputError, match="bad 0"), gone_on_bad_input(place, when=True):
        place.mkdir()
        refuse()


def test_what_was_there_stays(tmp_path: Path) -> None:
    (tmp_path / "run.toml").touch()
    with pytest.raises(InputError), gone_on_bad_input(tmp_path, when=False):
        raise InputError("bad")
    with pytest.raises(Interrupted), gone_on_bad_input(tmp_path, when=True):
        raise Interrupted("stopped")
    assert [path.name for path in tmp_path.iterdir()] == ["run.toml"]


def test_what_another_process_is_at_is_not_taken_away(tmp_path: Path) -> None:
    for error, stays in ((Held("another run is making it"), True), (InputError("bad"), False)):
        with pytest.raises(InputError), gone_on_bad_input(tmp_path / "run", when=True):
            (tmp_path / "run").mkdir(exist_ok=True)
            raise error
        assert (tmp_path / "run").exists() is stays
        if stays:
            (tmp_path / "run").rmdir()
