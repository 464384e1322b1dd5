"""How tests run `python -m pretrain`: here, in a process of its own, or under torchrun; and the text they train on."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import pretrain.__main__
from tests.helpers import REPOSITORY

Refused = Callable[..., str]  # a command that must be refused -> its one line

# A shape that trains a hundred steps a second.
SHAPE = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
    "vocab_size": 100,
}

# Options of a short run on SHAPE in which dropout and masks show any difference.
DROPPING = ("--seq-len", "32", "--batch-size", "8", "--dtype", "float32", "--dropout", "0.1", "--mask-rate", "0.3")

# Four topics, each with words of its own that always stand in this order: what is hidden can be told from its
# neighbours, and whether B follows A from whether both have the same topic.
TOPICS = (
    ("red", "green", "blue", "pink", "grey", "gold"),
    ("one", "two", "three", "four", "five", "six"),
    ("cat", "dog", "cow", "pig", "hen", "fox"),
    ("sun", "moon", "star", "rain", "snow", "wind"),
)


def documents(count: int, seed: int = 0) -> list[str]:
    """Texts of about a dozen sentences, each text on one topic."""
    rng = random.Random(seed)
    return [_document(TOPICS[number % len(TOPICS)], rng) for number in range(count)]


def _document(words: Sequence[str], rng: random.Random) -> str:
    sentences = []
    for _ in range(rng.randint(8, 14)):
        first, length = rng.randrange(len(words)), rng.randint(4, 9)
        sentences.append(" ".join(words[(first + i) % len(words)] for i in range(length)).capitalize() + ".")
    return " ".join(sentences)


def write_text(path: Path, texts: Sequence[str]) -> Path:
    path.write_text("\n\n".join(texts) + "\n", encoding="utf-8")
    return path


def write_shape(path: Path, **fields: Any) -> Path:
    """A config file: SHAPE with some fields changed; None takes one away."""
    shape = {name: value for name, value in (SHAPE | fields).items() if value is not None}
    path.write_text(json.dumps(shape), encoding="utf-8")
    return path


def run_here(monkeypatch: pytest.MonkeyPatch, *args: object) -> int:
    """The exit code of `python -m pretrain ARGS`, run in this process."""
    monkeypatch.setattr(sys, "argv", ["pretrain", *map(str, args)])
    try:
        pretrain.__main__.main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def command(*args: object, processes: int = 1) -> list[str]:
    module = ["-m", "pretrain", *map(str, args)]
    if processes == 1:
        return [sys.executable, *module]
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    return [sys.executable, *torchrun, *module]


def start(*args: object, processes: int = 1, preexec: Callable[[], None] | None = None) -> subprocess.Popen[str]:
    """`python -m pretrain ARGS` in a session of its own, so that all its processes can be signalled at once."""
    return subprocess.Popen(
        command(*args, processes=processes),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        start_new_session=True,
        preexec_fn=preexec,
    )


def finished(process: subprocess.Popen[str], code: int = 0) -> tuple[str, str]:
    """Standard output and error of a process that was to end with this code."""
    out, err = process.communicate(timeout=120)
    assert process.returncode == code, f"exit {process.returncode}\n{out}\n{err}"
    return out, err


def wait_until(happened: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Waits for something that the process does."""
    deadline = time.monotonic() + 90
    while not happened():
        assert process.poll() is None, f"ended with {process.returncode}: {process.communicate()}"
        assert time.monotonic() < deadline
        time.sleep(0.005)


def kill_all(process: subprocess.Popen[str]) -> None:
    """kill -9 for a process and those it started: torchrun's workers have sessions of their own and would go on."""
    stats = [path.read_text() for path in Path("/proc").glob("[0-9]*/stat") if path.exists()]
    fields = [(int(stat.split(" ", 1)[0]), int(stat.rsplit(")", 1)[1].split()[1])) for stat in stats]
    for number in (process.pid, *(child for child, parent in fields if parent == process.pid)):
        os.kill(number, signal.SIGKILL)
    process.communicate()  # returns when all of them have closed their output


def tree(directory: Path) -> dict[str, bytes | None]:
    """Everything below a directory: path -> content, None for a directory."""
    return {
        str(path.relative_to(directory)): path.read_bytes() if path.is_file() else None
        for path in sorted(directory.rglob("*"))
    }


def metrics(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


def summary(run: Path) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    return fields


def weights(run: Path) -> bytes:
    return (run / "model.safetensors").read_bytes()


def states(run: Path) -> list[str]:
    return sorted(path.name for path in (run / "state").glob("step-*")) if (run / "state").is_dir() else []
