"""A fine-tuned model at work: `evaluate` gives its figures on a file, `predict` its answers."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from tqdm import tqdm

from finetune.answering import Machine, outputs_of, predictions_of
from finetune.pictures import figures_table
from finetune.readings import Reading
from finetune.setup import count_full, cut_note
from finetune.task import Task
from finetune.tasks import TASKS
from finetune.use_options import EvaluateOptions, PredictOptions, UseOptions
from minibert import checkpoint
from minibert.errors import InputError
from minibert.heads import TaskModel
from minibert.text_files import STANDARD_INPUT
from minibert.training.device import choose_device, choose_precision
from minibert.training.processes import Processes

EXAMPLES_AT_ONCE = 1024  # of what is predicted: memory stays bounded, and there are enough to sort by length


def load_for_task(options: UseOptions, task: str, reading: Reading) -> tuple[TaskModel, Task[Any, Any], Machine]:
    """The model on its device, and its task.

    Raises:
        InputError: the directory is damaged, or the options do not fit the model.
    """
    device = choose_device(options.device)
    precision = choose_precision(options.dtype, device)
    model, tokenizer = checkpoint.load(options.directory)
    reading = reading.fitted(model.config.longest)
    kind = TASKS[task]
    assert isinstance(model, kind.model_class)  # `task_of_model` saw to it
    made = kind(reading, tokenizer, tuple(getattr(model, "labels", ())))
    problem, asked = getattr(model, "problem_type", None), made.head().get("problem_type")
    if problem != asked:
        raise InputError(f"{options.directory}: its head is for {problem}, which {asked} is not")
    model.to(device, precision.parameter_dtype)
    return model, made, Machine(device, precision, Processes())


def evaluate_model(options: EvaluateOptions, task_name: str, reading: Reading) -> None:
    """Prints the figures, and writes them where asked to.

    Raises:
        InputError: as `load_for_task`; the file is no labelled data for the task, or the figures cannot be written.
    """
    if options.json is not None:
        checkpoint.check_writable(Path(options.json), reads=(options.data, options.directory))
    model, task, machine = load_for_task(options, task_name, reading)
    task.metric(None)  # has what computes the metrics imported
    examples, _ = task.checked(list(task.read(task.reading, options.data)), training=False)
    features = task.features(examples)
    note_cut(task, count_full(features, task.reading.max_length))
    predictions = predictions_of(model, task, examples, features, machine)
    metrics = task.metrics(examples, predictions)
    figures = task.figures(examples, predictions)
    if figures:
        print(figures_table(figures) + "\n")
    for name, value in metrics.items():
        print(f"{name:20} {value:.4f}")
    print(f"{'examples':20} {len(examples)}")
    if options.json is not None:
        result = {
            "task": task.name,
            "data": options.data,
            "examples": len(examples),
            "metrics": metrics,
            "by_class": [figure._asdict() for figure in figures],
        }
        text = json.dumps(result, indent=2) + "\n"
        checkpoint.write_whole(Path(options.json), lambda path: path.write_text(text, encoding="utf-8"))


def predict(options: PredictOptions, task_name: str, reading: Reading) -> None:
    """Writes an answer for each example, in their order, as they come.

    Raises:
        InputError: as `load_for_task`; the file is no data for the task, of which no output file is left then; the
            answers cannot be written.
    """
    if options.output != STANDARD_INPUT:
        checkpoint.check_writable(Path(options.output), reads=(options.input, options.directory))
    elif sys.stdout is None:
        raise InputError("standard output: is closed, expected somewhere to write to")
    model, task, machine = load_for_task(options, task_name, reading)
    lines = (json.dumps(one, ensure_ascii=False) + "\n" for one in answers(model, task, machine, options.input))
    if options.output == STANDARD_INPUT:
        sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]  # it is a text stream
        for line in lines:
            print(line, end="", flush=True)  # whoever reads it line by line shall not wait
    else:
        checkpoint.write_whole(Path(options.output), lambda path: write_lines(path, lines))


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Writes lines as they come."""
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(lines)


def answers(model: TaskModel, task: Task[Any, Any], machine: Machine, path: str) -> Iterator[dict[str, Any]]:
    """What is predicted for each example of a file, some of which are in memory at a time."""
    full = 0
    with tqdm(unit="example", desc="predicting", disable=True if path == STANDARD_INPUT else None) as bar:
        for examples in batched(task.read(task.reading, path, labelled=False), EXAMPLES_AT_ONCE):
            features = task.features(examples, labelled=False)
            full += count_full(features, task.reading.max_length)
            outputs = outputs_of(model, task, features, machine)
            predictions = task.predictions(examples, features, outputs)
            for example, prediction in zip(examples, predictions, strict=True):
                yield task.answer(example, prediction)
            bar.update(len(examples))
    note_cut(task, full)


def note_cut(task: Task[Any, Any], full: int) -> None:
    """Says on standard error where texts were cut; windows cut nothing."""
    if full and not task.windowed:
        print(f"note     {cut_note(full, task.reading.max_length)}", file=sys.stderr)


def batched(items: Iterable[Any], size: int) -> Iterator[Sequence[Any]]:
    """`size` items at a time, at the end fewer."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
