"""curves.png: a run's figures over its steps, readable at a glance and by colour-blind people."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from minibert.training.drawing import as_drawn, figure_for

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

# Okabe & Ito's palette (2008), whose colours people with any kind of colour vision can tell apart; darkest first.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
BASELINE_COLOUR = "#6B6B6B"
TEXT_COLOUR = "#333333"
GRID_COLOUR = "#E6E6E6"
POINTS = {"linewidth": 1.2, "marker": "o", "markersize": 5.5, "markeredgecolor": "white", "markeredgewidth": 0.8,
          "zorder": 3}  # fmt: skip
DASHED: dict[str, Any] = {"color": BASELINE_COLOUR, "linestyle": (0, (5, 3)), "linewidth": 1.3, "zorder": 1.5}
PANEL_INCHES = (5.6, 3.5)  # width, height
SMOOTHING_SHARE = 0.02  # the width of the smoothing, as a share of a line's points
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
LABEL_SHARE = 0.03  # of the width of a panel, for the label of a mark
LONGEST_TITLE, LONGEST_LABEL = 80, 40  # characters; longer ones are cut


@dataclass(frozen=True)
class Line:
    """One curve. Its points must be in ascending order of x, the step."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    smoothed: bool = False  # draw the values faintly, and a smooth line through them
    points: bool = False  # draw a marker at each value: for the few values of an evaluation

    @classmethod
    def logged(cls, entries: Sequence[Mapping[str, Any]], label: str, name: str, **style: bool) -> Line:
        """Make a line of the values of `name` in the log entries that have one, over their steps."""
        found = [(entry["step"], entry[name]) for entry in entries if entry.get(name) is not None]
        return cls(label, [x for x, _ in found], [y for _, y in found], **style)


@dataclass(frozen=True)
class Panel:
    """One set of axes; `baselines` are (label, y), drawn as dashed lines across it."""

    title: str
    y_label: str
    lines: Sequence[Line]
    baselines: Sequence[tuple[str, float]] = ()


def draw_curves(path: Path, title: str, panels: Sequence[Panel], marks: Sequence[tuple[int, str]] = ()) -> None:
    """Draw the panels, two in a row, into the PNG file `path`, which is written whole or not at all.

    marks: (step, label), drawn as vertical lines. The first panel without a legend has the labels, as far as there is
    room for them.

    Raises OSError if the file can't be written.
    """
    from matplotlib.layout_engine import ConstrainedLayoutEngine  # here: it is slow to import

    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    width, height = PANEL_INCHES
    layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12, wspace=0.03, hspace=0.05)
    with figure_for(path, inches=(columns * width, rows * height + 0.5), layout=layout) as figure:
        figure.suptitle(as_drawn(title, longest=LONGEST_TITLE), fontsize=13, fontweight="bold", color=TEXT_COLOUR)
        for number, panel in enumerate(panels, start=1):
            end = rows * columns if number == len(panels) else number  # the last panel fills its row
            _draw_panel(figure.add_subplot(rows, columns, (number, end)), panel, _step_limits(panels))
        labelled = next((axes for axes in figure.axes if axes.get_legend() is None), None)
        for axes in figure.axes:
            _draw_marks(axes, marks, labels=axes is labelled)


def _step_limits(panels: Sequence[Panel]) -> tuple[float, float]:
    """The ends of the x axis, which all panels share so that they can be compared."""
    steps = [step for panel in panels for line in panel.lines for step in line.x]
    first, last = min(steps, default=0), max(steps, default=1)
    # Around a single step, matplotlib would label fractions of a step.
    margin = 0.02 * (last - first) if last - first >= 1 else 1
    return first - margin, last + margin


def _draw_panel(axes: Axes, panel: Panel, step_limits: tuple[float, float]) -> None:
    drawn = [_draw_line(axes, line, colour) for line, colour in zip(panel.lines, cycle(COLOURS), strict=False)]
    for _, y in panel.baselines:
        drawn.append(axes.axhline(y, **DASHED))

    finish_axes(axes, panel.title)
    axes.set_xlabel("step", color=TEXT_COLOUR)
    axes.set_ylabel(panel.y_label, color=TEXT_COLOUR)
    axes.margins(y=0.08)
    axes.set_xlim(*step_limits)
    _mark_axes(axes)
    axes.grid(color=GRID_COLOUR, linewidth=0.8)
    if len(drawn) > 1:  # a single curve needs no legend: the title says what it is
        labels = [line.label for line in panel.lines] + [label for label, _ in panel.baselines]
        legend = axes.legend(
            drawn, list(map(str, range(len(drawn)))), frameon=True, framealpha=0.85, edgecolor="none", fontsize=9,
            labelcolor=TEXT_COLOUR, loc="best",
        )  # fmt: skip
        # Set afterwards: matplotlib leaves labels that begin with "_" out of a legend.
        for text, label in zip(legend.get_texts(), labels, strict=True):
            text.set_text(as_drawn(label, longest=LONGEST_LABEL))


def finish_axes(axes: Axes, title: str) -> None:
    """Give the axes of any picture of lines or bars its title, and the look that they all have."""
    axes.set_title(as_drawn(title, longest=LONGEST_TITLE), loc="left", fontsize=11, color=TEXT_COLOUR)
    axes.set_axisbelow(True)
    axes.tick_params(colors=TEXT_COLOUR, length=0, labelsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#BBBBBB")


def _draw_marks(axes: Axes, marks: Sequence[tuple[int, str]], *, labels: bool) -> None:
    first, last = axes.get_xlim()
    free_from = first
    for step, label in marks:
        axes.axvline(step, color=BASELINE_COLOUR, linestyle=":", linewidth=0.8, zorder=1.2)
        if labels and step >= free_from:
            text = as_drawn(label, longest=LONGEST_LABEL)
            axes.annotate(
                text, (step, 0.02), xycoords=("data", "axes fraction"), xytext=(-1.5, 0), textcoords="offset points",
                rotation=90, ha="right", va="bottom", fontsize=7, color=TEXT_COLOUR,
            )  # fmt: skip
            free_from = step + LABEL_SHARE * (last - first)


def _draw_line(axes: Axes, line: Line, colour: str) -> Artist:
    """Draw a line and return the artist that represents it in a legend."""
    y = line.y
    style: dict[str, Any] = {"linewidth": 1.9}
    if line.smoothed:
        axes.plot(line.x, y, color=colour, alpha=0.25, linewidth=0.8)
        y = smooth(y)
    elif line.points:
        style = POINTS
    return axes.plot(line.x, y, color=colour, **style)[0]


def smooth(values: Sequence[float]) -> list[float]:
    """Smooth by local linear regression: each value becomes that of the straight line that best fits its neighbourhood.

    Neighbours are weighted by a bell, `SMOOTHING_SHARE` of the points wide but at least one point. Fitting a line
    instead of a constant (a moving average) keeps the steep beginning of a loss curve from being flattened.
    """
    if len(values) < 3:
        return list(values)
    sigma = max(1.0, SMOOTHING_SHARE * len(values))
    reach = int(3 * sigma)
    distance = np.arange(-reach, reach + 1)
    bell = np.exp(-0.5 * (distance / sigma) ** 2)

    def summed(weights: np.ndarray, over: np.ndarray) -> np.ndarray:
        return np.convolve(over, weights[::-1])[reach : reach + len(values)]

    ones, y = np.ones(len(values)), np.asarray(values, dtype=float)
    s0, s1, s2 = (summed(bell * distance**power, ones) for power in (0, 1, 2))
    t0, t1 = (summed(bell * distance**power, y) for power in (0, 1))
    return ((s2 * t0 - s1 * t1) / (s0 * s2 - s1**2)).tolist()


def _mark_axes(axes: Axes) -> None:
    """Label x with integers and y with round numbers: 12k for 12000, small ones with a power of ten in the label."""
    from matplotlib.ticker import EngFormatter, FuncFormatter, MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(nbins=7, steps=[1, 2, 2.5, 5, 10], integer=True, min_n_ticks=1))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10]))
    largest = max(abs(limit) for limit in axes.get_ylim())
    if largest >= 1000:
        axes.yaxis.set_major_formatter(EngFormatter(sep=""))
    elif 0 < largest < 0.1:
        power = math.floor(math.log10(largest))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y / 10**power:.4g}"))
        axes.set_ylabel(f"{axes.get_ylabel()} (in 10{str(power).translate(SUPERSCRIPTS)})")
