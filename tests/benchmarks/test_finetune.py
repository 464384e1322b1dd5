"""Whole comparisons in small: both sides train, their answers are scored, the table is printed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

import benchmarks.__main__
from benchmarks.finetune import compare, report
from benchmarks.options import FinetuneOptions
from benchmarks.runner import Run
from benchmarks.tasks import BENCHMARK_TASKS
from minibert.console import cli
from minibert.errors import CheckFailed
from tests.benchmarks.conftest import FOLDERS
from tests.helpers import refusal


@pytest.mark.slow
@pytest.mark.parametrize("task", ["cola", "wnut17", "squad", "choices"])  # stsb differs from cola in its scores alone
def test_both_sides_train_on_the_same_and_are_compared(
    task: str, hf_model: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    path = tmp_path / "results.json"
    options = FinetuneOptions(
        task=task, model=str(hf_model), data=str(data / FOLDERS[task]), seeds=1, epochs=1, batch_size=4,
        train_limit=12, learning_rate=1e-3, threads=1, json=str(path),
    )  # fmt: skip
    compare(options)
    printed = capsys.readouterr().out
    assert "12 train examples" in printed and ", the same on both sides" in printed and "ratio" in printed
    assert "finetune's own figures differ from the scorer's by at most 0.00 points" in printed
    ours, peer = json.loads(path.read_text())["runs"]
    assert (ours["side"], peer["side"], ours["work"]) == ("ours", "transformers", peer["work"])
    assert ours["work"]["steps"] == -(-ours["work"]["features"] // 4)
    assert set(BENCHMARK_TASKS[task].metrics) <= ours["metrics"].keys() == peer["metrics"].keys()
    for run in (ours, peer):
        assert run["figures"]["command_seconds"] > run["figures"]["seconds"] > 0
        assert 1e8 < run["figures"]["peak_memory"] < 1e10

    monkeypatch.setattr("benchmarks.sides.run_python", None)  # nothing is run again
    compare(options)
    assert capsys.readouterr().out.endswith(printed[printed.index("\neach run") :])


def test_runs_that_did_other_work_are_not_compared() -> None:
    runs = {side: [Run(side, 0, {"tokens": len(side)}, {}, {})] for side in ("ours", "transformers")}
    with pytest.raises(CheckFailed, match=r"did not do the same work.*tokens: 4 \(ours\), 12 \(transformers\)"):
        report("cola", runs)


def test_runs_of_two_versions_of_our_code_are_said_to_be() -> None:
    def run(seed: int, code: str) -> Run:
        figures = {"examples_per_second": 1.0, "seconds": 1.0, "command_seconds": 1.0, "peak_memory": 1.0}
        return Run("ours", seed, {"steps": 1}, {"mcc": 0.2}, figures, {"own_metrics": {"mcc": 0.25}, "code": code})

    assert report("cola", {"ours": [run(0, "a"), run(1, "a")]})[-1] == (
        "finetune's own figures differ from the scorer's by at most 5.00 points"
    )
    lines = report("cola", {"ours": [run(0, "a"), run(1, "b")]})
    assert lines[-1] == "our runs come from 2 versions of the code"


def test_bad_options_are_refused(tmp_path: Path, hf_model: Path) -> None:
    options = FinetuneOptions(task="cola", model=str(tmp_path), data=str(tmp_path))
    assert "expected a Hugging Face directory" in refusal(lambda: compare(options))
    options = FinetuneOptions(task="cola", model="", data="", ours_only=True, peer_only=True)
    assert "are mutually exclusive" in refusal(options.check)
    assert "--seeds must be at least 1" in refusal(FinetuneOptions(task="cola", model="", data="", seeds=0).check)


def test_the_command_says_what_it_can_and_what_it_needs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks"])
    cli.run(benchmarks.__main__.main)
    assert "finetune" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["benchmarks", "finetune", "--task", "cola"])
    with pytest.raises(SystemExit) as stop:
        cli.run(benchmarks.__main__.main)
    assert stop.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
