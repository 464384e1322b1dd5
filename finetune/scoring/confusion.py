"""How figures are shown: a confusion matrix as a picture, figures by class or type as a table of text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from minibert.training.curves import GRID_COLOUR, TEXT_COLOUR
from minibert.training.drawing import as_drawn, drawable, figure_for

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from finetune.scoring.metrics import ClassFigures

# Sizes for few classes and for many; between these, both shrink with the number of classes.
FEW, MANY = 8, 24
CELL_INCHES = (0.75, 0.34)
FONT_POINTS = (11.0, 6.5)
MOST_INCHES = 24.0  # with very many classes: cells shrink further, and numbers and some of the names are left out
NUMBER_INCHES, NAME_INCHES = 0.3, 0.12  # the least room for them
LONGEST_NAME = 24  # characters of a label that are drawn


def draw_confusion(path: Path, targets: Sequence[int], predictions: Sequence[int], labels: Sequence[str]) -> None:
    """Draw the confusion matrix as a PNG, written whole or not at all: rows are true classes, columns predicted ones.

    Colours are shares of the row, numbers are counts; a cell without examples is empty. A label that no font here can
    write is drawn as its number, from 0. Above 80 classes there are only colours, no numbers.

    Raises OSError if the file cannot be written.
    """
    names = _names(labels)
    cell, font = (float(np.interp(len(labels), (FEW, MANY), sizes)) for sizes in (CELL_INCHES, FONT_POINTS))
    margin = 1.2 + 0.09 * max(map(len, names))
    side = min(max(cell * len(labels), 1.8), MOST_INCHES)
    with figure_for(path, inches=(side + margin + 0.6, side + margin)) as figure:
        counts = confusion(targets, predictions, len(labels))
        _draw_matrix(figure.add_subplot(), counts, names, font=font, cell=side / len(labels))


def confusion(targets: Sequence[int], predictions: Sequence[int], classes: int) -> np.ndarray:
    """Return the counts, (C, C): [true, predicted]."""
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (np.asarray(targets, np.int64), np.asarray(predictions, np.int64)), 1)
    return counts


def _names(labels: Sequence[str]) -> list[str]:
    """Return the labels as they are drawn: not too long, and none that would show as a row of boxes."""
    known = drawable()
    return [
        as_drawn(label, longest=LONGEST_NAME) if known.issuperset(map(ord, "".join(label.split()))) else str(number)
        for number, label in enumerate(labels)
    ]


def _draw_matrix(axes: Axes, counts: np.ndarray, names: Sequence[str], *, font: float, cell: float) -> None:
    """Draw the matrix. font: in points; cell: in inches."""
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for true, predicted in np.argwhere(counts) if cell >= NUMBER_INCHES else ():
        colour = "white" if shares[true, predicted] > 0.55 else TEXT_COLOUR
        number = axes.text(
            predicted, true, _short(counts[true, predicted]), ha="center", va="center", fontsize=font, color=colour
        )
        number.set_in_layout(False)  # it fits inside its cell, and laying out thousands would take seconds
    named = range(0, len(names), math.ceil(NAME_INCHES / cell))
    axes.set_xticks(named, names[:: named.step], rotation=90 if max(map(len, names)) > 3 else 0)
    axes.set_yticks(named, names[:: named.step])
    axes.tick_params(colors=TEXT_COLOUR, length=0, labelsize=max(font, 7))
    axes.set_xlabel("predicted", color=TEXT_COLOUR)
    axes.set_ylabel("true", color=TEXT_COLOUR)
    right = np.trace(counts) / max(counts.sum(), 1)
    axes.set_title(f"{right:.1%} of {counts.sum():,} predicted correctly", loc="left", fontsize=11, color=TEXT_COLOUR)
    # Lines between the cells lead the eye from a name to its cell.
    ends = -0.5, len(names) - 0.5
    for lines in (axes.hlines, axes.vlines):
        lines(np.arange(len(names) + 1) - 0.5, *ends, color=GRID_COLOUR, linewidth=0.6)
    axes.set_xlim(*ends)
    axes.set_ylim(*reversed(ends))
    axes.spines[:].set_visible(False)


def _short(count: int) -> str:
    """Return the count in at most four characters: 12k for 12,345."""
    return str(count) if count < 10_000 else f"{count / 1000:.0f}k"


def figures_table(figures: Sequence[ClassFigures]) -> str:
    """Return precision, recall, F1 and support, a line per class, in columns; a type without a name is a dash."""
    names = [row.name or "-" for row in figures]
    width = max(map(len, ["class", *names]))
    lines = [f"{'class':{width}}  precision  recall      f1  support"]
    for name, (_, precision, recall, f1, support) in zip(names, figures, strict=True):
        lines.append(f"{name:{width}}  {precision:9.4f}  {recall:6.4f}  {f1:6.4f}  {support:7,}")
    return "\n".join(lines)
