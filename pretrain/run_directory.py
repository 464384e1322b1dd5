"""A pretraining run's directory: as every run's, and `data/`, the token arrays, when the run was given text."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from minibert.training import run_directory


@dataclass(frozen=True)
class PretrainDirectory(run_directory.RunDirectory):
    """The places inside one run's directory."""

    kind: ClassVar[str] = "pretraining"

    @property
    def data(self) -> Path:
        """The token arrays of a run that was given text."""
        return self.path / "data"
