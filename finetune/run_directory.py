"""A fine-tuning run's directory: the files of every run, `confusion.png` if the task has a confusion matrix, and
`skipped.txt` if bad rows were left out."""

from pathlib import Path
from typing import ClassVar

from minibert.training import run_directory


class FinetuneDirectory(run_directory.RunDirectory):
    """The paths inside a fine-tuning run's directory."""

    kind: ClassVar[str] = "fine-tuning"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.confusion = path / "confusion.png"
        self.skipped = path / "skipped.txt"
