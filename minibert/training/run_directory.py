"""A run's directory: its files, and whether a command may start or resume a run there or has nothing left to do.

run.toml            the resolved configuration, written first
state/              what resuming needs
metrics.jsonl       one object per logged step
config.json, model.safetensors, tokenizer.json, vocab.txt      the model directory, written at the end
curves.png, summary.json                                       summary.json last: it marks the run as finished
.lock               exists while a process trains, and after a kill until the next process has trained
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
from minibert.files.text import check_path, read_small, reason
from minibert.files.writing import leftovers
from minibert.training.lock import Held


class RunOptions(Protocol):
    """The part of a run's options, a dataclass, that its directory needs."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def resume(self) -> bool:
        """Whether an unfinished run may be resumed."""

    def decisive(self) -> dict[str, Any]:
        """The options that decide the result, as plain values."""


class RunStatus(enum.Enum):
    """What remains to be done in a run's directory."""

    NEW = "start from the beginning"
    UNFINISHED = "resume"
    FINISHED = "nothing: the run is finished"


class RunDirectory:
    """The paths in one run's directory."""

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
        """Whether the summary exists and is whole; if it is damaged, a resume writes it again from the last state.

        Raises InputError if the path is not a file but something that a file can't replace.
        """
        try:
            return isinstance(json.loads(read_small(self.summary)), dict)
        except (OSError, ValueError, RecursionError):
            return False

    def status(self, options: RunOptions) -> RunStatus:
        """Return what remains to be done. Raises InputError if what the directory holds may not be continued."""
        check_path(self.path)
        if not self.path.exists() or (self.path.is_dir() and not {*self.path.iterdir()} - {*leftovers(self.path)}):
            return RunStatus.NEW
        if not self.path.is_dir():
            raise InputError(f"{self.path} is not a directory")
        if not self.configuration.is_file():
            raise InputError(f"{self.path} exists but holds no {self.kind} run; choose another --out")
        differing = self._differences(options)
        finished = self.is_finished
        if differing:
            kind = "a finished" if finished else "an unfinished"
            raise InputError(f"{self.path} holds {kind} run with a different configuration: {'; '.join(differing)}")
        if finished:
            with contextlib.suppress(OSError):  # left by a process that was killed just before it ended
                self.lock.unlink()
            return RunStatus.FINISHED
        if not options.resume:
            raise InputError(f"{self.path} holds an unfinished run; continue with --resume, or choose another --out")
        return RunStatus.UNFINISHED

    def _differences(self, options: RunOptions) -> list[str]:
        """List the fields in which the saved configuration and `options` differ: "seed is 1, was 0"."""
        try:
            saved = tomllib.loads(read_small(self.configuration))
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(f"{self.configuration}: not readable as TOML ({reason(error)})") from error
        given = options.decisive()
        # What the version of minibert that began the run could not choose, it did as is now the default.
        fields = {field.name: field.default for field in dataclasses.fields(options)}
        saved = {name: fields.get(name) for name in given} | saved
        return [
            f"{name} is {_shown(given.get(name))}, was {_shown(saved.get(name))}"
            for name in sorted(saved.keys() | given.keys())
            if saved.get(name) != given.get(name)
        ]


def _shown(value: Any) -> str:
    return "not given" if value is None else repr(value)


def plain_values(options: Any, *, without: set[str]) -> dict[str, Any]:
    """Return a dataclass's fields as JSON values, tuples as lists: equal after they are written and read back."""
    fields = json.loads(json.dumps(dataclasses.asdict(options)))
    return {name: value for name, value in fields.items() if name not in without}


def as_toml(fields: Mapping[str, Any], comment: str) -> str:
    """Format plain values as a TOML file; a None is left out, since TOML has no such value."""
    lines = [f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in fields.items() if value is not None]
    return "\n".join([f"# {comment}", *lines]) + "\n"


@contextlib.contextmanager
def gone_on_bad_input(directory: Path, *, when: bool) -> Iterator[None]:
    """If the block ends in an InputError, remove what it created of `directory` and its parents.

    They stay if another process, started at the same time, is working there.
    """
    missing = [path for path in (directory, *directory.parents) if not path.exists()]
    try:
        yield
    except Held:
        raise
    except InputError as error:
        traceback.clear_frames(error.__traceback__)  # Windows would not remove files that they hold open or mapped
        if when and missing:
            shutil.rmtree(missing[-1], ignore_errors=True)
        elif when:  # it existed and was empty
            for path in directory.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        raise
