"""metrics.jsonl: one JSON object a logged step, appended line by line, whole again after any kind of end."""

import contextlib
import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from minibert.errors import RunStopped
from minibert.files.text import check_file
from minibert.training.processes import Processes, say

LARGEST = 1e100  # what is beyond is no figure of a run, and no picture has room for it


class MetricsLog(AbstractContextManager["MetricsLog"]):
    """An append-only log. Opening it mends the torn last line that a killed process may have left.

    Raises RunStopped, naming the file, where the disk takes no more.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        # Unbuffered: what was logged is in the system's hands, whatever becomes of this process.
        self._file = open(path, "a+b", buffering=0)  # noqa: SIM115 - it lives as long as the log does
        if path.stat().st_size:  # /dev/full has none, and is read without end
            self._file.seek(0)
            self._file.truncate(self._file.read().rfind(b"\n") + 1)

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def log(self, **entry: float | str | None) -> None:
        """Append the values after `step` steps; or, with the `event` "resume", that training goes on after them:
        later entries that stand above are computed again.
        """
        # JSON has no NaN: a value that is not finite is the caller's to handle, and a ValueError here.
        line = memoryview(json.dumps(entry, allow_nan=False).encode() + b"\n")
        try:
            while line:
                line = line[self._file.write(line) :]  # a disk that is nearly full takes a part of the line first
        except OSError as error:
            raise RunStopped(f"{self._path}: could not be written: {error.strerror}") from error


def open_log(path: Path, processes: Processes, *, step: int) -> AbstractContextManager[MetricsLog | None]:
    """The first process's log, which says so where training goes on after `step` steps; the others have none.

    What is damaged in it, or that it is gone, is said before the first step, and not only when it is drawn at the end.

    Raises RunStopped, as `MetricsLog`; InputError, where it is no file.
    """
    if not processes.is_main:
        return contextlib.nullcontext()
    was_there = path.exists()
    if was_there:
        check_file(path)
    log = MetricsLog(path)
    if path.stat().st_size:  # also at step 0, after a kill that came before the first state
        read_metrics(path, lambda line: say(processes, line))
        log.log(event="resume", step=step)
    elif step and not was_there:
        say(processes, f"{path}: was missing; what was logged up to step {step} is lost")
    return log


def read_metrics(path: Path, report: Callable[[str], None]) -> list[dict[str, Any]]:
    """The logged entries in the order of their steps, each step once: what a resume computed again counts in its later
    form, and the resumes themselves are left out. A torn last line is passed over.

    So is any other line that is no entry; `report` is told the first of them, the reason, and how many there are.
    """
    entries: list[dict[str, Any]] = []
    damaged: list[str] = []
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines[:-1], start=1):  # behind the last newline stands nothing, or a torn line
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
    """A line of the log, as `MetricsLog` writes them. Raises ValueError: it is none; the message is the reason."""
    try:
        entry = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError("no JSON") from error
    if not isinstance(entry, dict):
        raise ValueError("no JSON object")
    step = entry.get("step")
    if type(step) is not int or not 0 <= step < 2**53:
        raise ValueError(f"step is {step!r:.40}")
    for name, value in entry.items():
        # By its type, since True is an int as well; NaN is in no range.
        is_figure = value is None or (type(value) in (int, float) and -LARGEST < value < LARGEST)
        if not is_figure and (name, value) != ("event", "resume"):
            raise ValueError(f"{name!r:.40} is {value!r:.40}")
    return entry
