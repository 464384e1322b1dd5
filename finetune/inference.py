"""Using a fine-tuned model: `evaluate` returns its figures on a file, `predict` its answers."""

import dataclasses
import json
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from queue import Queue
from typing import Any, get_args

import torch
from tqdm import tqdm

from finetune.data.conll import check_saved_numbers
from finetune.data.data_options import TagDataOptions, check_effect
from finetune.data.examples import TaggedExample
from finetune.data.reading import given_examples, read_examples
from finetune.forward import Runtime, outputs_of, predictions_of
from finetune.inference_options import EvaluateOptions, PredictOptions, check_use
from finetune.scoring.confusion import figures_table
from finetune.scoring.metrics import ClassFigures
from finetune.setup import count_full, cut_note
from finetune.tasks.registry import TASKS, data_options_of
from finetune.tasks.task import Task
from finetune.tasks.token_classification import Tagged
from minibert.architectures import head_fields
from minibert.checkpoint import Description, read_description
from minibert.console import cli, terminal
from minibert.errors import InputError
from minibert.files import writing
from minibert.files.conllu import replaced
from minibert.files.tally import NAMED, OnBadRow, Tally, first_of
from minibert.files.text import STANDARD_INPUT, is_open_already, shown, suffix
from minibert.heads import Model, TaskModel
from minibert.loading import load
from minibert.tokenizer import Tokenizer
from minibert.training.device import choose_device, choose_precision
from minibert.training.processes import Processes

EXAMPLES_AT_ONCE = 1024  # predicted together: bounded memory, yet enough to sort by length


Loaded = tuple[Model, Tokenizer]  # as `minibert.load` returns it


def predict(
    model: str | Path | Loaded,
    rows: Iterable[str | Sequence[Any] | Mapping[str, Any]],
    *,
    device: str | torch.device | None = None,
    dtype: str = "auto",
    **data_options: Any,
) -> list[dict[str, Any]]:
    """Return the model's answers to rows, in their order: what `python -m finetune predict` writes as JSON lines.

    model: a fine-tuned model's directory, or (model, tokenizer), which stays on its device.
    rows: mappings as the command reads them from a .jsonl file, or in short
        text-classification    texts, or pairs (text, second text) where the model was trained on pairs
        token-classification   texts
        question-answering     pairs (question, context)
        multiple-choice        pairs (question, choices)
    device: for a directory: "auto" (None), "cpu", "cuda" or a `torch.device`. dtype: of matrix products, as in the
    command. data_options: options of the command that say how texts are read, such as max_length=64, in place of
    those that the model was trained with. A row that cannot be used (rows count from 1) is answered with an `error`.

    Raises InputError if the model has no task head, no row can be answered, or an option is impossible or unsuitable.
    """
    found, task, runtime = _at_work(model, "predict", device, dtype, data_options)
    check_effect(option_names(data_options), task.data_options, "rows")
    tally = Tally("skip", "rows")
    given = given_examples([rows] if isinstance(rows, str | Mapping) else rows, task.data_options, tally)
    return list(task.together(answers(found, task, runtime, batched(given, tally), tally)))


def evaluate(
    model: str | Path | Loaded,
    data: str | Path,
    *,
    device: str | torch.device | None = None,
    dtype: str = "auto",
    on_bad_row: OnBadRow = "stop",
    **data_options: Any,
) -> dict[str, Any]:
    """Return the model's figures on a labelled file: what `python -m finetune evaluate --json` writes.

    on_bad_row: as in the command. The other arguments are those of `predict`.

    Raises InputError as `predict` does, and if the file is not labelled data for the task.
    """
    if on_bad_row not in get_args(OnBadRow):
        raise InputError(f"on_bad_row: {on_bad_row!r} is not one of {', '.join(get_args(OnBadRow))}")
    found, task, runtime = _at_work(model, "evaluate", device, dtype, data_options)
    tally = Tally(on_bad_row, str(data))
    task.metric(None)  # imports what computes the metrics
    check_saved_numbers(option_names(data_options), task.data_options, tally.place, labelled=True)
    rows = read_examples(tally.place, task.data_options, tally)
    check_effect(option_names(data_options), task.data_options, tally.form)
    read = tally.whole(rows)
    examples, note = task.checked(read, training=False)
    examples = task.fitting(examples, tally)
    note_all([*([f"{tally.place}: {note}"] if note else []), *tally.notes(always=False)])
    features = task.features(examples)
    note_cut(task, count_full(features, task.data_options.max_length))
    predictions = predictions_of(found, task, examples, features, runtime)
    return {
        "task": task.name,
        "data": tally.place,
        "examples": len(examples),
        "skipped": len(tally.bad),
        "metrics": task.metrics(examples, predictions),
        "by_class": [figures._asdict() for figures in task.figures(examples, predictions)],
    }


def _at_work(
    source: str | Path | Loaded, command: str, device: str | torch.device | None, dtype: str, changes: Mapping[str, Any]
) -> tuple[TaskModel, Task[Any, Any], Runtime]:
    """Return the model (loaded from a directory, or as given), its task with the changed options, and its runtime."""
    check_use(option_names(changes), command)
    if isinstance(source, tuple):
        if device is not None:
            raise InputError(f"device {device!r}: expected none, because a loaded model stays on its device")
        place = "the model"
        description = Description(source[0].config, type(source[0]).__name__, head_fields(source[0]), {})
    else:
        place, description = str(source), read_description(Path(source))
    data_options = dataclasses.replace(data_options_of(description, place), **changes)
    data_options.check()
    if isinstance(source, tuple):
        model, tokenizer = source
    else:
        device = choose_device(device or "auto")
        model, tokenizer = load(source, device=device)
        model.to(choose_precision(dtype, device).parameter_dtype)
    weight = model.encoder.embeddings.token.weight
    precision = choose_precision(dtype, weight.device)
    if weight.dtype != (wanted := precision.parameter_dtype):
        raise InputError(f"{place}: its weights are {weight.dtype}, expected {wanted} for dtype {dtype}")
    data_options = data_options.fitted(model.config.longest)
    kind = TASKS[data_options.task]
    assert isinstance(model, kind.model_class)  # `data_options_of` checked it
    task = kind(data_options, tokenizer, tuple(getattr(model, "labels", ())))
    if not isinstance(source, tuple):
        task.read_beside(Path(source))
    problem, asked = getattr(model, "problem_type", None), task.head().get("problem_type")
    if problem != asked:
        raise InputError(f"{place}: its head is for {problem}, not {asked}")
    return model, task, Runtime(weight.device, precision, Processes())


def option_names(fields: Mapping[str, Any]) -> set[str]:
    """Return data options as the command line has them: --no-header for a header that is False."""
    return {cli.option_name(f"no_{name}" if value is False else name) for name, value in fields.items()}


def evaluate_command(options: EvaluateOptions, given: Mapping[str, Any]) -> None:
    """Print the figures, and write them if asked to. given: the data options that differ from those of training.

    Raises InputError as `evaluate` does, or if writing fails.
    """
    if options.json is not None:
        writing.check_writable(Path(options.json), reads=(options.data, options.directory))
    figures = evaluate(
        options.directory, options.data, device=options.device, dtype=options.dtype, on_bad_row=options.on_bad_row,
        **given,
    )  # fmt: skip
    show_figures(figures, options.json)


def show_figures(result: Mapping[str, Any], json_path: str | None) -> None:
    """Print figures, and write them if asked to."""
    if json_path is not None:
        writing.write_whole_text(Path(json_path), json.dumps(result, indent=2) + "\n")
    tell = print if json_path is None else terminal.say  # nobody needs to see what a file has
    if result["by_class"]:
        tell(figures_table([ClassFigures(**figures) for figures in result["by_class"]]) + "\n")
    for name, value in result["metrics"].items():
        tell(f"{name:20} {value:.4f}")
    for name in ("examples", "skipped", "missing"):
        if name in result:
            tell(f"{name:20} {result[name]}")


def predict_command(options: PredictOptions, given: Mapping[str, Any]) -> None:
    """Write an answer for each row, in their order; for a bad row, the reason why it is bad.

    Answers are written as they are computed, unless candidates are ranked, which needs all of them.

    given: the data options that differ from those of training.

    Raises InputError as `predict` does, and if the answers cannot be written; no output file is left then.
    """
    if options.output != STANDARD_INPUT:
        writing.check_writable(Path(options.output), reads=(options.input, options.directory))
    elif terminal.is_closed(sys.stdout):
        raise InputError("standard output: closed, expected somewhere to write to")
    column = options.written_column()
    command = "predict" if column is None else "predict, CoNLL-U"
    model, task, runtime = _at_work(options.directory, command, options.device, options.dtype, given)
    tally = Tally("skip", shown(options.input))
    check_saved_numbers(option_names(given), task.data_options, options.input, labelled=column is not None)
    examples = read_examples(options.input, task.data_options, tally, labelled=False)
    check_effect(option_names(given), task.data_options, tally.form)
    standard = options.input == STANDARD_INPUT
    some = as_they_come(examples, tally) if standard or is_open_already(options.input) else batched(examples, tally)
    if column is not None:
        tally.told.append(f"{options.output}: a copy of {options.input} with the tags in column {column}")
        found = answers(model, task, runtime, some, tally, progress=True, answer=_tags_by_row)
        changes = (cell for one in found for cell in one.get("cells", ()))  # a sentence without an answer has none
        writing.write_lines(Path(options.output), replaced(options.input, column, changes))
        return
    found = answers(model, task, runtime, some, tally, progress=not standard)
    cuts_words = isinstance(task.data_options, TagDataOptions) and task.data_options.cuts_words
    segmented = cuts_words and suffix(options.output) == ".txt"  # an empty line where there is no answer
    lines = (
        (" ".join(one.get("words", ())) if segmented else json.dumps(one, ensure_ascii=False)) + "\n"
        for one in task.together(found)
    )
    if options.output == STANDARD_INPUT:
        terminal.print_lines(lines)
        return
    writing.write_lines(Path(options.output), (line.encode("utf-8") for line in lines))


def _tags_by_row(example: TaggedExample, prediction: Tagged) -> dict[str, Any]:
    """Return the answer that `predict_command` needs for CoNLL-U: the row of each word and its tag."""
    assert example.rows is not None, "CoNLL-U is read with its rows"
    return {"cells": zip(example.rows, prediction.tags, strict=True)}


def answers(
    model: TaskModel,
    task: Task[Any, Any],
    runtime: Runtime,
    batches: Iterable[Sequence[Any]],
    tally: Tally,
    *,
    progress: bool = False,
    answer: Callable[[Any, Any], dict[str, Any]] | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield the answer to each example, with only some of them in memory at a time; {"error": why} for a bad row.

    batches: from `batched` or `as_they_come`. tally: that of the examples; it skips bad rows. answer: makes one of an
    example and its prediction, in place of `task.answer`.

    Raises InputError as the examples do, and if every row is bad.
    """
    full = answered = unanswered = 0
    first: list[str] = []  # of the reasons
    with tqdm(unit="example", desc="predicting", disable=None if progress else True) as bar:
        for some in batches:
            misfits = iter(task.misfits([one for one in some if not isinstance(one, str)]))
            reasons = [one if isinstance(one, str) else next(misfits) for one in some]
            asked = [one for one, reason in zip(some, reasons, strict=True) if not reason]
            features = task.features(asked, labelled=False)
            full += count_full(features, task.data_options.max_length)
            predictions = iter(task.predictions(asked, features, outputs_of(model, task, features, runtime)))
            if asked:  # otherwise all may be bad, and then only that is said
                note_all(tally.told)
                tally.told = []
            for one, reason in zip(some, reasons, strict=True):
                yield {"error": reason} if reason else (answer or task.answer)(one, next(predictions))
            bad = [reason for reason in reasons if reason]
            answered, unanswered = answered + len(asked), unanswered + len(bad)
            first += bad[: NAMED - len(first)]
            bar.update(len(some))
    if unanswered and not answered:
        raise InputError(f"{tally.place}: no row can be answered: {first[0]}")
    tally.bad = []
    note_cut(task, full)
    told = [f"{tally.place}: no answer to {first_of(first, count=unanswered)}"] if unanswered else []
    note_all([*tally.notes(always=False), *told])


def note_cut(task: Task[Any, Any], full: int) -> None:
    """Say on standard error how many texts were cut; windows cut nothing."""
    if full and not task.windowed:
        note_all([cut_note(full, task.data_options.max_length)])


def note_all(notes: Iterable[str]) -> None:
    """Print notes on standard error."""
    for note in notes:
        print(f"note     {note}", file=sys.stderr)


def batched(examples: Iterable[Any], tally: Tally) -> Iterator[Sequence[Any]]:
    """Yield `EXAMPLES_AT_ONCE` at a time, with the reason in the place of a bad row; the last batch may have fewer."""
    iterator = tally.interleaved(examples)
    while batch := list(islice(iterator, EXAMPLES_AT_ONCE)):
        yield batch


def as_they_come(examples: Iterable[Any], tally: Tally) -> Iterator[Sequence[Any]]:
    """Yield, as `batched` does, the examples of a pipe that have arrived since the last batch, waiting only for one.

    A thread reads ahead, so that what arrives while a batch is predicted makes up the next one.
    """
    arrived: Queue[Any] = Queue(EXAMPLES_AT_ONCE)  # examples, reasons, and last the error that ended the reading
    tally.take = arrived.put
    read = tally.interleaved(examples)

    def read_ahead() -> None:
        try:
            while True:
                arrived.put(next(read))
        except BaseException as error:  # StopIteration if there is no more to read
            arrived.put(error)

    threading.Thread(target=read_ahead, daemon=True).start()  # daemon: an interrupted command waits for no more input
    end = None
    while end is None:
        batch = [arrived.get()]
        batch += [arrived.get() for _ in range(min(arrived.qsize(), EXAMPLES_AT_ONCE - 1))]
        end = batch.pop() if isinstance(batch[-1], BaseException) else None
        if batch:
            yield batch
    if not isinstance(end, StopIteration):
        raise end
