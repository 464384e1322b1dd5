"""metrics.jsonl: one JSON object per logged step, appended line by line and repaired after a crash."""

import contextlib
import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from minibert.errors import RunStopped
from minibert.files.text import check_file
from minibert.training.processes import Processes, say

LARGEST = 1e100  # a larger number is not a figure of a run and can't be drawn


class MetricsLog(AbstractContextManager["MetricsLog"]):
    """An append-only log. Opening it removes the torn last line that a killed process may have left.

    Raises RunStopped, naming the file, if the disk is full.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        # Unbuffered: the system has what was logged, whatever happens to this process.
        self._file = open(path, "a+b", buffering=0)  # noqa: SIM115 - it lives as long as the log does
        if path.stat().st_size:  # /dev/full has size 0 but can be read endlessly
            self._file.seek(0)
            self._file.truncate(self._file.read().rfind(b"\n") + 1)

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def log(self, **entry: float | str | None) -> None:
        """Append the values after `step` steps; or, with the `event` "resume", that training resumes after them, so
        that earlier lines with later steps no longer count.
        """
        # JSON has no NaN: the caller must handle a value that is not finite; here it is a ValueError.
        line = memoryview(json.dumps(entry, allow_nan=False).encode() + b"\n")
        try:
            while line:
                line = line[self._file.write(line) :]  # a nearly full disk may write only part of the line
        except OSError as error:
            raise RunStopped(f"{self._path} could not be written: {error.strerror}") from error


def open_log(path: Path, processes: Processes, *, step: int) -> AbstractContextManager[MetricsLog | None]:
    """Open the log in the first process, noting a resume after `step` steps; the other processes get None.

    A damaged or missing log is reported before the first step, and not only when it is drawn at the end.

    Raises RunStopped as `MetricsLog` does, and InputError if `path` is not a file.
    """
    if not processes.is_main:
        return contextlib.nullcontext()
    was_there = path.exists()
    if was_there:
        check_file(path)
    log = MetricsLog(path)
    if path.stat().st_size:  # also at step 0, if the process was killed before the first state
        read_metrics(path, lambda line: say(processes, line))
        log.log(event="resume", step=step)
    elif step and not was_there:
        say(processes, f"{path} was missing; what was logged up to step {step} is lost")
    return log


def read_metrics(path: Path, report: Callable[[str], None]) -> list[dict[str, Any]]:
    """Return the logged entries in the order of their steps, each step once: of a step that was repeated after a
    resume, the later entry; resumes themselves are left out. A torn last line is skipped.

    So is any other line that is not an entry; `report` gets the first of them, the reason, and their number.
    """
    entries: list[dict[str, Any]] = []
    damaged: list[str] = []
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines[:-1], start=1):  # after the last newline there is nothing or a torn line
        try:
            entry = _read_entry(line)
        except ValueError as damage:
            damaged.append(f"line {number}: damaged, skipped: {damage}")
            continue
        if entry.get("event") == "resume":
            entries = [earlier for earlier in entries if earlier["step"] <= entry["step"]]
        else:
            entries.append(entry)
    if damaged:
        more = f" (and {len(damaged) - 1} more)" if len(damaged) > 1 else ""
        report(f"{path}, {damaged[0]}{more}")
    return entries


def _read_entry(line: bytes) -> dict[str, Any]:
    """Read a line that `MetricsLog` wrote. Raises ValueError, with the reason, if it is not an entry."""
    try:
        entry = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError("not JSON") from error
    if not isinstance(entry, dict):
        raise ValueError("not a JSON object")
    step = entry.get("step")
    if type(step) is not int or not 0 <= step < 2**53:
        raise ValueError(f"step is {step!r:.40}")
    for name, value in entry.items():
        # By its type, since True is also an int; NaN fails the comparison.
        is_figure = value is None or (type(value) in (int, float) and -LARGEST < value < LARGEST)
        if not is_figure and (name, value) != ("event", "resume"):
            raise ValueError(f"{name!r:.40} is {value!r:.40}")
    return entry
