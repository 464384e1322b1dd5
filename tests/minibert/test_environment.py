"""What libraries find in the environment, before they are loaded."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from minibert import environment
from tests.helpers import REPOSITORY


@pytest.fixture(autouse=True)
def variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*environment.WAITING, "MPLBACKEND"):
        monkeypatch.setenv(name, "")  # so that it is put back
        monkeypatch.delenv(name)
    monkeypatch.setattr(environment, "_settled", [])


def test_threads_that_wait_soon_sleep() -> None:
    environment.settle()
    assert (os.environ["OMP_WAIT_POLICY"], os.environ["GOMP_SPINCOUNT"]) == ("PASSIVE", "2000")
    assert not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & environment.without_ours().keys()


@pytest.mark.parametrize("name", environment.WAITING)
def test_the_users_own_waiting_is_kept(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "ACTIVE")
    environment.settle()
    assert {name: os.environ.get(name) for name in environment.WAITING if name in os.environ} == {name: "ACTIVE"}
    assert environment.without_ours()[name] == "ACTIVE"


def test_a_notebooks_backend_is_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    environment.settle()
    assert os.environ["MPLBACKEND"] == "agg"


@pytest.mark.parametrize("module", ["minibert", "pretrain", "finetune", "weights_convert"])
def test_every_command_settles_it_before_torch_is_loaded(module: str) -> None:
    code = (
        "import runpy, sys\nfrom minibert import environment\n"
        "def found():\n    print('torch' in sys.modules); sys.exit()\n"
        f"environment.settle = found\nrunpy.run_module({module!r}, run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr
