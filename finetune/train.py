"""A fine-tuning run: choose a model, put on a head, prepare the data, train with a small learning rate, evaluate on
held-out data. This module defines batches, losses, evaluations and the result; the loop is `minibert.training.loop`.

    python -m finetune text-classification --model models/base --train reviews.csv --out runs/reviews
    torchrun --nproc-per-node 2 -m finetune text-classification ...
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from finetune.data.data_options import from_trained_on, to_trained_on
from finetune.finish import write_figures, write_model
from finetune.forward import Runtime, logits_of, predictions_of, with_states
from finetune.methods.embedding_rows import narrow_to
from finetune.methods.lora import add_adapters
from finetune.options import TrainingOptions
from finetune.run_directory import FinetuneDirectory
from finetune.scoring.doubts import doubts
from finetune.seeds import keep_lower_median, read_summary
from finetune.setup import Part, TrainingData, layer_share, prepare, put_on_head
from finetune.tasks.batches import batches_in_epoch, epoch_order, make_batch
from finetune.tasks.task import Task, TaskBatch
from minibert.errors import InputError, plural
from minibert.files import writing
from minibert.heads import TaskModel
from minibert.training.device import choose_device
from minibert.training.loop import Progress, Training, opened
from minibert.training.memory import peak_rss_bytes
from minibert.training.metrics_log import MetricsLog, read_metrics
from minibert.training.optimizer import OptimizerOptions
from minibert.training.processes import Processes, decided_by_first, join_processes, say
from minibert.training.run_directory import RunStatus
from minibert.training.snapshot import put_back, trained
from minibert.training.state import State, load_newest_state, tidy

BEST = "best/"  # before the names of the weights of the best epoch so far, in a saved state


def finetune(options: TrainingOptions) -> None:
    """Run fine-tuning to the end, from whatever state its directory is in.

    Raises InputError if options, data, model or directory are unusable, leaving nothing behind; RunStopped and
    Interrupted as `Training.go` does.
    """
    run = FinetuneDirectory(Path(options.out))
    with join_processes(choose_device(options.device).type) as processes:
        data = lru_cache(lambda: prepare(options, processes=processes.world_size))
        with opened(run, processes, lambda: begin(run, options, data)) as unfinished:
            if unfinished and options.seeds == 1:
                Finetuning(run, options, data(), processes).go()
            elif unfinished:
                train_several(run, options, data(), processes)


def begin(run: FinetuneDirectory, options: TrainingOptions, data: Callable[[], TrainingData]) -> RunStatus:
    """Check everything, and only then write the directory's first file. Raises InputError as `finetune` does."""
    options.check()
    status = run.status(options)
    if status is not RunStatus.FINISHED:
        data()
    if status is RunStatus.NEW:
        run.path.mkdir(parents=True, exist_ok=True)
        writing.write_whole_text(run.configuration, options.to_toml())
    if status is not RunStatus.FINISHED and (skipped := data().skipped):
        writing.write_whole_text(run.skipped, "".join(f"{why}\n" for why in skipped))
    return status


def train_several(run: FinetuneDirectory, options: TrainingOptions, data: TrainingData, processes: Processes) -> None:
    """Train with each seed, in a subdirectory of its own; the lower median run's model becomes the result."""
    seeds = range(options.seed, options.seed + options.seeds)
    places = [train_seed(run, replace(options, seed=seed, seeds=1), data, processes) for seed in seeds]
    if processes.is_main:
        writing.clear_leftovers(run.path)
        for line in keep_lower_median(run, places, data.metric):
            say(processes, line)
    processes.barrier()


def train_seed(
    run: FinetuneDirectory, options: TrainingOptions, data: TrainingData, processes: Processes
) -> FinetuneDirectory:
    """Finish the run of one of several seeds. Return its directory, inside that of all."""
    place = FinetuneDirectory(run.path / f"seed-{options.seed}")
    options = replace(options, out=str(place.path))
    status = decided_by_first(processes, lambda: begin(place, options, lambda: data))
    if status is not RunStatus.FINISHED:
        say(processes, f"\nseed {options.seed}")
        Finetuning(place, options, data, processes).go()
        return place
    decided_by_first(processes, lambda: read_summary(place, data.metric))  # now, and not after the other seeds
    if state := load_newest_state(place.state, lambda line: say(processes, line)):
        check_same_files(place, state, data)  # otherwise figures of different data would be averaged
        best = state.facts["position"]["best_metrics"]
        decided_by_first(processes, lambda: read_summary(place, data.metric, best))
    return place


def check_same_files(run: FinetuneDirectory, state: State, data: TrainingData) -> None:
    """Raises InputError if a file has changed since the run began."""
    for path, checksum in state.facts["checksums"].items():
        if data.checksums.get(path) != checksum:
            raise InputError(f"{path} differs from the file that {run.path} was trained on so far")


@dataclass
class FinetuneProgress(Progress):
    """What a run has trained on, and what its best epoch reached."""

    examples: int = 0  # trained on; windows, if an example has several
    tokens: int = 0  # without padding
    evaluated: int = 0  # epochs evaluated so far
    best_epoch: int = 0  # from 1
    best_metrics: dict[str, float] = field(default_factory=dict)  # on dev
    best_reading: dict[str, Any] = field(default_factory=dict)  # how to read the answers, with what was chosen on dev


class FinetuneSums(NamedTuple):
    """A step's sums over the global batch, as `StepSums`."""

    loss: float
    losses: float  # their number, or the sum of their weights; 0 if nothing is to be learned: words without a piece
    examples: float
    tokens: float

    @property
    def mean_loss(self) -> float:
        """The mean loss; 0 if there is nothing to learn."""
        return self.loss / (self.losses or 1)


class Finetuning(Training[TaskBatch, FinetuneSums]):
    """A fine-tuning run in progress."""

    unit: ClassVar[str] = "examples"
    run: FinetuneDirectory
    options: TrainingOptions
    model: TaskModel
    progress: FinetuneProgress

    def __init__(
        self, run: FinetuneDirectory, options: TrainingOptions, data: TrainingData, processes: Processes
    ) -> None:
        super().__init__(run, options, processes)
        self.data = data
        self.runtime = Runtime(self.device, self.precision, processes)
        self.task: Task[Any, Any] = data.task

        state = load_newest_state(run.state, self.say)
        model, fresh = put_on_head(options, data)
        self.parameters = sum(parameter.numel() for parameter in model.parameters())
        self.freeze(model)
        narrow_to(model, data.train.features, pad_id=data.task.tokenizer.pad_id)
        share = partial(layer_share, decay=options.layer_decay, layers=len(set(model.encoder.blocks)))
        self.set_up_model(model, optimizer_options(options), rate_share=share)
        self.training_part, self.dev = (self.with_frozen_states(part) for part in (data.train, data.dev))

        self.lengths = np.array([feature.length for feature in self.training_part.features])
        self.steps_per_epoch = batches_in_epoch(len(self.lengths), options.batch_size)
        self.steps, self.minutes = options.epochs * self.steps_per_epoch, None
        self.decay_share = 1 - options.warmup_share
        self.order: tuple[int, list[NDArray[np.intp]]] = (-1, [])  # an epoch, and its batches
        self.progress = FinetuneProgress()
        self.best: dict[str, Tensor] = {}  # the weights of the best epoch
        self.best_predictions: Sequence[Any] | None = None  # on dev; not saved, but recomputed after a resume
        self.restore(state)
        self.introduce(fresh)

    def freeze(self, model: TaskModel) -> None:
        """Leave trainable what the options say: everything, adapters and head, or only the head."""
        options = self.options
        if options.freeze_encoder:
            model.encoder.requires_grad_(False)
        elif options.lora_rank is not None:
            add_adapters(
                model, rank=options.lora_rank, alpha=options.lora_alpha, targets=options.lora_targets,
                generator=torch.Generator().manual_seed(options.seed + 1),
            )  # fmt: skip

    def with_frozen_states(self, part: Part) -> Part:
        """Return the part with the encoder's output, computed once, if the encoder is not trained."""
        if not self.options.freeze_encoder:
            return part
        self.say(f"computing the encoder's output for {plural(len(part.features), 'feature')}, once")
        return Part(part.examples, with_states(self.model, self.task, part.features, self.runtime))

    def introduce(self, fresh: Sequence[str]) -> None:
        """Print what is about to be trained, on what, and how."""
        options, data = self.options, self.data
        learning = sum(tensor.numel() for tensor in trained(self.model).values())
        test = f", {len(data.test.examples):,} to test on" if data.test else ""
        size = f"{self.parameters:,} parameters, {learning:,} of them trained"
        patience = plural(options.early_stop or 0, "epoch")
        lines = [
            f"model    {options.model} for {data.task.name}: {size}",
            f"data     {plural(len(data.train.examples), 'example')} to train on, {len(data.dev.examples):,} to choose "
            f"the epoch on{test}" + (f"; {len(self.task.labels)} labels" if len(self.task.labels) > 1 else ""),
            f"machine  {self.on_machine()}",
            f"steps    {self.steps:,} in {plural(options.epochs, 'epoch')}, peak learning rate {options.peak_rate:g}"
            + (f"; fewer if {data.metric} does not improve in {patience}" if options.early_stop else ""),
            *(f"note     {note}" for note in data.notes),
        ]
        if fresh:
            lines.append(f"fresh    not in {options.model}: {', '.join(fresh)}")
        self.say("\n".join(lines))

    # ------------------------------------------------------------------ state

    def load_extra_state(self, state: State) -> None:
        check_same_files(self.run, state, self.data)
        best = {name.removeprefix(BEST): tensor for name, tensor in state.tensors.items() if name.startswith(BEST)}
        # Copies, since the originals are mapped from the state's file, and Windows can't remove a file that is in use.
        self.best = {name: tensor.to(self.device, copy=True) for name, tensor in best.items()}

    def extra_state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the best epoch's weights, and the checksums of the files that the run must find again."""
        return {BEST + name: tensor for name, tensor in self.best.items()}, {"checksums": self.data.checksums}

    # ------------------------------------------------------------------ a step

    def next_batches(self) -> list[TaskBatch]:
        """Return this process's part of a step's global batch, as micro-batches."""
        epoch, place = divmod(self.progress.step, self.steps_per_epoch)
        if self.order[0] != epoch:
            batches = epoch_order(self.lengths, seed=self.options.seed, epoch=epoch, batch_size=self.options.batch_size)
            self.order = epoch, batches
        mine = self.order[1][place][self.processes.rank :: self.processes.world_size]
        parts = np.array_split(mine, self.options.accumulate)
        features = self.training_part.features
        return [make_batch([features[i] for i in part], self.task, labelled=True) for part in parts]

    def gradient(self, micro_batches: Sequence[TaskBatch]) -> FinetuneSums:
        losses = sum(self.task.count(_targets(batch)) for batch in micro_batches)
        examples = sum(len(batch.features) for batch in micro_batches)
        tokens = sum(batch.tokens for batch in micro_batches)
        return FinetuneSums(*self.accumulate(micro_batches, (losses, examples, tokens)))

    def backward(self, batch: TaskBatch, counts: Tensor) -> tuple[Tensor]:
        batch = batch.to(self.device)
        loss = self.task.loss_sum(logits_of(self.model, batch, self.precision), _targets(batch))
        (loss / (counts[0] or 1)).backward()
        return (loss.detach(),)

    def count(self, sums: FinetuneSums) -> None:
        self.progress.examples += round(sums.examples)
        self.progress.tokens += round(sums.tokens)

    def not_finite(self, sums: FinetuneSums, gradient_norm: float) -> str:
        return f"loss {sums.mean_loss:g}, gradient norm {gradient_norm:g}"

    # ------------------------------------------------------------------ figures

    def log_entry(self, total: FinetuneSums) -> dict[str, float | None]:
        return {"loss": total.mean_loss}

    def bar_text(self, sums: FinetuneSums) -> str:
        return f"epoch {(self.progress.step - 1) // self.steps_per_epoch + 1}, loss {sums.mean_loss:.3f}"

    def ends_epoch(self) -> bool:
        return self.progress.step % self.steps_per_epoch == 0

    def has_ended(self) -> bool:
        return super().has_ended() or self.stopped_early

    @property
    def stopped_early(self) -> bool:
        """Whether --early-stop ended the run before its last epoch: a resumed run decides the same by `progress`."""
        patience, progress = self.options.early_stop, self.progress
        waited = patience is not None and progress.evaluated - progress.best_epoch >= patience
        return waited and progress.evaluated < self.options.epochs

    def evaluation_is_due(self) -> bool:
        return self.progress.step == (self.progress.evaluated + 1) * self.steps_per_epoch

    def evaluate(self, log: MetricsLog | None) -> None:
        """Compute the figures on dev after an epoch, and keep the weights if they are the best so far."""
        progress, dev = self.progress, self.dev
        predictions = predictions_of(self.model, self.task, dev.examples, dev.features, self.runtime)
        task = self.task.tuned(dev.examples, predictions, self.data.metric)
        metrics = task.metrics(dev.examples, predictions)
        progress.evaluated += 1
        is_best = not progress.best_epoch or metrics[self.data.metric] > progress.best_metrics[self.data.metric]
        if is_best:
            progress.best_epoch, progress.best_metrics = progress.evaluated, metrics
            progress.best_reading = to_trained_on(task.data_options)
            self.best = {name: tensor.clone() for name, tensor in trained(self.model).items()}
            self.best_predictions = predictions
        if log:
            figures = {f"dev_{name}": value for name, value in metrics.items()}
            log.log(step=progress.step, epoch=progress.evaluated, **figures)
        shown = ", ".join(f"{name} {value:.4f}" for name, value in metrics.items())
        self.say(f"epoch {progress.evaluated}: {shown}{'  (best so far)' if is_best else ''}")
        self.save()

    # ------------------------------------------------------------------ result

    def finish(self) -> None:
        """Write the model directory with the best epoch's weights, score the test file, and write the figures."""
        data, progress = self.data, self.progress
        if self.stopped_early:
            self.say(
                f"stopped early, after epoch {progress.evaluated} of {self.options.epochs}: {data.metric} has not "
                f"improved since epoch {progress.best_epoch}"
            )
        put_back(self.model, self.best)
        task = self.task.with_data_options(from_trained_on(self.task.name, progress.best_reading))
        predictions = self.best_predictions
        if predictions is None:  # before adapters are merged, which changes the rounding
            predictions = predictions_of(self.model, task, self.dev.examples, self.dev.features, self.runtime)
        write_model(self.run, self.model, task, write=self.processes.is_main)
        test_metrics = None
        if data.test is not None:
            test = self.with_frozen_states(data.test)
            answers = predictions_of(self.model, task, test.examples, test.features, self.runtime)
            test_metrics = task.metrics(test.examples, answers)
        if not self.processes.is_main:
            return
        summary = self.summary(test_metrics)
        tidy(self.run.state)  # leftovers of an interrupted save, if no other followed
        log = read_metrics(self.run.metrics, lambda _: None) if self.run.metrics.is_file() else []
        losses = [line["loss"] for line in log if "loss" in line]
        features = self.training_part.features
        found = list(doubts(task, self.dev.examples, predictions, trained_on=features, losses=losses))
        write_figures(self.run, task, self.dev.examples, predictions, summary, found, self.say)

    def summary(self, test_metrics: dict[str, float] | None) -> dict[str, Any]:
        """Return the figures of a finished run; `write_figures` adds those by class."""
        options, data, progress = self.options, self.data, self.progress
        return {
            "task": data.task.name,
            "method": options.method,
            "metric": data.metric,
            "metrics": progress.best_metrics,
            **({} if test_metrics is None else {"test_metrics": test_metrics}),
            "best_epoch": progress.best_epoch,
            "epochs": progress.evaluated,
            "stopped_early": self.stopped_early,
            "steps": progress.step,
            "train_examples": len(data.train.examples),
            "dev_examples": len(data.dev.examples),
            "skipped_rows": len(data.skipped),
            "train_features": len(data.train.features),
            "tokens": progress.tokens,
            "seconds": progress.seconds,
            "examples_per_second": progress.examples / progress.seconds,
            "parameters": self.parameters,
            "trained_parameters": sum(tensor.numel() for tensor in self.best.values()),
            "peak_rss_bytes": peak_rss_bytes(),
            "learning_rate": options.peak_rate,
            **self.machine_figures(),
        }


def _targets(batch: TaskBatch) -> Tensor:
    assert batch.targets is not None, "training data have targets"
    return batch.targets


def optimizer_options(options: TrainingOptions) -> OptimizerOptions:
    """Return the options of AdamW with bias correction, as the paper fine-tunes (Devlin et al. 2018, A.3)."""
    return OptimizerOptions(
        optimizer="adamw",
        learning_rate=options.peak_rate,
        muon_learning_rate=options.peak_rate,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=options.weight_decay,
    )
