"""Pretraining: steps of `python -m pretrain` and of a loop around the peer, on the same weights and batches."""

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

import minibert
from benchmarks.machine import describe_machine, machine_line, usable_cores
from benchmarks.options import PretrainBenchmarkOptions
from benchmarks.peers.transformers_pretraining import PretrainWork, batches_of
from benchmarks.report import differences_in_work, table
from benchmarks.runner import OURS, Results, Run, alternate, run_python, settings_of, workplace
from minibert.config import config_named
from minibert.errors import CheckFailed
from minibert.heads import BertForPreTraining
from minibert.training.device import choose_device
from minibert.training.flops import measured_peak, training_operations
from pretrain.arrays.shards import open_prepared

PEER_MODULE = "benchmarks.peers.transformers_pretraining"
PEER_DTYPES = {"transformers": "float32", "transformers-autocast": "autocast", "transformers-bfloat16": "bfloat16"}
SAME_LOSS = 1e-4  # largest difference in float32 without dropout, in nats


def compare(options: PretrainBenchmarkOptions) -> None:
    """Run what is not yet in the results, and print the table.

    Raises InputError or RunStopped if the corpus or a run is unusable, CheckFailed if the two sides did different work
    or, in float32 without dropout, have different losses.
    """
    threads = options.threads or usable_cores()
    machine = describe_machine(threads=threads, device=options.device, packages=("transformers",))
    settings = settings_of(options, "repeats")
    results = Results(options.json, {"benchmark": "pretrain", "options": settings, "machine": machine})
    with workplace(options.json, settings) as scratch:
        print(
            f"{options.model}, sequences of {options.seq_len}, batches of {options.batch_size}, "
            f"minibert in {options.dtype}"
        )
        print(f"{machine_line(machine)}\n", flush=True)
        pretraining = PretrainBenchmark(options, scratch, threads)
        sides = {OURS: pretraining.measured(pretraining.ours), options.peer: pretraining.measured(pretraining.peer)}
        alternate(sides, range(options.repeats), results, lambda run: print(run_line(run), flush=True))
    found = {side: results.of(side, seeds=options.repeats) for side in sides}
    print("\n".join(report(found)))
    check_losses(found, options)


class PretrainBenchmark:
    """What all runs share: the token arrays, and the first weights in the format of each side."""

    def __init__(self, options: PretrainBenchmarkOptions, scratch: Path, threads: int) -> None:
        self.options = options
        self.scratch = scratch
        self.threads = threads
        self.data, self.init, self.reference = (scratch / name for name in ("data", "init", "reference"))
        if not self.data.exists():
            choice = ["--vocab-size", options.vocab_size]
            if options.tokenizer is not None:
                choice = ["--tokenizer", options.tokenizer]
            args = ["pretrain", "prepare", "--corpus", options.corpus, "--out", self.data, *choice]
            run_python(args, scratch / "prepare.log", threads=threads)
        if not self.init.exists():
            tokenizer = open_prepared(str(self.data), check=False).tokenizer
            config = config_named(options.model).replace(vocab_size=tokenizer.vocab_size, pad_token_id=tokenizer.pad_id)
            model = BertForPreTraining(config, generator=torch.Generator().manual_seed(0))
            minibert.save(model, tokenizer, self.init)
        if not self.reference.exists():
            args = ["weights_convert", "to-hf", self.init, self.reference]
            run_python(args, scratch / "to-hf.log", threads=threads)

    def work(self, seed: int) -> PretrainWork:
        """Return the work of both sides: the paper's recipe, for as many steps as the options say."""
        options = self.options
        return PretrainWork(
            data=str(self.data), init=str(self.init), reference=str(self.reference), seq_len=options.seq_len,
            batch_size=options.batch_size, steps=options.steps, learning_rate=options.learning_rate,
            betas=(0.9, 0.999), eps=1e-6, weight_decay=0.01, clip_norm=1.0, warmup_share=0.1,
            dropout=options.dropout, mask_rate=0.15, short_share=0.1,
            device=choose_device(options.device).type, seed=seed,
        )  # fmt: skip

    def ours(self, seed: int) -> Run:
        """Run `python -m pretrain`."""
        work, out = self.work(seed), self.scratch / f"ours-{seed}"
        run_python(
            [
                "pretrain", "--data", work.data, "--init", work.init, "--recipe", "paper", "--out", out, "--resume",
                "--steps", work.steps, "--seq-len", work.seq_len, "--batch-size", work.batch_size,
                "--learning-rate", work.learning_rate, "--betas", *work.betas, "--eps", work.eps,
                "--weight-decay", work.weight_decay, "--clip-norm", work.clip_norm,
                "--warmup-share", work.warmup_share, "--decay-share", 1 - work.warmup_share,
                "--dropout", work.dropout, "--mask-rate", work.mask_rate, "--short-share", work.short_share,
                "--dtype", self.options.dtype, "--compile", self.options.compile, "--device", work.device,
                "--seed", seed,
                "--evaluations", 1, "--log-every", 1, "--save-every", 10**9, "--save-seconds", 1e9,
            ],
            out.with_suffix(".log"), threads=self.threads,
        )  # fmt: skip
        lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
        steps = [line for line in lines if "gradient_norm" in line]
        summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
        ends = [0.0, *(line["seconds"] for line in steps)]
        return Run(
            side=OURS,
            seed=seed,
            work={"steps": summary["steps"], "tokens": summary["tokens"]},
            metrics={},
            figures={"peak_memory": summary.get("peak_gpu_bytes", summary["peak_rss_bytes"])},
            notes={
                "losses": [line["mlm_loss"] + line["nsp_loss"] for line in steps],
                "seconds": [after - before for before, after in pairwise(ends)],
            },
        )

    def peer(self, seed: int) -> Run:
        """Run the peer's loop."""
        side = self.options.peer
        given, result = (self.scratch / f"{side}-{seed}.{kind}.json" for kind in ("work", "result"))
        fields = {**asdict(self.work(seed)), "side": side, "dtype": PEER_DTYPES[side]}
        given.write_text(json.dumps(fields), encoding="utf-8")
        run_python([PEER_MODULE, given, result], given.with_suffix(".log"), threads=self.threads)
        return Run(**json.loads(result.read_text(encoding="utf-8")))

    def measured(self, run: Callable[[int], Run]) -> Callable[[int], Run]:
        """Return a function that runs a side and adds a step's operations and the machine's ceiling to the result."""

        def run_and_measure(seed: int) -> Run:
            found = run(seed)
            torch.set_num_threads(self.threads)
            ceiling = measured_peak(getattr(torch, self.options.dtype), choose_device(self.options.device))
            found.figures.update(operations=self.operations(seed), ceiling=ceiling)
            found.notes["warm_up"] = self.options.warm_up
            return found

        return run_and_measure

    def operations(self, seed: int) -> float:
        """Count the operations of a step, on average over the steps of a run; see `training_operations`."""
        config = minibert.load(self.init)[0].config
        total = 0
        batches = batches_of(self.work(seed))
        for batch in batches:
            total += training_operations(config, batch.lengths.tolist(), batch.masked)
        return total / len(batches)


def step_seconds(run: Run) -> float:
    """The median duration of the steps that are timed."""
    return statistics.median(run.notes["seconds"][run.notes["warm_up"] :])


def tokens_per_second(run: Run) -> float:
    """The real tokens of the mean step, divided by the seconds of the median step."""
    return run.work["tokens"] / run.work["steps"] / step_seconds(run)


def share_of_ceiling(run: Run) -> float:
    """The share of the ceiling (one large product's speed) that the median step reaches."""
    return run.figures["operations"] / step_seconds(run) / run.figures["ceiling"]


def largest_difference(ours: Sequence[Run], peer: Sequence[Run]) -> float:
    """The largest difference between the losses of equal steps, over all runs and steps."""
    losses = [
        np.array([run.notes["losses"] for run in sorted(runs, key=lambda run: run.seed)]) for runs in (ours, peer)
    ]
    return float(np.abs(losses[0] - losses[1]).max())


def run_line(run: Run) -> str:
    """Return the line that reports a finished run."""
    speed, last = tokens_per_second(run), run.notes["losses"][-1]
    return f"{run.side}, {run.seed}: {speed:,.0f} tokens/s, last loss {last:.4f}"


def report(sides: Mapping[str, Sequence[Run]]) -> list[str]:
    """Return the lines of the table.

    Raises CheckFailed if the two sides did not train on the same tokens.
    """
    for runs in zip(*sides.values(), strict=True):
        if different := differences_in_work(runs):
            raise CheckFailed(f"the runs did not do the same work, so they are not compared: {'; '.join(different)}")
    rows: dict[str, tuple[Callable[[Run], float], str]] = {
        "tokens/s": (tokens_per_second, ",.0f"),
        "step, ms": (lambda run: 1000 * step_seconds(run), ",.1f"),
        "first step, ms": (lambda run: 1000 * run.notes["seconds"][0], ",.1f"),
        "peak memory, MB": (lambda run: 1e-6 * run.figures["peak_memory"], ",.0f"),
        "of the ceiling": (share_of_ceiling, ".1%"),
        "last loss": (lambda run: run.notes["losses"][-1], ".4f"),
    }
    ceiling = statistics.median(run.figures["ceiling"] for runs in sides.values() for run in runs)
    return [
        "",
        f"each run trained on the same tokens on both sides; ceiling: {ceiling / 1e9:,.0f} GFLOP/s "
        "(one large matrix product)",
        "",
        *table(sides, rows, ratio_of="tokens/s"),
        "",
    ]


def check_losses(sides: Mapping[str, Sequence[Run]], options: PretrainBenchmarkOptions) -> None:
    """Print the largest difference between the losses.

    Raises CheckFailed if it exceeds `SAME_LOSS` in float32 without dropout, where nothing but rounding differs.
    """
    largest = largest_difference(*sides.values())
    print(f"losses of all steps differ by at most {largest:.2g}")
    exact = options.dtype == "float32" and options.peer == "transformers" and options.dropout == 0
    if exact and largest > SAME_LOSS:
        raise CheckFailed(f"losses differ by {largest:.2g}, expected at most {SAME_LOSS:g} in float32 without dropout")
