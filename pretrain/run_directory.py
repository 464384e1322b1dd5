"""The directory of a pretraining run: that of any run and, if it was given text, `data/` with its token arrays; with
--keep-at, `kept/` with the models kept along the way (`pretrain/keeping.py`).
"""

from pathlib import Path
from typing import ClassVar

from minibert.training import run_directory


class PretrainDirectory(run_directory.RunDirectory):
    """The paths inside one run's directory."""

    kind: ClassVar[str] = "pretraining"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.data = path / "data"
        self.kept = path / "kept"
