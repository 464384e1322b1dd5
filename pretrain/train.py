"""A pretraining run: its batches, losses, evaluations and result. The loop is in `minibert.training.loop`."""

import itertools
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from minibert import checkpoint
from minibert.config import BertConfig
from minibert.errors import InputError, RunStopped, plural
from minibert.files import writing
from minibert.training.device import choose_device
from minibert.training.drawing import draw_or_say
from minibert.training.flops import measured_peak, training_operations
from minibert.training.loop import Progress, Training, opened
from minibert.training.memory import peak_rss_bytes
from minibert.training.metrics_log import MetricsLog
from minibert.training.processes import Processes, join_processes
from minibert.training.snapshot import StartingModel, TakenOver, check_finite
from minibert.training.state import State, load_newest_state
from pretrain.arrays.shards import MANIFEST, open_prepared
from pretrain.batches.batch import BatchMaker, Prefetcher, PretrainBatch, data_seed
from pretrain.batches.masking import Masker
from pretrain.batches.pairs import PairPlan
from pretrain.curves import draw_run
from pretrain.diagnosis import JUDGED_FROM_SHARE, JUDGED_FROM_STEP, learns_nothing
from pretrain.evaluate import HeldOut, HeldOutFigures
from pretrain.initial import begin_global_projections
from pretrain.keeping import Keeping, Seen, keep
from pretrain.loss import BatchSums
from pretrain.options import PretrainOptions
from pretrain.passes import backward_pass
from pretrain.planning import as_saved, settle
from pretrain.run_directory import PretrainDirectory
from pretrain.setup import PretrainModel, build_model, is_compiled, model_config, optimizer_options, set_up


def train(options: PretrainOptions) -> None:
    """Take a pretraining run from its current state to the end.

    Raises InputError if options, corpus, config or directory are unusable, and leaves nothing behind; RunStopped and
    Interrupted as `Training.go` does.
    """
    run = PretrainDirectory(Path(options.out))
    options = as_saved(options, run)
    device = choose_device(options.device)
    is_compiled(options, device)  # before anything is written
    start = StartingModel(options.init) if options.init else None
    with (
        join_processes(device.type) as processes,
        opened(run, processes, lambda: set_up(run, options, start, processes=processes.world_size)) as unfinished,
    ):
        if unfinished:
            training = Pretraining(run, options, start, processes)
            try:
                training.go()
            finally:
                training.batches.close()


@dataclass
class PretrainProgress(Progress):
    """What a run has trained on, and where it is in its data."""

    tokens: int = 0  # real tokens trained on
    positions: int = 0  # the same, padding included
    operations: float = 0.0  # in the model's matrix products, forward and backward
    phase: int = 0  # which of the phases of sequence length
    pairs: int = 0  # taken from this phase's plan
    evaluated: int = 0  # evaluations during the run that were due and have been made
    diagnosed: bool = False  # whether the user has been told that the run learns nothing
    kept: list[tuple[int, list[str]]] = field(default_factory=list)  # step, and the marks of --keep-at that it reached


class PretrainSums(NamedTuple):
    """The sums of one step, a `StepSums`."""

    mlm: float  # nats
    nsp: float  # nats
    masked: float  # masked tokens
    pairs: float
    tokens: float
    positions: float
    operations: float  # in the model's matrix products, forward and backward


class Pretraining(Training[PretrainBatch, PretrainSums]):
    """A pretraining under way."""

    unit: ClassVar[str] = "tokens"
    run: PretrainDirectory
    options: PretrainOptions
    model: PretrainModel
    heldout_figures: HeldOutFigures
    progress: PretrainProgress

    def __init__(
        self, run: PretrainDirectory, options: PretrainOptions, start: StartingModel | None, processes: Processes
    ) -> None:
        super().__init__(run, options, processes)
        self.corpus = open_prepared(options.data or run.data, check=False)  # `set_up` checked them
        settled = settle(options, self.corpus, self.device, self.precision, processes)
        options = self.options = settled.options
        if settled.note and processes.is_main:
            writing.write_whole_text(run.configuration, options.to_toml(settled.note))
        self.steps, self.minutes, self.decay_share = settled.steps, options.minutes, options.decay_share
        # Now, and not when a state or the model is written: by then these files may have changed or be gone.
        self.data = writing.sha256(self.corpus.directory / MANIFEST)  # it holds the checksum of each array
        self.published_config = model_config(options, self.corpus.tokenizer)  # with the dropout meant for fine-tuning
        self.heldout = HeldOut(self.corpus, seq_len=options.phases[-1][0], objective=options.pair_objective)

        state = load_newest_state(run.state, self.say)
        begin = state is None and processes.is_main  # the other processes receive its weights
        model, taken = build_model(options, self.corpus, start, begin=begin)
        self.parameters = sum(parameter.numel() for parameter in model.parameters())
        self.set_up_model(model, optimizer_options(options))
        self.compiled = is_compiled(options, self.device)
        self.progress = PretrainProgress()
        self.block_counts: Sequence[int] = ()
        self.restore(state)
        self.progress.evaluated = min(self.progress.evaluated, self.evaluations_passed)  # if --evaluations was larger
        self.measured_after: int | None = None  # the step after which `heldout_figures` were computed
        self.keeping = Keeping(run.kept, options.marks, self.seen())
        self.open_phase()
        self.introduce(taken, settled.lines)

    def introduce(self, taken: TakenOver, settled: Sequence[str]) -> None:
        """Say what is about to be trained, on what, and how; settled: lines on the run's length and rates."""
        corpus, options = self.corpus, self.options
        lines = [
            f"model    {options.model or options.init}: {self.parameters:,} parameters, "
            f"vocabulary of {corpus.tokenizer.vocab_size:,}",
            f"text     {plural(corpus.train.documents, 'document')}, {len(corpus.train.tokens):,} tokens; held out: "
            f"{plural(corpus.heldout.documents, 'document')}, {len(corpus.heldout.tokens):,} tokens",
            f"machine  {self.on_machine()}" + ("; compiling first takes up to a minute" if self.compiled else ""),
            *settled,
        ]
        if taken.fresh:
            lines.append(f"fresh    not in {options.init}: {', '.join(taken.fresh)}")
        if taken.left:
            lines.append(f"left     in {options.init}, not part of this run: {', '.join(taken.left)}")
        self.say("\n".join(lines))

    # ------------------------------------------------------------------ state

    def load_extra_state(self, state: State) -> None:
        """Raises InputError if the token arrays or the model's config are not those of the state."""
        if state.facts["data"] != self.data:
            raise InputError(f"{self.corpus.directory} differs from the arrays that {self.run.path} was trained on")
        # Through BertConfig: a field that an older state lacks has its default.
        given, saved = self.model.config.to_dict(), BertConfig.from_dict(state.facts["config"]).to_dict()
        differing = [f"{name} is {given[name]!r}, was {saved[name]!r}" for name in given if given[name] != saved[name]]
        if differing:
            raise InputError(f"{self.run.path} holds an unfinished run of a different model: {'; '.join(differing)}")
        self.block_counts = state.facts["block_counts"]

    def extra_state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return how far the pairs are planned, and what must be unchanged when the run is resumed."""
        return {}, {"block_counts": self.plan.block_counts, "data": self.data, "config": self.model.config.to_dict()}

    # ------------------------------------------------------------------ data

    def open_phase(self) -> None:
        """Make the plan, batch maker and prefetcher of the current phase of sequence length."""
        options, corpus = self.options, self.corpus
        pairs = options.pairs(self.progress.phase, corpus.tokenizer)
        masker = Masker.of(corpus.tokenizer, rate=options.mask_rate, whole_words=options.whole_word_mask)
        seed = data_seed(options.seed, phase=self.progress.phase)
        self.plan = PairPlan(corpus.train, pairs, seed=seed, block_counts=self.block_counts)
        on_gpu = self.device.type == "cuda"
        self.maker = BatchMaker(corpus.train, corpus.tokenizer, pairs, masker, seed=seed, few_shapes=on_gpu)
        self.batches = Prefetcher(self.micro_batches)
        self.backward = self.new_pass()  # graphs of another phase's shapes are useless

    def before_step(self) -> None:
        """Move on to the phase that the run's progress calls for."""
        ends = list(itertools.accumulate(share for _, share in self.options.phases))[:-1]
        phase = sum(self.share_done() >= end for end in ends)
        if phase != self.progress.phase:
            self.batches.close()
            self.progress.phase, self.progress.pairs, self.block_counts = phase, 0, ()
            self.open_phase()
            self.say(f"step {self.progress.step}: now sequences of {self.options.phases[phase][0]} tokens")

    def micro_batches(self, start: int) -> list[PretrainBatch]:
        """Return this process's part of the global batch that begins with pair `start`."""
        share = slice(self.processes.rank, None, self.processes.world_size)
        stop, parts = start + self.options.batch_size, self.options.accumulate
        batches = self.maker.micro_batches(self.plan, start=start, stop=stop, parts=parts, share=share)
        return batches if self.device.type == "cpu" else [batch.pinned() for batch in batches]

    def next_batches(self) -> list[PretrainBatch]:
        """Return the micro-batches of the next step, which are made ahead of time."""
        start = self.progress.pairs
        return self.batches.get(start, then=start + self.options.batch_size)

    # ------------------------------------------------------------------ a step

    def before_training(self, log: MetricsLog | None) -> None:
        """Evaluate a model of --init before it is trained, to compare the final figures with; and compile, which does
        not count towards the run's time.
        """
        self.return_to_kept()
        if self.options.init is not None and self.progress.step == 0:
            named = self.evaluate(log).named()
            shown = [f"{name} {value:.4f}" for name, value in named.items() if value is not None]
            self.say(f"before   {', '.join(shown)} (held out)")
        if self.compiled:
            self.compile()

    def new_pass(self) -> Callable[[PretrainBatch, Tensor], BatchSums]:
        """Return a forward and backward pass for which nothing has been captured yet."""
        return backward_pass(self.model, device=self.device, precision=self.precision, compiled=self.compiled)

    def compile(self) -> None:
        """Compile the pass on a first batch, whose gradients are discarded; if that fails, go on without.

        Raises RunStopped if it fails and was asked for.
        """
        batches = self.micro_batches(self.progress.pairs)
        try:
            self.gradient(batches)
        except Exception as error:  # from a compiler, a driver or a library: it may be any
            reason = str(error).strip().split("\n")[0]
            if self.options.compile == "yes":
                raise RunStopped(f"--compile yes: torch.compile failed: {reason}") from error
            self.say(f"not compiled: torch.compile failed: {reason}")
            self.compiled = False
            self.backward = self.new_pass()
        self.update.clear()

    def gradient(self, micro_batches: Sequence[PretrainBatch]) -> PretrainSums:
        """Compute the gradient of the mean loss of the masked tokens plus that of the pairs, and return the sums."""
        config = self.model.config
        counts = [
            (batch.masked, len(batch.next_sentence_labels), batch.tokens, batch.positions,
             training_operations(config, batch.lengths.tolist(), batch.masked))
            for batch in micro_batches
        ]  # fmt: skip
        return PretrainSums(*self.accumulate(micro_batches, [sum(column) for column in zip(*counts, strict=True)]))

    def count(self, sums: PretrainSums) -> None:
        self.progress.pairs += self.options.batch_size
        self.progress.tokens += round(sums.tokens)
        self.progress.positions += round(sums.positions)
        self.progress.operations += sums.operations

    def not_finite(self, sums: PretrainSums, gradient_norm: float) -> str:
        """Describe the figures that are not finite, and the batch that they come from."""
        start = self.progress.pairs
        return (
            f"masked-LM loss {sums.mlm / sums.masked:g}, pair loss {sums.nsp / sums.pairs:g}, gradient norm "
            f"{gradient_norm:g}; batch: pairs {start} to {start + self.options.batch_size - 1} of phase "
            f"{self.progress.phase}, epoch {self.plan.epoch_of(start)}, seed {self.options.seed}"
        )

    # ------------------------------------------------------------------ models kept along the way

    @property
    def text_tokens(self) -> int:
        """How many tokens of the text were trained on, repetitions included: all but the special ones."""
        pairs = self.options.pairs(0, self.corpus.tokenizer)
        special = pairs.seq_len - pairs.room  # in each sequence, whatever its length
        return self.progress.tokens - self.progress.step * self.options.batch_size * special

    def seen(self) -> Seen:
        """Return how far the run has come; words are counted as the text's share of its own."""
        text = self.corpus.manifest.train
        words = None if text.words is None else self.text_tokens * text.words / text.tokens
        return Seen(words, self.share_done(), self.progress.step)

    def return_to_kept(self) -> None:
        """Make the kept models those of the steps so far."""
        if not self.processes.is_main:
            return
        if removed := self.keeping.remove_after(self.progress.step):
            self.say(f"{self.run.kept}: removed {', '.join(removed)}: the run resumes at an earlier step")

    def after_step(self, log: MetricsLog | None) -> None:
        """Keep the model, with its held-out figures, if this step has reached a mark of --keep-at."""
        if not (marks := self.keeping.reached(self.seen())):
            return
        self.measure(log)
        step, place, texts = self.progress.step, self.keeping.place(self.progress.step), [mark.text for mark in marks]
        check_finite(self.model, step=step, last_good=self.run.newest_state)
        if self.processes.is_main:
            summary = {"step": step, "kept_for": texts, **self.amounts(), **self.quality()}
            summary |= {name: self.machine_figures()[name] for name in ("seed", "dtype")}
            keep(place, self.save_model, summary, last_good=self.run.newest_state)
        self.progress.kept.append((step, texts))
        self.say(f"kept     {place} ({', '.join(texts)}): mlm_loss {self.heldout_figures.mlm_loss:.4f} (held out)")

    # ------------------------------------------------------------------ figures

    def log_entry(self, total: PretrainSums) -> dict[str, float | None]:
        pair_loss = total.nsp / total.pairs
        return {
            "tokens": self.progress.tokens,
            "words": self.amounts()["words"],
            "mlm_loss": total.mlm / total.masked,
            "nsp_loss": pair_loss if self.options.nsp else None,
            **({"sop_loss": pair_loss} if self.options.pair_objective == "sop" else {}),
        }

    def bar_text(self, sums: PretrainSums) -> str:
        objective, losses = self.options.pair_objective, f"mlm {sums.mlm / sums.masked:.3f}"
        if objective != "none":
            losses += f", {objective} {sums.nsp / sums.pairs:.3f}"
        words = self.seen().words
        return f"step {self.progress.step}, {'' if words is None else f'{words / 1e6:.2f}M words, '}{losses}"

    @property
    def evaluations_passed(self) -> int:
        """How many evaluations should have been made by now; they are spread evenly over the run."""
        return int(self.share_done() * self.options.evaluations)

    def evaluation_is_due(self) -> bool:
        """Return whether to evaluate now; at the run's end that is always so."""
        return self.share_done() >= 1 or self.progress.evaluated < self.evaluations_passed

    def evaluate(self, log: MetricsLog | None) -> HeldOutFigures:
        """Evaluate on the held-out documents, and log the figures."""
        if self.share_done() >= 1:
            self.save()  # before anything that may fail
        return self.measure(log)

    def measure(self, log: MetricsLog | None) -> HeldOutFigures:
        """Return the held-out figures after this step, which are computed and logged once."""
        if self.measured_after == self.progress.step:
            return self.heldout_figures
        figures = self.heldout.figures(
            self.model, device=self.device, precision=self.precision, processes=self.processes
        )
        pair_loss = figures.sop_loss if figures.nsp_loss is None else figures.nsp_loss
        if not math.isfinite(figures.mlm_loss + (pair_loss or 0.0)):
            pairs = "" if pair_loss is None else f", pair loss {pair_loss:g}"
            raise RunStopped(
                f"step {self.progress.step}: not finite on held-out documents: masked-LM loss {figures.mlm_loss:g}"
                f"{pairs}; last good state: {self.run.newest_state}"
            )
        if log:
            log.log(step=self.progress.step, **{f"heldout_{name}": value for name, value in figures.named().items()})
        progress = self.progress
        if not progress.diagnosed and self.share_done() >= JUDGED_FROM_SHARE and progress.step >= JUDGED_FROM_STEP:
            passes = self.amounts()["passes"]
            if note := learns_nothing(figures.mlm_loss, self.heldout.unigram_loss, self.corpus, passes=passes):
                self.say(note)
                progress.diagnosed = True
        self.progress.evaluated = self.evaluations_passed
        self.heldout_figures, self.measured_after = figures, self.progress.step
        return figures

    # ------------------------------------------------------------------ result

    def finish(self) -> None:
        if not self.processes.is_main:
            return
        self.save_model(self.run.path)
        summary = self.summary()
        draw = partial(
            draw_run, metrics=self.run.metrics, report=self.say, heldout=self.heldout, kept=self.progress.kept
        )
        drawn = draw_or_say(self.run.curves, draw, self.say)
        writing.write_whole_text(self.run.summary, json.dumps(summary, indent=2) + "\n")
        for name, value in summary.items():
            self.say(f"{name:20} {value:,.4f}" if isinstance(value, float) else f"{name:20} {value}")
        if self.keeping.ahead:
            self.say(f"--keep-at {','.join(mark.text for mark in self.keeping.ahead)}: not reached, so not kept")
        curves = f", curves in {self.run.curves}" if drawn else ""
        self.say(f"\nmodel and figures in {self.run.path}{curves}")

    def save_model(self, directory: Path) -> None:
        """Write the model directory, with the dropout meant for fine-tuning; training can continue."""
        if self.options.init is None:  # otherwise they may have been trained
            begin_global_projections(self.model)  # no step reads them
        trained = self.model.config
        self.model.config = self.published_config
        try:
            checkpoint.save(self.model, self.corpus.tokenizer, directory)
        finally:
            self.model.config = trained

    def amounts(self) -> dict[str, Any]:
        """Return how much was trained on so far."""
        words = self.seen().words
        return {
            "tokens": self.progress.tokens,
            "words": None if words is None else round(words),
            "passes": self.text_tokens / self.corpus.manifest.train.tokens,
        }

    def quality(self) -> dict[str, Any]:
        """Return the model's sizes and its last held-out figures."""
        return {
            "parameters": self.parameters,
            "vocab_size": self.model.config.vocab_size,
            **self.heldout_figures.named(),
            "unigram_loss": self.heldout.unigram_loss,
        }

    def summary(self) -> dict[str, Any]:
        """Return the figures of a finished run."""
        progress = self.progress
        return {
            "steps": progress.step,
            **self.amounts(),
            "fill": progress.tokens / progress.positions,
            "seconds": progress.seconds,
            "tokens_per_second": progress.tokens / progress.seconds,
            **self.gpu_figures(),
            **self.quality(),
            "peak_rss_bytes": peak_rss_bytes(),
            **self.machine_figures(),
        }

    def gpu_figures(self) -> dict[str, float]:
        """Return, on GPUs, the peak memory of one and the share of their peak throughput in use."""
        if self.device.type != "cuda":
            return {}  # measuring the peak takes seconds there
        # Before `measured_peak` allocates its large matrices; the memory of graphs is included.
        figures: dict[str, float] = {"peak_gpu_bytes": torch.cuda.max_memory_reserved(self.device)}
        try:
            peak = self.processes.world_size * measured_peak(self.precision.dtype, self.device)
            figures["model_flops_utilization"] = self.progress.operations / self.progress.seconds / peak
        except RuntimeError as error:  # no memory left beside the model
            self.say(f"model_flops_utilization: not measured: {str(error).splitlines()[0]}")
        return figures
