"""What is shown of the figures: a confusion matrix as a picture, figures by class or type as a table of text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from finetune.metrics import ClassFigures


def draw_confusion(path: Path, targets: Sequence[int], predictions: Sequence[int], labels: Sequence[str]) -> None:
    """The confusion matrix as a PNG, written whole or not at all: a row a true class, a column a predicted one.

    Colours are shares of the row; numbers are counts.

    Raises:
        OSError: it cannot be written.
    """
    raise NotImplementedError


def figures_table(figures: Sequence[ClassFigures], head: str = "class") -> str:
    """Precision, recall, F1 and support, a line each, in columns of equal width."""
    raise NotImplementedError
