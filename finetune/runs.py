"""Several runs that differ in their seed alone: what they come to together, and the one that is kept."""

from __future__ import annotations

import json
import math
import shutil
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from minibert import checkpoint
from minibert.errors import InputError
from minibert.training.run_directory import RunDirectory

# Of the run that is kept: copied in this order, config.json once the model is there, and before the summary.
COPIED = ("model.safetensors", "tokenizer.json", "vocab.txt", "metrics.jsonl", "curves.png", "confusion.png",
          checkpoint.CONFIG)  # fmt: skip


class Statistics(NamedTuple):
    """Of one figure over several runs."""

    median: float
    mean: float
    std: float  # of a sample; 0 of a single run


def statistics_of(values: Sequence[float]) -> Statistics:
    """Median, mean and standard deviation."""
    std = statistics.stdev(values) if len(values) > 1 else 0.0
    return Statistics(statistics.median(values), statistics.fmean(values), std)


def read_summary(run: RunDirectory, metric: str) -> dict[str, Any]:
    """What a finished run came to. Its model is looked at too: it may be the one that is kept.

    Raises:
        InputError: one of them is damaged; the message says what helps.
    """
    try:
        checkpoint.load(run.path)
        summary: dict[str, Any] = json.loads(run.summary.read_text(encoding="utf-8"))
        figures = [summary["metrics"][metric], *(summary["metrics"] | summary.get("test_metrics", {})).values()]
        if not all(map(math.isfinite, [summary["seed"], *figures])):
            raise ValueError("a figure that is not finite")
    except (InputError, OSError, ValueError, TypeError, LookupError, AttributeError) as error:
        what = str(error) if isinstance(error, InputError) else f"{run.summary}: damaged ({error})"
        raise InputError(f"{what}; delete {run.summary} and --resume, which makes them anew from the state") from error
    return summary


def keep_lower_median(run: RunDirectory, places: Sequence[RunDirectory], metric: str) -> list[str]:
    """Copies the run whose figure on dev is the lower median to `run`, and writes its summary with the statistics.

    A median, since the best of several is a matter of luck; the lower one, since it must be one of them.
    Returns lines for the user.
    """
    summaries = [read_summary(place, metric) for place in places]
    values = [summary["metrics"][metric] for summary in summaries]
    kept = values.index(statistics.median_low(values))
    for name in COPIED:
        copy_whole(places[kept].path / name, run.path / name)
    over_seeds = {
        part: {
            name: statistics_of([summary[part][name] for summary in summaries])
            for name in summaries[0][part]
            if all(name in summary.get(part, ()) for summary in summaries)
        }
        for part in ("metrics", "test_metrics")
        if part in summaries[0]
    }
    told = {part: {name: found._asdict() for name, found in names.items()} for part, names in over_seeds.items()}
    content = json.dumps({**summaries[kept], "over_seeds": told, "runs": summaries}, indent=2) + "\n"
    checkpoint.write_whole(run.summary, lambda path: path.write_text(content, encoding="utf-8"))
    lines = [f"\nover {len(places)} seeds" + 14 * " " + "median      mean       std"]
    for part, names in over_seeds.items():
        for name, figures in names.items():
            label = f"{part.removesuffix('metrics')}{name}"
            lines.append(f"  {label:24}" + "".join(f"{figure:10.4f}" for figure in figures))
    return [
        *lines,
        f"kept: seed {summaries[kept]['seed']}, the lower median by {metric}; model and figures in {run.path}",
    ]


def copy_whole(source: Path, destination: Path) -> None:
    """Copies a file, whole or not at all, where there is one."""
    if source.is_file():
        checkpoint.write_whole(destination, lambda path: shutil.copyfile(source, path))
