"""How long one waits: from the shell's prompt to a command's answer, ours and what the peer has for the same."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.machine import describe_machine, machine_line, usable_cores
from benchmarks.options import StartupOptions
from benchmarks.runner import run_python
from benchmarks.sides import weights_checksum
from minibert.errors import RunStopped
from minibert.files.writing import check_writable, write_whole

PACKAGES = ("minibert", "pretrain", "finetune", "weights_convert", "benchmarks")
TEXT = "A man plays the guitar."
# The same two things that one asks of an encoder, as the peer's documentation has them.
PEER = {
    "vectors of one text": (
        "from sentence_transformers import SentenceTransformer; "
        "SentenceTransformer({model!r}, device='cpu').encode([{text!r}])"
    ),
    "a forward pass": (
        "import torch; from transformers import AutoModel, AutoTokenizer; "
        "tokenizer = AutoTokenizer.from_pretrained({model!r}); model = AutoModel.from_pretrained({model!r}).eval(); "
        "torch.inference_mode()(model)(**tokenizer({text!r}, return_tensors='pt'))"
    ),
}
OURS = {
    "vectors of one text": (
        "import minibert; model, tokenizer = minibert.load({converted!r}); "
        "minibert.embed(model, tokenizer, [{text!r}], normalize=True)"
    ),
    "a forward pass": (
        "import minibert; model, tokenizer = minibert.load({converted!r}); batch = tokenizer({text!r}); "
        "model.encoder(batch.input_ids, token_type_ids=batch.token_type_ids, attention_mask=batch.attention_mask)"
    ),
}


def compare(options: StartupOptions) -> None:
    """Runs each command so many times, all of them in turns, and prints the medians.

    Raises:
        InputError, RunStopped: the model is unusable, or a command does not end well.
    """
    weights_checksum(options.model)  # whether it is a directory of a model
    if options.json is not None:
        check_writable(Path(options.json), reads=(options.model,))
    machine = describe_machine(threads=usable_cores(), device="cpu", packages=("transformers", "sentence-transformers"))
    print(f"{machine_line(machine)}\n", flush=True)
    with tempfile.TemporaryDirectory(prefix="minibert-benchmark-") as name:
        converted = Path(name) / "model"
        run_python(["weights_convert", "from-hf", options.model, converted], Path(name) / "log", threads=usable_cores())
        seconds: dict[str, list[float]] = {command: [] for command in commands(options.model, str(converted))}
        for _ in range(1 + options.repeats):  # the first time files come from the disk
            for command, args in commands(options.model, str(converted)).items():
                seconds[command].append(timed(args))
    medians = {command: statistics.median(found[1:]) for command, found in seconds.items()}
    for command, median in medians.items():
        print(f"{command:46} {median:7.2f} s   (the first time {seconds[command][0]:.2f})")
    if options.json is not None:
        content = json.dumps({"benchmark": "startup", "machine": machine, "seconds": seconds}, indent=2) + "\n"
        write_whole(Path(options.json), lambda path: path.write_text(content, encoding="utf-8"))


def commands(model: str, converted: str) -> dict[str, list[str]]:
    """Name -> what Python is given."""
    found = {f"python -m {package} --help": ["-m", package, "--help"] for package in PACKAGES}
    found["python -m minibert info"] = ["-m", "minibert", "info", converted]
    for side, programs in (("ours", OURS), ("peer", PEER)):
        for what, program in programs.items():
            found[f"{what}, {side}"] = ["-c", program.format(model=model, converted=converted, text=TEXT)]
    return found


def timed(args: list[str]) -> float:
    """Seconds of a process.

    Raises:
        RunStopped: it did not end well.
    """
    started = time.perf_counter()
    ended = subprocess.run([sys.executable, *args], capture_output=True, text=True)
    seconds = time.perf_counter() - started
    if ended.returncode:
        last = (ended.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise RunStopped(f"python {' '.join(args[:2])} ended with {ended.returncode}: {last}")
    return seconds
