"""What is shown of the figures: a confusion matrix as a picture, figures by class or type as a table of text."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from minibert.training.curves import TEXT_COLOUR

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from finetune.metrics import ClassFigures

CELL_INCHES = (0.75, 0.34)  # of few classes, and of many
FEW, MANY = 8, 24  # classes: between the two a cell shrinks
LONGEST_LABEL = 24  # characters of a label that are drawn


def draw_confusion(path: Path, targets: Sequence[int], predictions: Sequence[int], labels: Sequence[str]) -> None:
    """The confusion matrix as a PNG, written whole or not at all: a row a true class, a column a predicted one.

    Colours are shares of the row, numbers are counts; a cell without any is left empty.

    Raises:
        OSError: it cannot be written.
    """
    # Here and not above: importing matplotlib takes longer than many a command that draws nothing. No pyplot: its
    # global state wants a display and keeps figures alive.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    counts = confusion(targets, predictions, len(labels))
    cell = float(np.interp(len(labels), (FEW, MANY), CELL_INCHES))
    names = [label if len(label) <= LONGEST_LABEL else f"{label[: LONGEST_LABEL - 1]}…" for label in labels]
    margin = 1.2 + 0.09 * max(map(len, names))
    side = max(cell * len(labels), 1.8)
    figure = Figure(figsize=(side + margin + 0.6, side + margin), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    _draw_matrix(figure.add_subplot(), counts, names, font=float(np.interp(len(labels), (FEW, MANY), (11, 6.5))))

    aside = path.with_name(f".{path.name}.partial")
    try:
        figure.savefig(aside, format="png", dpi=130)
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def confusion(targets: Sequence[int], predictions: Sequence[int], classes: int) -> np.ndarray:
    """(C, C) counts: [true, predicted]."""
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (np.asarray(targets, np.int64), np.asarray(predictions, np.int64)), 1)
    return counts


def _draw_matrix(axes: Axes, counts: np.ndarray, names: Sequence[str], *, font: float) -> None:
    classes = len(names)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for true, predicted in np.argwhere(counts):
        dark = shares[true, predicted] > 0.55
        axes.text(
            predicted, true, _short(counts[true, predicted]), ha="center", va="center", fontsize=font,
            color="white" if dark else TEXT_COLOUR,
        )  # fmt: skip
    axes.set_xticks(range(classes), names, rotation=90 if max(map(len, names)) > 3 else 0)
    axes.set_yticks(range(classes), names)
    axes.tick_params(colors=TEXT_COLOUR, length=0, labelsize=max(font, 7))
    axes.set_xlabel("predicted", color=TEXT_COLOUR)
    axes.set_ylabel("true", color=TEXT_COLOUR)
    right = np.trace(counts) / max(counts.sum(), 1)
    axes.set_title(f"{right:.1%} of {counts.sum():,} right", loc="left", fontsize=11, color=TEXT_COLOUR)
    # Lines between the cells lead the eye from a name to its cell.
    axes.set_xticks(np.arange(classes + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(classes + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="#E6E6E6", linewidth=0.6)
    axes.tick_params(which="minor", length=0)
    axes.spines[:].set_visible(False)


def _short(count: int) -> str:
    """At most four characters: 12k for 12,345."""
    return str(count) if count < 10_000 else f"{count / 1000:.0f}k"


def figures_table(figures: Sequence[ClassFigures], head: str = "class") -> str:
    """Precision, recall, F1 and support, a line each, in columns of equal width."""
    width = max(len(head), *(len(row.name) for row in figures)) if figures else len(head)
    lines = [f"{head:{width}}  precision  recall      f1  support"]
    lines += [
        f"{row.name:{width}}  {row.precision:9.4f}  {row.recall:6.4f}  {row.f1:6.4f}  {row.support:7,}"
        for row in figures
    ]
    return "\n".join(lines)
