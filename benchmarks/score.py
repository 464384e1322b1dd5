"""Scores: minibert and a loop around transformers, taking turns, score the same sentences, each in its own process."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from benchmarks.machine import describe_machine, machine_line, usable_cores
from benchmarks.options import ScoreBenchmarkOptions
from benchmarks.peers.scores import TRANSFORMERS, ScoreWork
from benchmarks.report import table
from benchmarks.runner import OURS, Results, Run, alternate, checksum, run_python, settings_of, workplace
from benchmarks.sides import convert, weights_checksum
from minibert.preferences import read_pairs

MODULE = "benchmarks.peers.scores"


def compare(options: ScoreBenchmarkOptions) -> None:
    """Run what is not yet in the results, and print the table.

    Raises InputError or RunStopped if a file or a run is unusable.
    """
    pairs = read_pairs(options.data, good="sentence_good", bad="sentence_bad", group=None)
    pairs = pairs[:: max(1, len(pairs) // options.pairs)][: options.pairs]
    contents = {"model": weights_checksum(options.model), "data": checksum([Path(options.data)])}
    threads = options.threads or usable_cores()
    machine = describe_machine(threads=threads, device="cpu", packages=("transformers",))
    settings = settings_of(options, "repeats", "model", "data") | contents
    results = Results(options.json, {"benchmark": "score", "options": settings, "machine": machine})
    with workplace(options.json, settings) as scratch:
        print(f"scoring {2 * len(pairs):,} sentences in {options.dtype}\n{machine_line(machine)}\n", flush=True)
        converted, texts = scratch / "model", scratch / "texts.json"
        if not converted.exists():
            convert(options.model, converted, threads=threads)
        texts.write_text(json.dumps([text for pair in pairs for text in (pair.good, pair.bad)]), encoding="utf-8")

        def side(name: str) -> Callable[[int], Run]:
            def run(repeat: int) -> Run:
                work = ScoreWork(name, repeat, options.model, str(converted), str(texts), options.dtype, threads)
                given, result = (scratch / f"{name}-{repeat}.{kind}.json" for kind in ("work", "result"))
                given.write_text(json.dumps(asdict(work)), encoding="utf-8")
                run_python([MODULE, given, result], given.with_suffix(".log"), threads=threads)
                return Run(**json.loads(result.read_text(encoding="utf-8")))

            return run

        sides = {name: side(name) for name in (OURS, TRANSFORMERS)}
        alternate(sides, range(options.repeats), results, lambda run: print(run_line(run), flush=True))
    print("\n".join(report({name: results.of(name, seeds=options.repeats) for name in sides})))


def run_line(run: Run) -> str:
    """Return the line that reports a finished run."""
    speed, accuracy = run.figures["texts_per_second"], 100 * run.metrics["accuracy"]
    return f"{run.side}, {run.seed}: {speed:,.0f} sentences/s, the good one of a pair preferred in {accuracy:.1f} %"


def report(sides: Mapping[str, Sequence[Run]]) -> list[str]:
    """Return the lines of the table, and of how far the two sides' scores are apart."""
    rows = {
        "sentences/s": (lambda run: run.figures["texts_per_second"], ",.1f"),
        "peak memory, MB": (lambda run: 1e-6 * run.figures["peak_memory"], ",.0f"),
        "accuracy": (lambda run: run.metrics["accuracy"], ".4f"),
    }
    ours, peer = (runs[0].notes["scores"] for runs in sides.values())
    apart = np.abs(np.subtract(ours, peer)).max()
    said = f"largest difference between the two sides' scores: {apart:.1e} nats"
    return ["", *table(sides, rows, ratio_of="sentences/s"), "", said]
