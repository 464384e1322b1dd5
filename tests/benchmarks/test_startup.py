"""Commands are timed from outside, and one that fails is no figure."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.options import StartupOptions
from benchmarks.startup import compare, timed
from minibert.errors import RunStopped


@pytest.mark.slow
def test_every_command_is_timed(
    hf_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.startup.PACKAGES", ("minibert",))  # of five: they are alike
    compare(StartupOptions(model=str(hf_model), repeats=1, json=str(tmp_path / "x.json")))
    printed = capsys.readouterr().out
    seconds = json.loads((tmp_path / "x.json").read_text())["seconds"]
    assert [name for name in seconds if "--help" not in name] == [
        "python -m minibert info", "vectors of one text, ours", "a forward pass, ours", "vectors of one text, peer",
        "a forward pass, peer",
    ]  # fmt: skip
    assert len(seconds) == 6
    assert all(len(found) == 2 and min(found) > 0.01 for found in seconds.values())
    assert all(name in printed for name in seconds)


def test_a_command_that_fails_is_no_figure() -> None:
    assert timed(["-c", "pass"]) > 0
    with pytest.raises(RunStopped, match=r"python -c raise SystemExit\('no'\) ended with 1: no"):
        timed(["-c", "raise SystemExit('no')"])
