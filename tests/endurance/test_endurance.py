"""A few of the cases of `python -m tests.endurance`, and that its eye for what is wrong is open."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.endurance.forks import REPOSITORY, Ending
from tests.endurance.material import CLOCKED, complaint, difference, tree

ONE_LINE = "error: run/config.json: not readable as JSON\n"


@pytest.mark.slow
def test_a_sample_of_kills_damages_and_hostile_inputs_ends_as_it_should() -> None:
    command = [sys.executable, "-m", "tests.endurance", "sample"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("code", "err", "complaint_begins"),
    [
        (0, "", ""),
        (0, "note     1 text was cut\n", ""),
        (2, ONE_LINE, ""),
        (2, "", "not exactly one line"),
        (2, ONE_LINE + ONE_LINE, "not exactly one line"),
        (2, "Killed\n", "not exactly one line"),
        (-9, ONE_LINE, "not one of our exit codes"),
        (1, "Traceback (most recent call last):\n", "a traceback"),
    ],
)
def test_what_is_a_good_ending(code: int, err: str, complaint_begins: str) -> None:
    told = complaint(Ending(code, "", err, 0))
    assert told.startswith(complaint_begins) and bool(told) == bool(complaint_begins)


def test_trees_differ_by_all_but_clocks_and_lines_of_a_resume(tmp_path: Path) -> None:
    line, later = '{"step": 1, "loss": 2.0, "seconds": 0.5}\n', '{"step": 1, "loss": 2.0, "seconds": 0.7}\n'
    contents = {
        "same": (line, '{"seconds": 3}'),
        "resumed": (line + '{"event": "resume", "step": 0}\n' + later, '{"seconds": 4}'),
        "other loss": (line.replace("2.0", "2.5"), '{"seconds": 3}'),
        "other summary": (line, '{"seconds": 3, "steps": 1}'),
    }
    trees = {}
    for name, (log, summary) in contents.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.jsonl").write_text(log)
        (tmp_path / name / "summary.json").write_text(summary)
        trees[name] = tree(tmp_path / name)
    assert "seconds" in CLOCKED
    assert difference(trees["resumed"], trees["same"]) == ""
    assert difference(trees["other loss"], trees["same"]).startswith("metrics.jsonl differs")
    assert difference(trees["other summary"], trees["same"]).startswith("summary.json differs")
    (tmp_path / "same" / ".partial").touch()
    assert difference(tree(tmp_path / "same"), trees["same"]) == ".partial is too much"
