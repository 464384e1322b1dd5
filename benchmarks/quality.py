"""Time to quality: how soon minibert reaches the held-out loss that a loop around the peer ends with."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import minibert
from benchmarks.machine import describe_machine, machine_line, usable_cores
from benchmarks.options import PretrainBenchmarkOptions, QualityOptions
from benchmarks.pretrain import PEER_DTYPES, PEER_MODULE, PretrainBenchmark
from benchmarks.runner import OURS, Results, Run, alternate, run_python, settings_of, workplace
from benchmarks.sides import convert
from minibert.training.device import choose_device, choose_precision
from minibert.training.processes import Processes
from pretrain.arrays.shards import open_prepared
from pretrain.evaluate import HeldOut, HeldOutFigures


def compare(options: QualityOptions) -> None:
    """Run what is not yet in the results, and print which loss was reached when.

    Raises InputError or RunStopped if the corpus or a run is unusable.
    """
    threads = options.threads or usable_cores()
    machine = describe_machine(threads=threads, device=options.device, packages=("transformers",))
    settings = settings_of(options, "repeats", "learning_rates")
    results = Results(options.json, {"benchmark": "quality", "options": settings, "machine": machine})
    with workplace(options.json, settings) as scratch:
        rates = ", ".join(f"{rate:g}" for rate in options.learning_rates)
        theirs = f"{options.peer} for {options.peer_minutes:g} at each of the learning rates {rates}"
        minutes = f"{options.minutes:g} minute{'' if options.minutes == 1 else 's'}"
        print(f"{options.model}: minibert for {minutes}, {theirs}")
        print(f"{machine_line(machine)}\n", flush=True)
        quality = QualityBenchmark(options, scratch, threads)
        alternate({OURS: quality.ours}, range(options.repeats), results, say)
        peers = {side_of(options, rate): quality.peer(rate) for rate in options.learning_rates}
        alternate(peers, [0], results, say)
    ours = results.of(OURS, seeds=options.repeats)
    print("\n".join(verdict(ours, [run for side in peers for run in results.of(side, seeds=1)])))


def side_of(options: QualityOptions, rate: float) -> str:
    """Return the name of the loop's run with a learning rate."""
    return f"{options.peer} {rate:g}"


class QualityBenchmark:
    """What all runs share: token arrays, first weights, and the scoring."""

    def __init__(self, options: QualityOptions, scratch: Path, threads: int) -> None:
        self.options = options
        self.scratch = scratch
        self.threads = threads
        shared = PretrainBenchmarkOptions(
            model=options.model, corpus=options.corpus, tokenizer=options.tokenizer, vocab_size=options.vocab_size,
            batch_size=options.batch_size, seq_len=options.seq_len, device=options.device,
        )  # fmt: skip
        self.pretraining = PretrainBenchmark(shared, scratch, threads)

    def ours(self, seed: int) -> Run:
        """Run `python -m pretrain --recipe fast`, from first weights of its own."""
        options, out = self.options, self.scratch / f"ours-{seed}"
        run_python(
            [
                "pretrain", "--data", self.pretraining.data, "--model", options.model, "--recipe", "fast", "--out", out,
                "--resume", "--minutes", options.minutes, "--seq-len", options.seq_len, "--seed", seed,
                "--device", choose_device(options.device).type,
            ],
            out.with_suffix(".log"), threads=self.threads,
        )  # fmt: skip
        summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
        return Run(
            side=OURS,
            seed=seed,
            work={"steps": summary["steps"], "tokens": summary["tokens"]},
            metrics=asdict(self.score(out)),
            figures={"seconds": summary["seconds"], "peak_memory": summary["peak_rss_bytes"]},
        )

    def peer(self, rate: float) -> Any:
        """Return the function that runs the loop with a learning rate; it takes the seed."""

        def run(seed: int) -> Run:
            options, side = self.options, side_of(self.options, rate)
            name = side.replace(" ", "-")
            given, result = (self.scratch / f"{name}.{kind}.json" for kind in ("work", "result"))
            saved, converted = self.scratch / f"{name}-hf", self.scratch / f"{name}-model"
            work = replace(self.pretraining.work(seed), learning_rate=rate)
            more = {"dtype": PEER_DTYPES[options.peer], "minutes": options.peer_minutes, "out": str(saved)}
            given.write_text(json.dumps({**asdict(work), "side": side, **more}), encoding="utf-8")
            run_python([PEER_MODULE, given, result], given.with_suffix(".log"), threads=self.threads)
            tokenizer = open_prepared(str(self.pretraining.data), check=False).tokenizer
            tokenizer.save(saved)
            convert(str(saved), converted, threads=self.threads)
            found = Run(**json.loads(result.read_text(encoding="utf-8")))
            found.figures["seconds"] = sum(found.notes.pop("seconds"))
            del found.notes["losses"]
            found.metrics.update(asdict(self.score(converted)))
            return found

        return run

    def score(self, directory: Path) -> HeldOutFigures:
        """Compute a model directory's figures on the held-out documents, in float32."""
        corpus = open_prepared(str(self.pretraining.data), check=False)
        device = choose_device(self.options.device)
        model, _ = minibert.load(directory)
        return HeldOut(corpus, seq_len=self.options.seq_len, objective="nsp").figures(
            model.to(device), device=device, precision=choose_precision("float32", device), processes=Processes()
        )


def say(run: Run) -> None:
    """Print the line that reports a finished run."""
    print(
        f"{run.side}, seed {run.seed}: held-out masked-LM loss {run.metrics['mlm_loss']:.4f}, accuracy "
        f"{run.metrics['mlm_accuracy']:.4f}, next-sentence accuracy {run.metrics['nsp_accuracy']:.4f}; "
        f"{run.work['steps']:,} steps, {run.work['tokens']:,} tokens in {run.figures['seconds']:,.0f} s",
        flush=True,
    )


def verdict(ours: Sequence[Run], peers: Sequence[Run]) -> list[str]:
    """Return the lines that say whether minibert's median loss is at most the lowest loss of the loop."""
    best = min(peers, key=lambda run: run.metrics["mlm_loss"])
    loss = statistics.median(run.metrics["mlm_loss"] for run in ours)
    seconds = statistics.median(run.figures["seconds"] for run in ours)
    target = best.metrics["mlm_loss"]
    return [
        "",
        f"to reach: {target:.4f}, {best.side} after {best.figures['seconds']:,.0f} s",
        f"ours:     {loss:.4f} after {seconds:,.0f} s: {'reached' if loss <= target else 'NOT REACHED'}; "
        f"the loop took {best.figures['seconds'] / seconds:.1f} times as long",
    ]
