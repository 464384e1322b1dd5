"""A run of either side of the fine-tuning benchmark; minibert's are the commands that a user would give."""

import json
from dataclasses import asdict
from pathlib import Path

from benchmarks.runner import OURS, Run, checksum, run_python
from benchmarks.scores import score
from benchmarks.tasks import BENCHMARK_TASKS, FinetuneWork, read_examples
from minibert.errors import InputError

# Peer -> its module, which is run with a file that describes the work and one for the result.
PEERS = {"transformers": "benchmarks.peers.transformers_trainer"}

CODE = ("minibert", "finetune")  # the code that minibert runs; benchmarks are run from the root of the repository


def weights_checksum(model: str) -> str:
    """Return the checksum of the weights of a Hugging Face directory.

    Raises InputError if it is not such a directory.
    """
    if not (Path(model) / "config.json").is_file():
        raise InputError(f"{model}: expected a Hugging Face directory, with a config.json")
    return checksum(sorted(path for path in Path(model).iterdir() if path.suffix in (".safetensors", ".bin")))


def convert(model: str, out: Path, *, threads: int) -> Path:
    """Convert a Hugging Face directory into the model directory `out`, and return its path.

    Raises InputError if it cannot be converted.
    """
    run_python(["weights_convert", "from-hf", model, out], out.with_suffix(".log"), threads=threads)
    return out


def run_ours(work: FinetuneWork, directory: Path, seed: int, out: Path, *, dtype: str, threads: int) -> Run:
    """Fine-tune `directory`, the converted model, into `out`, and score the best epoch's answers to the dev file.

    Raises InputError or RunStopped if a command fails.
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
    """Run a peer in a process of its own.

    Raises InputError if `out` holds an unfinished run with other settings, InputError or RunStopped if the run fails.
    """
    resumed = out.exists()
    out.mkdir(exist_ok=True)
    given, result = out / "work.json", out / "result.json"
    told = json.dumps({"seed": seed, **asdict(work)})
    if given.exists() and given.read_text(encoding="utf-8") != told:
        raise InputError(f"{out}: an unfinished run with other settings; delete it, or give --json another file")
    given.write_text(told, encoding="utf-8")
    seconds = run_python([PEERS[name], given, result], out.with_suffix(".log"), threads=threads)
    run = Run(**json.loads(result.read_text(encoding="utf-8")))
    run.figures["command_seconds"], run.notes["resumed"] = seconds, resumed
    return run
