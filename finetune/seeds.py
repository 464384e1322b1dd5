"""Several runs that differ only in their seed: their statistics, and the run that is kept."""

import json
import math
import os
import shutil
import statistics
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from finetune.tasks.token_classification import WORD_LIST
from minibert import checkpoint
from minibert.errors import InputError
from minibert.files import writing
from minibert.files.text import reason
from minibert.training.metrics_log import read_metrics
from minibert.training.run_directory import RunDirectory

# The files of the kept run, besides its model, that are copied before the summary is written.
COPIED = ("metrics.jsonl", "curves.png", "confusion.png", WORD_LIST)
REMEDY = "; delete {} and use --resume to rebuild the model and figures from the saved state"


class Statistics(NamedTuple):
    """The statistics of one figure over several runs."""

    median: float
    mean: float
    std: float  # of a sample; 0 for a single run


def statistics_of(values: Sequence[float]) -> Statistics:
    """Return the median, mean and standard deviation of one or more values."""
    std = statistics.stdev(values) if len(values) > 1 else 0.0
    return Statistics(statistics.median(values), statistics.fmean(values), std)


def read_summary(place: RunDirectory, metric: str, best_metrics: dict[str, float] | None = None) -> dict[str, Any]:
    """Return a finished run's summary. Its model is checked too, as it may be the one that is kept.

    Raises InputError, naming the remedy, if either is damaged or the figures are not the saved state's `best_metrics`.
    """
    try:
        checkpoint.load(place.path)
        summary: dict[str, Any] = json.loads(place.summary.read_text(encoding="utf-8"))
        figures = [summary["metrics"][metric], *(summary["metrics"] | summary.get("test_metrics", {})).values()]
        if not all(type(figure) in (int, float) and math.isfinite(figure) for figure in [summary["seed"], *figures]):
            raise ValueError("a figure that is not a finite number")
    except (InputError, OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        why = f" ({reason(error)})" if isinstance(error, OSError | ValueError) else ""  # others have Python's words
        what = str(error) if isinstance(error, InputError) else f"{place.summary} is damaged{why}"
        raise InputError(what + REMEDY.format(place.summary)) from error
    if best_metrics is not None and summary["metrics"] != best_metrics:
        raise InputError(f"{place.summary}: its figures differ from the saved state's{REMEDY.format(place.summary)}")
    return summary


def keep_lower_median(run: RunDirectory, places: Sequence[RunDirectory], metric: str) -> list[str]:
    """Copy the run whose dev figure is the lower median to `run`, and write its summary with the statistics.

    A median, since the best of several is a matter of luck; the lower one, since it must be one of the runs.
    Return lines for the user.

    Raises InputError if a run's summary or the kept model has been damaged.
    """
    summaries = [read_summary(place, metric) for place in places]
    values = [summary["metrics"][metric] for summary in summaries]
    kept = values.index(statistics.median_low(values))
    checkpoint.save(*checkpoint.load(places[kept].path), run.path)
    sources = [places[kept].path / name for name in COPIED]
    for source in filter(Path.is_file, sources):
        writing.write_whole(run.path / source.name, partial(shutil.copyfile, source))
    notes = [f"{path} is not a file; left out" for path in sources if os.path.lexists(path) and not path.is_file()]
    if not os.path.lexists(places[kept].metrics):  # the only copied file that every run has
        notes.append(f"{places[kept].metrics} is missing; left out")
    elif places[kept].metrics.is_file():
        read_metrics(places[kept].metrics, notes.append)  # reports what is damaged
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
    writing.write_whole_text(run.summary, content)
    lines = [f"\nover {len(places)} seeds" + 14 * " " + "median      mean       std"]
    for part, names in over_seeds.items():
        for name, figures in names.items():
            label = f"{part.removesuffix('metrics')}{name}"
            lines.append(f"  {label:24}" + "".join(f"{figure:10.4f}" for figure in figures))
    which = f"seed {summaries[kept]['seed']}, the lower median by {metric}"
    return [*lines, *notes, f"kept: {which}; model and figures in {run.path}"]
