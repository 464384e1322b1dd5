"""How much memory a process is said to have had."""

import ctypes
import os
import platform
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from minibert.training import memory
from minibert.training.memory import peak_rss_bytes


def test_peak_memory_grows_with_what_is_held() -> None:
    before = peak_rss_bytes()
    held = torch.ones(50_000_000)  # 200 MB
    assert peak_rss_bytes() >= before
    assert peak_rss_bytes() > held.numel() * 4


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux hands the parent's peak down")
def test_peak_memory_is_not_that_of_the_parent() -> None:
    held = torch.ones(150_000_000)  # 600 MB in this process
    code = "from minibert.training.memory import peak_rss_bytes; print(peak_rss_bytes())"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert 5_000_000 < int(child.stdout) < held.numel() * 4


def test_peak_memory_where_windows_tells_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(memory, "STATUS", tmp_path / "none")
    monkeypatch.setattr("psutil.Process.memory_info", lambda _: SimpleNamespace(rss=1, peak_wset=2))
    assert peak_rss_bytes() == 2


def test_without_glibc_nothing_is_asked_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.delattr(os, "confstr_names")
    monkeypatch.setattr(ctypes, "CDLL", asked.append)
    memory.keep_freed_memory()
    assert asked == []


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told so")
def test_what_is_freed_serves_again() -> None:
    """About 64 MB, again and again: without it each of the 16,384 pages is asked of the system every time."""
    code = (
        "import resource, sys, torch; from minibert.training.memory import keep_freed_memory\n"
        "if sys.argv[1] == 'keep': keep_freed_memory()\n"
        "faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "for rest in range(6):\n"
        "    before = faults(); torch.ones((16 << 20) - 1000 * rest); asked = faults() - before\n"
        "print(asked)"
    )
    asked = {
        mode: int(subprocess.run([sys.executable, "-c", code, mode], capture_output=True, check=True).stdout)
        for mode in ("keep", "give back")
    }
    assert asked["keep"] < 100 < asked["give back"]
