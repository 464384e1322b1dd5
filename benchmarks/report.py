"""From runs to what is printed: whether both did the same work, a table, and whether ours is good enough."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from benchmarks.runner import Run
from finetune.seeds import Statistics, statistics_of

Figure = Callable[[Run], float]  # what a row of a table shows of a run

LEAST_MARGIN = 0.5  # points: what two runs of one and the same thing may well differ by


def differences_in_work(runs: Sequence[Run]) -> list[str]:
    """What the runs differ in: "tokens: 97 (ours), 99 (transformers)"; nothing where all did the same."""
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
    """A line for each row: each side's median, mean and standard deviation; of the row `ratio_of` the ratio as well.

    rows: name -> (the figure of a run, how a number is written). The ratio is that of the medians, the first side's
    over the second's.
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
    """Whether the mean of ours is not below the peer's by more than what is put down to chance; in points."""

    difference: float  # ours minus the peer's
    margin: float
    holds: bool


def verdict(ours: Sequence[float], peer: Sequence[float]) -> Verdict:
    """ours, peer: shares from 0 to 1. The margin is the larger of half a point and the peer's standard deviation."""
    difference = 100 * (statistics.fmean(ours) - statistics.fmean(peer))
    margin = max(LEAST_MARGIN, 100 * statistics_of(peer).std)
    return Verdict(difference, margin, difference >= -margin)


def verdict_line(name: str, found: Verdict) -> str:
    """The same for people."""
    return (
        f"{name}: ours {found.difference:+.2f} points; down to -{found.margin:.2f} is allowed: "
        f"{'holds' if found.holds else 'DOES NOT HOLD'}"
    )
