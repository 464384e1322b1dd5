"""From text to token arrays, and from these to batches: the speed of each, which shows if training would wait."""

import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.machine import describe_machine, machine_line, usable_cores
from benchmarks.options import PrepareBenchmarkOptions
from benchmarks.report import table
from benchmarks.runner import Results, Run, alternate, checksum, run_python, workplace
from minibert.errors import InputError
from pretrain.arrays.shards import open_prepared
from pretrain.batches.batch import BatchMaker
from pretrain.batches.masking import Masker
from pretrain.batches.pairs import PairOptions, PairPlan

SIDE = "prepare"


def compare(options: PrepareBenchmarkOptions) -> None:
    """Run what is not yet in the results, and print the table.

    Raises InputError or RunStopped if the corpus is unusable.
    """
    corpus = Path(options.corpus)
    if not corpus.is_file():
        raise InputError(f"{corpus}: no such file")
    machine = describe_machine(threads=options.processes or usable_cores(), device="cpu", packages=("tokenizers",))
    told = {"corpus": checksum([corpus]), "tokenizer": options.tokenizer, "vocab_size": options.vocab_size,
            "batch_size": options.batch_size, "seq_len": options.seq_len, "batches": options.batches}  # fmt: skip
    results = Results(options.json, {"benchmark": "prepare", "work": told, "machine": machine})
    with workplace(options.json, told) as scratch:
        print(f"{corpus.name}, {corpus.stat().st_size:,} bytes\n{machine_line(machine)}\n", flush=True)

        def run(repeat: int) -> Run:
            return prepared(options, scratch / f"data-{repeat}", repeat)

        alternate({SIDE: run}, range(options.repeats), results, lambda run: print(run_line(run), flush=True))
    print("\n".join(report({SIDE: results.of(SIDE, seeds=options.repeats)})))


def prepared(options: PrepareBenchmarkOptions, out: Path, repeat: int) -> Run:
    """Time `python -m pretrain prepare` from outside, then the making of batches from its token arrays."""
    shutil.rmtree(out, ignore_errors=True)  # left by a run that was stopped
    choice = ["--vocab-size", options.vocab_size] if options.tokenizer is None else ["--tokenizer", options.tokenizer]
    seconds = run_python(
        ["pretrain", "prepare", "--corpus", options.corpus, "--out", out, *choice,
         *([] if options.processes is None else ["--workers", options.processes])],
        out.with_suffix(".log"), threads=usable_cores(),
    )  # fmt: skip
    corpus = open_prepared(str(out))
    tokens = len(corpus.train.tokens) + len(corpus.heldout.tokens)
    pairs = PairOptions(options.seq_len, short_share=0.1, separators=corpus.tokenizer.separators)
    masker = Masker.of(corpus.tokenizer, rate=0.15, whole_words=False)
    maker = BatchMaker(corpus.train, corpus.tokenizer, pairs, masker, seed=repeat)
    plan, size, made = PairPlan(corpus.train, pairs, seed=repeat), options.batch_size, 0
    started = time.perf_counter()
    for number in range(options.batches):
        (batch,) = maker.micro_batches(plan, start=number * size, stop=(number + 1) * size, parts=1)
        made += batch.tokens
    batching = time.perf_counter() - started
    return Run(
        SIDE,
        repeat,
        work={"tokens": tokens, "bytes": Path(options.corpus).stat().st_size},
        metrics={},
        figures={"seconds": seconds, "tokens_per_second": tokens / seconds, "batched_per_second": made / batching},
    )


def run_line(run: Run) -> str:
    """Return the line that reports a finished run."""
    prepared, batched = run.figures["tokens_per_second"], run.figures["batched_per_second"]
    return f"{run.seed}: {prepared:,.0f} tokens/s prepared, {batched:,.0f} tokens/s made into batches"


def report(sides: Mapping[str, Sequence[Run]]) -> list[str]:
    """Return the lines of the table."""
    rows = {
        "whole command, s": (lambda run: run.figures["seconds"], ",.2f"),
        "tokens/s": (lambda run: run.figures["tokens_per_second"], ",.0f"),
        "tokens/s into batches": (lambda run: run.figures["batched_per_second"], ",.0f"),
    }
    done = ", ".join(f"{value:,} {name}" for name, value in sides[SIDE][0].work.items())
    return ["", f"each run: {done}", "", *table(sides, rows)]
