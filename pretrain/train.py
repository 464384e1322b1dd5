"""The pretraining loop, from options to a model directory. Read downward: things stand in the order in which they
happen.

A step: the next pairs of the plan become a masked batch; each process and micro-batch adds its part of the gradient;
the gradient is clipped and applied. Losses are normalised over the global batch, batches depend on the seed and the
step alone, and dropout is seeded by the step: a run that was stopped and resumed is bit-identical to one that was not.

    python -m pretrain --corpus pydocs --out runs/first
    torchrun --nproc-per-node 2 -m pretrain --corpus pydocs --out runs/first
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from minibert import checkpoint
from minibert.config import BertConfig
from minibert.errors import InputError, Interrupted, RunStopped
from minibert.files import writing
from minibert.training.contention import Contention
from minibert.training.device import choose_device, choose_precision, device_name
from minibert.training.drawing import draw_or_say
from minibert.training.flops import measured_peak
from minibert.training.interrupts import stop_requested
from minibert.training.memory import peak_rss_bytes
from minibert.training.metrics_log import MetricsLog, open_log
from minibert.training.optimizer import OptimizerOptions, Update, build_optimizers, set_learning_rate
from minibert.training.processes import Processes, decided_by_first, join_processes, say, seed_dropout
from minibert.training.room import out_of_memory
from minibert.training.run_directory import RunStatus
from minibert.training.schedule import learning_rate_factor
from minibert.training.snapshot import check_finite, restore, snapshot
from minibert.training.state import State, load_newest_state, save_state
from pretrain.arrays.shards import MANIFEST, open_prepared
from pretrain.batches.batch import BatchMaker, Prefetcher, PretrainBatch, data_seed
from pretrain.batches.masking import Masker
from pretrain.batches.pairs import PairPlan
from pretrain.curves import draw_run
from pretrain.evaluate import HeldOut, HeldOutFigures
from pretrain.options import PretrainOptions
from pretrain.run_directory import PretrainDirectory
from pretrain.setup import TakenOver, build_model, is_compiled, model_config, set_up
from pretrain.step import Pass, StepSums, accumulate_gradients


def train(options: PretrainOptions) -> None:
    """Takes a pretraining run from wherever its directory stands to the end.

    Raises:
        InputError: options, corpus, config or directory are unusable; nothing is left behind.
        RunStopped: disk or memory is full, or a loss or gradient is not finite; the last good state is kept.
        Interrupted: by a signal; the state was saved.
    """
    run = PretrainDirectory(Path(options.out))
    device = choose_device(options.device)
    is_compiled(options, device)  # before anything is written
    with join_processes(device.type) as processes:
        status = decided_by_first(processes, lambda: set_up(run, options, processes=processes.world_size))
        if status is RunStatus.FINISHED:
            say(processes, f"{run.path}: this run is finished; its figures are in {run.summary}")
            return
        with run.locked() if processes.is_main else contextlib.nullcontext():
            if processes.is_main:
                writing.clear_leftovers(run.path)
            training = Pretraining(run, options, processes)
            try:
                training.go()
                processes.barrier()  # the first one is still writing the model: no process leaves before the others
            except Exception as error:
                if ending := out_of_memory(error, step=training.position.step, last_good=run.newest_state):
                    raise ending from error
                raise
            finally:
                training.batches.close()


@dataclass
class Position:
    """How far a run has come; saved with its state."""

    step: int = 0  # optimizer steps done
    seconds: float = 0.0  # spent in them, over all parts of the run
    tokens: int = 0  # real tokens trained on
    positions: int = 0  # the same with padding
    operations: float = 0.0  # of the model's matrix products, forward and backward
    phase: int = 0  # which of the phases of sequence length
    pairs: int = 0  # taken from this phase's plan
    evaluated: int = 0  # evaluations along the way, as far as they became due and were made


class Pretraining:
    """A run under way: model, optimizers, data and position."""

    def __init__(self, run: PretrainDirectory, options: PretrainOptions, processes: Processes) -> None:
        self.run = run
        self.options = options
        self.processes = processes
        self.device = choose_device(options.device, processes.local_rank)
        self.precision = choose_precision(options.dtype, self.device)
        self.corpus = open_prepared(options.data or run.data, check=False)  # `set_up` checked them
        # Now, and not when a state or the model is written: by then these files may be others, or gone.
        self.data = writing.sha256(self.corpus.directory / MANIFEST)  # it holds the checksum of each array
        self.published_config = model_config(options, self.corpus.tokenizer)  # with the dropout meant for fine-tuning
        self.heldout = HeldOut(self.corpus, seq_len=options.phases[-1][0], objective=options.pair_objective)

        state = load_newest_state(run.state, lambda line: say(processes, line))
        begin = state is None and processes.is_main  # the others are sent its weights
        self.model, taken = build_model(options, self.corpus, begin=begin)
        self.model.to(self.device, self.precision.parameter_dtype)
        self.processes.broadcast_parameters(self.model)
        self.optimizers = build_optimizers(self.model, optimizer_options(options), muon_dtype=self.precision.dtype)
        self.compiled = is_compiled(options, self.device)
        self.update = Update(self.model.parameters(), self.optimizers, clip_norm=options.clip_norm)
        self.contention = Contention(self.device, processes=processes.world_size)

        self.position = Position()
        self.block_counts: Sequence[int] = ()
        self.restore(state)
        self.open_phase()
        self.introduce(taken)

    def introduce(self, taken: TakenOver) -> None:
        """Says what is about to be trained, on what, and how."""
        corpus, options = self.corpus, self.options
        parameters = sum(parameter.numel() for parameter in self.model.parameters())
        lines = [
            f"model    {options.model or options.init}: {parameters:,} parameters, "
            f"vocabulary of {corpus.tokenizer.vocab_size:,}",
            f"text     {corpus.train.documents:,} documents, {len(corpus.train.tokens):,} tokens; held out: "
            f"{corpus.heldout.documents:,} documents, {len(corpus.heldout.tokens):,} tokens",
            f"machine  {device_name(self.device)}, {self.processes.world_size} process(es); {self.precision.reason}"
            + ("; compiled first, in up to a minute" if self.compiled else ""),
        ]
        if taken.fresh:
            lines.append(f"fresh    not in {options.init}: {', '.join(taken.fresh)}")
        if taken.left:
            lines.append(f"left     of {options.init}, not part of this run: {', '.join(taken.left)}")
        say(self.processes, "\n".join(lines))

    # ------------------------------------------------------------------ data

    def open_phase(self) -> None:
        """The plan, maker and prefetcher of the current phase of sequence length."""
        options, corpus = self.options, self.corpus
        pairs = options.pairs(self.position.phase, corpus.tokenizer)
        masker = Masker.of(corpus.tokenizer, rate=options.mask_rate, whole_words=options.whole_word_mask)
        seed = data_seed(options.seed, phase=self.position.phase)
        self.plan = PairPlan(corpus.train, pairs, seed=seed, block_counts=self.block_counts)
        on_gpu = self.device.type == "cuda"
        self.maker = BatchMaker(corpus.train, corpus.tokenizer, pairs, masker, seed=seed, few_shapes=on_gpu)
        self.batches = Prefetcher(self.micro_batches)
        self.backward = self.new_pass()  # the recordings of another phase's shapes are of no use

    def micro_batches(self, start: int) -> list[PretrainBatch]:
        """This process's part of the global batch that begins with pair `start`."""
        share = slice(self.processes.rank, None, self.processes.world_size)
        stop, parts = start + self.options.batch_size, self.options.accumulate
        batches = self.maker.micro_batches(self.plan, start=start, stop=stop, parts=parts, share=share)
        return batches if self.device.type == "cpu" else [batch.pinned() for batch in batches]

    def new_pass(self) -> Pass:
        """The forward and backward pass, as yet without a recording."""
        return Pass(self.model, device=self.device, precision=self.precision, compiled=self.compiled)

    def compile(self) -> None:
        """Has the pass compiled on a first batch, whose gradients are forgotten: not on the run's time.

        Raises:
            RunStopped: it is asked for and can't be done. Where it is not asked for the run goes on without.
        """
        batches = self.micro_batches(self.position.pairs)
        try:
            accumulate_gradients(self.backward, batches, processes=self.processes)
        except Exception as error:  # of a compiler, a driver or a library: there is no telling which
            reason = str(error).strip().split("\n")[0]
            if self.options.compile == "yes":
                raise RunStopped(f"--compile yes: torch.compile failed: {reason}") from error
            say(self.processes, f"not compiled: torch.compile failed: {reason}")
            self.compiled = False
            self.backward = self.new_pass()
        self.update.clear()

    def enter_phase(self) -> None:
        """Moves on to the phase that the run's progress asks for."""
        ends = list(itertools.accumulate(share for _, share in self.options.phases))[:-1]
        phase = sum(self.progress() >= end for end in ends)
        if phase != self.position.phase:
            self.batches.close()
            self.position.phase, self.position.pairs, self.block_counts = phase, 0, ()
            self.open_phase()
            say(self.processes, f"step {self.position.step}: now sequences of {self.options.phases[phase][0]} tokens")

    # ------------------------------------------------------------------ time

    def progress(self, steps_ahead: float = 0.0) -> float:
        """The share of the run that is done, by steps or by time."""
        position, options = self.position, self.options
        if options.steps is not None:
            return min(1.0, (position.step + steps_ahead) / options.steps)
        assert options.minutes is not None
        ahead = steps_ahead * position.seconds / max(position.step, 1)
        return min(1.0, (position.seconds + ahead) / (60 * options.minutes))

    # ------------------------------------------------------------------ loop

    def go(self) -> None:
        """Trains to the end, evaluates, and writes the model directory."""
        options, position = self.options, self.position
        due = EvaluationTimes(options.evaluations, position.evaluated)
        saved_at = position.seconds
        window: list[StepSums] = []
        window_started = position.seconds
        with (
            open_log(self.run.metrics, self.processes, step=position.step) as log,
            stop_requested() as stop,
            self.bar() as bar,
        ):
            if options.init is not None and position.step == 0:
                self.say_before(self.evaluate(log))
            if self.compiled:
                self.compile()
            if due.now(self.progress()):  # it was stopped after a step and before the evaluation that follows it
                self.evaluate(log)
            while self.progress() < 1:
                position.evaluated = due.done
                self.enter_phase()
                sums, gradient_norm, stopping = self.step(stop)
                window.append(sums)
                if position.step % options.log_every == 0 or stopping or self.progress() >= 1:
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
                if due.now(self.progress()):
                    self.evaluate(log)
            self.save()  # before anything that may fail
            figures = self.evaluate(log)
        if self.processes.is_main:
            self.finish(figures)

    def step(self, stop: Callable[[], bool]) -> tuple[StepSums, float, bool]:
        """One optimizer step. Returns its sums, the gradient's norm before clipping, and whether to stop now."""
        started = time.perf_counter()
        options, position = self.options, self.position
        seed_dropout(options.seed, position.step, self.processes)
        micro_batches = self.batches.get(position.pairs, then=position.pairs + options.batch_size)
        factor = learning_rate_factor(
            self.progress(0.5), warmup_share=options.warmup_share, decay_share=options.decay_share
        )
        set_learning_rate(self.optimizers, factor)
        self.update.clear()
        sums = accumulate_gradients(self.backward, micro_batches, processes=self.processes)
        norm = self.update.norm()
        gradient_norm = float(norm)
        self.stop_unless_finite(sums, gradient_norm)
        self.update.apply(norm)

        seconds, stopping = self.processes.agree(seconds=time.perf_counter() - started, stop=stop())
        position.step += 1
        position.pairs += options.batch_size
        position.seconds += seconds
        position.tokens += round(sums.tokens)
        position.positions += round(sums.positions)
        position.operations += sums.operations
        return sums, gradient_norm, stopping

    def stop_unless_finite(self, sums: StepSums, gradient_norm: float) -> None:
        """
        Raises:
            RunStopped: before the step is applied, naming step, batch and the last good state.
        """
        if math.isfinite(sums.mlm + sums.nsp) and math.isfinite(gradient_norm):
            return
        position, size = self.position, self.options.batch_size
        raise RunStopped(
            f"step {position.step + 1}: not finite: masked-LM loss {sums.mlm / sums.masked:g}, pairs' loss "
            f"{sums.nsp / sums.pairs:g}, gradient norm {gradient_norm:g}; batch: pairs {position.pairs} to "
            f"{position.pairs + size - 1} of phase {position.phase}, epoch {self.plan.epoch_of(position.pairs)}, "
            f"seed {self.options.seed}; last good state: {self.run.newest_state}"
        )

    # ------------------------------------------------------------------ figures

    def evaluate(self, log: MetricsLog | None) -> HeldOutFigures:
        """Held-out figures now, into the log."""
        figures = self.heldout.figures(
            self.model, device=self.device, precision=self.precision, processes=self.processes
        )
        pair_loss = figures.sop_loss if figures.nsp_loss is None else figures.nsp_loss
        if not math.isfinite(figures.mlm_loss + (pair_loss or 0.0)):
            raise RunStopped(
                f"step {self.position.step}: not finite on held-out documents: masked-LM loss {figures.mlm_loss:g}, "
                f"pairs' loss {pair_loss}; last good state: {self.run.newest_state}"
            )
        if log:
            log.log(step=self.position.step, **{f"heldout_{name}": value for name, value in figures.named().items()})
        return figures

    def say_before(self, figures: HeldOutFigures) -> None:
        """What a model of --init can do before it is trained on: what the figures at the end are compared with."""
        shown = [f"{name} {value:.4f}" for name, value in figures.named().items() if value is not None]
        say(self.processes, f"before   {', '.join(shown)} (held out)")

    def log(self, log: MetricsLog | None, window: list[StepSums], gradient_norm: float, seconds: float) -> None:
        """Means over the steps since the last line; and, once, that other programs slow them down."""
        if not log:
            return
        total = sum(window[1:], window[0])
        log.log(
            step=self.position.step,
            seconds=self.position.seconds,
            tokens=self.position.tokens,
            mlm_loss=total.mlm / total.masked,
            nsp_loss=total.nsp / total.pairs if self.options.nsp else None,
            **({"sop_loss": total.nsp / total.pairs} if self.options.pair_objective == "sop" else {}),
            gradient_norm=gradient_norm,
            learning_rate=float(self.optimizers[-1].param_groups[0]["lr"]),
            tokens_per_second=total.tokens / seconds,
        )
        if note := self.contention.note(total.tokens / seconds, "tokens/s"):
            with tqdm.external_write_mode():
                say(self.processes, note)

    def bar(self) -> tqdm:
        """The progress bar: over steps, or over seconds where the run is measured in minutes."""
        by_steps = self.options.steps is not None
        return tqdm(
            total=self.options.steps if by_steps else round(60 * (self.options.minutes or 0)),
            initial=self.position.step if by_steps else round(self.position.seconds),
            unit="step" if by_steps else "s",
            desc="pretraining",
            disable=None if self.processes.is_main else True,
        )

    def move_bar(self, bar: tqdm, sums: StepSums) -> None:
        """Loss and speed beside the time left."""
        if bar.disable:
            return
        now = self.position.step if self.options.steps is not None else self.position.seconds
        bar.n = min(round(now), bar.total)
        objective, losses = self.options.pair_objective, f"mlm {sums.mlm / sums.masked:.3f}"
        if objective != "none":
            losses += f", {objective} {sums.nsp / sums.pairs:.3f}"
        speed = self.position.tokens / self.position.seconds
        bar.set_postfix_str(f"step {self.position.step}, {losses}, {speed:,.0f} tokens/s")

    # ------------------------------------------------------------------ state and result

    def save(self) -> None:
        """Saves the state; every process holds the same, so the first one writes.

        Raises:
            RunStopped: the last update left a parameter that is not finite: such a state is not worth keeping.
        """
        check_finite(self.model, step=self.position.step, last_good=self.run.newest_state)
        if self.processes.is_main:
            facts = {
                "position": asdict(self.position),
                "block_counts": self.plan.block_counts,
                "data": self.data,
                "config": self.model.config.to_dict(),
            }
            save_state(self.run.state, self.position.step, snapshot(self.model, self.optimizers), facts)

    def restore(self, state: State | None) -> None:
        """Goes back to a saved state, where there is one.

        Raises:
            InputError: the token arrays or the model's config are not those of the state.
        """
        if state is None:
            if self.options.resume:
                say(self.processes, f"{self.run.path}: no saved state: starting at step 0")
            return
        if state.facts["data"] != self.data:
            raise InputError(f"{self.corpus.directory}: not the arrays that {self.run.path} was trained on so far")
        # Through BertConfig: a state of before a field was there means its default.
        given, saved = self.model.config.to_dict(), BertConfig.from_dict(state.facts["config"]).to_dict()
        differing = [f"{name} is {given[name]!r}, was {saved[name]!r}" for name in given if given[name] != saved[name]]
        if differing:
            raise InputError(f"{self.run.path}: holds an unfinished run of another model: {'; '.join(differing)}")
        restore(self.model, self.optimizers, state.tensors)
        self.position = Position(**state.facts["position"])
        self.block_counts = state.facts["block_counts"]
        say(self.processes, f"{self.run.path}: going on from step {state.step}")

    def finish(self, figures: HeldOutFigures) -> None:
        """Writes the model directory, the picture, and at last the summary."""
        kept = self.model.config
        self.model.config = self.published_config
        checkpoint.save(self.model, self.corpus.tokenizer, self.run.path)
        self.model.config = kept
        summary = self.summary(figures)
        drawn = draw_or_say(self.run.curves, self.draw, partial(say, self.processes))
        writing.write_whole_text(self.run.summary, json.dumps(summary, indent=2) + "\n")
        for name, value in summary.items():
            say(self.processes, f"{name:20} {value:,.4f}" if isinstance(value, float) else f"{name:20} {value}")
        curves = f", curves in {self.run.curves}" if drawn else ""
        say(self.processes, f"\nmodel and figures in {self.run.path}{curves}")

    def draw(self, path: Path) -> None:
        """The picture, from the log."""
        unigram_loss, objective = self.heldout.unigram_loss, self.options.pair_objective
        report = partial(say, self.processes)
        draw_run(path, self.run.metrics, report, unigram_loss=unigram_loss, objective=objective)

    def summary(self, figures: HeldOutFigures) -> dict[str, Any]:
        """The figures of a finished run."""
        position = self.position
        return {
            "steps": position.step,
            "tokens": position.tokens,
            "fill": position.tokens / position.positions,
            "seconds": position.seconds,
            "tokens_per_second": position.tokens / position.seconds,
            **self.gpu_figures(),
            "parameters": sum(parameter.numel() for parameter in self.model.parameters()),
            "vocab_size": self.model.config.vocab_size,
            **figures.named(),
            "unigram_loss": self.heldout.unigram_loss,
            "peak_rss_bytes": peak_rss_bytes(),
            "dtype": str(self.precision.dtype).removeprefix("torch."),
            "device": device_name(self.device),
            "processes": self.processes.world_size,
            "seed": self.options.seed,
        }

    def gpu_figures(self) -> dict[str, float]:
        """On GPUs: the most memory of one, and which share of what they multiply at best the model's products were."""
        if self.device.type != "cuda":
            return {}  # measuring it takes seconds there
        peak = torch.cuda.max_memory_reserved(self.device)  # before the ceiling's matrices; with that of recordings
        try:
            ceiling = self.processes.world_size * measured_peak(self.precision.dtype, self.device)
        except RuntimeError as error:  # no room left beside the model
            say(self.processes, f"model_flops_utilization: not measured: {str(error).splitlines()[0]}")
            return {"peak_gpu_bytes": peak}
        return {
            "peak_gpu_bytes": peak,
            "model_flops_utilization": self.position.operations / self.position.seconds / ceiling,
        }


class EvaluationTimes:
    """Spreads evaluations evenly over a run; the one at its very end is made by whoever ends it."""

    def __init__(self, evaluations: int, done: int) -> None:
        self.evaluations = evaluations
        self.done = done

    def now(self, progress: float) -> bool:
        """Whether one became due."""
        passed = int(progress * self.evaluations)
        is_due = self.done < passed < self.evaluations
        self.done = passed
        return is_due


def optimizer_options(options: PretrainOptions) -> OptimizerOptions:
    """The part of the options that the optimizers need."""
    return OptimizerOptions(
        optimizer=options.optimizer,
        learning_rate=options.learning_rate,
        muon_learning_rate=options.block_learning_rate,
        betas=options.betas,
        eps=options.eps,
        weight_decay=options.weight_decay,
    )
