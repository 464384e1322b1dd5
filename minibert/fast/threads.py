"""The processor, which other programs use too: how much of it they take, and how PyTorch's threads wait beside them."""

from __future__ import annotations

import os
import sys
import threading
import time
from dataclasses import dataclass

import psutil

INTERVAL = 0.5  # seconds between two looks: the system counts processor time in hundredths
TAKEN = 0.4  # cores: less is what any system does beside a program

WATCHER = "minibert-processor"  # the name of the thread that looks

# By any of these, users have said themselves how threads are to wait.
WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


@dataclass(frozen=True)
class ProcessorTimes:
    """Seconds since some beginning."""

    now: float
    machine: float  # of work by all cores, for whatever program, those of other guests on the same hardware included
    own: float  # of work by this process

    @classmethod
    def take(cls) -> ProcessorTimes:
        """At this moment."""
        times = psutil.cpu_times()._asdict()
        # A guest's time is counted in its host's user time as well.
        idle = ("idle", "iowait", "guest", "guest_nice")
        busy = sum(seconds for name, seconds in times.items() if name not in idle)
        return cls(time.monotonic(), busy, time.process_time())

    def others(self, before: ProcessorTimes, *, processes: int = 1) -> float:
        """The cores that other programs took since `before`. processes: like this one, that are no others."""
        return (self.machine - before.machine - processes * (self.own - before.own)) / (self.now - before.now)


def cores() -> int:
    """Of the machine."""
    return psutil.cpu_count() or 1


def crowded(others: float, threads: int) -> bool:
    """Whether threads that want a core each have to share them with other programs, which take `others`."""
    return others + threads >= cores() + TAKEN


def watch() -> None:
    """From now on, until the process ends, has PyTorch's threads wait as the machine's load asks for.

    A thread that waits for another one spins for some milliseconds before it sleeps: on a quiet machine nothing is
    faster. Where another program has one of the cores, the one that spins keeps the other from the core that it needs,
    and training comes to a stand. GNU's OpenMP, which PyTorch uses on Linux, spins for a thousandth of that while it
    has more threads than the machine has cores (its manual, at GOMP_SPINCOUNT): while others use the processor, it is
    given more, which sleep. Measured in docs/performance.md.
    """
    if sys.platform == "linux" and not any(name in os.environ for name in WAITING):
        if not any(thread.name == WATCHER for thread in threading.enumerate()):
            threading.Thread(target=look_on, name=WATCHER, daemon=True).start()


def look_on() -> None:
    """Looks every `INTERVAL`, without end: as long as other programs want the cores, spare threads are kept."""
    spare: SpareThreads | None = None
    before = ProcessorTimes.take()
    while True:
        time.sleep(INTERVAL)
        now = ProcessorTimes.take()
        others, before = now.others(before), now
        if "torch" not in sys.modules:
            continue
        import torch  # waits where the import is still under way

        threads = torch.get_num_threads()
        if threads == 1 or not crowded(others, threads):
            if spare is not None:
                spare.end()
                spare = None
        elif spare is None:
            spare = SpareThreads(threads)


class SpareThreads:
    """So many sleeping threads that OpenMP has more than the machine has cores, until `end` is called."""

    def __init__(self, threads: int) -> None:
        """threads: that PyTorch computes with, at least 2."""
        self._over = threading.Event()
        # OpenMP gives each thread of Python that computes a team of its own, which goes when that thread ends.
        teams = max(1, -(-(cores() - threads + 1) // (threads - 1)))
        self._made = threading.Barrier(teams + 1)
        for _ in range(teams):
            threading.Thread(target=self._keep, args=(threads,), daemon=True).start()
        self._made.wait()

    def _keep(self, threads: int) -> None:
        import torch

        torch.zeros(threads * 32768, dtype=torch.uint8).add_(1)  # of 32,768 numbers PyTorch makes a thread's share
        self._made.wait()
        self._over.wait()

    def end(self) -> None:
        """Sends them home."""
        self._over.set()
