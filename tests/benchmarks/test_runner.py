"""Runs in turns, kept as they come, not repeated."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.runner import Results, Run, alternate, run_python
from minibert.errors import RunStopped
from tests.helpers import refusal

FACTS = {"benchmark": "finetune", "machine": {"cores": 2}}


def sides(made: list[str], stop_at: str = "") -> dict[str, Callable[[int], Run]]:
    """Two sides that note when they run."""

    def side(name: str) -> Callable[[int], Run]:
        def run(seed: int) -> Run:
            if f"{name} {seed}" == stop_at:
                raise RunStopped("no room left")
            made.append(f"{name} {seed}")
            return Run(name, seed, {"steps": 1}, {"mcc": 0.5}, {"seconds": 1.0})

        return run

    return {"ours": side("ours"), "peer": side("peer")}


def test_the_sides_take_turns_in_going_first() -> None:
    made: list[str] = []
    alternate(sides(made), range(3), Results(None, FACTS), lambda run: None)
    assert made == ["ours 0", "peer 0", "peer 1", "ours 1", "ours 2", "peer 2"]


def test_what_was_stopped_goes_on_and_nothing_is_repeated(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    made: list[str] = []
    with pytest.raises(RunStopped):
        alternate(sides(made, stop_at="ours 1"), range(2), Results(path, FACTS), lambda run: None)
    assert len(json.loads(path.read_text())["runs"]) == 3
    results = Results(path, FACTS)
    alternate(sides(made), range(2), results, lambda run: None)
    assert made == ["ours 0", "peer 0", "peer 1", "ours 1"]
    assert [(run.side, run.seed) for run in results.of("ours")] == [("ours", 0), ("ours", 1)]
    assert Results(path, FACTS).runs == results.runs


def test_runs_of_another_machine_or_another_kind_of_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    Results(path, FACTS).add(Run("ours", 0, {}, {}, {}))
    message = refusal(lambda: Results(path, {**FACTS, "machine": {"cores": 4}}))
    assert "holds runs of another kind: machine was {'cores': 2}, is {'cores': 4}" in message
    path.write_text("[]")
    assert "holds no results of a benchmark" in refusal(lambda: Results(path, FACTS))
    assert "no such directory" in refusal(lambda: Results(tmp_path / "nowhere" / "results.json", FACTS))


def test_a_command_that_fails_is_told_by_its_last_line(tmp_path: Path) -> None:
    bad_input = ["finetune", "no-such-task"]
    message = refusal(lambda: run_python(bad_input, tmp_path / "log", threads=1))
    assert message.startswith("python -m finetune ended with 2: unknown command 'no-such-task'")
    with pytest.raises(RunStopped, match=r"python -m no_such_module ended with 1: .*No module named no_such_module"):
        run_python(["no_such_module"], tmp_path / "log", threads=1)
