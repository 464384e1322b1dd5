"""The programs by both of their names, and in directories whose files have the names of ours and of libraries."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from minibert.console.typed import SCRIPTS
from tests.helpers import REPOSITORY

ENTRIES = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]


def test_every_program_has_a_script() -> None:
    assert {script: f"{package}.__main__:main" for package, script in SCRIPTS.items()} == ENTRIES


@pytest.mark.parametrize("script", ENTRIES)
def test_a_script_shows_its_own_name(
    script: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [f"/somewhere/bin/{script}", "--help"])
    module, _, function = ENTRIES[script].partition(":")
    with contextlib.suppress(SystemExit):
        getattr(import_module(module), function)()
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: {script} ") and "python -m" not in shown


def started_among(directory: Path, *names: str, command: list[str]) -> subprocess.CompletedProcess[str]:
    """Runs a command in a directory with files of these names, each of which ends the program that imports it."""
    for name in names:
        (directory / name).write_text(f"raise SystemExit('{name} was run')\n", encoding="utf-8")
    return subprocess.run(
        command, cwd=directory, env=os.environ | {"PYTHONPATH": str(REPOSITORY)}, capture_output=True, text=True
    )


def test_a_users_file_is_not_run_in_place_of_a_library(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pretrain", "--help"]
    done = started_among(tmp_path, "tyro.py", "random.py", "psutil.py", command=command)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: python -m pretrain ")


def test_a_script_runs_ours_where_a_users_file_has_our_name(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin" / "minibert-finetune"  # as pip writes it
    script.write_text("from finetune.__main__ import main\nmain()\n", encoding="utf-8")
    done = started_among(tmp_path, "finetune.py", "minibert.py", command=[sys.executable, str(script)])
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: minibert-finetune ")
