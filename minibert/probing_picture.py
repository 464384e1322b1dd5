"""What linear probes find in each block, as a picture: accuracy and selectivity over the blocks."""

from pathlib import Path
from typing import Any

from minibert.probing import Probes
from minibert.training.curves import COLOURS, DASHED, GRID_COLOUR, POINTS, TEXT_COLOUR, finish_axes
from minibert.training.drawing import figure_for


def draw_blocks(path: Path, title: str, found: Probes) -> None:
    """Draw a line for accuracy and, for words, one for selectivity, and the majority baseline as a dashed line, into
    the PNG file `path`. Raises OSError if the file can't be written.
    """
    lines = {"accuracy, %": [100 * block.accuracy for block in found.blocks]}
    selectivity = [100 * block.selectivity for block in found.blocks if block.selectivity is not None]
    if selectivity:
        lines["selectivity, points"] = selectivity
    with figure_for(path, inches=(7.0, 4.0)) as figure:
        axes = figure.add_subplot()
        for (label, values), colour in zip(lines.items(), COLOURS, strict=False):
            style: dict[str, Any] = {**POINTS, "color": colour}
            axes.plot(range(len(values)), values, label=label, **style)
        axes.axhline(100 * found.majority, label="majority baseline, %", **DASHED)
        axes.set_xticks(range(len(found.blocks)), [block.name.removeprefix("blocks.") for block in found.blocks])
        axes.set_xlabel("after block", color=TEXT_COLOUR)
        axes.set_ylim(min(0, *selectivity, 0), 100)
        axes.grid(axis="y", color=GRID_COLOUR, linewidth=0.8)
        axes.legend(frameon=False, fontsize=9, labelcolor=TEXT_COLOUR, loc="center left", bbox_to_anchor=(1.0, 0.5))
        finish_axes(axes, title)
