"""How long a run is in tokens and passes, and what its recipe leaves to the rules (`pretrain.rules`)."""

import math
import time
import tomllib
from typing import NamedTuple

import torch

from minibert.files.text import read_small
from minibert.training.device import Precision
from minibert.training.optimizer import Update, build_optimizers
from minibert.training.processes import Processes
from minibert.training.room import block_matrices
from pretrain import rules
from pretrain.arrays.shards import PreparedCorpus
from pretrain.batches.batch import BatchMaker, data_seed
from pretrain.batches.masking import Masker
from pretrain.batches.pairs import PairPlan
from pretrain.options import PretrainOptions
from pretrain.passes import backward_pass
from pretrain.run_directory import PretrainDirectory
from pretrain.setup import build_model, mean_length, model_config, optimizer_options

# The first steps are slower, since kernels are built for new shapes; then as many as fit into the time are measured.
WARM_UP_STEPS, MEASURED_STEPS, MEASURED_SECONDS = 2, 20, 3.0


def as_saved(options: PretrainOptions, run: PretrainDirectory) -> PretrainOptions:
    """Return the options with what they leave open as the run has settled it, if it has."""
    try:
        saved = tomllib.loads(read_small(run.configuration))
    except (OSError, ValueError, RecursionError):  # the run is new, or `RunDirectory.status` refuses it
        return options
    return rules.filled(options, saved.get)


class Settled(NamedTuple):
    """A run's options without gaps, and its length."""

    options: PretrainOptions
    steps: int | None  # None if its length is in minutes
    note: str  # for run.toml: which options the rules filled in, and by what; empty if none
    lines: list[str]  # for the user


def settle(
    options: PretrainOptions, corpus: PreparedCorpus, device: torch.device, precision: Precision, processes: Processes
) -> Settled:
    """Turn passes into steps, and fill in what the options leave to the rules; if these need it, measure the speed."""
    steps, names, speed = steps_of(options, corpus), rules.left_to_rules(options), None
    lines, note = [], ""
    if names and steps is None:
        share = slice(processes.rank, None, processes.world_size)
        alone = measured_speed(options, corpus, device=device, precision=precision, share=share)
        speed = processes.sum([alone])[0]
    if steps is not None or speed is not None:
        plan = plan_of(options, corpus, tokens_per_second=speed)
        length = f"{options.minutes:g} minutes at {speed:,.0f} tokens/s" if speed is not None else f"{steps:,} steps"
        lines.append(f"length   {length}: {plan}")
        if names:
            options, note = rules.by_rule(options, plan), f"By rule, for {length}: {plan}: {', '.join(names)}."
        advice = [*(rules.beyond_measured(plan) if names else []), *rules.advice(plan)]
        lines += [f"note     {line}" for line in advice]
    rates = {"AdamW": options.learning_rate, "Muon": options.block_learning_rate, "dropout": options.dropout}
    shown = ", ".join(f"{name} {value:g}" for name, value in rates.items() if value is not None)
    lines.append(f"rates    {shown}" + (f" (by rule: {', '.join(names)})" if names else ""))
    return Settled(options, steps, note, lines)


def step_tokens(options: PretrainOptions, corpus: PreparedCorpus) -> tuple[float, float]:
    """Return the mean number of real tokens in a step, with special tokens and without."""
    whole = text = 0.0
    for phase, (_, share) in enumerate(options.phases):
        pairs = options.pairs(phase, corpus.tokenizer)
        length = mean_length(corpus.train, pairs)
        whole += share * options.batch_size * length
        text += share * options.batch_size * (length - (pairs.seq_len - pairs.room))
    return whole, text


def steps_of(options: PretrainOptions, corpus: PreparedCorpus) -> int | None:
    """Return the run's length in steps: --steps, or what --passes amounts to; None if it is in minutes."""
    if options.passes is None:
        return options.steps
    _, text = step_tokens(options, corpus)
    return math.ceil(options.passes * len(corpus.train.tokens) / text)


def plan_of(options: PretrainOptions, corpus: PreparedCorpus, *, tokens_per_second: float | None) -> rules.Plan:
    """Return what the rules look at. tokens_per_second: of a run whose length is in minutes."""
    whole, text = step_tokens(options, corpus)
    steps = steps_of(options, corpus)
    if steps is None:
        assert options.minutes is not None and tokens_per_second is not None
        steps_taken = 60 * options.minutes * tokens_per_second / whole
    else:
        steps_taken = float(steps)
    config = model_config(options, corpus.tokenizer)
    return rules.Plan(
        hidden_size=config.hidden_size,
        block_weights=block_matrices(config),
        step_tokens=whole,
        tokens=steps_taken * whole,
        passes=steps_taken * text / len(corpus.train.tokens),
        trained=options.init is not None,
    )


def measured_speed(
    options: PretrainOptions, corpus: PreparedCorpus, *, device: torch.device, precision: Precision, share: slice
) -> float:
    """Return the real tokens per second of training steps on this process's `share` of each batch. They are taken by a
    model that is then dropped, so that the run's own begins with its first step.
    """
    options = rules.filled(options, lambda _: 0.0)  # rates don't change the speed
    seed, pairs = data_seed(options.seed, phase=0), options.pairs(0, corpus.tokenizer)
    masker = Masker.of(corpus.tokenizer, rate=options.mask_rate, whole_words=options.whole_word_mask)
    plan = PairPlan(corpus.train, pairs, seed=seed)
    maker = BatchMaker(corpus.train, corpus.tokenizer, pairs, masker, seed=seed, few_shapes=device.type == "cuda")
    model, _ = build_model(options, corpus, begin=False)
    model = model.to(device, precision.parameter_dtype)
    optimizers = build_optimizers(model, optimizer_options(options), muon_dtype=precision.dtype)
    update = Update(model.parameters(), optimizers, clip_norm=options.clip_norm)
    backward = backward_pass(model, device=device, precision=precision)
    seconds, tokens = 0.0, 0
    for step in range(WARM_UP_STEPS + MEASURED_STEPS):
        started = time.perf_counter()
        start, parts = step * options.batch_size, options.accumulate
        batches = maker.micro_batches(plan, start=start, stop=start + options.batch_size, parts=parts, share=share)
        divisors = torch.tensor([sum(batch.masked for batch in batches), options.batch_size])
        update.clear()
        for batch in batches:
            backward(batch, divisors.to(precision.parameter_dtype))
        norm = update.norm()
        update.apply(norm)
        float(norm)  # a GPU has now taken the step
        if step >= WARM_UP_STEPS:
            seconds += time.perf_counter() - started
            tokens += sum(batch.tokens for batch in batches)
        if seconds >= MEASURED_SECONDS:
            break
    return tokens / seconds
