"""A run of either side of the fine-tuning benchmark; ours is the commands that a user gives."""

import json
from dataclasses import asdict
from pathlib import Path

from benchmarks.runner import OURS, Run, checksum, run_python
from benchmarks.scores import score
from benchmarks.tasks import BENCHMARK_TASKS, FinetuneWork, read_examples
from minibert.errors import InputError

# Peer -> the module that is run with a file of what is to be done and one for the result.
PEERS = {"transformers": "benchmarks.peers.transformers_trainer"}

CODE = ("minibert", "finetune")  # what decides how ours runs; benchmarks are run from the repository's root


def weights_checksum(model: str) -> str:
    """Of the weights of a Hugging Face directory.

    Raises InputError: it is none.
    """
    if not (Path(model) / "config.json").is_file():
        raise InputError(f"{model}: expected a Hugging Face directory, with config.json in it")
    return checksum(sorted(path for path in Path(model).iterdir() if path.suffix in (".safetensors", ".bin")))


def convert(model: str, out: Path, *, threads: int) -> Path:
    """A Hugging Face directory as a model directory.

    Raises InputError: it is none that we read.
    """
    run_python(["weights_convert", "from-hf", model, out], out.with_suffix(".log"), threads=threads)
    return out


def run_ours(work: FinetuneWork, directory: Path, seed: int, out: Path, *, dtype: str, threads: int) -> Run:
    """Fine-tunes `directory`, the converted model, into `out`, and scores what the epoch it keeps answers to dev.

    Raises InputError, RunStopped: a command did not end well.
    """
    code = checksum([path for package in CODE for path in sorted(Path(package).rglob("*.py"))])
    task, resumed = BENCHMARK_TASKS[work.task], out.exists()
    stride = [] if task.stride is None else ["--stride", task.stride]
    seconds = run_python(
        [
            "finetune", task.command, "--model", directory, "--train", work.train, "--dev", work.dev, "--out", out,
            *task.data_options.split(), "--max-length", task.max_length, *stride, "--metric", task.metrics[-1],
            "--epochs", work.epochs, "--learning-rate", work.learning_rate, "--batch-size", work.batch_size,
            "--warmup-share", work.warmup_share, "--weight-decay", work.weight_decay, "--clip-norm", work.clip_norm,
            "--seed", seed, "--device", work.device, "--dtype", dtype, "--resume",
        ],
        out.with_suffix(".log"), threads=threads,
    )  # fmt: skip
    answers_file = out.with_suffix(".jsonl")
    run_python(
        ["finetune", "predict", out, "--input", work.dev, "--output", answers_file, "--device", work.device,
         "--dtype", dtype],
        out.with_suffix(".log"), threads=threads,
    )  # fmt: skip
    lines = answers_file.read_text(encoding="utf-8").split("\n")
    answers = [json.loads(line)[task.answer] for line in lines if line]
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    return Run(
        side=OURS,
        seed=seed,
        work={
            "train_examples": summary["train_examples"],
            "features": summary["train_features"],
            "steps": summary["steps"],
            "tokens": summary["tokens"],
            "dev_examples": len(answers),
        },
        metrics=score(work.task, list(read_examples(work.task, work.dev)), answers),
        figures={
            "examples_per_second": summary["examples_per_second"],
            "seconds": summary["seconds"],
            "peak_memory": summary["peak_rss_bytes"],
            "command_seconds": seconds,
        },
        notes={
            "own_metrics": summary["metrics"],
            "best_epoch": summary["best_epoch"],
            "dtype": summary["dtype"],
            "trained_parameters": summary["trained_parameters"],
            "code": code,
            "resumed": resumed,
        },
    )


def run_peer(name: str, work: FinetuneWork, seed: int, out: Path, *, threads: int) -> Run:
    """A peer's run, in a process of its own.

    Raises InputError: `out` holds an unfinished run of something else; RunStopped: it did not end well.
    """
    resumed = out.exists()
    out.mkdir(exist_ok=True)
    given, result = out / "work.json", out / "result.json"
    told = json.dumps({"seed": seed, **asdict(work)})
    if given.exists() and given.read_text(encoding="utf-8") != told:
        raise InputError(f"{out}: an unfinished run of other settings; delete it, or give --json another place")
    given.write_text(told, encoding="utf-8")
    seconds = run_python([PEERS[name], given, result], out.with_suffix(".log"), threads=threads)
    run = Run(**json.loads(result.read_text(encoding="utf-8")))
    run.figures["command_seconds"], run.notes["resumed"] = seconds, resumed
    return run
