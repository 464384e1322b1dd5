"""Several runs that differ in their seed alone: what they come to together, and the one that is kept."""

from __future__ import annotations

import json
import shutil
import statistics
from collections.abc import Sequence
from typing import Any

from minibert import checkpoint
from minibert.training.run_directory import RunDirectory

# Of the run that is kept: copied beside the summary, which comes last.
COPIED = ("model.safetensors", "tokenizer.json", "vocab.txt", "metrics.jsonl", "curves.png", "confusion.png")


def keep_lower_median(run: RunDirectory, places: Sequence[RunDirectory], metric: str) -> list[str]:
    """Copies the run whose figure on dev is the lower median to `run`, and writes its summary with the statistics.

    A median, since the best of several is a matter of luck; the lower one, since it must be one of them.
    Returns lines for the user.
    """
    summaries = [json.loads(place.summary.read_text(encoding="utf-8")) for place in places]
    values = [summary["metrics"][metric] for summary in summaries]
    kept = values.index(statistics.median_low(values))
    for name in COPIED:
        if (source := places[kept].path / name).is_file():
            checkpoint.write_whole(run.path / name, lambda path, source=source: shutil.copyfile(source, path))  # type: ignore[misc]
    source = places[kept].path / checkpoint.CONFIG
    checkpoint.write_whole(run.path / checkpoint.CONFIG, lambda path: shutil.copyfile(source, path))
    several = {part: statistics_of([summary[part] for summary in summaries]) for part in ("metrics", "test_metrics")
               if part in summaries[0]}  # fmt: skip
    summary: dict[str, Any] = {**summaries[kept], "over_seeds": several, "runs": summaries}
    checkpoint.write_whole(
        run.summary, lambda path: path.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    )
    lines = [f"\nover {len(places)} seeds" + 14 * " " + "median      mean       std"]
    for part, names in several.items():
        for name, figures in names.items():
            label = f"{part.removesuffix('metrics')}{name}"
            lines.append(f"  {label:24}" + "".join(f"{figures[kind]:10.4f}" for kind in ("median", "mean", "std")))
    return [
        *lines,
        f"kept: seed {summaries[kept]['seed']}, the lower median by {metric}; model and figures in {run.path}",
    ]


def statistics_of(figures: Sequence[dict[str, float]]) -> dict[str, dict[str, float]]:
    """For each figure its median, mean and standard deviation (of a sample) over the runs."""
    values = {name: [found[name] for found in figures] for name in figures[0]}
    return {
        name: {
            "median": statistics.median(numbers),
            "mean": statistics.fmean(numbers),
            "std": statistics.stdev(numbers),
        }
        for name, numbers in values.items()
    }
