"""This process's memory: how much it had, and how the C library keeps it. Imports nothing heavy: workers need it."""

from __future__ import annotations

import ctypes.util
import re
import resource
import sys
from pathlib import Path

# glibc's names for: from which size on a block is fetched from the system by itself; how much free memory is kept.
M_MMAP_THRESHOLD, M_TRIM_THRESHOLD = -3, -1


def peak_rss_bytes() -> int:
    """The most memory that this process has held so far, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():
        # Not getrusage here: on Linux its figure begins with the peak of the process that started this one.
        peak = re.search(r"^VmHWM:\s*(\d+) kB$", status.read_text(), re.MULTILINE)
        if peak:
            return int(peak[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def keep_freed_memory() -> None:
    """Have the C library keep large freed blocks for the next tensor rather than hand them back to the system.

    A training step on the CPU frees and takes the same hundreds of megabytes every time; fetched anew from the system,
    each page must be zeroed and mapped again, which took a fifth of a step's time (BERT-mini, 2 cores). Only glibc has
    the switch; elsewhere nothing changes.
    """
    library = ctypes.util.find_library("c")
    mallopt = getattr(ctypes.CDLL(library), "mallopt", None) if library else None
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, 1 << 30)
        mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1)
