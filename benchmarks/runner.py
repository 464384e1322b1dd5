"""minibert and a peer, taking turns, each in a process of its own, for clean memory and threads; results are kept."""

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
MARK = "benchmark-at-work.json"  # marks a directory as made by a benchmark, and holds the settings it is for


@dataclass(frozen=True)
class Run:
    """The result of one run."""

    side: str  # OURS, or a peer's name
    seed: int
    work: dict[str, int]  # how much was done: sides can be compared only if it is the same
    metrics: dict[str, float]  # how good the result is
    figures: dict[str, float]  # how fast, how much memory
    notes: dict[str, Any] = field(default_factory=dict)  # anything else worth keeping


class Results:
    """The runs so far; with a path, kept in a JSON file after each run, so that an interruption loses none of them."""

    def __init__(self, json_file: str | None, facts: Mapping[str, Any]) -> None:
        """Read the file if it exists. facts: machine and settings, which must be the same for all runs of a file.

        Raises InputError if the file does not hold a benchmark's results, or its runs were made with other facts.
        """
        self.path = path = None if json_file is None else Path(json_file)
        self.facts: dict[str, Any] = json.loads(json.dumps(facts))  # as they are read back from a file
        self.runs: list[Run] = []
        if path is not None and path.exists():
            self._read(path)

    def _read(self, path: Path) -> None:
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            self.runs = [Run(**run) for run in content.pop("runs")]
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise InputError(f"{path}: not a benchmark's results; give --json another file") from error
        differing = [name for name in self.facts if content.get(name) != self.facts[name]]
        if differing:
            was = "; ".join(f"{name}: {content.get(name)} then, {self.facts[name]} now" for name in differing)
            raise InputError(f"{path}: its runs were made differently ({was}); give --json another file")

    def has(self, side: str, seed: int) -> bool:
        """Return whether that run is finished."""
        return any((run.side, run.seed) == (side, seed) for run in self.runs)

    def add(self, run: Run) -> None:
        """Add a run, and write it to the file at once."""
        self.runs.append(run)
        if self.path is not None:
            content = json.dumps({**self.facts, "runs": [asdict(run) for run in self.runs]}, indent=2) + "\n"
            write_whole(self.path, lambda path: path.write_text(content, encoding="utf-8"))

    def of(self, side: str, *, seeds: int) -> list[Run]:
        """Return a side's runs with seeds below `seeds`, in order; a file may hold more, of one side or both."""
        found = (run for run in self.runs if run.side == side and run.seed < seeds)
        return sorted(found, key=lambda run: run.seed)


def alternate(
    sides: Mapping[str, Callable[[int], Run]], seeds: Sequence[int], results: Results, say: Callable[[Run], None]
) -> None:
    """Run each side with each seed, unless the results hold that run. The side that goes first with one seed goes last
    with the next, so that a machine that gets slower or busier does so for both."""
    names = list(sides)
    for number, seed in enumerate(seeds):
        for name in names if number % 2 == 0 else reversed(names):
            if not results.has(name, seed):
                results.add(sides[name](seed))
                say(results.runs[-1])


@contextmanager
def workplace(results: str | None, settings: Mapping[str, Any]) -> Iterator[Path]:
    """Give the directory for the runs' files, and delete it at the end. For runs/x.json it is runs/x.work, which stays
    if something stops the runs, so that the interrupted one can continue; without a results file it is temporary.

    settings: what decides the content of those files; files that were made with other settings are not used.

    Raises InputError if that directory exists and no benchmark made it, or it was made with other settings, or if the
    results cannot be written.
    """
    if results is None:
        with tempfile.TemporaryDirectory(prefix="minibert-benchmark-") as name:
            yield Path(name)
        return
    directory = Path(results).with_suffix(".work")
    check_writable(Path(results))
    if directory.exists() and not (directory / MARK).is_file():
        raise InputError(f"{directory}: already exists, and no benchmark made it; give --json another file")
    told = json.dumps(settings, sort_keys=True)
    if directory.exists() and (directory / MARK).read_text(encoding="utf-8") != told:
        raise InputError(
            f"{directory}: an unfinished comparison with other settings; delete it, or give --json another file"
        )
    directory.mkdir(exist_ok=True)
    write_whole(directory / MARK, lambda path: path.write_text(told, encoding="utf-8"))
    yield directory
    shutil.rmtree(directory)


def run_python(args: Sequence[object], log: Path, *, threads: int) -> float:
    """Run `python -m ARGS` in a process of its own, with its output in the file `log`. Return how many seconds it took.

    Raises InputError or RunStopped, with the last line of the output, if it fails.
    """
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    started = time.perf_counter()
    command = [sys.executable, "-m", *map(str, args)]
    with open(log, "wb") as file, subprocess.Popen(command, stdout=file, stderr=file, env=environment) as process:
        try:
            code = process.wait()
        except BaseException:  # an interrupt: leave nothing running, and let the run save its state
            process.terminate()
            process.wait()
            raise
    if code:
        lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
        last = next((line for line in reversed(lines) if line.strip()), "it printed nothing").removeprefix("error: ")
        raise (InputError if code == 2 else RunStopped)(f"python -m {args[0]} exited with code {code}: {last}")
    return time.perf_counter() - started


def settings_of(options: Any, *without: str) -> dict[str, Any]:
    """Return a benchmark's options, except the results file and those in `without`, which don't affect a single run."""
    return {name: value for name, value in asdict(options).items() if name not in ("json", *without)}


def checksum(paths: Sequence[Path]) -> str:
    """Return the beginning of the SHA-256 of the files' contents, one after the other."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
