"""Whether other programs take the processor from a run: a slow run is then no riddle."""

from __future__ import annotations

import time
from dataclasses import dataclass

import psutil
import torch

SHORTEST = 2.0  # seconds between two looks: the system counts processor time in hundredths
TAKEN = 0.4  # cores: less is what any system does beside a program


@dataclass(frozen=True)
class Reading:
    """Seconds since some beginning."""

    now: float
    machine: float  # of work by all cores, for whatever program, those of other guests on the same hardware included
    own: float  # of work by this process

    @classmethod
    def take(cls) -> Reading:
        """At this moment."""
        times = psutil.cpu_times()._asdict()
        # A guest's time is counted in its host's user time as well.
        idle = ("idle", "iowait", "guest", "guest_nice")
        busy = sum(seconds for name, seconds in times.items() if name not in idle)
        return cls(time.monotonic(), busy, time.process_time())


class Contention:
    """Looks, from time to time, at who works on the processor beside this process."""

    def __init__(self, device: torch.device, *, processes: int) -> None:
        """device: what the run computes on. processes: of the run; they are taken to be on this machine."""
        self._computes = device.type == "cpu"
        self._cores = psutil.cpu_count() or 1
        self._wanted = processes * torch.get_num_threads()
        self._processes = processes
        self._last = Reading.take()
        self._fastest = 0.0
        self._said = False

    def note(self, speed: float, unit: str) -> str | None:
        """A line for the user, once in a run: what other programs take, and the speed with which this run goes on.

        speed: since the last call, in `unit`.
        """
        reading = Reading.take()
        seconds = reading.now - self._last.now
        if seconds < SHORTEST:
            return None
        others = (reading.machine - self._last.machine - self._processes * (reading.own - self._last.own)) / seconds
        self._last = reading
        before, self._fastest = self._fastest, max(self._fastest, speed)
        crowded = others + self._wanted >= self._cores + TAKEN
        fallen = others >= TAKEN and speed < before / 2
        if self._said or not self._computes or not (crowded or fallen):
            return None
        self._said = True
        told = f"{speed:,.0f} {unit}" + (f", {before:,.0f} before" if speed < before else "")
        return f"slower   another program uses the processor ({others:.1f} of {self._cores} cores): {told}"
