"""What bad input takes away again of a run's directory; the rest is tested with each kind of run."""

from __future__ import annotations

from pathlib import Path

import pytest

from minibert.errors import InputError, Interrupted
from minibert.training.run_directory import gone_on_bad_input


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


def test_what_was_there_stays(tmp_path: Path) -> None:
    (tmp_path / "run.toml").touch()
    with pytest.raises(InputError), gone_on_bad_input(tmp_path, when=False):
        raise InputError("bad")
    with pytest.raises(Interrupted), gone_on_bad_input(tmp_path, when=True):
        raise Interrupted("stopped")
    assert [path.name for path in tmp_path.iterdir()] == ["run.toml"]
