"""Sharing the processor with other programs: how much they use, and how PyTorch's threads wait meanwhile."""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
from dataclasses import dataclass

import psutil

INTERVAL = 0.5  # seconds between two measurements: the system counts processor time in hundredths
TAKEN = 0.4  # cores: any system uses this much besides a program

WATCHER = "minibert-processor"  # the name of the thread that measures

# With any of these variables, users decide for themselves how threads wait.
WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


@dataclass(frozen=True)
class ProcessorTimes:
    """Clock and processor times in seconds, each since an arbitrary start."""

    now: float
    machine: float  # work of all cores for any program, including other guests on the same hardware
    own: float  # work of this process

    @classmethod
    def take(cls) -> ProcessorTimes:
        """Return the current times."""
        times = psutil.cpu_times()._asdict()
        # A guest's time is also counted in its host's user time.
        idle = ("idle", "iowait", "guest", "guest_nice")
        busy = sum(seconds for name, seconds in times.items() if name not in idle)
        return cls(time.monotonic(), busy, time.process_time())

    def others(self, before: ProcessorTimes, *, processes: int = 1) -> float:
        """Return the cores that other programs used since `before`. processes: how many like this one don't count."""
        return (self.machine - before.machine - processes * (self.own - before.own)) / (self.now - before.now)


def cores() -> int:
    """Return the number of cores of the machine."""
    return psutil.cpu_count() or 1


def crowded(others: float, threads: int) -> bool:
    """Whether threads that each need a core must share cores with other programs, which use `others` of them."""
    return others + threads >= cores() + TAKEN


def watch() -> None:
    """From now on, until the process ends, adapt to the machine's load how PyTorch's threads wait.

    A thread that waits for another one spins for some milliseconds before it sleeps: on a quiet machine nothing is
    faster. But if another program uses a core, the spinning thread keeps the other one from the core that it needs,
    and training nearly stops. GNU's OpenMP, which PyTorch uses on Linux, spins for a thousandth of that time while it
    has more threads than the machine has cores (see GOMP_SPINCOUNT in its manual): while other programs use the
    processor, it gets additional, sleeping threads. Measured in docs/performance.md.
    """
    if sys.platform == "linux" and not any(name in os.environ for name in WAITING):
        if not any(thread.name == WATCHER for thread in threading.enumerate()):
            over = threading.Event()
            watcher = threading.Thread(target=look_on, args=(over,), name=WATCHER, daemon=True)
            watcher.start()
            # A thread that is inside PyTorch when Python ends would abort the process. The last registered runs first.
            atexit.register(watcher.join)
            atexit.register(over.set)


def look_on(over: threading.Event) -> None:
    """Measure every `INTERVAL` until `over` is set; keep spare threads as long as other programs need the cores."""
    spare: SpareThreads | None = None
    before = ProcessorTimes.take()
    while not over.wait(INTERVAL):
        now = ProcessorTimes.take()
        others, before = now.others(before), now
        if "torch" not in sys.modules:
            continue
        import torch  # waits if the import is still under way

        threads = torch.get_num_threads()
        if threads == 1 or not crowded(others, threads):
            if spare is not None:
                spare.end()
                spare = None
        elif spare is None:
            spare = SpareThreads(threads)
    if spare is not None:
        spare.end()


class SpareThreads:
    """Enough sleeping threads to give OpenMP more threads than the machine has cores, until `end` is called."""

    def __init__(self, threads: int) -> None:
        """threads: the number that PyTorch computes with, at least 2."""
        self._over = threading.Event()
        # OpenMP gives each Python thread that computes a team of its own, which ends with that thread.
        teams = max(1, -(-(cores() - threads + 1) // (threads - 1)))
        self._made = threading.Barrier(teams + 1)
        self._threads = [threading.Thread(target=self._keep, args=(threads,), daemon=True) for _ in range(teams)]
        for thread in self._threads:
            thread.start()
        self._made.wait()

    def _keep(self, threads: int) -> None:
        import torch

        torch.zeros(threads * 32768, dtype=torch.uint8).add_(1)  # PyTorch gives a thread 32,768 numbers
        self._made.wait()
        self._over.wait()

    def end(self) -> None:
        """End the threads."""
        self._over.set()
        for thread in self._threads:
            thread.join()
