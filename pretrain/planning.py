"""How long a run is in tokens and passes, and what its recipe leaves to the rules (`pretrain.rules`)."""

import math
import time
import tomllib
from dataclasses import replace
from typing import NamedTuple, get_type_hints

import torch

from minibert.errors import naming, plural
from minibert.files.text import read_small
from minibert.files.typed import typed
from minibert.training.device import Precision
from minibert.training.optimizer import Update, build_optimizers
from minibert.training.processes import Processes, say
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

# The first steps are slower, since kernels are built for new shapes, and on a GPU captured.
WARM_UP_STEPS, WARM_UP_SECONDS = 2, {"cpu": 0.0, "cuda": 2.0}
MEASURED_SECONDS, MEASURED_SHARE = 2.0, 0.05  # at most, and of the run; but at least one step after the first


def as_saved(options: PretrainOptions, run: PretrainDirectory) -> PretrainOptions:
    """Return the options with what is not given as the run in the directory has it, if there is one.

    Raises InputError if its run.toml has a value of another type.
    """
    try:
        saved = tomllib.loads(read_small(run.configuration))
    except (OSError, ValueError, RecursionError):  # the run is new, or `RunDirectory.status` refuses it
        return options
    kinds = get_type_hints(PretrainOptions)
    open_names = [name for name in (*rules.RULES, "keep_at") if getattr(options, name) is None]
    with naming(run.configuration):
        return replace(options, **{name: typed(saved.get(name), kinds[name], name) for name in open_names})


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
    names, lines, note = rules.left_to_rules(options), [], ""
    step, text = step_tokens(options, corpus), len(corpus.train.tokens)
    steps = options.steps if options.passes is None else math.ceil(options.passes * text / step.text)
    taken: float | None = steps
    length = plural(steps, "step") if steps else ""
    if names and options.minutes is not None:
        say(processes, "speed    being measured, in a few steps that are then undone")
        share = slice(processes.rank, None, processes.world_size)
        alone = measured_speed(options, corpus, device=device, precision=precision, share=share)
        speed = processes.sum([alone])[0]
        length = f"{options.minutes:g} minute{'' if options.minutes == 1 else 's'} at {speed:,.0f} tokens/s"
        taken = 60 * options.minutes * speed / step.whole
    if taken is not None:
        config = model_config(options, corpus.tokenizer)
        plan = rules.Plan(
            hidden_size=config.hidden_size,
            layers=config.num_hidden_layers,
            block_weights=block_matrices(config),
            step_tokens=step.whole,
            tokens=taken * step.whole,
            passes=taken * step.text / text,
            trained=options.init is not None,
        )
        lines.append(f"length   {length}: {plan}")
        if names:
            options, note = rules.by_rule(options, plan), f"By rule, for {length}, {plan}: {', '.join(names)}."
            lines += [f"note     {line}" for line in rules.beyond_measured(plan)]
        lines += [f"note     {line}" for line in rules.advice(plan)]
    rates = {"AdamW": options.learning_rate, "Muon": options.block_learning_rate, "dropout": options.dropout or None}
    shown = ", ".join(f"{name} {value:g}" for name, value in rates.items() if value is not None)
    lines.append(f"rates    {shown}" + (" (by rule)" if names else ""))
    return Settled(options, steps, note, lines)


class StepTokens(NamedTuple):
    """The mean number of real tokens in a step."""

    whole: float
    text: float  # without the special ones


def step_tokens(options: PretrainOptions, corpus: PreparedCorpus) -> StepTokens:
    """Return the tokens of a step, by a sample of the text, over all phases."""
    whole = special = 0.0
    for phase, (_, share) in enumerate(options.phases):
        pairs = options.pairs(phase, corpus.tokenizer)
        whole += share * options.batch_size * mean_length(corpus.train, pairs)
        special += share * options.batch_size * (pairs.seq_len - pairs.room)
    return StepTokens(whole, whole - special)


def measured_speed(
    options: PretrainOptions, corpus: PreparedCorpus, *, device: torch.device, precision: Precision, share: slice
) -> float:
    """Return the real tokens per second of training steps on this process's `share` of each batch. They are taken by a
    model that is then dropped, so that the run's own begins with its first step.

    Not measured: later phases, `torch.compile`, the exchange between processes, and dropout where it is left to a rule.
    """
    options = rules.filled(options, lambda _: 0.0)
    seed, pairs = data_seed(options.seed, phase=0), options.pairs(0, corpus.tokenizer)
    masker = Masker.of(corpus.tokenizer, rate=options.mask_rate, whole_words=options.whole_word_mask)
    plan = PairPlan(corpus.train, pairs, seed=seed)
    maker = BatchMaker(corpus.train, corpus.tokenizer, pairs, masker, seed=seed, few_shapes=device.type == "cuda")
    model, _ = build_model(options, corpus, begin=False)
    model = model.to(device, precision.parameter_dtype)
    optimizers = build_optimizers(model, optimizer_options(options), muon_dtype=precision.dtype)
    update = Update(model.parameters(), optimizers, clip_norm=options.clip_norm)
    backward = backward_pass(model, device=device, precision=precision)
    assert options.minutes is not None
    warm_up = WARM_UP_SECONDS[device.type]
    enough = warm_up + min(MEASURED_SECONDS, MEASURED_SHARE * 60 * options.minutes)
    step, passed, seconds, tokens = 0, 0.0, 0.0, 0
    while not seconds or passed < enough:
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
        took = time.perf_counter() - started
        if (step >= WARM_UP_STEPS and passed >= warm_up) or passed >= enough:  # a slow step ends the warm-up too
            seconds += took
            tokens += sum(batch.tokens for batch in batches)
        step, passed = step + 1, passed + took
    return tokens / seconds
