"""Damages: a file of a directory, finished or not, is spoiled, and the directory then used. Either one line names the
file and nothing is written, or the result is that of the whole directory. Only a log or a picture may be lost.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.endurance import forks, material
from tests.endurance.forks import Cut, Ending

# Of a run that is gone on with: what is not made anew, and cannot be told to be damaged as long as it can be read.
NOT_REMADE = {material.LOG, "curves.png", "confusion.png", "run.toml"}
PRINTED = {
    "info",
    "fill-mask",
    "add-tokens",
    "evaluate",
    "inspect",
}  # whose result that is, or a part of it
CUT = 0.6  # after this share of its changes of the file system a run is cut off
OTHER_VALUES = (None, True, "", "x", 0, -1, 10**30, 1e308, float("nan"), 0.5, [], {}, [[]], "\ud800", ".." * 40)


class Target(NamedTuple):
    """A directory that is damaged: its name, what makes it, whether that is cut off on the way, and its uses. What
    reads a finished one writes to `out`."""

    directory: str
    made_by: Sequence[object]
    uses: dict[str, Sequence[object]]
    unfinished: bool = False


class Damages:
    """The suite: each of its `parts` is made once, on what the `stages` make, and then the cases run."""

    stages = (material.make,)

    def __init__(self, place: Path, stuff: Path) -> None:
        self.place = place
        self.parts = targets(stuff)

    def part(self, number: int, _seed: int) -> str:
        """Which of the parts a case has to do with."""
        return list(self.parts)[5 * number % len(self.parts)]  # of each kind soon

    def make(self, name: str) -> dict[str, str]:
        """A directory, and what each of its uses gives while it is whole; returns what is printed."""
        target, place = self.parts[name], self.place / "whole" / name
        place.mkdir(parents=True)
        changes = material.succeeded(forks.run(target.made_by, place)).changes
        if target.unfinished:
            shutil.rmtree(place / target.directory)
            assert forks.run(target.made_by, place, cut=Cut(change=int(changes * CUT))).code == -signal.SIGKILL
            for lock in place.rglob(".lock"):  # which any run takes away at its end
                lock.unlink()
        else:
            shutil.rmtree(place / target.directory / "state", ignore_errors=True)  # which no use reads
        printed = {}
        for use, words in target.uses.items():
            used = material.copy(place, place.with_name(f"{name}, {use}"))
            printed[use] = material.succeeded(forks.run(words, used)).out
        return printed

    def case(self, number: int, seed: int, place: Path, made: dict[str, dict[str, str]]) -> str:
        """Runs a case in `place`; returns what is wrong, or ""."""
        rng = random.Random(f"damages {seed} {number}")
        name = self.part(number, seed)
        target = self.parts[name]
        use = rng.choice(list(target.uses))
        place.rmdir()
        directory = material.copy(self.place / "whole" / name, place) / target.directory
        told, spoiled = damage(directory, rng)
        before, readable = material.tree(place), all(map(material.is_log, spoiled))
        ending = forks.run(target.uses[use], place)
        after, whole = material.tree(place), material.tree(self.place / "whole" / f"{name}, {use}")
        wrong = material.complaint(ending)
        if not wrong and ending.code:
            wrong = wrong_refusal(ending, spoiled, directory, material.difference(after, before))
        elif not wrong and use in PRINTED and ending.out != made[name][use]:
            wrong = f"prints something else: {_first_difference(ending.out, made[name][use])}"
        elif not wrong:
            if not target.unfinished:  # it is read alone, and still as it was damaged
                whole = before | {path: whole[path] for path in whole if not path.startswith(target.directory)}
            names = {path.name for path in spoiled}
            for path in whole.keys() | after.keys():
                name, lost = Path(path).name, path not in after and Path(path).name not in ending.out
                old = "state" in path or path.startswith("run/seed-0/")  # of a part that is finished, and stays
                if name in names and (old or (name in NOT_REMADE and not lost)):
                    whole[path] = after[path] = None
            wrong = material.difference(after, whole)
            if not wrong and target.unfinished and not readable and material.LOG not in ending.out + ending.err:
                wrong = f"nothing says that the log is damaged: {ending}"
        return f"{name}, {told}, {use}: {wrong}" if wrong else ""


def wrong_refusal(ending: Ending, spoiled: list[Path], directory: Path, changed: str) -> str:
    """What is wrong with how a damaged directory was refused."""
    if ending.code not in (2, 3):
        return f"neither 2 nor 3: {ending}"
    if changed:
        return f"refused, and yet {changed}: {ending}"
    named = [part for path in spoiled for part in path.relative_to(directory).parts]
    named += [directory.name for path in spoiled if not path.is_file() or path.name == "run.toml"]  # with the field
    return "" if any(part in ending.err for part in named) else f"{named} is not named: {ending}"


def _first_difference(ours: str, theirs: str) -> str:
    pairs = [(a, b) for a, b in zip(ours.splitlines(), theirs.splitlines(), strict=False) if a != b]
    return f"{pairs[0][0]!r} instead of {pairs[0][1]!r}" if pairs else f"{len(ours)} characters, not {len(theirs)}"


def targets(stuff: Path) -> dict[str, Target]:
    """Name -> the directory and its uses."""
    works = material.works(stuff)
    found: dict[str, Target] = {}
    for name in ("pretrain", "pretrain text", "text-classification", "question-answering", "seeds"):
        words = works[name].words
        found[f"unfinished {name}"] = Target("run", words, {"resume": [*words, "--resume"]}, unfinished=True)
    tune = ("finetune", "text-classification", "--train", stuff / "train.csv", *material.FINETUNING, "--out", "out")
    found["pretrained"] = Target("run", works["pretrain"].words, {
        "info": ("minibert", "info", "run"),
        "fill-mask": ("minibert", "fill-mask", "run", "red [MASK] blue", "--top-k", 20),
        "embed": ("minibert", "embed", "run", "--input", stuff / "lines.txt", "--output", "out.npy"),
        "to-hf": ("weights_convert", "to-hf", "run", "out"),
        "add-tokens": ("minibert", "add-tokens", "run", "out", "--tokens", "zebra"),
        "finetune": (*tune, "--epochs", 1, "--model", "run"),
    })  # fmt: skip
    for name in material.TASKS:
        data = stuff / material.file_name(name, "test")
        found[f"tuned for {name}"] = Target("run", works[name].words, {
            "evaluate": ("finetune", "evaluate", "run", "--data", data, "--json", "out.json"),
            "predict": ("finetune", "predict", "run", "--input", data, "--output", "out.jsonl"),
            "to-hf": ("weights_convert", "to-hf", "run", "out"),
        })  # fmt: skip
    data = ["data" if word == stuff / "data" else "out" if word == "run" else word for word in works["pretrain"].words]
    found["prepared"] = Target("data", works["prepare"].words, {
        "pretrain": data,
        "inspect": ("pretrain", "inspect", "--data", "data", "--seq-len", 32),
    })  # fmt: skip
    found["exported"] = Target("hf", ("weights_convert", "to-hf", stuff / "model", "hf"), {
        "from-hf": ("weights_convert", "from-hf", "hf", "out"),
        "verify": ("weights_convert", "verify", "hf"),
    })  # fmt: skip
    return found


# --- How a file is spoiled -------------------------------------------------------------------------------------------


def damage(directory: Path, rng: random.Random) -> tuple[str, list[Path]]:
    """Spoils a file below `directory`, or two; returns what was done, in words, and to which files."""
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    before = {path: path.read_bytes() for path in files}
    while True:
        path, kind = rng.choice(files), rng.choice(list(DAMAGES))
        told = DAMAGES[kind](path, rng, files)
        spoiled = [path for path in files if not path.is_file() or path.read_bytes() != before[path]]
        if spoiled:
            return f"{kind} {path.relative_to(directory.parent)}{told}", spoiled


def _spliced(make: Callable[[bytes, random.Random], bytes]) -> Callable[..., str]:
    """A damage that puts other bytes in the place of a few."""

    def spoil(path: Path, rng: random.Random, _: list[Path]) -> str:
        content = path.read_bytes()
        start = rng.randrange(len(content) + 1)
        end = min(len(content), start + rng.choice((1, 1, 16, 300)))
        path.write_bytes(content[:start] + make(content[start:end], rng) + content[end:])
        return f" at {start}:{end}"

    return spoil


def _truncate(path: Path, rng: random.Random, _: list[Path]) -> str:
    os.truncate(path, rng.randrange(path.stat().st_size + 1))
    return f" to {path.stat().st_size} bytes"


def _empty(path: Path, *_: object) -> str:
    path.write_bytes(b"")
    return ""


def _delete(path: Path, *_: object) -> str:
    path.unlink()
    return ""


def _directory(path: Path, *_: object) -> str:
    path.unlink()
    path.mkdir()
    return ""


def _fifo(path: Path, *_: object) -> str:
    path.unlink()
    os.mkfifo(path)
    return ""


def _loop(path: Path, *_: object) -> str:
    path.unlink()
    path.symlink_to(path.name)
    return ""


def _swap(path: Path, rng: random.Random, files: list[Path]) -> str:
    other = rng.choice(files)
    ours, theirs = path.read_bytes(), other.read_bytes()
    path.write_bytes(theirs)
    other.write_bytes(ours)
    return f" with {other.name}"


def _line_twice(path: Path, rng: random.Random, _: list[Path]) -> str:
    lines = path.read_bytes().splitlines(keepends=True) or [b"\n"]
    number = rng.randrange(len(lines))
    path.write_bytes(b"".join([*lines[:number], lines[number], *lines[number:]]))
    return f", line {number + 1}"


def _value(path: Path, rng: random.Random, _: list[Path]) -> str:
    """Another value at a random place of a JSON file; an object is entered more often than replaced."""
    if path.suffix not in (".json", ".jsonl"):
        return ""
    lines = path.read_text(encoding="utf-8").splitlines() if path.suffix == ".jsonl" else [path.read_text("utf-8")]
    number = rng.randrange(len(lines))
    holder = content = [json.loads(lines[number])]
    key: Any = 0
    told = ""
    while isinstance(holder[key], dict | list) and holder[key] and rng.random() < 0.9:
        holder = holder[key]
        key = rng.choice(list(holder)) if isinstance(holder, dict) else rng.randrange(len(holder))
        told += f".{key}"
    value = rng.choice(OTHER_VALUES)
    told += f": {holder[key]!r:.40} -> {value!r:.40}"
    holder[key] = value
    lines[number] = json.dumps(content[0], indent=2 if path.suffix == ".json" else None)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return f" {told}"


DAMAGES: dict[str, Callable[..., str]] = {
    "flip": _spliced(lambda part, rng: bytes(byte ^ (1 << rng.randrange(8)) for byte in part[:1]) + part[1:]),
    "insert": _spliced(lambda part, rng: rng.randbytes(rng.choice((1, 16))) + part),
    "cut out": _spliced(lambda part, rng: b""),
    "zero": _spliced(lambda part, rng: bytes(len(part))),
    "truncate": _truncate,
    "empty": _empty,
    "delete": _delete,
    "directory": _directory,
    "fifo": _fifo,
    "link to itself": _loop,
    "swap": _swap,
    "line twice": _line_twice,
    "value": _value,
}
