"""A fine-tuning run's directory: as every run's, `confusion.png` where the task has a confusion matrix, and
`skipped.txt` where bad rows were left out."""

from pathlib import Path
from typing import ClassVar

from minibert.training import run_directory


class FinetuneDirectory(run_directory.RunDirectory):
    """The places inside one run's directory."""

    kind: ClassVar[str] = "fine-tuning"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.confusion = path / "confusion.png"
        self.skipped = path / "skipped.txt"
