"""From runs to what is printed: whether both sides did the same work, a table, and whether minibert is good enough."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from benchmarks.runner import Run
from finetune.seeds import Statistics, statistics_of

Figure = Callable[[Run], float]  # the value of a run that a row of a table shows

LEAST_MARGIN = 0.5  # points by which two runs of the same thing may well differ


def differences_in_work(runs: Sequence[Run]) -> list[str]:
    """Return what the runs differ in, as "tokens: 97 (ours), 99 (transformers)"; empty if all did the same."""
    found = []
    for name in dict.fromkeys(name for run in runs for name in run.work):
        sides: dict[int | None, list[str]] = {}
        for run in runs:
            sides.setdefault(run.work.get(name), []).append(run.side)
        if len(sides) > 1:
            each = (f"{value} ({' and '.join(dict.fromkeys(names))})" for value, names in sides.items())
            found.append(f"{name}: {', '.join(each)}")
    return found


def table(
    sides: Mapping[str, Sequence[Run]], rows: Mapping[str, tuple[Figure, str]], *, ratio_of: str = ""
) -> list[str]:
    """Return two lines of heads, then a line for each row: each side's median, mean and standard deviation.

    rows: name -> (the figure of a run, the format of a number). The row `ratio_of` also has the ratio of the medians,
    the first side's over the second's.
    """
    width = max(map(len, [*rows, ""])) + 2
    lines = ["".join([" " * width, *(f"{side:^33}" for side in sides)]).rstrip()]
    lines.append("".join([" " * width, *("".join(f"{head:>11}" for head in Statistics._fields) for _ in sides)]))
    for name, (figure, form) in rows.items():
        found = [statistics_of([figure(run) for run in runs]) for runs in sides.values()]
        line = f"{name:{width}}" + "".join(f"{format(value, form):>11}" for one in found for value in one)
        if name == ratio_of and len(found) == 2:
            line += f"   ratio {found[0].median / found[1].median:.2f}"
        lines.append(line)
    return lines


class Verdict(NamedTuple):
    """Whether our mean is below the peer's by no more than chance may explain; in points."""

    difference: float  # ours minus the peer's
    margin: float
    holds: bool


def verdict(ours: Sequence[float], peer: Sequence[float]) -> Verdict:
    """Compare shares from 0 to 1. The margin is the larger of half a point and the peer's standard deviation."""
    difference = 100 * (statistics.fmean(ours) - statistics.fmean(peer))
    margin = max(LEAST_MARGIN, 100 * statistics_of(peer).std)
    return Verdict(difference, margin, difference >= -margin)


def verdict_line(name: str, found: Verdict) -> str:
    """Return a verdict as one line for people."""
    return (
        f"{name}: ours minus the peer's is {found.difference:+.2f} points, expected at least -{found.margin:.2f}: "
        f"{'holds' if found.holds else 'DOES NOT HOLD'}"
    )
