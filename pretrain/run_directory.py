"""A pretraining run's directory: as every run's, and `data/`, the token arrays, when the run was given text."""

from pathlib import Path
from typing import ClassVar

from minibert.training import run_directory


class PretrainDirectory(run_directory.RunDirectory):
    """The places inside one run's directory."""

    kind: ClassVar[str] = "pretraining"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.data = path / "data"
