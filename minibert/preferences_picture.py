"""How often models prefer the good sentence, as a picture: bars for one model, for several lines over words seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minibert.errors import InputError
from minibert.preferences import Preferences
from minibert.training.curves import COLOURS, DASHED, GRID_COLOUR, POINTS, TEXT_COLOUR, finish_axes
from minibert.training.drawing import as_drawn, figure_for

MOST_BARS = 200  # more would not be readable, nor fit into a picture
STYLES = ("-", "--", ":")
MOST_LINES = len(COLOURS) * len(STYLES)  # of more groups only the mean and the middle half are drawn
LONGEST_LABEL = 60  # characters


def check_drawable(groups: int) -> None:
    """Raises InputError if there are more groups than one model's picture has room for."""
    if groups > MOST_BARS:
        wanted = f"expected at most {MOST_BARS}; group by a field with fewer values"
        raise InputError(f"--picture: {groups:,} groups, {wanted}")


def draw_bars(path: Path, title: str, found: Preferences) -> None:
    """Draw a bar for each group, the highest on top, and the mean as a dashed line, into the PNG file `path`.

    Raises OSError if the file can't be written.
    """
    names = sorted(found.groups, key=lambda name: found.groups[name].accuracy)
    with figure_for(path, inches=(8.0, 1.5 + 0.22 * len(names))) as figure:
        axes = figure.add_subplot()
        shares = [100 * found.groups[name].accuracy for name in names]
        axes.barh(range(len(names)), shares, color=COLOURS[0], height=0.7)
        axes.set_yticks(range(len(names)), [as_drawn(name, longest=LONGEST_LABEL) for name in names])
        axes.set_ylim(-0.6, len(names) - 0.4)
        axes.set_xlim(0, 100)
        axes.axvline(100 * found.mean, **DASHED)
        finish_axes(axes, f"{title}: mean {100 * found.mean:.2f} %")
        axes.set_xlabel("good sentence preferred, %", color=TEXT_COLOUR)
        axes.grid(axis="x", color=GRID_COLOUR, linewidth=0.8)


def draw_lines(path: Path, title: str, found: Mapping[str, Preferences], words: Sequence[int] | None) -> None:
    """Draw accuracy over the words that each model has seen, or, if they are not known, over the models in their order.

    There is a line for each group if there are at most `MOST_LINES`, or else the middle half of the groups as an area,
    and a thick line for the mean. Raises OSError if the file can't be written.
    """
    from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

    models = list(found.values())
    order = range(len(models)) if words is None else sorted(range(len(models)), key=lambda i: words[i])
    x = [i if words is None else words[i] for i in order]
    names = sorted(models[0].groups, key=lambda name: -models[order[-1]].groups[name].accuracy)
    values = np.array([[100 * models[i].groups[name].accuracy for i in order] for name in names])  # (groups, models)
    with figure_for(path, inches=(9.0, 5.0)) as figure:
        axes = figure.add_subplot()
        drawn: list[tuple[Any, str]] = []
        thick: dict[str, Any] = {**POINTS, "color": TEXT_COLOUR, "linewidth": 2.6, "zorder": 4}
        drawn += [(axes.plot(x, [100 * models[i].mean for i in order], **thick)[0], "mean")]
        if len(names) > MOST_LINES:
            low, high = np.percentile(values, (25, 75), axis=0)
            area = axes.fill_between(x, low, high, color=COLOURS[5], alpha=0.3, linewidth=0)
            drawn += [(area, "middle half of groups")]
        elif len(names) > 1:
            for i, (name, line) in enumerate(zip(names, values, strict=True)):
                style: dict[str, Any] = {**POINTS, "color": COLOURS[i % len(COLOURS)]}
                drawn += [(axes.plot(x, line, **style | {"linestyle": STYLES[i // len(COLOURS)]})[0], name)]
        drawn += [(axes.axhline(50, **DASHED), "chance")]
        if words is None:
            axes.set_xticks(x, [as_drawn(name, longest=20) for name in found], rotation=30, ha="right")
        else:
            if x[0] > 0 and x[-1] >= 10 * x[0]:
                axes.set_xscale("log")
                axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
                axes.xaxis.set_minor_formatter(NullFormatter())
            axes.xaxis.set_major_formatter(EngFormatter(sep=""))
            axes.set_xlabel("words seen", color=TEXT_COLOUR)
        axes.set_ylabel("good sentence preferred, %", color=TEXT_COLOUR)
        finish_axes(axes, title)
        axes.grid(color=GRID_COLOUR, linewidth=0.8)
        legend = axes.legend(
            [artist for artist, _ in drawn], list(map(str, range(len(drawn)))), frameon=False, fontsize=9,
            labelcolor=TEXT_COLOUR, loc="center left", bbox_to_anchor=(1.0, 0.5),
        )  # fmt: skip
        # Set afterwards: matplotlib leaves labels that begin with "_" out of a legend.
        for text, (_, label) in zip(legend.get_texts(), drawn, strict=True):
            text.set_text(as_drawn(label, longest=LONGEST_LABEL))
