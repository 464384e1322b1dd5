"""The training loop: from a run's directory to its result, whatever is trained.

The code is in the order in which things happen. A subclass of `Training` defines what is particular to a kind of run:
its batches, losses, evaluations and result. The methods that it implements are at the end.

Losses are normalised over the global batch, batches depend only on the seed and the step, and dropout is seeded by the
step. A run that was stopped and resumed is therefore bit-identical to one that was not.
"""

import contextlib
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import reduce
from operator import add
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import torch
from torch import Tensor
from tqdm import tqdm

from minibert.errors import Interrupted, RunStopped, plural
from minibert.files import writing
from minibert.training.contention import Contention
from minibert.training.device import choose_device, choose_precision, device_name
from minibert.training.interrupts import stop_requested
from minibert.training.lock import hold
from minibert.training.metrics_log import MetricsLog, open_log
from minibert.training.optimizer import OptimizerOptions, Update, build_optimizers, set_learning_rate
from minibert.training.processes import Processes, decided_by_first, say, seed_dropout
from minibert.training.room import out_of_memory
from minibert.training.run_directory import RunDirectory, RunStatus
from minibert.training.schedule import learning_rate_factor
from minibert.training.snapshot import check_finite, restore, snapshot
from minibert.training.state import State, save_state


@contextlib.contextmanager
def opened(run: RunDirectory, processes: Processes, check: Callable[[], RunStatus]) -> Iterator[bool]:
    """Check a run's directory with `check`, then lock it. Gives whether there is anything left to do.

    Raises InputError as `check` does, or if another process is training there.
    """
    if decided_by_first(processes, check) is RunStatus.FINISHED:
        say(processes, f"{run.path}: this run is finished; its figures are in {run.summary}")
        yield False
        return
    busy = f"{run.path}: another process is training there"  # such as a worker that outlived its killed `torchrun`
    with hold(run.lock, busy=busy) if processes.is_main else contextlib.nullcontext():
        yield True


@dataclass
class Progress:
    """How far a run has come; saved with its state."""

    step: int = 0  # optimizer steps done
    seconds: float = 0.0  # spent in them, in all parts of an interrupted run


class StepSums(Protocol):
    """Sums over one or more global batches, the same in every process: a NamedTuple of losses, then counts."""

    @property
    def tokens(self) -> float:
        """The number of real tokens, without padding."""

    def __iter__(self) -> Iterator[float]: ...


Batch = TypeVar("Batch")
Sums = TypeVar("Sums", bound=StepSums)


class Training(ABC, Generic[Batch, Sums]):
    """A run under way: model, optimizers and progress. A subclass's constructor calls `set_up_model` and `restore`."""

    unit: ClassVar[str]  # that speed is measured in: "tokens", a field of progress and sums
    options: Any  # of the subclass's type
    progress: Any  # a subclass's `Progress`
    steps: int | None  # the length of the run, or
    minutes: float | None
    decay_share: float  # the share of the run, at its end, in which the learning rate decays
    # Adds the gradient of a micro-batch's losses, divided by the counts of the global batch, to the parameters'
    # gradients. Returns the sums of the losses, detached.
    backward: Callable[[Batch, Tensor], tuple[Tensor, ...]]

    def __init__(self, run: RunDirectory, options: Any, processes: Processes) -> None:
        self.run = run
        self.options = options
        self.processes = processes
        self.device = choose_device(options.device, processes.local_rank)
        self.precision = choose_precision(options.dtype, self.device)

    # ------------------------------------------------------------------ before the first step

    def set_up_model(
        self, model: Any, options: OptimizerOptions, rate_share: Callable[[str], float] = lambda _: 1.0
    ) -> None:
        """Move the model to its device, make it equal in all processes, and build its optimizers."""
        self.model = model.to(self.device, self.precision.parameter_dtype)
        self.processes.broadcast_parameters(model)
        self.optimizers = build_optimizers(model, options, muon_dtype=self.precision.dtype, rate_share=rate_share)
        self.update = Update(model.parameters(), self.optimizers, clip_norm=self.options.clip_norm)

    def restore(self, state: State | None) -> None:
        """Restore the saved state, if there is one.

        Raises InputError if the state belongs to another run.
        """
        if state is None:
            if self.options.resume:
                self.say(f"{self.run.path}: no saved state: starting at step 0")
            return
        self.load_extra_state(state)
        restore(self.model, self.optimizers, state.tensors)
        self.progress = type(self.progress)(**state.facts["position"])
        self.say(f"{self.run.path}: continuing from step {state.step}")

    # ------------------------------------------------------------------ the loop

    def go(self) -> None:
        """Train from the current step to the end, and finish the run.

        Raises RunStopped if disk or memory is full or a loss or gradient is not finite (the last good state is kept),
        and Interrupted if a signal stops the run (its state is saved first).
        """
        if self.processes.is_main:
            writing.clear_leftovers(self.run.path)
        try:
            self.train()
            self.finish()
            self.processes.barrier()  # the first process may still be writing the model: none leaves early
        except Exception as error:
            if ending := out_of_memory(error, step=self.progress.step, last_good=self.run.newest_state):
                raise ending from error
            raise

    def train(self) -> None:
        """Take all remaining steps, and log, save and evaluate between them."""
        options, progress = self.options, self.progress
        self.contention = Contention(self.device, processes=self.processes.world_size)
        self.saved_at = window_started = progress.seconds
        window: list[Sums] = []
        with (
            open_log(self.run.metrics, self.processes, step=progress.step) as log,
            stop_requested() as stop,
            self.bar() as bar,
        ):
            self.model.train()
            self.before_training(log)
            if self.evaluation_is_due():  # the run was stopped between a step and its evaluation
                self.evaluate(log)
            while not self.has_ended():
                self.before_step()
                sums, gradient_norm, stopping = self.step(stop)
                window.append(sums)
                if progress.step % options.log_every == 0 or stopping or self.ends_epoch():
                    self.log(log, window, gradient_norm, progress.seconds - window_started)
                    window, window_started = [], progress.seconds
                self.move_bar(bar, sums)
                self.after_step(log)
                if stopping:
                    self.save()
                    self.processes.barrier()  # the first may still be saving: torchrun ends all when one leaves
                    raise Interrupted(f"stopped at step {progress.step}; continue with --resume")
                if progress.step % options.save_every == 0 or progress.seconds - self.saved_at >= options.save_seconds:
                    self.save()
                if self.evaluation_is_due():
                    self.evaluate(log)

    def share_done(self, steps_ahead: float = 0.0) -> float:
        """Return the share of the run that is done, in steps or in time."""
        progress = self.progress
        if self.steps is not None:
            return min(1.0, (progress.step + steps_ahead) / self.steps)
        assert self.minutes is not None
        ahead = steps_ahead * progress.seconds / max(progress.step, 1)
        return min(1.0, (progress.seconds + ahead) / (60 * self.minutes))

    def step(self, stop: Callable[[], bool]) -> tuple[Sums, float, bool]:
        """Take one optimizer step; return its sums, the gradient's norm before clipping, and whether to stop now."""
        started = time.perf_counter()
        options, progress = self.options, self.progress
        seed_dropout(options.seed, progress.step, self.processes)
        micro_batches = self.next_batches()
        factor = learning_rate_factor(
            self.share_done(0.5), warmup_share=options.warmup_share, decay_share=self.decay_share
        )
        set_learning_rate(self.optimizers, factor)
        self.update.clear()
        sums = self.gradient(micro_batches)
        norm = self.update.norm()
        gradient_norm = float(norm)
        self.stop_unless_finite(sums, gradient_norm)
        self.update.apply(norm)

        seconds, stopping = self.processes.agree(seconds=time.perf_counter() - started, stop=stop())
        progress.step += 1
        progress.seconds += seconds
        self.count(sums)
        return sums, gradient_norm, stopping

    def accumulate(self, micro_batches: Sequence[Batch], counts: Sequence[float]) -> list[float]:
        """Add the gradient of the global batch's losses to the parameters: of these micro-batches, then of the others'.

        counts: those of this process's micro-batches, beginning with the counts over which the losses are means.
        Returns the sums of the losses over the global batch, then its counts.
        """
        counts = self.processes.sum(counts)
        divisors = torch.tensor(counts, dtype=self.precision.parameter_dtype)
        losses = torch.zeros((), device=self.device, dtype=torch.float64)
        for batch in micro_batches:
            losses = losses + torch.stack(self.backward(batch, divisors)).double()
        self.processes.add_up_gradients(self.model.parameters())
        return [*self.processes.sum(losses.tolist()), *counts]

    def stop_unless_finite(self, sums: Sums, gradient_norm: float) -> None:
        """Raises RunStopped, naming step, losses and last good state, if a sum or the norm is not finite."""
        if not all(map(math.isfinite, (*sums, gradient_norm))):
            raise RunStopped(
                f"step {self.progress.step + 1}: not finite: {self.not_finite(sums, gradient_norm)}; last good state: "
                f"{self.run.newest_state}"
            )

    # ------------------------------------------------------------------ between two steps

    def log(self, log: MetricsLog | None, window: Sequence[Sums], gradient_norm: float, seconds: float) -> None:
        """Log means over the steps since the last line; report, once, that other programs slow the run down."""
        if not log:
            return
        total = added(window)
        log.log(
            step=self.progress.step,
            seconds=self.progress.seconds,
            **self.log_entry(total),
            gradient_norm=gradient_norm,
            learning_rate=max(float(group["lr"]) for group in self.optimizers[-1].param_groups),
            **{f"{self.unit}_per_second": getattr(total, self.unit) / seconds},
        )
        if note := self.contention.note(total.tokens / seconds, "tokens/s"):
            self.say(note)

    def bar(self) -> tqdm:
        """Return the progress bar: in steps, or in seconds if the run's length is in minutes."""
        by_steps = self.steps is not None
        return tqdm(
            total=self.steps if by_steps else round(60 * (self.minutes or 0)),
            initial=self.progress.step if by_steps else round(self.progress.seconds),
            unit="step" if by_steps else "s",
            desc=self.run.kind,
            disable=None if self.processes.is_main else True,
        )

    def move_bar(self, bar: tqdm, sums: Sums) -> None:
        """Move the bar, and show loss and speed next to the time left."""
        if bar.disable:
            return
        now = self.progress.step if self.steps is not None else self.progress.seconds
        bar.n = min(round(now), bar.total)
        speed = getattr(self.progress, self.unit) / self.progress.seconds
        bar.set_postfix_str(f"{self.bar_text(sums)}, {speed:,.0f} {self.unit}/s")

    def save(self) -> None:
        """Save the state; it is the same in every process, so the first one writes it.

        Raises RunStopped if the last update left a parameter that is not finite, which is not worth saving.
        """
        self.saved_at = self.progress.seconds
        check_finite(self.model, step=self.progress.step, last_good=self.run.newest_state)
        if self.processes.is_main:
            tensors, facts = self.extra_state()
            tensors = snapshot(self.model, self.optimizers) | tensors
            save_state(self.run.state, self.progress.step, tensors, {"position": asdict(self.progress), **facts})

    def say(self, line: str) -> None:
        """Show the user a line, above the bar if there is one."""
        with tqdm.external_write_mode():
            say(self.processes, line)

    def on_machine(self) -> str:
        """Return a phrase for the user: the device, the number of processes, and the precision."""
        processes = plural(self.processes.world_size, "process", "es")
        return f"{device_name(self.device)}, {processes}; {self.precision.reason}"

    def machine_figures(self) -> dict[str, Any]:
        """Return the same facts and the seed for the summary."""
        return {
            "dtype": str(self.precision.dtype).removeprefix("torch."),
            "device": device_name(self.device),
            "processes": self.processes.world_size,
            "seed": self.options.seed,
        }

    # ------------------------------------------------------------------ what a subclass defines

    @abstractmethod
    def load_extra_state(self, state: State) -> None:
        """Restore what `extra_state` saved.

        Raises InputError if the state belongs to another run.
        """

    @abstractmethod
    def extra_state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the tensors and facts to save besides weights, optimizers and progress."""

    def before_training(self, log: MetricsLog | None) -> None:
        """Do what comes before the first step of the run and of each resume."""

    def before_step(self) -> None:
        """Do what comes before a step and doesn't count as the run's time."""

    def after_step(self, log: MetricsLog | None) -> None:
        """Do what comes after a step, before its state is saved, and doesn't count as the run's time."""

    @abstractmethod
    def next_batches(self) -> list[Batch]:
        """Return this process's micro-batches of the next global batch."""

    @abstractmethod
    def gradient(self, micro_batches: Sequence[Batch]) -> Sums:
        """Add the gradient of the global batch to the parameters' gradients, with `accumulate`."""

    @abstractmethod
    def count(self, sums: Sums) -> None:
        """Add a finished step to `progress`, except for its number and its seconds."""

    @abstractmethod
    def not_finite(self, sums: Sums, gradient_norm: float) -> str:
        """Return a phrase for the user with the losses and the norm of a step that is not finite."""

    @abstractmethod
    def log_entry(self, total: Sums) -> dict[str, float | None]:
        """Return the values for a line of the log from the sums since the last line."""

    @abstractmethod
    def bar_text(self, sums: Sums) -> str:
        """Return the step's position and losses for the bar."""

    def has_ended(self) -> bool:
        """Return whether no step is left to take."""
        return self.share_done() >= 1

    def ends_epoch(self) -> bool:
        """Return whether an epoch ends with this step, so that it is logged. By default the run is one epoch."""
        return self.share_done() >= 1

    @abstractmethod
    def evaluation_is_due(self) -> bool:
        """Return whether the evaluation that follows the last step has yet to be made."""

    @abstractmethod
    def evaluate(self, log: MetricsLog | None) -> Any:
        """Log held-out figures."""

    @abstractmethod
    def finish(self) -> None:
        """Write the model directory, the pictures and, last, the summary. Every process calls this."""


def added(steps: Sequence[Sums]) -> Sums:
    """Add up the sums of several steps."""
    return type(steps[0])(*(reduce(add, column) for column in zip(*steps, strict=True)))
