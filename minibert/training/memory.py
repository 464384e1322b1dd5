"""This process's memory: its peak, and how to keep it small and fast. Imports nothing heavy: workers need it."""

import ctypes
import os
import re
import sys
from pathlib import Path

import psutil

STATUS = Path("/proc/self/status")  # on Linux


def peak_rss_bytes() -> int:
    """The most memory that this process has held so far, in bytes."""
    if STATUS.exists():
        # Not getrusage here: on Linux its figure includes the peak of the process that started this one.
        peak = re.search(r"^VmHWM:\s*(\d+) kB$", STATUS.read_text(encoding="utf-8"), re.MULTILINE)
        if peak:
            return int(peak[1]) * 1024
    memory = psutil.Process().memory_info()
    if hasattr(memory, "peak_wset"):  # on Windows
        return memory.peak_wset
    import resource  # here, since Windows has no such module

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def keep_freed_memory() -> None:
    """Make glibc keep freed memory for the next step; with any other C library, do nothing.

    By default glibc returns blocks of more than 32 MB to the system at once, and the pages of each step's activations
    must then be cleared again: that takes a tenth of a pretraining step's processor time and does not lower the peak.
    """
    if "CS_GNU_LIBC_VERSION" in getattr(os, "confstr_names", ()):  # only glibc defines it
        mallopt, never = ctypes.CDLL(None).mallopt, 2**31 - 1  # the largest number of bytes that it accepts
        mallopt(-3, never // 2)  # M_MMAP_THRESHOLD of malloc.h: larger blocks are returned when they are freed
        mallopt(-1, never)  # M_TRIM_THRESHOLD: more free memory than this at the heap's end is returned


def bound_kernel_cache() -> None:
    """Make torch keep 64 compiled CPU kernels instead of 1,024. Call this before torch is imported.

    oneDNN compiles a kernel for each shape and keeps it together with its working memory. If shapes change with every
    step, the cache fills with kernels that are never used again: 1 GB more over the first 40 steps of BERT-mini when
    the number of masked tokens varies. 64 kernels are enough for one step.
    """
    for variable in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
        os.environ.setdefault(variable, "64")
