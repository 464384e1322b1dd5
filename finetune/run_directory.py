"""A fine-tuning run's directory: as every run's, and `confusion.png` where the task has a confusion matrix."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from minibert.training import run_directory


@dataclass(frozen=True)
class RunDirectory(run_directory.RunDirectory):
    """The places inside one run's directory."""

    kind: ClassVar[str] = "fine-tuning"

    @property
    def confusion(self) -> Path:
        """The confusion matrix, where the task has one."""
        return self.path / "confusion.png"
