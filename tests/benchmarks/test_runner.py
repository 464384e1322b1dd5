"""Runs take turns, are kept as they come, and are not repeated."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.runner import Results, Run, alternate, run_python, workplace
from minibert.errors import InputError, RunStopped
from tests.helpers import REPOSITORY, refusal

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
        alternate(sides(made, stop_at="ours 1"), range(2), Results(str(path), FACTS), lambda run: None)
    assert len(json.loads(path.read_text())["runs"]) == 3
    results = Results(str(path), FACTS)
    alternate(sides(made), range(2), results, lambda run: None)
    assert made == ["ours 0", "peer 0", "peer 1", "ours 1"]
    assert [(run.side, run.seed) for run in results.of("ours", seeds=2)] == [("ours", 0), ("ours", 1)]
    assert Results(str(path), FACTS).runs == results.runs


def test_runs_of_another_machine_or_another_kind_of_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    Results(str(path), FACTS).add(Run("ours", 0, {}, {}, {}))
    message = refusal(lambda: Results(str(path), {**FACTS, "machine": {"cores": 4}}))
    assert "its runs were made differently (machine: {'cores': 2} then, {'cores': 4} now)" in message
    path.write_text("[]")
    assert "not a benchmark's results" in refusal(lambda: Results(str(path), FACTS))


def test_a_command_that_fails_is_told_by_its_last_line(tmp_path: Path) -> None:
    bad_input = ["finetune", "no-such-task"]
    message = refusal(lambda: run_python(bad_input, tmp_path / "log", threads=1))
    assert message.startswith("python -m finetune exited with code 2: unknown command 'no-such-task'")
    with pytest.raises(RunStopped, match=r"no_such_module exited with code 1: .*No module named no_such_module"):
        run_python(["no_such_module"], tmp_path / "log", threads=1)


def test_the_workplace_stays_when_stopped_and_goes_when_all_is_done(tmp_path: Path) -> None:
    results = str(tmp_path / "x.json")
    with pytest.raises(RunStopped), workplace(results, {"steps": 1}) as place:
        (place / "half").touch()
        raise RunStopped("no room left")
    assert place == tmp_path / "x.work"
    with workplace(results, {"steps": 1}) as again:
        assert (again / "half").exists()
    assert not place.exists()


def test_what_was_made_for_other_settings_is_not_gone_on_with(tmp_path: Path) -> None:
    results = str(tmp_path / "x.json")
    with pytest.raises(RunStopped), workplace(results, {"model": "one"}) as place:
        (place / "model").touch()
        raise RunStopped("no room left")
    with pytest.raises(InputError, match=r"x.work: an unfinished comparison with other settings; delete it"):
        workplace(results, {"model": "two"}).__enter__()
    assert (place / "model").exists()


def test_a_directory_that_no_benchmark_made_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "x.work").mkdir()
    with (
        pytest.raises(InputError, match=r"x.work: already exists, and no benchmark made it"),
        workplace(str(tmp_path / "x.json"), {}),
    ):
        pass
    with (
        pytest.raises(InputError, match=r"there is no directory .*nowhere"),
        workplace(str(tmp_path / "nowhere" / "x.json"), {}),
    ):
        pass
    assert (tmp_path / "x.work").is_dir()


def test_an_interrupt_leaves_no_process_running(tmp_path: Path) -> None:
    script = tmp_path / "slow_one.py"
    script.write_text("import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(600)\n")
    command = (
        # A process that a shell began with & ignores this signal, and so do those that it begins.
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from pathlib import Path; from benchmarks.runner import run_python; "
        f"run_python(['slow_one'], Path({str(tmp_path / 'log')!r}), threads=1)"
    )
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{REPOSITORY}"}
    process = subprocess.Popen([sys.executable, "-c", command], env=environment, stderr=subprocess.DEVNULL)
    log = tmp_path / "log"
    while not (log.exists() and log.read_text().strip()):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) != 0
    with pytest.raises(ProcessLookupError):
        os.kill(int(log.read_text()), 0)
