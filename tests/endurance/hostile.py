"""Hostile inputs: values, files, names, streams and environments that nobody means well with, over all commands. Each
command ends with its right result or with one line; runs no code, asks no network, leaves nothing, and ends at all.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import io
import json
import os
import pickle
import random
import socket
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from finetune.data.data_options import DATA_OPTIONS
from finetune.inference_options import EvaluateOptions, PredictOptions
from finetune.options import TrainingOptions
from minibert.commands.add_tokens import AddTokensOptions
from minibert.commands.embed import EmbedOptions
from minibert.commands.explore import ExploreOptions
from minibert.commands.fill_mask import FillMaskOptions
from pretrain.arrays.prepare import PrepareOptions
from pretrain.commands.inspect import InspectOptions
from pretrain.options import PretrainOptions
from tests.endurance import forks, material
from tests.endurance.forks import Ending, Streams
from weights_convert.commands import VerifyOptions

CANARY = "canary"  # a file that comes to be where something of an input is run


class Good(NamedTuple):
    """A command that succeeds; a Path among its words is read, what begins with "out" is written."""

    words: Sequence[object]
    options: Sequence[Any] = ()  # dataclasses whose fields are its options
    printed: bool = False  # what it prints is its result


class Try(NamedTuple):
    """A command made hostile."""

    told: str
    words: Sequence[object]
    streams: Streams = Streams()
    environment: Mapping[str, str | None] = MappingProxyType({})
    fresh: bool = False
    out: str = "out"  # what its output is called
    same: bool = False  # whether it has to succeed, with the result of the good command
    may_fail: bool = True


class Hostile:
    """The suite: each of its `parts` is made once, on what the `stages` make, and then the cases run."""

    stages = (material.make, material.make_models)

    def __init__(self, place: Path, stuff: Path) -> None:
        self.place = place
        self.parts = good_commands(stuff)

    def part(self, number: int, seed: int) -> str:
        """Which of the parts a case has to do with."""
        choice = random.Random(f"part {seed} {number}").choice
        if FAMILIES[number % len(FAMILIES)] is options:
            return choice([name for name, good in self.parts.items() if good.options])
        return choice(list(self.parts))

    def make(self, name: str) -> object:
        """The right result of a command."""
        place = self.place / "whole" / name
        place.mkdir(parents=True)
        ending = material.succeeded(forks.run(self.parts[name].words, place))
        return ending.out if self.parts[name].printed else ""

    def case(self, number: int, seed: int, place: Path, made: dict[str, str]) -> str:
        """Runs a case in `place`; returns what is wrong, or ""."""
        rng = random.Random(f"hostile {seed} {number}")
        family = FAMILIES[number % len(FAMILIES)]
        name = self.part(number, seed)
        attempt = family(self.parts[name], place, rng)
        before = material.tree(place)
        ending = forks.run(
            attempt.words, place, streams=attempt.streams, environment=attempt.environment, fresh=attempt.fresh,
        )  # fmt: skip
        after = material.tree(place)
        wrong = self.wrong(attempt, ending, before, after)
        if not wrong and ending.code == 0 and attempt.same:
            wrong = self.wrong_result(attempt, ending, place, name, made[name])
        return f"{name}, {family.__name__}, {attempt.told}: {wrong}" if wrong else ""

    @staticmethod
    def wrong(attempt: Try, ending: Ending, before: dict[str, Any], after: dict[str, Any]) -> str:
        """What is wrong with an ending, whatever the result."""
        if CANARY in after:
            return f"ran code of its input: {ending}"
        wrong = material.complaint(ending, heard=attempt.streams.stderr == "kept")
        if not wrong and ending.code and not attempt.may_fail:
            return f"was to succeed: {ending}"
        left = ending.code in (1, 2) and material.difference(after, before)
        return wrong or (f"failed, and yet {left}: {ending}" if left else "")

    def wrong_result(self, attempt: Try, ending: Ending, place: Path, name: str, printed: str) -> str:
        """What is wrong with the result of a command that succeeded."""
        whole = self.place / "whole" / name
        if attempt.streams.stdout == "kept" and printed and ending.out != printed.replace("out", attempt.out):
            return f"prints something else: {ending}"
        for path in whole.iterdir():
            ours = place / (attempt.out + path.name.removeprefix("out"))
            if not ours.exists():
                return f"{ours.name!r:.60} is missing: {ending}"
            wrong = material.difference(*({"": found} for found in (material.result(ours), material.result(path))))
            if wrong:
                return f"another result: {wrong}"
        return ""


def good_commands(stuff: Path) -> dict[str, Good]:
    """Name -> a command on the material."""
    pretrain = ("pretrain", "--model", stuff / "shape.json", *material.PRETRAINING[:-8], "--out", "out", "--steps", 2)
    embed, grow = ("minibert", "embed", stuff / "model"), ("minibert", "add-tokens", stuff / "run")
    text = ("--corpus", stuff / "text.txt", "--vocab-size", 100)
    found = {
        "pretrain": Good((*pretrain, "--data", stuff / "data"), [PretrainOptions]),
        "pretrain text": Good((*pretrain, *text), [PretrainOptions]),
        "pretrain init": Good((*pretrain[:1], *pretrain[3:], "--data", stuff / "data", "--init", stuff / "run")),
        "prepare": Good(("pretrain", "prepare", *text, "--workers", 1, "--out", "out"), [PrepareOptions]),
        "inspect": Good(("pretrain", "inspect", "--data", stuff / "data", "--seq-len", 32), [InspectOptions], True),
        "info": Good(("minibert", "info", stuff / "run"), [], True),
        "fill-mask": Good(("minibert", "fill-mask", stuff / "run", "red [MASK] gold"), [FillMaskOptions], True),
        "embed": Good((*embed, "--input", stuff / "lines.txt", "--output", "out.npy"), [EmbedOptions]),
        "explore": Good(("minibert", "explore", stuff / "run", "red [MASK]", "--out", "out.html"), [ExploreOptions]),
        "add-tokens": Good((*grow, "out", "--tokens", stuff / "words.txt"), [AddTokensOptions]),
        "to-hf": Good(("weights_convert", "to-hf", stuff / "run", "out")),
        "from-hf": Good(("weights_convert", "from-hf", stuff / "hf", "out")),
        "from-hf bin": Good(("weights_convert", "from-hf", stuff / "hf-bin", "out")),
        "from-hf shards": Good(("weights_convert", "from-hf", stuff / "hf-shards", "out")),
        "verify": Good(("weights_convert", "verify", stuff / "hf"), [VerifyOptions]),
    }
    for task in material.TASKS:
        train, dev, test = (stuff / material.file_name(task, stem) for stem in ("train", "dev", "test"))
        words = ("finetune", task, "--model", stuff / "model", "--train", train, "--dev", dev, *material.FINETUNING)
        found[task] = Good((*words, "--epochs", 1, "--out", "out"), [TrainingOptions, DATA_OPTIONS[task]])
        tuned, data_options = stuff / f"tuned-{task}", DATA_OPTIONS[task]
        words = ("finetune", "evaluate", tuned, "--data", test, "--json", "out.json")
        found[f"evaluate {task}"] = Good(words, [EvaluateOptions, data_options], True)
        words = ("finetune", "predict", tuned, "--input", test, "--output", "out.jsonl")
        found[f"predict {task}"] = Good(words, [PredictOptions, data_options])
    return found


# --- Option values ---------------------------------------------------------------------------------------------------

VALUES = (
    "", " ", "-1", "0", "1", "1.5", "nan", "inf", "-inf", "1e400", "1e-400", str(10**30), "0x10", "１２", "é", "\udcff",
    "None", "true", "a b", "--", "-", "$(touch canary)", "`touch canary`", "../../etc/passwd", "x" * 5000, "[1]", "{}",
    "a,b", "a\nb", "%d%n", "\x1b[2J", "a$_$b", "/dev/null", "/", ".",
)  # fmt: skip
# Large values of these are no mistakes, and take their time.
LONG = {"steps", "minutes", "epochs", "seeds", "workers", "count"}


def options(good: Good, place: Path, rng: random.Random) -> Try:
    """An option with a value that it can't have, mostly."""
    fields = [field for kind in good.options for field in dataclasses.fields(kind) if field.name != "data_options"]
    field = rng.choice(fields)
    value = rng.choice(VALUES)
    if field.name in LONG and not value.startswith(("-", "n", "x")):
        value = "-1"
    option = "--" + field.name.replace("_", "-")
    given = rng.choice(([option, value], [option, value, value], [f"{option}={value}"], [option]))
    return Try(f"{given!r:.80}", [*good.words, *given])


# --- Files and directories -------------------------------------------------------------------------------------------


class Runs:
    """Unpickled, it makes the canary."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {CANARY}",)


def _zipped(content: bytes, name: str = "archive/data.pkl") -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return made.getvalue()


CONTENTS: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda old: b"",
    "white space": lambda old: b" \n\t\n" * 40,
    "byte-order mark": lambda old: b"\xef\xbb\xbf" + old,
    "UTF-16": lambda old: old.decode("utf-8", "replace").encode("utf-16"),
    "Latin-1": lambda old: old + "é\n".encode("latin-1"),
    "NUL": lambda old: old[: len(old) // 2] + b"\0" + old[len(old) // 2 :],
    "CR alone": lambda old: old.replace(b"\n", b"\r"),
    "CRLF": lambda old: old.replace(b"\n", b"\r\n"),
    "random bytes": lambda old: random.Random(len(old)).randbytes(4096),
    "half": lambda old: old[: len(old) // 2],
    "twice": lambda old: old + old,
    "lone surrogate": lambda old: b'{"text": "\\ud800", "label": "\\udfff", "question": "a", "choices": ["\\ud800"]}\n',
    "deep lists": lambda old: b"[" * 100_000,
    "deep objects": lambda old: b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "long integer": lambda old: b"1" * 5000,
    "integer inside": lambda old: b'{"hidden_size": ' + b"9" * 30 + b', "weight_map": 1, "data": ' + b"1" * 5000 + b"}",
    "NaN": lambda old: b"NaN",
    "infinities": lambda old: b'{"layer_norm_eps": Infinity, "vocab_size": -Infinity, "text": NaN, "model": 1e999}',
    "null": lambda old: b"null",
    "list": lambda old: b"[[], {}, null, 1]\n",
    "string": lambda old: b'"x"\n',
    "empty object": lambda old: b"{}\n",
    "objects": lambda old: b'{"data": [{"paragraphs": [{"qas": 1}]}], "model": {"type": []}, "weight_map": {}}\n',
    "numbers as keys": lambda old: b'{"1": {"2": [3, "4", {"5": null}]}}\n' * 3,
    "pickle with code": lambda old: pickle.dumps(Runs()),
    "zipped pickle with code": lambda old: _zipped(pickle.dumps(Runs(), protocol=2)),
    "zip bomb": lambda old: _zipped(bytes(2**28)),
    "gzip": lambda old: gzip.compress(old),
    "a long line": lambda old: b"the cat sat " * 1_500_000,
    "a long word": lambda old: b"a" * 17_000_000,
    "commas": lambda old: b"text,label\n" + b"," * 200_000,
    "ragged": lambda old: old + b"a,b,c,d,e\nx\n\n,\n",
    "quotation mark": lambda old: old + b'"a,b\n',
    "same header twice": lambda old: b"text,text,label,label\na,b,c,d\n" * 2,
    "header alone": lambda old: old.split(b"\n")[0] + b"\n",
    "shell": lambda old: f"$(touch {CANARY}) `touch {CANARY}`; touch {CANARY}\n".encode() * 9,
    "python": lambda old: f"__import__('os').system('touch {CANARY}')\n".encode(),
    "escapes": lambda old: b"\x1b[2J\x1b]0;x\x07\x08\x7f\n" * 9,
    "separators": lambda old: "a\u2028b\u2029c\x85d\x0be\x0cf\u202eg\n".encode() * 9,
    "marks": lambda old: ("e" + "\u0301" * 50_000 + "\n").encode() * 3,
    "joined emoji": lambda old: ("👩\u200d👩\u200d👧" * 99 + "\n").encode() * 9,
    "unassigned": lambda old: "\U000e0fff\ufdd0\uffff\U0010ffff \u0378\n".encode() * 9,
    "header of safetensors": lambda old: (2**63).to_bytes(8, "little") + b"{}",
    "wrong safetensors": lambda old: bytes([53, *bytes(7)]) + b'{"a":{"dtype":"F32","shape":[9],"data_offsets":[0,4]}}',
    "shards": lambda old: b'{"weight_map": {"a": "", "b": "..", "c": "/etc/passwd", "d": "\\u0000", "e": "."}}',
}  # fmt: skip
SHARDS = ("", ".", "..", "/", "/etc/passwd", "../../etc/passwd", "a\0b", "x" * 500, "a\nb", "config.json", "\ud800")
SAME = {"byte-order mark", "CRLF"}  # the text is what it was


def replaced(good: Good, old: object, new: object) -> list[object]:
    return [new if word is old else word for word in good.words]


def read_by(good: Good, rng: random.Random) -> Path:
    return rng.choice([word for word in good.words if isinstance(word, Path)])


def copied(good: Good, place: Path, rng: random.Random) -> tuple[list[object], Path]:
    """The command on a copy of something that it reads, and of that one file, which can now be spoiled."""
    source = read_by(good, rng)
    path = material.copy(source, place / f"bad{source.suffix}")
    words = replaced(good, source, path.name)
    if path.is_dir():
        path = rng.choice(sorted(file for file in path.rglob("*") if file.is_file() and file.suffix != ".png"))
    return words, path


def contents(good: Good, place: Path, rng: random.Random) -> Try:
    """A file with other content than it should have, alone or in a directory."""
    words, path = copied(good, place, rng)
    kind, shard = rng.choice(list(CONTENTS)), rng.choice(SHARDS)
    content = CONTENTS[kind](path.read_bytes())
    if path.name.endswith("index.json") and rng.random() < 0.7:
        kind, content = f"shard {shard!a:.40}", json.dumps({"weight_map": {"a": shard}}).encode()
    if path.name == "bad.txt" and rng.random() < 0.1:
        kind, content, path = "gzip bomb", gzip.compress(b"a" * 2**26), path.rename(path.with_suffix(".txt.gz"))
        words = [path.name if word == "bad.txt" else word for word in words]
    path.write_bytes(content)
    same = kind in SAME and path.parent == place and words[1] in ("embed", "add-tokens", "predict")
    return Try(f"{kind} in {path.relative_to(place)}", words, same=same, may_fail=not same)


def special_files(good: Good, place: Path, rng: random.Random) -> Try:
    """Something else than a file where one is read."""
    words, path = copied(good, place, rng)
    path.unlink()
    kind = rng.choice(("missing", "fifo", "directory", "loop", "/dev/zero", "/dev/null", "/dev/full", "socket"))
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    elif kind == "socket":
        os.chdir(path.parent)  # names of sockets are short
        socket.socket(socket.AF_UNIX).bind(path.name)
    elif kind != "missing":
        path.symlink_to(path.name if kind == "loop" else kind)
    return Try(f"{kind} for {path.relative_to(place)}", words)


NAMES = (
    "a b", "$(touch canary)", "a$_$b", "$\\frac{", "a\nb", "é 🎉", "n" * 255, "n" * 240, "n" * 500, "-dash", "--out",
    "..", ".", "", "/", "a/../b", "deep/er/out", "out/", "\udcff", "~", "%s{0}", "*", "'\"", "a\tb", "\x1b[2J", "con.",
    "a;b", "[x]", "{y}", "\u202ename", "#", "a\\b", "--", "e\u0301", "/dev/null", "/proc/self/out", "/dev/full",
)  # fmt: skip


def names(good: Good, place: Path, rng: random.Random) -> Try:
    """An odd name for what is written, or for what is read."""
    name = rng.choice(NAMES)
    plain = "/" not in name and name not in ("", ".", "..")
    written = [word for word in good.words if str(word).startswith("out")]
    if written and rng.random() < 0.6:
        words = replaced(good, written[-1], f"{name}{str(written[-1]).removeprefix('out')}")
        return Try(f"output {name!r:.40}", words, out=name, same=plain)
    source = read_by(good, rng)
    with contextlib.suppress(OSError):  # of a name that is none for a file
        material.copy(source, place / f"{name if plain else 'other'}{source.suffix}")
    return Try(f"input {name!r:.40}", replaced(good, source, f"{name}{source.suffix}"))


# --- What a text says ------------------------------------------------------------------------------------------------

TEXTS = (
    "", " ", "\n", "[MASK]", "[MASK] " * 40, "[MASK]" * 3000, "[CLS] [SEP] [MASK]", "\udcff [MASK]", "é [MASK] 🎉",
    "[mask]", "\u202e[MASK]\u2028", "</script><script>alert(1)</script> [MASK]", "a" * 100_000 + " [MASK]", "--help",
    "\x1b[2J [MASK]", "--", "-1", "$(touch canary) [MASK]", "{{7*7}} ${7*7} [MASK]", "\u0301" * 3000 + "[MASK]",
    "\x01\x7f [MASK]", "猫[MASK]犬", "%s %n [MASK]", "'\"`\\ [MASK]", "[PAD] [UNK] [MASK]", "\ufeff[MASK]",
)  # fmt: skip


def texts(good: Good, place: Path, rng: random.Random) -> Try:
    """An odd text on the command line or on standard input."""
    text = rng.choice(TEXTS)
    stuff = next(word for word in good.words if isinstance(word, Path)).parent
    kinds: list[list[object]] = [
        ["minibert", "fill-mask", stuff / "run", text],
        ["minibert", "explore", stuff / "run", text, "--out", "out.html"],
        ["minibert", "explore", stuff / "model", "one", text, "--out", "out.html"],
        ["minibert", "add-tokens", stuff / "run", "out", "--tokens", text],
        ["minibert", text, stuff / "run"],
        ["finetune", text],
        ["pretrain", text],
        ["weights_convert", "from-hf", text, "out"],
        ["minibert", "embed", stuff / "model", "--input", "-", "--output", "out.npy"],
        *(["finetune", "predict", stuff / f"tuned-{task}", "--input", "-", "--output", "-"] for task in material.TASKS),
    ]
    words = rng.choice(kinds)
    line = f'{{"text": "{text}", "question": "{text}", "choices": 1}}\n'
    given = rng.choice((os.fsencode(text), line.encode("utf-8", "replace"))) if "-" in words else b""
    return Try(f"{[str(word)[:40] for word in words[:4]]} {given[:40]!r}", words, Streams(stdin=given))


# --- Streams and environments ----------------------------------------------------------------------------------------

ENCODINGS = ("utf-8", "ascii", "latin-1", "utf-16", "cp1252")
LEADS = ("closed", "full", "gone", "hung up")


def streams(good: Good, place: Path, rng: random.Random) -> Try:
    """Standard streams that are closed, full, of another encoding, or whose other end is gone."""
    out, err = rng.choice((*LEADS, "kept")), rng.choice((*LEADS, "kept", "kept", "kept"))
    made = Streams(rng.choice((b"", "closed")), out, err, rng.choice(ENCODINGS))
    # What is printed alone may fail where it can't be printed.
    return Try(f"{made}", good.words, made, same=not good.printed, may_fail=good.printed)


ENVIRONMENTS: tuple[dict[str, str | None], ...] = (
    {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}, {"MPLBACKEND": "junk"}, {"MPLBACKEND": "TkAgg"},
    {"HOME": None}, {"HOME": "/nonexistent"}, {"TMPDIR": "/nonexistent", "TEMP": "/nonexistent"}, {"LANG": "C"},
    {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, {"COLUMNS": "1"}, {"COLUMNS": "0"},
    {"COLUMNS": "-5", "LINES": "x"}, {"TERM": "dumb"}, {"TERM": None}, {"PYTHONWARNINGS": "error"},
    {"PYTHONWARNINGS": "always"}, {"PATH": None}, {"PATH": ""}, {"PYTHONOPTIMIZE": "2"}, {"OMP_NUM_THREADS": "x"},
    {"OMP_NUM_THREADS": "0"}, {"OMP_WAIT_POLICY": "junk"}, {"MKL_NUM_THREADS": "-1"}, {"CUDA_VISIBLE_DEVICES": "junk"},
    {"TOKENIZERS_PARALLELISM": "junk"}, {"XDG_CACHE_HOME": "/dev/null", "XDG_CONFIG_HOME": "/dev/null"},
    {"MPLCONFIGDIR": "/dev/null/x"}, {"MATPLOTLIBRC": "/dev/null/x"}, {"TQDM_DISABLE": "x"},
    {"TQDM_MININTERVAL": "x"}, {"TORCH_LOGS": "x"},
    {"FORCE_COLOR": "1"}, {"NO_COLOR": "1"}, {"PYTHONDEVMODE": "1"}, {"PYTHONUNBUFFERED": "1"},
    {"PYTORCH_CUDA_ALLOC_CONF": "junk"}, {"TZ": "junk"}, {"MINIBERT_DEBUG": "0"}, {"PYTHONDONTWRITEBYTECODE": "1"},
    {"WORLD_SIZE": "1", "RANK": "0", "LOCAL_RANK": "0"}, {"TORCHINDUCTOR_CACHE_DIR": "/dev/null"}, {"SHELL": "/x"},
    {"HF_HOME": "/dev/null/x", "HF_HUB_OFFLINE": "junk"}, {"USER": None, "LOGNAME": None}, {"DISPLAY": ":99"},
)  # fmt: skip


def environments(good: Good, place: Path, rng: random.Random) -> Try:
    """Inherited variables, in an interpreter of its own."""
    environment = rng.choice(ENVIRONMENTS)
    refused = not environment.keys().isdisjoint(("TQDM_MININTERVAL", "TORCH_LOGS"))  # by these libraries themselves
    return Try(f"{environment}", good.words, environment=environment, fresh=True, same=True, may_fail=refused)


FAMILIES = (options, contents, names, special_files, texts, contents, streams, options, contents, environments)
