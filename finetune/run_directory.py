"""A fine-tuning run's directory: as every run's, `confusion.png` where the task has a confusion matrix, and
`skipped.txt` where bad rows were left out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from minibert.training import run_directory


@dataclass(frozen=True)
class FinetuneDirectory(run_directory.RunDirectory):
    """The places inside one run's directory."""

    kind: ClassVar[str] = "fine-tuning"

    @property
    def confusion(self) -> Path:
        """The confusion matrix, where the task has one."""
        return self.path / "confusion.png"

    @property
    def skipped(self) -> Path:
        """Why each bad row was left out, a line each."""
        return self.path / "skipped.txt"
