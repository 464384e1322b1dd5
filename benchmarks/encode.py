"""Encoding: minibert and a peer, taking turns, encode the same texts as vectors, each in a process of its own."""

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import minibert
from benchmarks.machine import describe_machine, machine_line, usable_cores
from benchmarks.options import EncodeOptions
from benchmarks.peers.encoders import EncodeWork
from benchmarks.report import differences_in_work, table
from benchmarks.runner import OURS, Results, Run, alternate, checksum, run_python, settings_of, workplace
from benchmarks.sides import convert, weights_checksum
from finetune.data.data_options import TextDataOptions
from finetune.data.texts import read_texts
from minibert.errors import CheckFailed
from minibert.training.flops import encoder_operations, measured_peak

PACKAGES = {"sentence-transformers": ("sentence-transformers", "transformers"), "onnxruntime": ("onnxruntime",)}
STS_B = TextDataOptions(
    text_column="6", text_pair_column="7", label_column="5", delimiter="\t", header=False, quoting=False,
    regression=True,
)  # fmt: skip
MODULE, EXPORT = "benchmarks.peers.encoders", "benchmarks.peers.onnx_export"


def compare(options: EncodeOptions) -> None:
    """Run what is not yet in the results, and print the table.

    Raises InputError or RunStopped if a file or a run is unusable, CheckFailed if the two sides did different work.
    """
    contents = {"model": weights_checksum(options.model)}
    examples = list(read_texts(options.data, STS_B))
    texts = [text or "" for example in examples for text in (example.text, example.pair)]
    contents["data"] = checksum([Path(options.data)])
    scores = [float(str(example.label)) for example in examples]
    threads = options.threads or usable_cores()
    packages = PACKAGES.get(options.peer, ("transformers",))
    machine = describe_machine(threads=threads, device="cpu", packages=packages)
    settings = settings_of(options, "repeats", "model", "data") | contents
    results = Results(options.json, {"benchmark": "encode", "options": settings, "machine": machine})
    with workplace(options.json, settings) as scratch:
        print(
            f"encoding {len(texts):,} texts; the peer in batches of {options.batch_size}, minibert in {options.dtype}"
        )
        print(f"{machine_line(machine)}\n", flush=True)
        encoding = EncodeBenchmark(options, scratch, texts, scores, threads)
        sides = {side: encoding.side(side) for side in (OURS, options.peer)}
        alternate(sides, range(options.repeats), results, lambda run: print(run_line(run), flush=True))
    found = {side: results.of(side, seeds=options.repeats) for side in sides}
    print("\n".join(report(found)))


class EncodeBenchmark:
    """What all runs share: the texts, their scores, and the model in the format of each side."""

    def __init__(
        self, options: EncodeOptions, scratch: Path, texts: Sequence[str], scores: Sequence[float], threads: int
    ) -> None:
        self.options = options
        self.scratch = scratch
        self.scores = scores
        self.threads = threads
        self.texts = scratch / "texts.json"
        self.texts.write_text(json.dumps(texts), encoding="utf-8")
        self.converted = scratch / "model"
        if not self.converted.exists():
            convert(options.model, self.converted, threads=threads)
        self.onnx = scratch / "model.onnx"

    def side(self, name: str) -> Callable[[int], Run]:
        """Return the function that runs a side; it takes the number of the repeat."""

        def run(repeat: int) -> Run:
            if name == "onnxruntime" and not self.onnx.exists():
                run_python([EXPORT, self.options.model, self.onnx], self.onnx.with_suffix(".log"), threads=self.threads)
            given, result = (self.scratch / f"{name}-{repeat}.{kind}.json" for kind in ("work", "result"))
            work = EncodeWork(
                side=name, repeat=repeat, model=self.options.model, converted=str(self.converted),
                onnx=str(self.onnx), texts=str(self.texts), dtype=self.options.dtype,
                batch_size=self.options.batch_size, passes=self.options.passes, singles=self.options.singles,
                threads=self.threads,
            )  # fmt: skip
            given.write_text(json.dumps(asdict(work)), encoding="utf-8")
            run_python([MODULE, given, result], given.with_suffix(".log"), threads=self.threads)
            found = Run(**json.loads(result.read_text(encoding="utf-8")))
            vectors = np.load(result.with_suffix(".npy"))
            found.metrics["spearman"] = spearman(vectors, self.scores)
            found.notes["some_texts"] = vectors[:: max(1, len(vectors) // 8)][:8].tolist()
            torch.set_num_threads(self.threads)
            ceiling = measured_peak(getattr(torch, self.options.dtype), torch.device("cpu"))
            found.figures.update(operations=self.operations(), ceiling=ceiling)
            return found

        return run

    def operations(self) -> int:
        """Count the operations of one pass over all texts; see `encoder_operations`."""
        model, tokenizer = minibert.load(self.converted)
        texts = json.loads(self.texts.read_text(encoding="utf-8"))
        return encoder_operations(model.config, map(len, tokenizer.encode_whole(texts)))


def spearman(vectors: NDArray[np.float32], scores: Sequence[float]) -> float:
    """Return Spearman's correlation of the pairs' scores and cosines; the two vectors of a pair are adjacent."""
    from scipy.stats import spearmanr

    cosines = (vectors[0::2].astype(np.float64) * vectors[1::2]).sum(1)
    return float(spearmanr(cosines, scores).statistic)


def share_of_ceiling(run: Run) -> float:
    """The share of the ceiling (one large product's speed) that a pass over all texts reaches, with tokenisation."""
    return run.figures["operations"] / run.figures["pass_seconds"] / run.figures["ceiling"]


def run_line(run: Run) -> str:
    """Return the line that reports a finished run."""
    speed, latency = run.figures["texts_per_second"], 1000 * run.figures["single_seconds"]
    spearman = run.metrics["spearman"]
    return f"{run.side}, {run.seed}: {speed:,.0f} texts/s, a single text in {latency:.2f} ms, Spearman {spearman:.6f}"


def report(sides: Mapping[str, Sequence[Run]]) -> list[str]:
    """Return the lines of the table, and of how far the two sides' vectors are apart.

    Raises CheckFailed if the two sides did not read the same tokens.
    """
    runs = [run for found in sides.values() for run in found]
    if different := differences_in_work(runs):
        raise CheckFailed(f"the runs did not do the same work, so they are not compared: {'; '.join(different)}")
    rows: dict[str, Any] = {
        "texts/s": (lambda run: run.figures["texts_per_second"], ",.1f"),
        "first pass, s": (lambda run: run.figures["first_pass_seconds"], ",.2f"),
        "later pass, s": (lambda run: run.figures["pass_seconds"], ",.2f"),
        "one text, ms": (lambda run: 1000 * run.figures["single_seconds"], ",.3f"),
        "loading, s": (lambda run: run.figures["load_seconds"], ",.2f"),
        "peak memory, MB": (lambda run: 1e-6 * run.figures["peak_memory"], ",.0f"),
        "of the ceiling": (share_of_ceiling, ".0%"),
        "Spearman": (lambda run: run.metrics["spearman"], ".6f"),
    }
    done = ", ".join(f"{value:,} {name}" for name, value in runs[0].work.items())
    ceiling = statistics.median(run.figures["ceiling"] for run in runs)
    ours, peer = sides.values()
    vectors = [np.array(found[0].notes["some_texts"]) for found in (ours, peer)]
    cosines = (vectors[0] * vectors[1]).sum(1) / np.prod([np.linalg.norm(one, axis=1) for one in vectors], axis=0)
    return [
        "",
        f"each run: {done}, the same on both sides; ceiling: {ceiling / 1e9:,.0f} GFLOP/s (one large matrix product)",
        "",
        *table(sides, rows, ratio_of="texts/s"),
        "",
        f"Spearman, ours minus the peer's: {ours[0].metrics['spearman'] - peer[0].metrics['spearman']:+.6f}",
        f"lowest cosine of our vector and the peer's, among eight of the texts: {cosines.min():.6f}",
    ]
