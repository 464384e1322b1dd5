"""curves.png: what happened in a pretraining run, at a glance."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from minibert.training.curves import Line, Panel, draw_curves
from minibert.training.metrics_log import read_metrics
from pretrain.evaluate import HeldOut


def draw_run(
    path: Path,
    metrics: Path,
    report: Callable[[str], None],
    heldout: HeldOut,
    kept: Sequence[tuple[int, Sequence[str]]] = (),
) -> None:
    """Draw the masked-LM loss with the unigram baseline, held-out accuracy, pair loss, learning rate and throughput.

    kept: the steps at which models were kept, and for which marks. Damaged lines of the log are passed to `report`.
    """
    line = partial(Line.logged, read_metrics(metrics, report))
    panels = [
        Panel(
            "Masked language model",
            "loss, nats per token",
            [line("training", "mlm_loss", smoothed=True), line("held out", "heldout_mlm_loss", points=True)],
            baselines=[("unigram baseline", heldout.unigram_loss)],
        ),
        Panel(
            "Masked tokens predicted correctly",
            "share, held out",
            [line("held out", "heldout_mlm_accuracy", points=True)],
        ),
    ]
    if (objective := heldout.objective) != "none":
        training, evaluated = f"{objective}_loss", f"heldout_{objective}_loss"
        panels.append(
            Panel(
                "Next-sentence prediction" if objective == "nsp" else "Sentence order",
                "loss, nats per pair",
                [line("training", training, smoothed=True), line("held out", evaluated, points=True)],
                baselines=[("chance", 0.6931)],
            )
        )
    panels.append(Panel("Learning rate", "AdamW", [line("learning rate", "learning_rate")]))
    panels.append(Panel("Throughput", "tokens/s", [line("tokens/s", "tokens_per_second")]))
    draw_curves(
        path, f"Pretraining: {path.parent.resolve().name}", panels, [(step, ", ".join(marks)) for step, marks in kept]
    )
