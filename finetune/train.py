"""Fine-tuning, from options to a model directory: choose a model, put on a head, prepare the data, train with a small
learning rate, evaluate on held-out data. Read downward: things stand in the order in which they happen.

Losses are normalised over the global batch, batches depend on seed, epoch and step alone, and dropout is seeded by the
step: a run that was stopped and resumed is bit-identical to one that was not.

    python -m finetune text-classification --model models/base --train reviews.csv --out runs/reviews
    torchrun --nproc-per-node 2 -m finetune text-classification ...
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from finetune.data.batches import batches_in_epoch, epoch_order, make_batch
from finetune.data.data_options import from_trained_on, to_trained_on
from finetune.finish import summarize, write_figures, write_model
from finetune.forward import Runtime, caller, predictions_of, with_states
from finetune.methods.embedding_rows import narrow_to
from finetune.methods.lora import add_adapters
from finetune.options import TrainingOptions
from finetune.position import Position
from finetune.run_directory import FinetuneDirectory
from finetune.scoring.doubts import doubts
from finetune.seeds import check_result, keep_lower_median, read_summary
from finetune.setup import Part, TrainingData, layer_share, prepare, put_on_head
from finetune.step import StepSums, accumulate_gradients
from finetune.tasks.task import Task, TaskBatch
from minibert.errors import InputError, Interrupted, RunStopped
from minibert.files import writing
from minibert.training.contention import Contention
from minibert.training.device import choose_device, choose_precision, device_name
from minibert.training.interrupts import stop_requested
from minibert.training.metrics_log import MetricsLog, open_log, read_metrics
from minibert.training.optimizer import OptimizerOptions, Update, build_optimizers, set_learning_rate
from minibert.training.processes import Processes, decided_by_first, join_processes, say, seed_dropout
from minibert.training.room import out_of_memory
from minibert.training.run_directory import RunStatus
from minibert.training.schedule import learning_rate_factor
from minibert.training.snapshot import check_finite, put_back, restore, snapshot, trained
from minibert.training.state import State, load_newest_state, save_state, tidy

BEST = "best/"  # before the names of the weights of the best epoch so far, in a saved state


def finetune(options: TrainingOptions) -> None:
    """Takes a fine-tuning run from wherever its directory stands to the end.

    Raises:
        InputError: options, data, model or directory are unusable; nothing is left behind.
        RunStopped: disk or memory is full, or a loss or gradient is not finite; the last good state is kept.
        Interrupted: by a signal; the state was saved.
    """
    run = FinetuneDirectory(Path(options.out))
    with join_processes(choose_device(options.device).type) as processes:
        data = lru_cache(lambda: prepare(options, processes=processes.world_size))
        status = decided_by_first(processes, lambda: begin(run, options, data))
        if status is RunStatus.FINISHED:
            say(processes, f"{run.path}: this run is finished; its figures are in {run.summary}")
            return
        with run.locked() if processes.is_main else contextlib.nullcontext():
            if options.seeds == 1:
                train_once(run, options, data(), processes)
            else:
                train_several(run, options, data(), processes)


def begin(run: FinetuneDirectory, options: TrainingOptions, data: Callable[[], TrainingData]) -> RunStatus:
    """Checks everything, and only then writes the directory's first file.

    Raises:
        InputError: as `finetune`.
    """
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


def train_once(run: FinetuneDirectory, options: TrainingOptions, data: TrainingData, processes: Processes) -> None:
    """One run from one seed."""
    if processes.is_main:
        writing.clear_leftovers(run.path)
    tuning = Finetuning(run, options, data, processes)
    try:
        tuning.go()
        processes.barrier()  # the first one is still writing the model: no process leaves before the others
    except Exception as error:
        if ending := out_of_memory(error, step=tuning.position.step, last_good=run.newest_state):
            raise ending from error
        raise


def train_several(run: FinetuneDirectory, options: TrainingOptions, data: TrainingData, processes: Processes) -> None:
    """A run for each seed, in a directory of its own inside; the lower median's model becomes the result."""
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
    """One of several runs, as far as it is not finished. Returns its directory, inside that of all."""
    place = FinetuneDirectory(run.path / f"seed-{options.seed}")
    options = replace(options, out=str(place.path))
    status = decided_by_first(processes, lambda: begin(place, options, lambda: data))
    if status is not RunStatus.FINISHED:
        say(processes, f"\nseed {options.seed}")
        train_once(place, options, data, processes)
        return place
    decided_by_first(processes, lambda: read_summary(place, data.metric))  # now, and not after the other seeds
    if state := load_newest_state(place.state, lambda line: say(processes, line)):
        check_same_files(place, state, data)  # else figures of different data would be averaged
        best = state.facts["position"]["best_metrics"]
        decided_by_first(processes, lambda: check_result(place, data.metric, best))
    return place


def check_same_files(run: FinetuneDirectory, state: State, data: TrainingData) -> None:
    """
    Raises:
        InputError: a file is not the one that the run was begun with.
    """
    for path, checksum in state.facts["checksums"].items():
        if data.checksums.get(path) != checksum:
            raise InputError(f"{path}: not what {run.path} was trained on so far")


class Finetuning:
    """A run under way: model, optimizers, data and position."""

    def __init__(
        self, run: FinetuneDirectory, options: TrainingOptions, data: TrainingData, processes: Processes
    ) -> None:
        self.run = run
        self.options = options
        self.data = data
        self.processes = processes
        self.device = choose_device(options.device, processes.local_rank)
        self.precision = choose_precision(options.dtype, self.device)
        self.runtime = Runtime(self.device, self.precision, processes)
        self.task: Task[Any, Any] = data.task

        state = load_newest_state(run.state, lambda line: say(processes, line))
        self.model, fresh = put_on_head(options, data)
        self.parameters = sum(parameter.numel() for parameter in self.model.parameters())
        self.freeze()
        narrow_to(self.model, data.train.features)
        self.model.to(self.device, self.precision.parameter_dtype)
        processes.broadcast_parameters(self.model)
        self.train, self.dev = (self.with_frozen_states(part) for part in (data.train, data.dev))
        self.optimizers = build_optimizers(self.model, optimizer_options(options), rate_share=self.rate_share)
        self.update = Update(self.model.parameters(), self.optimizers, clip_norm=options.clip_norm)
        self.contention = Contention(self.device, processes=processes.world_size)

        self.lengths = np.array([feature.length for feature in self.train.features])
        self.steps_per_epoch = batches_in_epoch(len(self.lengths), options.batch_size)
        self.steps = options.epochs * self.steps_per_epoch
        self.order: tuple[int, list[NDArray[np.intp]]] = (-1, [])  # an epoch, and its batches
        self.position = Position()
        self.best: dict[str, Tensor] = {}  # the weights of the best epoch
        self.best_predictions: Sequence[Any] | None = None  # on dev; not saved: after a resume they are made anew
        self.restore(state)
        self.forward = caller(self.model, self.precision, states_known=options.freeze_encoder)
        self.introduce(fresh)

    def freeze(self) -> None:
        """Leaves to training what the options say: all, adapters and head, or the head alone."""
        options = self.options
        if options.freeze_encoder:
            self.model.encoder.requires_grad_(False)
        elif options.lora_rank is not None:
            generator = torch.Generator().manual_seed(options.seed + 1)
            add_adapters(
                self.model, rank=options.lora_rank, alpha=options.lora_alpha, targets=options.lora_targets,
                generator=generator,
            )  # fmt: skip

    def with_frozen_states(self, part: Part) -> Part:
        """With the encoder's output computed once, where the encoder is not trained."""
        if not self.options.freeze_encoder:
            return part
        say(self.processes, f"computing the encoder's output to {len(part.features):,} features, once")
        return Part(part.examples, with_states(self.model, self.task, part.features, self.runtime))

    def rate_share(self, name: str) -> float:
        """The share of the peak learning rate for a parameter."""
        return layer_share(name, decay=self.options.layer_decay, layers=len(set(self.model.encoder.blocks)))

    def introduce(self, fresh: Sequence[str]) -> None:
        """Says what is about to be trained, on what, and how."""
        options, data = self.options, self.data
        learning = sum(tensor.numel() for tensor in trained(self.model).values())
        test = f", {len(data.test.examples):,} to be tested on" if data.test else ""
        size = f"{self.parameters:,} parameters, {learning:,} of them trained"
        lines = [
            f"model    {options.model} for {options.task}: {size}",
            f"data     {len(data.train.examples):,} examples to train on, {len(data.dev.examples):,} to choose the "
            f"epoch on{test}" + (f"; {len(self.task.labels)} labels" if len(self.task.labels) > 1 else ""),
            f"machine  {device_name(self.device)}, {self.processes.world_size} process(es); {self.precision.reason}",
            f"steps    {self.steps:,} in {options.epochs} epoch(s), peak learning rate {options.peak_rate:g}",
            *(f"note     {note}" for note in data.notes),
        ]
        if fresh:
            lines.append(f"fresh    not in {options.model}: {', '.join(fresh)}")
        say(self.processes, "\n".join(lines))

    # ------------------------------------------------------------------ loop

    def go(self) -> None:
        """Trains to the end, evaluating after each epoch, and writes the model directory."""
        options, position = self.options, self.position
        saved_at = position.seconds
        window: list[StepSums] = []
        window_started = position.seconds
        with (
            open_log(self.run.metrics, self.processes, step=position.step) as log,
            stop_requested() as stop,
            self.bar() as bar,
        ):
            self.model.train()
            while True:
                if position.step == (position.evaluated + 1) * self.steps_per_epoch:
                    self.evaluate(log)
                    self.save()
                    saved_at = position.seconds
                if position.step == self.steps:
                    break
                sums, gradient_norm, stopping = self.step(stop)
                window.append(sums)
                if position.step % options.log_every == 0 or stopping or position.step % self.steps_per_epoch == 0:
                    self.log(log, window, gradient_norm, position.seconds - window_started)
                    window, window_started = [], position.seconds
                self.move_bar(bar, sums)
                if stopping:
                    self.save()
                    self.processes.barrier()  # the first one is saving: torchrun ends all as soon as one has left
                    raise Interrupted(f"stopped at step {position.step}; go on with --resume")
                if position.step % options.save_every == 0 or position.seconds - saved_at >= options.save_seconds:
                    self.save()
                    saved_at = position.seconds
        self.finish()

    def step(self, stop: Callable[[], bool]) -> tuple[StepSums, float, bool]:
        """One optimizer step. Returns its sums, the gradient's norm before clipping, and whether to stop now."""
        started = time.perf_counter()
        options, position = self.options, self.position
        seed_dropout(options.seed, position.step, self.processes)
        micro_batches = self.micro_batches(position.step)
        warmup = options.warmup_share
        progress = (position.step + 0.5) / self.steps
        factor = learning_rate_factor(progress, warmup_share=warmup, decay_share=1 - warmup)
        set_learning_rate(self.optimizers, factor)
        self.update.clear()
        sums = accumulate_gradients(self.forward, self.task, micro_batches, self.runtime)
        norm = self.update.norm()
        gradient_norm = float(norm)
        self.stop_unless_finite(sums, gradient_norm)
        self.update.apply(norm)

        seconds, stopping = self.processes.agree(seconds=time.perf_counter() - started, stop=stop())
        position.step += 1
        position.seconds += seconds
        position.examples += round(sums.examples)
        position.tokens += round(sums.tokens)
        return sums, gradient_norm, stopping

    def micro_batches(self, step: int) -> list[TaskBatch]:
        """This process's part of a step's global batch."""
        epoch, place = divmod(step, self.steps_per_epoch)
        if self.order[0] != epoch:
            batches = epoch_order(self.lengths, seed=self.options.seed, epoch=epoch, batch_size=self.options.batch_size)
            self.order = epoch, batches
        mine = self.order[1][place][self.processes.rank :: self.processes.world_size]
        parts = np.array_split(mine, self.options.accumulate)
        return [make_batch([self.train.features[i] for i in part], self.task, labelled=True) for part in parts]

    def stop_unless_finite(self, sums: StepSums, gradient_norm: float) -> None:
        """
        Raises:
            RunStopped: before the step is applied, naming the step and the last good state.
        """
        if not (math.isfinite(sums.loss) and math.isfinite(gradient_norm)):
            raise RunStopped(
                f"step {self.position.step + 1}: not finite: loss {sums.mean_loss:g}, gradient norm "
                f"{gradient_norm:g}; last good state: {self.run.newest_state}"
            )

    # ------------------------------------------------------------------ figures

    def evaluate(self, log: MetricsLog | None) -> None:
        """Figures on dev after an epoch; the weights are set aside where it is the best so far."""
        position, dev = self.position, self.dev
        predictions = predictions_of(self.model, self.task, dev.examples, dev.features, self.runtime)
        task = self.task.tuned(dev.examples, predictions)
        metrics = task.metrics(dev.examples, predictions)
        position.evaluated += 1
        is_best = not position.best_epoch or metrics[self.data.metric] > position.best_metrics[self.data.metric]
        if is_best:
            position.best_epoch, position.best_metrics = position.evaluated, metrics
            position.best_reading = to_trained_on(task.name, task.data_options)
            self.best = {name: tensor.clone() for name, tensor in trained(self.model).items()}
            self.best_predictions = predictions
        if log:
            figures = {f"dev_{name}": value for name, value in metrics.items()}
            log.log(step=position.step, epoch=position.evaluated, **figures)
        shown = ", ".join(f"{name} {value:.4f}" for name, value in metrics.items())
        with tqdm.external_write_mode():
            say(self.processes, f"epoch {position.evaluated}: {shown}{'  (best so far)' if is_best else ''}")

    def log(self, log: MetricsLog | None, window: list[StepSums], gradient_norm: float, seconds: float) -> None:
        """Means over the steps since the last line; and, once, that other programs slow them down."""
        if not log:
            return
        total = sum(window[1:], window[0])
        log.log(
            step=self.position.step,
            seconds=self.position.seconds,
            loss=total.mean_loss,
            gradient_norm=gradient_norm,
            learning_rate=max(float(group["lr"]) for group in self.optimizers[-1].param_groups),
            examples_per_second=total.examples / seconds,
        )
        if note := self.contention.note(total.tokens / seconds, "tokens/s"):
            with tqdm.external_write_mode():
                say(self.processes, note)

    def bar(self) -> tqdm:
        """The progress bar, over steps."""
        return tqdm(
            total=self.steps, initial=self.position.step, unit="step", desc="fine-tuning",
            disable=None if self.processes.is_main else True,
        )  # fmt: skip

    def move_bar(self, bar: tqdm, sums: StepSums) -> None:
        """Loss and speed beside the time left."""
        if bar.disable:
            return
        position = self.position
        epoch = (position.step - 1) // self.steps_per_epoch + 1
        speed = position.examples / position.seconds
        bar.set_postfix_str(f"epoch {epoch}, loss {sums.mean_loss:.3f}, {speed:,.0f} examples/s", refresh=False)
        bar.update(position.step - bar.n)

    # ------------------------------------------------------------------ state and result

    def save(self) -> None:
        """Saves the state; every process holds the same, so the first one writes.

        Raises:
            RunStopped: the last update left a parameter that is not finite: such a state is not worth keeping.
        """
        check_finite(self.model, step=self.position.step, last_good=self.run.newest_state)
        if self.processes.is_main:
            tensors = snapshot(self.model, self.optimizers)
            tensors |= {BEST + name: tensor for name, tensor in self.best.items()}
            facts = {"position": asdict(self.position), "checksums": self.data.checksums}
            save_state(self.run.state, self.position.step, tensors, facts)

    def restore(self, state: State | None) -> None:
        """Goes back to a saved state, where there is one.

        Raises:
            InputError: a file is not the one that the run was begun with.
        """
        if state is None:
            if self.options.resume:
                say(self.processes, f"{self.run.path}: no saved state: starting at step 0")
            return
        check_same_files(self.run, state, self.data)
        restore(self.model, self.optimizers, state.tensors)
        best = {name.removeprefix(BEST): tensor for name, tensor in state.tensors.items() if name.startswith(BEST)}
        # Copies, since those lie in the state's file, and Windows removes no file that is in use.
        self.best = {name: tensor.to(self.device, copy=True) for name, tensor in best.items()}
        self.position = Position(**state.facts["position"])
        say(self.processes, f"{self.run.path}: going on from step {state.step}")

    def finish(self) -> None:
        """With the best epoch's weights: writes the model directory, scores the test file, and writes the figures."""
        options, data, position = self.options, self.data, self.position
        put_back(self.model, self.best)
        learning = sum(tensor.numel() for tensor in self.best.values())
        task = self.task.with_data_options(from_trained_on(self.task.name, position.best_reading))
        predictions = self.best_predictions
        if predictions is None:  # by the model as it was when it was evaluated: merged adapters round otherwise
            predictions = predictions_of(self.model, task, self.dev.examples, self.dev.features, self.runtime)
        write_model(self.run, self.model, task, write=self.processes.is_main)
        test_metrics = None
        if data.test is not None:
            test = self.with_frozen_states(data.test)
            answers = predictions_of(self.model, task, test.examples, test.features, self.runtime)
            test_metrics = task.metrics(test.examples, answers)
        if not self.processes.is_main:
            return
        figures = summarize(
            options, data, position, self.runtime, parameters=self.parameters, trained_parameters=learning,
            test_metrics=test_metrics,
        )  # fmt: skip
        tidy(self.run.state)  # of a save that was cut off, where none came after it
        log = read_metrics(self.run.metrics, lambda _: None) if self.run.metrics.is_file() else []
        losses = [line["loss"] for line in log if "loss" in line]
        found = list(doubts(task, self.dev.examples, predictions, trained_on=self.train.features, losses=losses))
        write_figures(self.run, task, self.dev.examples, predictions, figures, found, partial(say, self.processes))


def optimizer_options(options: TrainingOptions) -> OptimizerOptions:
    """AdamW with bias correction, as the paper fine-tunes (Devlin et al. 2018, A.3)."""
    return OptimizerOptions(
        optimizer="adamw",
        learning_rate=options.peak_rate,
        muon_learning_rate=options.peak_rate,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=options.weight_decay,
    )
