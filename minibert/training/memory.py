"""This process's memory: how much it had, and what would let it grow. Imports nothing heavy: workers need it."""

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
        # Not getrusage here: on Linux its figure begins with the peak of the process that started this one.
        peak = re.search(r"^VmHWM:\s*(\d+) kB$", STATUS.read_text(encoding="utf-8"), re.MULTILINE)
        if peak:
            return int(peak[1]) * 1024
    memory = psutil.Process().memory_info()
    if hasattr(memory, "peak_wset"):  # on Windows
        return memory.peak_wset
    import resource  # here, since Windows has no such module

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def keep_freed_memory() -> None:
    """Has the C library keep freed memory for the next step; where it is not glibc, nothing happens.

    By itself glibc gives blocks of more than 32 MB back to the system at once, and each step's activations are then
    cleared page by page: a tenth of a pretraining step's processor time, and no less memory at its peak.
    """
    if "CS_GNU_LIBC_VERSION" in getattr(os, "confstr_names", ()):  # a question that only glibc answers
        mallopt, never = ctypes.CDLL(None).mallopt, 2**31 - 1  # the largest number of bytes that it takes
        mallopt(-3, never // 2)  # M_MMAP_THRESHOLD of malloc.h: from how many bytes on memory is given back
        mallopt(-1, never)  # M_TRIM_THRESHOLD: the same, of what is free at the heap's end


def bound_kernel_cache() -> None:
    """Have torch keep 64 compiled CPU kernels instead of 1,024; to be called before torch is imported.

    oneDNN compiles a kernel for each shape and keeps it with its working memory. Where each step has shapes of its own,
    the cache fills with kernels that are never used again: 1 GB more in the first 40 steps of BERT-mini with another
    number of masked tokens each. What one step needs, 64 hold.
    """
    for variable in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
        os.environ.setdefault(variable, "64")
