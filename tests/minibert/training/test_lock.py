"""A lock that keeps others out as long as its holder lives, and is gone without a trace."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from minibert.training.lock import hold
from tests.helpers import refusal


def enter(path: Path) -> None:
    with hold(path, busy="taken"):
        pass


def test_one_at_a_time_and_no_trace(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with pytest.raises(ValueError, match="inside"), hold(path, busy="mine"):
        assert refusal(lambda: enter(path)) == "taken"
        raise ValueError("inside")
    enter(path)
    assert os.listdir(tmp_path) == []


def test_a_killed_holder_holds_no_more_and_its_file_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    code = "import sys; from pathlib import Path; from minibert.training.lock import hold\n" \
           "with hold(Path(sys.argv[1]), busy='mine'): print('held', flush=True); sys.stdin.read()"  # fmt: skip
    command = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"held\n"
        assert refusal(lambda: enter(path)) == "taken"
        process.kill()
    assert os.listdir(tmp_path) == ["lock"]
    enter(path)
    assert os.listdir(tmp_path) == []
