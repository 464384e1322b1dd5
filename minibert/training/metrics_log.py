"""metrics.jsonl: one JSON object a logged step, appended line by line, whole again after any kind of end."""

from __future__ import annotations

import contextlib
import json
import os
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any

from minibert.errors import InputError, RunStopped
from minibert.training.processes import Processes


class MetricsLog:
    """An append-only log. Opening it mends the torn last line that a killed process may have left.

    Raises RunStopped, naming the file, where the disk takes no more.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        # Unbuffered: what was logged is in the system's hands, whatever becomes of this process.
        self._file = open(path, "a+b", buffering=0)  # noqa: SIM115 - it lives as long as the log does
        self._drop_torn_line()

    def log(self, *, step: int, **values: float | int | str | None) -> None:
        """Append the values after `step` steps of training."""
        self._append({"step": step, **values})

    def log_resume(self, step: int) -> None:
        """Append that training goes on after `step` steps: later entries that stand above are computed again."""
        self._append({"event": "resume", "step": step})

    def close(self) -> None:
        """Nothing is logged any more."""
        self._file.close()

    def __enter__(self) -> MetricsLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _append(self, entry: dict[str, Any]) -> None:
        # JSON has no NaN: a value that is not finite is the caller's to handle, and a ValueError here.
        line = memoryview(json.dumps(entry, allow_nan=False).encode() + b"\n")
        try:
            while line:
                line = line[self._file.write(line) :]  # a disk that is nearly full takes a part of the line first
        except OSError as error:
            raise RunStopped(f"{self._path}: could not be written: {error.strerror}") from error

    def _drop_torn_line(self) -> None:
        size = self._file.seek(0, os.SEEK_END)
        self._file.seek(0)
        content = self._file.read() if size else b""
        whole = content.rfind(b"\n") + 1
        if whole < size:
            self._file.truncate(whole)


def open_log(path: Path, processes: Processes, *, step: int) -> AbstractContextManager[MetricsLog | None]:
    """The first process's log, which says so where training goes on after `step` steps; the others have none.

    Raises RunStopped, as `MetricsLog`.
    """
    if not processes.is_main:
        return contextlib.nullcontext()
    log = MetricsLog(path)
    if path.stat().st_size:  # also at step 0, after a kill that came before the first state
        log.log_resume(step)
    return log


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The logged entries in the order of their steps, each step once: what a resume computed again counts in its later
    form, and the resumes themselves are left out. A torn last line is passed over.

    Raises InputError, naming file and line, for any other line that is no entry.
    """
    entries: list[dict[str, Any]] = []
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines[:-1], start=1):  # behind the last newline stands nothing, or a torn line
        try:
            entry = json.loads(line)
        except ValueError as error:
            raise InputError(f"{path}, line {number}: expected a JSON object, found {line[:40]!r}") from error
        if not isinstance(entry, dict) or not isinstance(entry.get("step"), int):
            raise InputError(f"{path}, line {number}: expected an object with a whole number 'step'")
        if entry.get("event") == "resume":
            entries = [earlier for earlier in entries if earlier["step"] <= entry["step"]]
        else:
            entries.append(entry)
    return entries
