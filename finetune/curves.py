"""curves.png: a fine-tuning run at a glance."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from minibert.training.curves import Line, Panel, draw_curves
from minibert.training.metrics_log import read_metrics


def draw_run(path: Path, metrics: Path, metric: str, report: Callable[[str], None]) -> None:
    """Draw training loss, dev figures, learning rate and throughput. Damaged log lines go to `report`."""
    entries = read_metrics(metrics, report)
    line = partial(Line.logged, entries)
    names = dict.fromkeys([f"dev_{metric}", *(name for entry in entries for name in entry if name.startswith("dev_"))])
    few = [name for name in names if not name.endswith("threshold")][:4]
    panels = [
        Panel("Training loss", "mean of the batch", [line("loss", "loss", smoothed=True)]),
        Panel("Dev", "after each epoch", [line(name.removeprefix("dev_"), name, points=True) for name in few]),
        Panel("Learning rate", "AdamW", [line("learning rate", "learning_rate")]),
        Panel("Throughput", "examples/s", [line("examples/s", "examples_per_second")]),
    ]
    draw_curves(path, f"Fine-tuning: {path.parent.resolve().name}", panels)
