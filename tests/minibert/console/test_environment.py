"""What libraries find in the environment, before they are loaded; and that every command begins with it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from minibert.console import environment
from tests.helpers import REPOSITORY


def test_a_notebooks_backend_is_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    environment.settle()
    assert os.environ["MPLBACKEND"] == "agg"


def test_a_cache_that_cannot_be_made_costs_no_training(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "/dev/null")
    environment.settle()
    assert "TORCHINDUCTOR_CACHE_DIR" not in os.environ
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "kernels"))
    environment.settle()
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(tmp_path / "kernels")


@pytest.mark.parametrize("module", ["minibert", "pretrain", "finetune", "weights_convert"])
def test_every_command_settles_it_before_torch_is_loaded_and_watches_the_processor(module: str) -> None:
    code = (
        "import runpy, sys\nfrom minibert.console import environment\nfrom minibert.fast import threads\n"
        "environment.settle = lambda: print('torch' in sys.modules)\n"
        "def watch():\n    print('watched'); sys.exit()\n"
        f"threads.watch = watch\nrunpy.run_module({module!r}, run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.stdout == "False\nwatched\n", done.stderr
