"""How the cost grows with the work: more text, longer sequences, larger batches, a second process; and a picture."""

from __future__ import annotations

import itertools
import json
import os
import statistics
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from benchmarks.machine import describe_machine, machine_line, usable_cores
from benchmarks.options import GrowthOptions
from benchmarks.runner import Results, Run, alternate, run_python, settings_of, workplace
from minibert.files.writing import check_writable
from minibert.training.curves import COLOURS, GRID_COLOUR, LONGEST_TITLE, TEXT_COLOUR
from minibert.training.device import choose_precision
from minibert.training.drawing import as_drawn, figure_for
from pretrain.text import pydocs

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MEGABYTE = 1_000_000
# Name -> what grows, and what its figure is.
SERIES = {
    "text": "MB of text, prepared",
    "length": "tokens in a sequence, as many tokens in a batch",
    "batch": "sequences in a batch",
    "processes": "processes, as many threads in all",
}


def compare(options: GrowthOptions) -> None:
    """Measures what is not yet in the results, prints it and draws the picture.

    Raises:
        InputError, RunStopped: a run is unusable.
    """
    machine = describe_machine(threads=usable_cores(), device="cpu", packages=())
    settings = settings_of(options, "repeats", "picture", "megabytes", "lengths", "batches")
    Path(options.picture).parent.mkdir(parents=True, exist_ok=True)
    check_writable(Path(options.picture), reads=(options.json,))
    results = Results(options.json, {"benchmark": "growth", "options": settings, "machine": machine})
    points = {
        "text": options.megabytes, "length": options.lengths, "batch": options.batches, "processes": (1, 2),
    }  # fmt: skip
    with workplace(options.json, settings) as scratch:
        print(f"{options.model}, vocabulary of {options.vocab_size:,}\n{machine_line(machine)}\n", flush=True)
        work = Work(options, scratch)
        sides = {
            side_of(series, value): work.measure(series, value) for series, values in points.items() for value in values
        }
        alternate(sides, range(options.repeats), results, say)
    found = {
        series: {value: results.of(side_of(series, value), seeds=options.repeats) for value in values}
        for series, values in points.items()
    }
    print("\n".join(report(found)))
    draw(Path(options.picture), options, found)
    print(f"\npicture in {options.picture}")


def side_of(series: str, value: float) -> str:
    """The name of the runs at one point."""
    return f"{series} {value:g}"


class Work:
    """What the runs share: a text of each size, and token arrays to train on."""

    def __init__(self, options: GrowthOptions, scratch: Path) -> None:
        self.options = options
        self.scratch = scratch
        self.cores = usable_cores()
        self.arrays = scratch / "arrays"
        if not self.arrays.exists():
            args = ["pretrain", "prepare", "--corpus", options.corpus, "--vocab-size", options.vocab_size]
            run_python([*args, "--out", self.arrays], scratch / "arrays.log", threads=self.cores)

    def measure(self, series: str, value: float) -> Callable[[int], Run]:
        """What measures one point the so-many-th time."""
        return lambda repeat: (
            self.prepare(value, repeat) if series == "text" else self.train(series, int(value), repeat)
        )

    def prepare(self, megabytes: float, repeat: int) -> Run:
        """`python -m pretrain prepare` with the vocabulary that is there; figures as its manifest has them."""
        side = side_of("text", megabytes)
        text, out = self.scratch / f"{megabytes:g}.jsonl", self.scratch / f"{side}-{repeat}".replace(" ", "-")
        if not text.exists():
            write_text(text, megabytes)
        args = ["pretrain", "prepare", "--corpus", text, "--tokenizer", self.arrays, "--out", out]
        run_python(args, out.with_suffix(".log"), threads=self.cores)
        manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
        for side_directory in ("train", "heldout"):
            (out / side_directory / "tokens.bin").unlink()  # so that ten of these don't fill the disk
        figures = {"tokens_per_second": manifest["tokens_per_second"], "peak_memory": manifest["peak_rss_bytes"]}
        tokens = manifest["train"]["tokens"] + manifest["heldout"]["tokens"]
        return Run(side, repeat, work={"tokens": tokens}, metrics={}, figures=figures)

    def train(self, series: str, value: int, repeat: int) -> Run:
        """Steps of `python -m pretrain`: real tokens of a mean step over the median step's seconds."""
        options, side = self.options, side_of(series, value)
        length = value if series == "length" else options.seq_len
        batch = value if series == "batch" else options.batch_size
        if series == "length":
            batch = max(1, options.batch_size * options.seq_len // length)
        processes = value if series == "processes" else 1
        out = self.scratch / f"{side}-{repeat}".replace(" ", "-")
        launcher = ["torch.distributed.run", "--standalone", "--nproc-per-node", processes, "-m"]
        run_python(
            [
                *(launcher if processes > 1 else []), "pretrain", "--data", self.arrays, "--model", options.model,
                "--recipe", "paper", "--seq-len", length, "--batch-size", batch, "--steps", options.steps,
                "--evaluations", 1, "--log-every", 1, "--save-every", 10**9, "--save-seconds", 1e9,
                "--dtype", options.dtype, "--seed", repeat, "--out", out, "--resume",
            ],
            out.with_suffix(".log"), threads=max(1, self.cores // processes),
        )  # fmt: skip
        lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
        ends = [0.0, *(line["seconds"] for line in lines if "gradient_norm" in line)]
        summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
        step = statistics.median([after - before for before, after in pairwise(ends)][options.warm_up :])
        figures = {
            "tokens_per_second": summary["tokens"] / summary["steps"] / step,
            "peak_memory": summary["peak_rss_bytes"] * processes,
            "step": step,
        }
        return Run(side, repeat, work={"tokens": summary["tokens"]}, metrics={}, figures=figures)


def write_text(path: Path, megabytes: float) -> None:
    """So much documentation, as the embedded corpus has it. From the second time through on each paragraph ends with a
    word of its own, or all of it would be known already.
    """
    aside, size = path.with_suffix(".partial"), 0
    with aside.open("w", encoding="utf-8") as file:
        for copy in itertools.count():
            for document in pydocs.documents():
                text = document if copy == 0 else document.replace("\n\n", f" copy{copy}\n\n") + f" copy{copy}"
                size += file.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
                if size >= megabytes * MEGABYTE:
                    os.replace(aside, path)
                    return


def say(run: Run) -> None:
    """A run that has just ended."""
    print(f"{run.side}: {run.figures['tokens_per_second']:,.0f} tokens/s", flush=True)


Points = Mapping[float, Sequence[Run]]  # of one series: what grows -> its runs


def report(found: Mapping[str, Points]) -> list[str]:
    """Medians, a line for each point."""
    lines = [""]
    for series, points in found.items():
        lines.append(SERIES[series])
        for value, runs in points.items():
            speed, memory = (median(runs, name) for name in ("tokens_per_second", "peak_memory"))
            lines.append(f"  {value:8,g}  {speed:12,.0f} tokens/s  {memory / MEGABYTE:8,.0f} MB")
    return lines


def median(runs: Sequence[Run], figure: str) -> float:
    """Of a figure over the runs of a point."""
    return statistics.median(run.figures[figure] for run in runs)


def draw(path: Path, options: GrowthOptions, found: Mapping[str, Points]) -> None:
    """A panel for each series: tokens/s, each run a point and a line through the medians; memory beside it, dashed.

    Raises:
        OSError: it cannot be written.
    """
    dtype = str(choose_precision(options.dtype, torch.device("cpu")).dtype).removeprefix("torch.")
    with figure_for(path, inches=(11, 7.5), dpi=110) as figure:
        title = as_drawn(f"Cost as work grows: BERT-{options.model}, {dtype}", longest=LONGEST_TITLE)
        figure.suptitle(title, fontweight="bold", color=TEXT_COLOUR)
        for number, (series, points) in enumerate(found.items(), start=1):
            draw_series(figure.add_subplot(2, 2, number), SERIES[series], points)


def draw_series(axes: Axes, title: str, points: Points) -> None:
    """One panel, both scales of speed and memory from 0, what grows logarithmic."""
    values = list(points)
    for value, runs in points.items():
        axes.plot(
            [value] * len(runs), [run.figures["tokens_per_second"] for run in runs], "o", color=COLOURS[0], alpha=0.4
        )
    axes.plot(values, [median(points[value], "tokens_per_second") for value in values], color=COLOURS[0])
    memory = axes.twinx()
    megabytes = [median(points[value], "peak_memory") / MEGABYTE for value in values]
    memory.plot(values, megabytes, color=COLOURS[1], linestyle=(0, (4, 2)))
    axes.set_xscale("log", base=2)
    axes.set_xticks(values, [f"{value:g}" for value in values])
    axes.minorticks_off()
    axes.set_xlabel(title, color=TEXT_COLOUR)
    for scale, name, colour in ((axes, "tokens/s", COLOURS[0]), (memory, "peak memory, MB", COLOURS[1])):
        scale.set_ylabel(name, color=colour)
        scale.set_ylim(bottom=0)
        scale.tick_params(colors=TEXT_COLOUR, length=0, labelsize=9)
        scale.spines[["top"]].set_visible(False)
    axes.grid(color=GRID_COLOUR, linewidth=0.8)
