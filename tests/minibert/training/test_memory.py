"""How much memory a process is said to have had."""

import os
import subprocess
import sys

import pytest
import torch

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
