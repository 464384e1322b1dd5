"""`--help` lists the options that work there, and leaves out those that are refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.finetune.running import run_here

SCORING = "evaluate --predictions answers.json"


@pytest.mark.parametrize(
    ("args", "listed", "left_out"),
    [
        ("text-classification", "--class-weights --text-column", "--layout"),
        ("token-classification", "--class-weights --tag-column", "--layout"),
        ("question-answering", "--label-smoothing --stride", "--class-weights"),
        ("multiple-choice", "--label-smoothing --max-length", "--class-weights"),
        (SCORING, "--task --data", "--scheme --text-column"),
        (f"{SCORING} --data dev.csv", "--task --text-column", "--scheme --max-length"),
        (f"{SCORING} --task token-classification", "--scheme --tag-column", "--layout --stride"),
        ("evaluate RUNS/token-classification", "--scheme --stride", "--layout"),
        ("evaluate RUNS/question-answering", "--stride", "--n-best"),
        ("predict RUNS/text-classification", "--text-column --max-length", "--label-column"),
        ("predict RUNS/token-classification", "--layout --tag-column", "--scheme --fix-tags"),
    ],
)
def test_options_that_work_are_listed(
    args: str, listed: str, left_out: str, runs: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert run_here(monkeypatch, *args.replace("RUNS", str(runs)).split(), "--help") == 0
    options = set(re.findall(r"^\W*(--[a-z-]+)", capsys.readouterr().out, re.MULTILINE))
    assert options >= {*listed.split()}
    assert options.isdisjoint(left_out.split())
