"""Long texts: windowed attention beside transformers' Longformer and beside full attention, by the length of a text."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from benchmarks.machine import describe_machine, machine_line, usable_cores
from benchmarks.options import LongOptions
from benchmarks.peers.long_texts import SIDES, TRANSFORMERS, LongWork
from benchmarks.runner import OURS, Results, Run, alternate, run_python, settings_of, workplace
from benchmarks.sides import convert, weights_checksum
from finetune.seeds import statistics_of
from minibert.errors import InputError
from weights_convert.config_map import read_config

MODULE = "benchmarks.peers.long_texts"


def compare(options: LongOptions) -> None:
    """Run what is not yet in the results, and print the table.

    Raises InputError or RunStopped if the model is not a Longformer or a run is unusable.
    """
    if read_config(Path(options.model) / "config.json").config.attention_window is None:
        raise InputError(f"{options.model}: expected a Longformer, with attention_window in its config.json")
    threads = options.threads or usable_cores()
    machine = describe_machine(threads=threads, device="cpu", packages=("transformers",))
    settings = settings_of(options, "repeats", "model", "lengths") | {"model": weights_checksum(options.model)}
    results = Results(options.json, {"benchmark": "long", "options": settings, "machine": machine})
    with workplace(options.json, settings) as scratch:
        print(f"{machine_line(machine)}\n", flush=True)
        converted, started = scratch / "model", time.perf_counter()
        if not converted.exists():
            convert(options.model, converted, threads=threads)
            print(f"converted with from-hf in {time.perf_counter() - started:.1f} s", flush=True)

        def side(name: str, tokens: int) -> Callable[[int], Run]:
            def run(repeat: int) -> Run:
                work = LongWork(
                    side=name, repeat=repeat, model=options.model, converted=str(converted), tokens=tokens,
                    global_tokens=options.global_tokens, dtype=options.dtype, passes=options.passes, threads=threads,
                )  # fmt: skip
                given, result = (scratch / f"{name}-{tokens}-{repeat}.{kind}.json" for kind in ("work", "result"))
                given.write_text(json.dumps(asdict(work)), encoding="utf-8")
                run_python([MODULE, given, result], given.with_suffix(".log"), threads=threads)
                return Run(**json.loads(result.read_text(encoding="utf-8")))

            return run

        sides = {f"{name}, {tokens}": side(name, tokens) for tokens in options.lengths for name in SIDES}
        alternate(sides, range(options.repeats), results, lambda run: print(run_line(run), flush=True))
    print("\n".join(report({side: results.of(side, seeds=options.repeats) for side in sides}, options.lengths)))


def run_line(run: Run) -> str:
    """Return the line that reports a finished run."""
    return f"{run.side}, {run.seed}: {run.figures['seconds']:.3f} s, {1e-6 * run.figures['memory']:,.0f} MB"


def report(runs: Mapping[str, Sequence[Run]], lengths: Sequence[int]) -> list[str]:
    """Return the lines of the table: medians, and ours as a share of the others."""
    shown = "seconds for one text, and MB above the loaded model; in brackets: minibert's figure divided by this one"
    lines = ["", shown, ""]
    lines.append(f"{'tokens':>8}" + "".join(f"{name:>31}" for name in SIDES))
    for tokens in lengths:
        found = {
            name: [statistics_of([run.figures[figure] for run in runs[f"{name}, {tokens}"]]).median
                   for figure in ("seconds", "memory")]
            for name in SIDES
        }  # fmt: skip
        line = f"{tokens:>8}"
        for name, (seconds, memory) in found.items():
            shares = "" if name == OURS else f" ({found[OURS][0] / seconds:.2f}, {found[OURS][1] / max(memory, 1):.2f})"
            line += f"{f'{seconds:.3f} s, {1e-6 * memory:,.0f} MB{shares}':>31}"
        lines.append(line)
    ours, peer = (runs[f"{name}, {lengths[-1]}"][0].notes["some_states"] for name in (OURS, TRANSFORMERS))
    apart = np.abs(np.subtract(ours, peer)).max()
    lines += ["", f"largest difference between our hidden states and {TRANSFORMERS}': {apart:.1e}"]
    return lines
