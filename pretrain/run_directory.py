"""A run's directory: what it holds, and whether a command may start, go on, or has nothing left to do there.

run.toml            the resolved configuration, written first
data/               the token arrays, when the run was given text
state/              what resuming needs
metrics.jsonl       one object a logged step
config.json, model.safetensors, tokenizer.json, vocab.txt      the model directory, written at the end
curves.png, summary.json                                       summary.json last: it says that the run is finished
"""

from __future__ import annotations

import contextlib
import enum
import fcntl
import os
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minibert.errors import InputError
from pretrain.options import PretrainOptions


class Standing(enum.Enum):
    """What is to be done in a run's directory."""

    NEW = "start from the beginning"
    UNFINISHED = "go on"
    FINISHED = "nothing: it is done"


@dataclass(frozen=True)
class RunDirectory:
    """The places inside one run's directory."""

    path: Path

    @property
    def configuration(self) -> Path:
        """The resolved options."""
        return self.path / "run.toml"

    @property
    def data(self) -> Path:
        """The token arrays of a run that was given text."""
        return self.path / "data"

    @property
    def state(self) -> Path:
        """The saved states."""
        return self.path / "state"

    @property
    def metrics(self) -> Path:
        """The log."""
        return self.path / "metrics.jsonl"

    @property
    def curves(self) -> Path:
        """The picture."""
        return self.path / "curves.png"

    @property
    def summary(self) -> Path:
        """The figures of the finished run."""
        return self.path / "summary.json"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps a second run out of the directory as long as this process lives.

        Raises:
            InputError: another process is at it, such as a worker that outlived its killed `torchrun`.
        """
        handle = os.open(self.path, os.O_RDONLY)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InputError(f"{self.path}: another process is training there") from None
            yield
        finally:
            os.close(handle)

    def standing(self, options: PretrainOptions) -> Standing:
        """
        Raises:
            InputError: the directory holds something else, another run, or an unfinished one and no `--resume`.
        """
        if not self.path.exists() or (self.path.is_dir() and not any(self.path.iterdir())):
            return Standing.NEW
        if not self.path.is_dir():
            raise InputError(f"{self.path}: is no directory")
        if not self.configuration.is_file():
            raise InputError(f"{self.path}: exists and holds no pretraining run; give --out another place")
        differing = self._differences(options)
        finished = self.summary.is_file()
        if differing:
            kind = "a finished" if finished else "an unfinished"
            raise InputError(f"{self.path}: holds {kind} run of another configuration: {'; '.join(differing)}")
        if finished:
            return Standing.FINISHED
        if not options.resume:
            raise InputError(f"{self.path}: holds an unfinished run; go on with --resume, or give --out another place")
        return Standing.UNFINISHED

    def _differences(self, options: PretrainOptions) -> list[str]:
        """Fields in which the saved configuration and `options` differ: "seed is 1, was 0"."""
        try:
            saved = tomllib.loads(self.configuration.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"{self.configuration}: no readable TOML ({error})") from error
        given = options.decisive()
        return [
            f"{name} is {_shown(given.get(name))}, was {_shown(saved.get(name))}"
            for name in sorted(saved.keys() | given.keys())
            if saved.get(name) != given.get(name)
        ]


def _shown(value: Any) -> str:
    return "not given" if value is None else repr(value)
