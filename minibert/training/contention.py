"""Detecting whether other programs take processor time from a run, which explains a slow run to the user."""

import torch

from minibert.fast.threads import TAKEN, ProcessorTimes, cores, crowded

SHORTEST = 2.0  # seconds between two checks


class Contention:
    """A check, made from time to time, for other programs that use the processor."""

    def __init__(self, device: torch.device, *, processes: int) -> None:
        """device: what the run computes on. processes: how many the run has, assumed to be on this machine."""
        self._computes = device.type == "cpu"
        self._wanted = processes * torch.get_num_threads()
        self._processes = processes
        self._last = ProcessorTimes.take()
        self._fastest = 0.0
        self._said = False

    def note(self, speed: float, unit: str) -> str | None:
        """Return a line for the user, once in a run: what other programs take, and how fast this run still is.

        speed: the run's speed since the last call, in `unit`.
        """
        reading = ProcessorTimes.take()
        if reading.now - self._last.now < SHORTEST:
            return None
        others = reading.others(self._last, processes=self._processes)
        self._last = reading
        before, self._fastest = self._fastest, max(self._fastest, speed)
        fallen = others >= TAKEN and speed < before / 2
        if self._said or not self._computes or not (crowded(others, self._wanted) or fallen):
            return None
        self._said = True
        told = f"{speed:,.0f} {unit}" + (f", {before:,.0f} before" if speed < before else "")
        return f"slower   another program is using the processor ({others:.1f} of {cores()} cores): {told}"
