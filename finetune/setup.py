"""What happens before the first step: reading and checking the data, and putting the head on the model.

Everything that can be wrong with a user's input is found here, before anything is written.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from finetune.data.labels import named, seen_once
from finetune.data.reading import read_examples
from finetune.forward import sequences_at_once
from finetune.options import TrainingOptions
from finetune.tasks.batches import POOL_BATCHES, smallest_batch
from finetune.tasks.loss import BALANCED, ClassLoss, balanced_positives, balanced_weights, read_weights
from finetune.tasks.registry import TASKS
from finetune.tasks.task import Feature, Task
from minibert import checkpoint
from minibert.config import BertConfig
from minibert.errors import InputError, naming, plural
from minibert.fast import accelerate
from minibert.files import writing
from minibert.files.tally import Tally
from minibert.heads import TaskModel
from minibert.training.device import choose_device, choose_precision
from minibert.training.room import Passes, check_room, needs, parameter_count
from minibert.training.snapshot import StartingModel, take_over


@dataclass(frozen=True)
class Part:
    """A file's examples, or a share of them, and their features."""

    examples: Sequence[Any]
    features: Sequence[Feature]


@dataclass(frozen=True)
class TrainingData:
    """Everything that a run is trained and evaluated on."""

    start: StartingModel
    task: Task[Any, Any]
    metric: str  # chooses the best epoch
    train: Part
    dev: Part
    test: Part | None
    checksums: dict[str, str]  # of all files, the model's included: a resumed run must find the same
    notes: Sequence[str]  # for the user
    skipped: Sequence[str]  # why each bad row of any file was left out


def prepare(options: TrainingOptions, *, processes: int) -> TrainingData:
    """Read and check everything that the options name. Raises InputError as `finetune.train.finetune` does."""
    start = StartingModel(options.model)
    tokenizer = start.load()[1]
    source = Path(options.model)
    description = checkpoint.read_description(source)
    kind = TASKS[options.data_options.task]
    data_options = options.data_options.fitted(description.config.longest)

    tallies = {
        name: Tally(options.on_bad_row, path)
        for name, path in (("train", options.train), ("dev", options.dev), ("test", options.test))
        if path is not None
    }
    read = {name: tally.whole(read_examples(tally.place, data_options, tally)) for name, tally in tallies.items()}
    examples = read["train"]
    task = kind.found_in(data_options, tokenizer, examples, options.train)
    metric = task.metric(options.metric)
    notes = []
    if options.dev is not None:
        train, dev = examples, read["dev"]
    else:
        generator = np.random.default_rng([options.seed, len(examples)])
        with naming(options.train):
            train, dev = task.hold_out(examples, share=options.dev_share, generator=generator)
        notes.append(f"no --dev: holding out {len(dev):,} of the {len(examples):,} examples to choose the best epoch")
    train, note = task.checked(train, training=True)
    task = task.with_words(train)
    notes += [f"{options.train}: {note}"] if note else []
    once = seen_once(task.support(examples), held_out=options.dev is None)
    notes += [f"{options.train}: {once}"] if once else []
    train = task.fitting(train, tallies["train"])
    if not train:
        raise InputError(f"{options.train}: no example is left to train on{note and f'; {note}'}")
    check_head(options, description, task)
    weights = class_weights(options, task, train)
    if weights is not None:
        told = {label: f"{weight:.4g}" for label, weight in zip(task.labels, weights.tolist(), strict=True)}
        notes.append(f"class weights: {named(task.labels, told)}")
    task = task.with_loss(ClassLoss(weights, options.label_smoothing or 0.0))

    parts = {"train": train, "dev": dev} | ({"test": read["test"]} if "test" in read else {})
    for name in list(parts)[1:]:
        found, note = task.checked(parts[name], training=False)
        notes += [f"{name}: {note}"] if note else []
        parts[name] = task.fitting(found, tallies.get(name, tallies["train"]))
    made = {name: Part(found, task.features(found)) for name, found in parts.items()}
    check_fit(made["train"].features, description.config, options, processes)
    nearly = check_memory([part.features for part in made.values()], description.config, task, options, processes)
    notes += [nearly] if nearly else []
    notes += cut_notes(made, data_options.max_length, windowed=task.windowed)
    notes += [note for tally in tallies.values() for note in tally.notes(always=True)]
    checksums = {tally.place: writing.sha256(Path(tally.place)) for tally in tallies.values()}
    if options.class_weights not in (None, BALANCED):
        checksums[options.class_weights] = writing.sha256(Path(options.class_weights))
    checksums[options.model] = writing.sha256(source / checkpoint.WEIGHTS)
    skipped = [why for tally in tallies.values() for why in tally.bad]
    return TrainingData(start, task, metric, made["train"], made["dev"], made.get("test"), checksums, notes, skipped)


def class_weights(options: TrainingOptions, task: Task[Any, Any], examples: Sequence[Any]) -> torch.Tensor | None:
    """Return the weights of the classes in the loss, (C,) float64; None if all are 1. Raises as `read_weights` does."""
    if options.class_weights is None:
        return None
    if options.class_weights != BALANCED:
        found = read_weights(options.class_weights, task.labels)
    elif getattr(options.data_options, "multi_label", False):
        found = balanced_positives(task.occurrences(examples), task.labels, len(examples))
    else:
        found = balanced_weights(task.occurrences(examples), task.labels)
    return torch.tensor(found, dtype=torch.float64)


def cut_notes(parts: dict[str, Part], max_length: int | None, *, windowed: bool) -> Iterator[str]:
    """Yield what the user should know about lengths."""
    for name, part in parts.items():
        if windowed and len(part.features) > len(part.examples):
            yield f"{name}: {plural(len(part.examples), 'example')} in {len(part.features):,} windows"
        if not windowed and (long := count_full(part.features, max_length)):
            yield f"{name}: {cut_note(long, max_length)}"


def count_full(features: Sequence[Feature], max_length: int | None) -> int:
    """Return how many features have `max_length` tokens, and so may have been cut."""
    return sum(feature.length == max_length for feature in features)


def cut_note(count: int, max_length: int | None) -> str:
    """Return the user's note about texts that may have been cut."""
    return f"{plural(count, 'example')} with {max_length} tokens or more; anything beyond that is cut off"


def check_fit(features: Sequence[Feature], config: BertConfig, options: TrainingOptions, processes: int) -> None:
    """Raises InputError if a batch is too small for all micro-batches, or --lora-rank exceeds the hidden size."""
    if options.lora_rank is not None and options.lora_rank > config.hidden_size:
        raise InputError(
            f"--lora-rank must be at most {config.hidden_size}, the model's hidden_size, not {options.lora_rank}"
        )
    if (smallest := smallest_batch(len(features), options.batch_size)) < processes * options.accumulate:
        raise InputError(
            f"--batch-size {options.batch_size}: {len(features)} examples or windows make batches of {smallest}, too "
            f"small for {plural(processes, 'process', 'es')} with "
            f"{plural(options.accumulate, 'micro-batch', 'es')} each"
        )


def check_memory(
    parts: Sequence[Sequence[Feature]],
    config: BertConfig,
    task: Task[Any, Any],
    options: TrainingOptions,
    processes: int,
) -> str | None:
    """Return a line for the user if the run will need nearly all of the memory.

    parts: the features of each file, the training file's first.

    Raises InputError, with the figures, if the run needs more memory than there is.
    """
    device = choose_device(options.device)
    precision, on_gpu = choose_precision(options.dtype, device), device.type == "cuda"
    number = precision.dtype.itemsize
    architecture, labels = task.model_class.__name__, len(task.head().get("labels", ()))
    weights, encoder = (parameter_count(config, name, labels=labels) for name in (architecture, "Bert"))
    learned = weights - encoder
    if options.method == "full":
        learned = weights - config.vocab_size * config.embedding_width  # not counting `embedding_rows`
    elif options.lora_rank is not None:
        layers = 1 if config.share_layers else config.num_hidden_layers
        matrices = layers * (1 if config.attention_window is None else 2)
        adapters = matrices * len(options.lora_targets) * 2 * options.lora_rank * config.hidden_size
        weights, learned = weights + adapters, learned + adapters

    # A batch has features of similar length. Each pool has a batch of its longest, of at least this many tokens each.
    lengths = sorted(feature.length for feature in parts[0])
    length = lengths[-min(len(lengths), max(options.batch_size, len(lengths) // POOL_BATCHES))]
    answers = len(parts[0][0].sequences)  # in multiple choice, one sequence per choice
    sequences = answers * smallest_batch(len(lengths), options.batch_size) // (processes * options.accumulate)
    passes = Passes(
        sequences, length, sequences if task.first_token_only else sequences * length, number,
        dropout=config.hidden_dropout_prob > 0, on_gpu=on_gpu,
    )  # fmt: skip
    activations = 0 if options.method == "frozen" else passes.activations(config, learns=options.method == "full")
    evaluated = replace(passes, sequences=min(sequences_at_once(passes.length), len(lengths))).outputs(config)
    needed = needs(
        weights=weights,
        learned=learned,
        moments=learned * (3 if options.epochs > 1 else 2),  # includes the weights of the best epoch so far
        numbers=precision.parameter_dtype.itemsize,
        activations=max(activations, evaluated),
        gradients_stay=options.accumulate > 1 or on_gpu,
    )
    if options.method == "frozen" and not on_gpu:  # the encoder's output is kept
        kept = sum(1 if task.first_token_only else feature.tokens for features in parts for feature in features)
        needed["the encoder's output"] = kept * config.hidden_size * number
    smaller = "a smaller --model, --batch-size or --max-length, a larger --accumulate, or --lora-rank"
    return check_room(needed, device, processes=processes, smaller=smaller)


def check_head(options: TrainingOptions, description: checkpoint.Description, task: Task[Any, Any]) -> None:
    """Raises InputError if the model's head is for another task or other labels, and --new-head is not given."""
    task_classes = {kind.model_class.__name__ for kind in TASKS.values()}
    if options.new_head or description.architecture not in task_classes:
        return
    if description.architecture != task.model_class.__name__:
        raise InputError(
            f"{options.model} has the head of a {description.architecture}, but {task.name} needs that of a "
            f"{task.model_class.__name__}; use --new-head to replace it"
        )
    for name, wanted in task.head().items():
        wanted = list(wanted) if isinstance(wanted, tuple) else wanted  # as JSON has it
        if (has := description.head[name]) != wanted:
            raise InputError(
                f"{options.model}: its head has {name} {_short(has)}, but {options.train} has {_short(wanted)}; "
                "use --new-head to replace it"
            )


def _short(value: Any) -> str:
    text = ", ".join(value) if isinstance(value, list) else str(value)
    return text if len(text) <= 80 else text[:77] + "..."


def put_on_head(options: TrainingOptions, data: TrainingData) -> tuple[TaskModel, list[str]]:
    """Return the model to train, in training mode, and the names of the freshly initialized parameters.

    Encoder and pooler come from the given model, and so does the head if it is of the same task.
    """
    source = data.start.take()
    generator = torch.Generator().manual_seed(options.seed)
    config = source.config.with_separator(data.task.tokenizer.sep_id)
    model = data.task.model_class(config, **data.task.head(), generator=generator)
    other_head = options.new_head or type(source) is not type(model)
    return accelerate(model).train(), take_over(source, model, without_head=other_head).fresh


def layer_share(name: str, *, decay: float, layers: int) -> float:
    """Return a parameter's share of the peak learning rate: `decay` to the power of its distance from the head.

    The top layer has distance 1, the embeddings one more than the lowest layer (Howard & Ruder 2018, arXiv 1801.06146,
    section 3.2, "discriminative fine-tuning"). layers: the number of layers with weights of their own.
    """
    pieces = name.split(".")
    if pieces[0] != "encoder":
        return 1.0
    layer = int(pieces[2]) if pieces[1] == "blocks" else -1
    return decay ** (layers - layer)
