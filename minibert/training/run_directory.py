"""A run's directory: what it holds, and whether a command may start, go on, or has nothing left to do there.

run.toml            the resolved configuration, written first
state/              what resuming needs
metrics.jsonl       one object a logged step
config.json, model.safetensors, tokenizer.json, vocab.txt      the model directory, written at the end
curves.png, summary.json                                       summary.json last: it says that the run is finished
.lock               there while a process trains, and after a kill until the next one has
"""

import contextlib
import dataclasses
import enum
import json
import shutil
import tomllib
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol

from minibert.errors import InputError
from minibert.files.text import check_path, read_small
from minibert.files.writing import leftovers
from minibert.training.lock import Held


class RunOptions(Protocol):
    """What a directory asks of a run's options."""

    @property
    def resume(self) -> bool:
        """Whether an unfinished run may be gone on with."""

    def decisive(self) -> dict[str, Any]:
        """The options that decide the result, as plain values."""


class RunStatus(enum.Enum):
    """What is to be done in a run's directory."""

    NEW = "start from the beginning"
    UNFINISHED = "go on"
    FINISHED = "nothing: it is done"


class RunDirectory:
    """The places inside one run's directory."""

    kind: ClassVar[str] = "training"  # for messages: a "pretraining" run

    def __init__(self, path: Path) -> None:
        self.path = path
        self.configuration = path / "run.toml"
        self.state = path / "state"
        self.metrics = path / "metrics.jsonl"
        self.curves = path / "curves.png"
        self.summary = path / "summary.json"
        self.lock = path / ".lock"

    @property
    def newest_state(self) -> str:
        """The path of the last saved state, for messages."""
        return str(max(self.state.glob("step-*"), default="none yet"))

    @property
    def is_finished(self) -> bool:
        """Whether the summary is there, and whole: of a damaged one, a resume makes another from the last state.

        Raises InputError: no file stands there, but something that could not be replaced by one.
        """
        try:
            return isinstance(json.loads(read_small(self.summary)), dict)
        except (OSError, ValueError, RecursionError):
            return False

    def status(self, options: RunOptions) -> RunStatus:
        """Raises InputError: it holds something else, another run, or an unfinished one and there is no `--resume`."""
        check_path(self.path)
        if not self.path.exists() or (self.path.is_dir() and not {*self.path.iterdir()} - {*leftovers(self.path)}):
            return RunStatus.NEW
        if not self.path.is_dir():
            raise InputError(f"{self.path}: is not a directory")
        if not self.configuration.is_file():
            raise InputError(f"{self.path}: exists and holds no {self.kind} run; give --out another place")
        differing = self._differences(options)
        finished = self.is_finished
        if differing:
            kind = "a finished" if finished else "an unfinished"
            raise InputError(f"{self.path}: holds {kind} run with a different configuration: {'; '.join(differing)}")
        if finished:
            with contextlib.suppress(OSError):  # of a process that was killed right after its last word
                self.lock.unlink()
            return RunStatus.FINISHED
        if not options.resume:
            raise InputError(
                f"{self.path}: holds an unfinished run; continue with --resume, or give --out another place"
            )
        return RunStatus.UNFINISHED

    def _differences(self, options: RunOptions) -> list[str]:
        """Fields in which the saved configuration and `options` differ: "seed is 1, was 0"."""
        try:
            saved = tomllib.loads(read_small(self.configuration))
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(f"{self.configuration}: not readable as TOML ({error})") from error
        given = options.decisive()
        return [
            f"{name} is {_shown(given.get(name))}, was {_shown(saved.get(name))}"
            for name in sorted(saved.keys() | given.keys())
            if saved.get(name) != given.get(name)
        ]


def _shown(value: Any) -> str:
    return "not given" if value is None else repr(value)


def plain_values(options: Any, *, without: set[str]) -> dict[str, Any]:
    """The fields of a dataclass as JSON knows them, tuples as lists: equal after having been written and read."""
    fields = json.loads(json.dumps(dataclasses.asdict(options)))
    return {name: value for name, value in fields.items() if name not in without}


def as_toml(fields: Mapping[str, Any], comment: str) -> str:
    """Plain values as a TOML file; those that are None are left out, since TOML has no word for it."""
    lines = [f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in fields.items() if value is not None]
    return "\n".join([f"# {comment}", *lines]) + "\n"


@contextlib.contextmanager
def gone_on_bad_input(directory: Path, *, when: bool) -> Iterator[None]:
    """Takes away what was made of `directory` and its parents when the block ends in an InputError.

    Not where another process is at work there, that began at the same time.
    """
    missing = [path for path in (directory, *directory.parents) if not path.exists()]
    try:
        yield
    except Held:
        raise
    except InputError as error:
        traceback.clear_frames(error.__traceback__)  # what they hold open or mapped, Windows would not remove
        if when and missing:
            shutil.rmtree(missing[-1], ignore_errors=True)
        elif when:  # it was there and empty
            for path in directory.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        raise
