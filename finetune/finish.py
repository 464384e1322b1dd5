"""The end of a fine-tuning run: the best epoch's model as a plain model directory, with its pictures and figures."""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from finetune.curves import draw_run
from finetune.data.data_options import to_trained_on
from finetune.methods.embedding_rows import widen
from finetune.methods.lora import merge_adapters
from finetune.run_directory import FinetuneDirectory
from finetune.scoring.confusion import figures_table
from finetune.tasks.task import Task
from minibert import checkpoint
from minibert.files import writing
from minibert.heads import TaskModel
from minibert.training.drawing import draw_or_say


def write_model(run: FinetuneDirectory, model: TaskModel, task: Task[Any, Any], *, write: bool) -> None:
    """Merge adapters and narrowed embeddings back into `model`, and write its model directory.

    model: has the best epoch's weights; write: True in the process that writes files.
    """
    merge_adapters(model)
    widen(model)
    model.trained_on = to_trained_on(task.data_options)
    if write:
        checkpoint.save(model, task.tokenizer, run.path)
        task.write_beside(run.path)


def write_figures(
    run: FinetuneDirectory,
    task: Task[Any, Any],
    examples: Sequence[Any],
    predictions: Sequence[Any],
    summary: dict[str, Any],
    doubts: Sequence[str],
    say: Callable[[str], None],
) -> None:
    """Draw the pictures, write the summary, and print the figures and any doubts about them.

    examples, predictions: those of dev.
    """
    figures = task.figures(examples, predictions)
    content = json.dumps(summary | {"by_class": [figure._asdict() for figure in figures]}, indent=2) + "\n"
    drawn = draw_or_say(run.curves, lambda path: draw_run(path, run.metrics, summary["metric"], say), say)
    draw_or_say(run.confusion, lambda path: task.draw(path, examples, predictions), say)
    writing.write_whole_text(run.summary, content)
    if figures:
        say(f"\ndev, epoch {summary['best_epoch']}\n{figures_table(figures)}\n")
    say("\n".join([*summary_lines(summary), *(f"note     {doubt}" for doubt in doubts)]))
    curves = f", curves in {run.curves}" if drawn else ""
    say(f"\nmodel and figures in {run.path}{curves}")


def summary_lines(summary: dict[str, Any]) -> Iterator[str]:
    """Yield the summary's figures as lines of text."""
    for name, value in summary.items():
        if isinstance(value, dict):
            yield from (f"{name.removesuffix('metrics') + key:20} {figure:,.4f}" for key, figure in value.items())
        else:
            shown = f"{value:,.4f}" if isinstance(value, float) and value >= 0.01 else f"{value}"
            yield f"{name:20} {shown}"
