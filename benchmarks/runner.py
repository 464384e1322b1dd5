"""Ours and a peer in turns, each run in a process of its own, so that memory and threads are clean; results kept."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from minibert.errors import InputError, RunStopped
from minibert.files.writing import check_writable, write_whole

OURS = "ours"
MARK = "benchmark-at-work.json"  # a file by which a directory of ours is known; it tells what for


@dataclass(frozen=True)
class Run:
    """What came of one run."""

    side: str  # OURS, or a peer's name
    seed: int
    work: dict[str, int]  # how much was done: the same on both sides, or there is nothing to compare
    metrics: dict[str, float]  # how good it is
    figures: dict[str, float]  # how fast, how large
    notes: dict[str, Any] = field(default_factory=dict)  # whatever else is worth keeping


class Results:
    """The runs so far; with a path, those of a JSON file, which grows with each, so that what was stopped can go on."""

    def __init__(self, json_file: str | None, facts: Mapping[str, Any]) -> None:
        """facts: machine and settings, in which all runs of a file must agree.

        Raises InputError: the file is none of ours, or its runs were made otherwise.
        """
        self.path = path = None if json_file is None else Path(json_file)
        self.facts: dict[str, Any] = json.loads(json.dumps(facts))  # as they come back from a file
        self.runs: list[Run] = []
        if path is not None and path.exists():
            self._read(path)

    def _read(self, path: Path) -> None:
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            self.runs = [Run(**run) for run in content.pop("runs")]
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise InputError(f"{path}: holds no results of a benchmark; give --json another place") from error
        differing = [name for name in self.facts if content.get(name) != self.facts[name]]
        if differing:
            was = "; ".join(f"{name} was {content.get(name)}, is {self.facts[name]}" for name in differing)
            raise InputError(f"{path}: holds runs of another kind: {was}")

    def has(self, side: str, seed: int) -> bool:
        """Whether that run is finished."""
        return any((run.side, run.seed) == (side, seed) for run in self.runs)

    def add(self, run: Run) -> None:
        """Keeps a run, on the disk at once."""
        self.runs.append(run)
        if self.path is not None:
            content = json.dumps({**self.facts, "runs": [asdict(run) for run in self.runs]}, indent=2) + "\n"
            write_whole(self.path, lambda path: path.write_text(content, encoding="utf-8"))

    def of(self, side: str, *, seeds: int) -> list[Run]:
        """A side's runs with the seeds below `seeds`, in their order: a file may hold more, not of every side alike."""
        found = (run for run in self.runs if run.side == side and run.seed < seeds)
        return sorted(found, key=lambda run: run.seed)


def alternate(
    sides: Mapping[str, Callable[[int], Run]], seeds: Sequence[int], results: Results, say: Callable[[Run], None]
) -> None:
    """Has each side run with each seed, as far as it has not: seed by seed, the first side of one being the last of the
    next, so that a machine that gets slower or busier does so for both."""
    names = list(sides)
    for number, seed in enumerate(seeds):
        for name in names if number % 2 == 0 else reversed(names):
            if not results.has(name, seed):
                results.add(sides[name](seed))
                say(results.runs[-1])


@contextmanager
def workplace(results: str | None, settings: Mapping[str, Any]) -> Iterator[Path]:
    """Where runs keep their files. For runs/x.json it is runs/x.work, which stays when something stops them, so that
    the run at hand goes on too; without a results file it is for this time alone. In the end it is deleted.

    settings: what decides the content of those files; what was made for others is not gone on with.

    Raises InputError: that directory is there and is none of ours or was made for other settings, or no results can be
    written.
    """
    if results is None:
        with tempfile.TemporaryDirectory(prefix="minibert-benchmark-") as name:
            yield Path(name)
        return
    directory = Path(results).with_suffix(".work")
    check_writable(Path(results))
    if directory.exists() and not (directory / MARK).is_file():
        raise InputError(f"{directory}: already exists, and no benchmark made it; give --json another place")
    told = json.dumps(settings, sort_keys=True)
    if directory.exists() and (directory / MARK).read_text(encoding="utf-8") != told:
        raise InputError(
            f"{directory}: an unfinished comparison of other settings; delete it, or give --json another place"
        )
    directory.mkdir(exist_ok=True)
    write_whole(directory / MARK, lambda path: path.write_text(told, encoding="utf-8"))
    yield directory
    shutil.rmtree(directory)


def run_python(args: Sequence[object], log: Path, *, threads: int) -> float:
    """`python -m ARGS` in a process of its own, what it prints going to a file. Returns its seconds.

    Raises InputError, RunStopped: it did not end well; its last line says why.
    """
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    started = time.perf_counter()
    command = [sys.executable, "-m", *map(str, args)]
    with open(log, "wb") as file, subprocess.Popen(command, stdout=file, stderr=file, env=environment) as process:
        try:
            code = process.wait()
        except BaseException:  # an interrupt: nothing is left running, and the run has the time to save its state
            process.terminate()
            process.wait()
            raise
    if code:
        lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
        last = next((line for line in reversed(lines) if line.strip()), "it said nothing").removeprefix("error: ")
        raise (InputError if code == 2 else RunStopped)(f"python -m {args[0]} ended with {code}: {last}")
    return time.perf_counter() - started


def settings_of(options: Any, *without: str) -> dict[str, Any]:
    """The options of a benchmark but for the results file and those `without` effect on a run."""
    return {name: value for name, value in asdict(options).items() if name not in ("json", *without)}


def checksum(paths: Sequence[Path]) -> str:
    """The beginning of the SHA-256 of files, one after the other."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
