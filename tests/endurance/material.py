"""What the suites work on: tiny texts, labels and models, commands that take them from the beginning to the end, and
how two results are compared.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file, save_file

from tests.endurance import forks
from tests.endurance.forks import Ending
from tests.finetune.running import TASKS, file_name, write_model, write_task
from tests.pretrain.running import documents, write_shape, write_text
from weights_convert.weight_files import BIN, SAFETENSORS

# Measured by clocks, or made of what is (the checksum of a record or of a manifest that has them): different in every
# run. So are the picture of the speed, and how often a log says that a run was gone on with.
CLOCKED = {"seconds", "tokens_per_second", "examples_per_second", "peak_rss_bytes", "record_sha256", "data"}
PICTURES = {"curves.png"}
LOG = "metrics.jsonl"

PRETRAINING = (
    "--seq-len", 32, "--batch-size", 8, "--dtype", "float32", "--dropout", 0.1, "--steps", 12, "--save-every", 3,
    "--log-every", 1, "--evaluations", 3,
)  # fmt: skip
FINETUNING = ("--dtype", "float32", "--epochs", 2, "--batch-size", 8, "--save-every", 2, "--log-every", 1)


class Work(NamedTuple):
    """A command that makes the directory `made` from material, and whether it can be gone on with."""

    words: Sequence[object]
    made: str
    resumes: bool = True


def make(place: Path) -> None:
    """Texts, labels, a config, an encoder, token arrays: below `place`, where they are not there yet."""
    if place.exists():
        return
    place.mkdir(parents=True)
    write_text(place / "text.txt", documents(60))
    write_shape(place / "shape.json")
    write_model(place / "model")
    for task in TASKS:
        for seed, (stem, count) in enumerate({"train": 32, "dev": 12, "test": 12}.items()):
            write_task(task, place / file_name(task, stem), count, seed)
    (place / "lines.txt").write_text("the cat ran\na dog saw red\n\nwho [MASK] by the fox\n")
    (place / "words.txt").write_text("zebra\nlion\n")
    words = ("pretrain", "prepare", "--corpus", place / "text.txt", "--vocab-size", 100, "--workers", 1)
    succeeded(forks.run((*words, "--out", place / "data"), place))


def make_models(place: Path) -> None:
    """Beside that: finished runs, and exports in each form that weights have."""
    for name, work in works(place).items():
        if name in ("pretrain", *TASKS):
            succeeded(forks.run(work.words, place))
            shutil.rmtree(place / "run" / "state")
            (place / "run").rename(place / ("trained" if name == "pretrain" else f"tuned-{name}"))
    (place / "trained").rename(place / "run")
    succeeded(forks.run(("weights_convert", "to-hf", place / "run", "hf"), place))
    tensors = load_file(place / "hf" / SAFETENSORS)
    torch.save(tensors, copy(place / "hf", place / "hf-bin") / BIN)
    save_file(tensors, copy(place / "hf", place / "hf-shards") / "one.safetensors")
    index = {"weight_map": dict.fromkeys(tensors, "one.safetensors")}
    (place / "hf-shards" / f"{SAFETENSORS}.index.json").write_text(json.dumps(index))
    for name in ("hf-bin", "hf-shards"):
        (place / name / SAFETENSORS).unlink()


def works(place: Path) -> dict[str, Work]:
    """Name -> what is run in an empty directory with the material at `place`."""
    shape = ("--model", place / "shape.json")
    pretrain = ("pretrain", *shape, *PRETRAINING, "--out", "run")
    arrays, text = ("--data", place / "data"), ("--corpus", place / "text.txt", "--vocab-size", 100)
    found = {
        "pretrain": Work((*pretrain, *arrays), "run"),
        "pretrain adamw": Work(
            (*pretrain, *arrays, "--optimizer", "adamw", "--learning-rate", 3e-3, "--pair-objective", "sop"), "run"
        ),
        "pretrain text": Work((*pretrain, *text, "--no-nsp", "--whole-word-mask", "--accumulate", 2), "run"),
        "prepare": Work(("pretrain", "prepare", *text, "--workers", 1, "--out", "data"), "data", resumes=False),
        "prepare bpe": Work(
            ("pretrain", "prepare", "--corpus", place / "text.txt", "--tokenizer-kind", "bpe", "--vocab-size", 300,
             "--workers", 2, "--out", "new/data"), "new/data", resumes=False,
        ),
    }  # fmt: skip
    for task in TASKS:
        files = [word for stem in ("train", "dev", "test") for word in (f"--{stem}", place / file_name(task, stem))]
        words = ("finetune", task, "--model", place / "model", *files, *FINETUNING, "--out", "run")
        found[task] = Work(words, "run")
    texts = found["text-classification"].words
    found["lora"] = Work((*texts, "--lora-rank", 2), "run")
    found["seeds"] = Work((*texts, "--seeds", 2, "--freeze-encoder"), "run")
    return found


def succeeded(ending: Ending) -> Ending:
    """An ending that was to be a good one."""
    assert ending.code == 0, str(ending)
    return ending


def tree(directory: Path, *, without: frozenset[str] | set[str] = frozenset()) -> dict[str, Any]:
    """Path -> content of everything below a directory, so that what clocks don't decide can be compared with `==`.

    Of saved states the last alone counts: at which steps the others were saved, interruptions decide.
    """
    found = {}
    states = sorted(path for path in directory.rglob("step-*") if path.parent.name == "state")
    old = [path for path in states if any(other.parent == path.parent and other > path for other in states)]
    for path in sorted(directory.rglob("*")):
        name = str(path.relative_to(directory))
        if path.name not in without and not any(place in (path, *path.parents) for place in old):
            found[name] = None if path.is_dir() else _content(path)
    return found


def result(path: Path) -> Any:
    """What stands at a path: a file, or a tree."""
    return tree(path) if path.is_dir() else _content(path)


def _content(path: Path) -> Any:
    if not path.is_file():
        return "no file"
    content = path.read_bytes()
    if path.name in PICTURES:
        return content[:8]
    try:
        if path.name == LOG:
            return _log(content)
        if path.name in ("summary.json", "state.json", "manifest.json"):
            return _unclocked(json.loads(content))
    except (ValueError, RecursionError):
        pass
    return content


def log(path: Path) -> list[Any]:
    """The entries of a log that may have a torn last line."""
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]


def is_log(path: Path) -> bool:
    """Whether it is no log, or one that can be read."""
    try:
        return path.name != LOG or (path.is_file() and all(isinstance(entry["step"], int) for entry in log(path)))
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return False


def _log(content: bytes) -> list[Any]:
    """The last word on each step; what was logged at a step that was gone on from may stand there twice."""
    entries: list[Any] = []
    for entry in map(json.loads, content.splitlines()):
        if entry.get("event") == "resume":
            entries = [earlier for earlier in entries if earlier["step"] <= entry["step"]]
        elif _unclocked(entry) not in entries:
            entries.append(_unclocked(entry))
    return entries


def _unclocked(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _unclocked(inner) for name, inner in value.items() if name not in CLOCKED}
    return [_unclocked(inner) for inner in value] if isinstance(value, list) else value


def difference(ours: dict[str, Any], theirs: dict[str, Any]) -> str:
    """The first thing in which a tree is not as it should be; "" where there is none."""
    for name in sorted(ours.keys() | theirs.keys()):
        if name not in ours or name not in theirs:
            return f"{name} is {'missing' if name not in ours else 'too much'}"
        if ours[name] != theirs[name]:
            return f"{name} differs: {_shown(ours[name], theirs[name])}"
    return ""


def _shown(ours: Any, theirs: Any) -> str:
    if isinstance(ours, list) and isinstance(theirs, list):
        ours, theirs = next(((a, b) for a, b in zip(ours, theirs, strict=False) if a != b), (len(ours), len(theirs)))
    if isinstance(ours, dict) and isinstance(theirs, dict):
        names = [name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name)]
        ours, theirs = ({name: part.get(name) for name in names} for part in (ours, theirs))
    return f"{str(ours)[:200]} instead of {str(theirs)[:200]}"


def complaint(ending: Ending, *, heard: bool = True) -> str:
    """What is wrong with how a command ended; "" where it ended well, or badly with exactly one line about it.

    heard: that line can be read.
    """
    if ending.hung:
        return f"still running: {ending}"
    if "Traceback (most recent call last)" in ending.err + ending.out:
        return f"a traceback: {ending}"
    if ending.reached:
        return f"asked the network: {ending.reached}"
    if ending.code not in (0, 1, 2, 3, 130):
        return f"not one of our exit codes: {ending}"
    lines = [line for line in ending.err.splitlines() if not line.startswith("note ")]  # said before, on the way
    if (
        heard
        and ending.code
        and (len(lines) != 1 or not lines[0].startswith("error: ") or not ending.err.endswith("\n"))
    ):
        return f"not exactly one line of error: {ending}"
    return ""


def copy(source: Path, target: Path) -> Path:
    """A copy of a directory or a file, to be spoiled."""
    shutil.copytree(source, target) if source.is_dir() else shutil.copyfile(source, target)
    return target
