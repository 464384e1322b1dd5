"""A model directory: `config.json`, `model.safetensors`, `tokenizer.json` and, of WordPiece, `vocab.txt`.

Written whole or not at all, refused when damaged. `config.json` is written last and carries the checksums of weights
and tokenizer, so a directory whose writing was cut off, or of which one was changed, is never taken for a good one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as safetensors_bytes
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from minibert.architectures import ARCHITECTURES, HEAD_FIELDS, OPTIONAL_HEAD_FIELDS, head_fields, new_model
from minibert.config import BertConfig, TextVectors
from minibert.errors import InputError
from minibert.files.text import STANDARD_INPUT, check_path, open_file, read_small, shown
from minibert.heads import Model
from minibert.tokenizer import Tokenizer
from minibert.tokenizer import directory as vocabulary_directory

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
TOKENIZER = "tokenizer.json"
CHECKSUMS = {WEIGHTS: "weights_sha256", TOKENIZER: "tokenizer_sha256"}  # file -> the field of config.json
MOST_NAMES = 40  # of parameters, in a message: those of two blocks


def save(model: Model, tokenizer: Tokenizer, directory: str | Path) -> None:
    """Writes a model directory. One that is there already has its model files replaced, each whole.

    Of what torch.compile or data parallelism made of a model, the model itself is written.

    Raises:
        InputError: as `check_tokenizer`.
        OSError: the directory can't be written; then nothing is left behind.
    """
    directory = real_path(directory)
    while (wrapped := getattr(model, "_orig_mod", getattr(model, "module", None))) is not None:
        model = wrapped
    check_tokenizer(model.config, tokenizer)
    with written_whole(directory) as aside:
        tokenizer.save(aside)
        (aside / WEIGHTS).write_bytes(safetensors_bytes(weights_of(model)))
        description = json.dumps(_description(model, aside), indent=2) + "\n"
        (aside / CONFIG).write_text(description, encoding="utf-8", newline="\n")


def check_new(directory: str | Path) -> None:
    """
    Raises:
        InputError: something is there already, or as `check_path`.
    """
    check_path(directory)
    if os.path.lexists(directory):
        raise InputError(f"{directory}: is there already; give a directory that is not")


@contextlib.contextmanager
def written_whole(directory: Path) -> Iterator[Path]:
    """A place to write files into, which at the end of the block are those of `directory`: all of them, or none.

    A directory that is there already has its files of the same names replaced, each whole. When the block fails, what
    was there stays as it was, and nothing is left behind.
    """
    # On the result's own file system, so that it can be renamed: inside a directory that is there, else beside it.
    aside = _aside(directory / "model" if directory.exists() else directory)
    with _named(directory, aside), parents_made(aside):
        aside.mkdir()
        yield aside
        if directory.exists():
            for path in sorted(aside.iterdir(), key=lambda path: path.name == CONFIG):  # config.json last
                path.replace(directory / path.name)
            aside.rmdir()
        else:
            aside.rename(directory)


@contextlib.contextmanager
def parents_made(path: Path) -> Iterator[None]:
    """Makes the parents of `path` for the block; if that fails, `path` and what was made for it are taken away."""
    made = [place for place in (path, *path.parents) if not place.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        shutil.rmtree(made[-1] if made else path, ignore_errors=True)
        raise


def load(directory: str | Path) -> tuple[Model, Tokenizer]:
    """The model, of the class that `config.json` names and in evaluation mode, and its tokenizer.

    Raises:
        InputError: not a model directory, or a damaged one; the message names the file, field or key.
    """
    check_path(directory)
    directory = Path(directory)
    description = read_description(directory)
    config = description.config
    tokenizer = Tokenizer.load(directory)
    check_tokenizer(config, tokenizer, place=f"{directory / CONFIG}: ")
    weights = directory / WEIGHTS
    for path, checksum in {weights: None, **description.checksums}.items():
        if not path.is_file():
            raise InputError(f"{path}: missing; a model directory holds {CONFIG}, {WEIGHTS} and {TOKENIZER}")
        if checksum is not None and sha256(path) != checksum:
            raise InputError(f"{path}: damaged: its SHA-256 is not the one that {CONFIG} gives")
    try:
        tensors = load_file(weights)
    except SafetensorError as error:
        raise InputError(f"{weights}: damaged ({error})") from error
    model = without_memory(description.architecture, config, description.head, source=directory / CONFIG)
    assign_weights(model, tensors, source=str(weights))
    model.encoder.text_vectors = description.text_vectors
    return model.eval(), tokenizer


def without_memory(architecture: str, config: BertConfig, head: Mapping[str, Any], *, source: Path) -> Model:
    """A model of shapes alone: every parameter is then to be filled from a file.

    Raises:
        InputError: fields that the class refuses, or a size beyond counting; the message names `source`.
    """
    try:
        with torch.device("meta"), Undrawn():
            return new_model(architecture, config, head)
    except InputError as error:
        raise InputError(f"{source}: {error}") from None
    except (RuntimeError, TypeError) as error:  # of numbers beyond what 64 bits can count
        sizes = {name: value for name, value in config.to_dict().items() if type(value) is int}
        largest = max(sizes, key=lambda name: sizes[name])
        raise InputError(f"{source}: {largest} {sizes[largest]} is more than any weights have") from error


class Undrawn(TorchFunctionMode):
    """Draws no numbers for weights that have no memory: for them PyTorch would load its compiler, which takes longer
    than all else in a short command, and fails where TORCHINDUCTOR_CACHE_DIR is no directory."""

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        return kwargs["tensor"] if function is nn.init.normal_ else function(*args, **kwargs)


def check_tokenizer(config: BertConfig, tokenizer: Tokenizer, *, place: str = "") -> None:
    """That every token has a row of the embedding. Rows without a token are no error: published models often have
    some, to make their number a round one.

    Where padding has no position (RoBERTa), the model has to know it by its id, too: any other token of that id would
    have none.

    Raises:
        InputError: a token has no row, or the tokenizer pads with another token; the message begins with `place`.
    """
    if tokenizer.vocab_size > config.vocab_size:
        raise InputError(
            f"{place}vocab_size {config.vocab_size}, but the tokenizer has {tokenizer.vocab_size} tokens: the last "
            "ones would have no embedding"
        )
    if config.positions_skip_padding and config.pad_token_id != tokenizer.pad_id:
        raise InputError(
            f"{place}pad_token_id {config.pad_token_id}, by which positions are counted, but the tokenizer's "
            f"{tokenizer.special_tokens.pad} is {tokenizer.pad_id}"
        )


class Description(NamedTuple):
    """What `config.json` says."""

    config: BertConfig
    architecture: str
    head: dict[str, Any]  # see `minibert.architectures.HEAD_FIELDS` and `OPTIONAL_HEAD_FIELDS`
    checksums: dict[Path, str]  # file -> its SHA-256, of `CHECKSUMS` those that are given
    text_vectors: TextVectors | None = None


def read_description(directory: Path) -> Description:
    """Reads `config.json`.

    Raises:
        InputError: missing, unreadable, an architecture or a field that we don't know, a field of the head missing.
    """
    path = directory / CONFIG
    try:
        fields = json.loads(read_small(path))
    except (FileNotFoundError, NotADirectoryError):
        unfinished = (directory / "state").is_dir()
        hint = "an unfinished run: go on with --resume" if unfinished else f"not a model directory: it has no {CONFIG}"
        raise InputError(f"{directory}: {hint}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: no readable JSON ({error})") from error
    if isinstance(fields, dict) and "model_type" in fields and "architecture" not in fields:
        raise InputError(
            f"{path}: of a Hugging Face directory; python -m weights_convert from-hf {directory} OUT makes a model "
            "directory of it"
        )
    if not isinstance(fields, dict) or fields.get("architecture") not in list(ARCHITECTURES):
        raise InputError(f"{path}: architecture must be one of {', '.join(ARCHITECTURES)}")
    architecture = fields.pop("architecture")
    given = {directory / name: fields.pop(field, None) for name, field in CHECKSUMS.items()}
    checksums = {file: checksum for file, checksum in given.items() if checksum is not None}
    missing = [name for name in HEAD_FIELDS.get(architecture, ()) if name not in fields]
    if missing:
        raise InputError(f"{path}: a {architecture} needs {', '.join(missing)}")
    head = {name: fields.pop(name) for name in HEAD_FIELDS.get(architecture, ())}
    for name, usual in OPTIONAL_HEAD_FIELDS.get(architecture, {}).items():
        head[name] = fields.pop(name, usual)
        if type(head[name]) is not type(usual):
            expected = "an object" if isinstance(usual, dict) else "a string"
            raise InputError(f"{path}: {name} must be {expected}, not {head[name]!r}")
    try:
        vectors = TextVectors.from_dict(fields.pop("text_vectors")) if "text_vectors" in fields else None
        return Description(BertConfig.from_dict(fields), architecture, head, checksums, vectors)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def weights_of(model: Model) -> dict[str, Tensor]:
    """Every parameter once, by name: a tied one under the name that comes first."""
    return {name: parameter.detach().contiguous() for name, parameter in model.named_parameters()}


def assign_weights(model: Model, tensors: Mapping[str, Tensor], *, source: str) -> None:
    """Makes `tensors` the parameters of the model, all of them and nothing else; ties stay ties.

    Raises:
        InputError: missing or surplus names (`MOST_NAMES` are named), or a shape that differs.
    """
    expected = dict(model.named_parameters())
    missing, surplus = sorted(expected.keys() - tensors.keys()), sorted(tensors.keys() - expected.keys())
    if missing or surplus:
        wrong = [f"{kind} {listed(names)}" for kind, names in (("missing", missing), ("unknown", surplus)) if names]
        raise InputError(f"{source}: {'; '.join(wrong)}")
    for name, parameter in expected.items():
        if parameter.shape != tensors[name].shape:
            raise InputError(f"{source}: {name} is {tuple(tensors[name].shape)}, expected {tuple(parameter.shape)}")
        if not tensors[name].is_floating_point():
            raise InputError(f"{source}: {name} is {tensors[name].dtype}, expected floating-point numbers")
    filled = {parameter: torch.nn.Parameter(tensors[name]) for name, parameter in expected.items()}
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            setattr(module, name, filled[parameter])  # by identity: both uses of a tied parameter get the same one


def listed(names: Sequence[str]) -> str:
    """For messages: the first `MOST_NAMES`."""
    more = len(names) - MOST_NAMES
    return ", ".join(names[:MOST_NAMES]) + (f" and {more:,} more" if more > 0 else "")


def _description(model: Model, directory: Path) -> dict[str, Any]:
    vectors = model.encoder.text_vectors
    return {
        "architecture": type(model).__name__,
        **model.config.to_dict(),
        **head_fields(model),
        **({} if vectors is None else {"text_vectors": asdict(vectors)}),
        **{field: sha256(directory / name) for name, field in CHECKSUMS.items()},
    }


def sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_writable(path: Path, *, reads: Iterable[str | None] = ()) -> None:
    """Before the work is done, not after it.

    reads: the files (- is standard input) and directories that the work is made of, by whatever name.

    Raises:
        InputError: `path` is a directory, or in one that is not there or may not be written to, or writing it would
            replace one of those files, or one that belongs to one of those directories; or as `check_path`.
    """
    check_path(path)
    if path.is_dir():
        raise InputError(f"{path}: is a directory, expected a file to write")
    if _is_no_file(path):
        return
    check_path(_name_aside(path))  # which is longer
    for source in reads:
        if source is not None and _replaces(path, source):
            raise InputError(f"{path}: would replace what is read ({shown(source)}); give it another name")
    if not path.parent.is_dir():
        raise InputError(f"{path}: there is no directory {path.parent}")
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"{path}: no permission to write into {path.parent}")


# What belongs to a model directory, a run's or one of Hugging Face's.
BELONGING = (
    CONFIG, "*.safetensors", "*.bin", "*.index.json", *vocabulary_directory.ALL_FILES,
    "modules.json", "sentence_*_config.json", "config_sentence_transformers.json",
    "run.toml", "metrics.jsonl", "summary.json", "curves.png", "confusion.png",
)  # fmt: skip


def _replaces(path: Path, source: str) -> bool:
    """Whether writing `path` would replace the file `source`, or one that belongs to the directory `source`."""
    if not os.path.isdir(source):
        return _is_same(path, source)
    own = [place for place in Path(source).iterdir() if _belongs(place.name)]
    if any(_is_same(path, place) for place in own):
        return True  # also by a link
    target, directory = real_path(path), real_path(source)
    inside = target.relative_to(directory).parts if target.is_relative_to(directory) else ()
    return bool(inside) and (_belongs(inside[-1]) or inside[0] in ("state", "data"))


def _belongs(name: str) -> bool:
    return any(fnmatch(name, pattern) for pattern in BELONGING)


def _is_same(path: Path, source: str | Path) -> bool:
    """Whether both are one file, by its name, a link, or a hard link."""
    try:
        there = os.fstat(sys.stdin.fileno()) if source == STANDARD_INPUT else os.stat(source)
        return os.path.samestat(path.stat(), there)
    except (OSError, AttributeError):  # one is not there yet, or standard input is closed
        return real_path(path) == real_path(source)


def real_path(path: str | Path) -> Path:
    """The place that a name stands for. As `Path.resolve`, which raises a RuntimeError where links lead in a circle."""
    return Path(os.path.realpath(path))


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Has `write` fill a file beside `path`, then renames it: a reader sees the old file or the whole new one.

    A link stays one: the file that it names is replaced. What is no file, such as /dev/stdout, is written into.
    """
    if _is_no_file(path):  # asked before links are followed: a pipe has no path but the link's
        with _named(path, path):
            write(path)
        return
    path = real_path(path)
    aside = _aside(path)
    with _named(path, aside):
        try:
            write(aside)
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)


def write_whole_text(path: Path, text: str) -> None:
    """As `write_whole`, in UTF-8 and with the same line ends on every system."""
    write_whole(path, lambda aside: aside.write_text(text, encoding="utf-8", newline="\n"))


def _is_no_file(path: Path) -> bool:
    """Whether something that is not kept in a directory stands there: a pipe, a terminal, a device."""
    return path.exists() and not path.is_file()


@contextlib.contextmanager
def _named(path: Path, aside: Path) -> Iterator[None]:
    """Has an error of the system name the file that is asked for: a full disk names none, and others the one aside."""
    try:
        yield
    except OSError as error:
        at = error.filename
        if error.errno is not None and (at is None or Path(os.fsdecode(at)).is_relative_to(aside)):
            error.filename = str(path)
            error.filename2 = None
        raise


def _aside(path: Path) -> Path:
    """Where what will be `path` is written first; what killed processes left of it is removed."""
    clear_leftovers(path.parent, path.name)
    return _name_aside(path)


def _name_aside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.partial")


def clear_leftovers(directory: Path, name: str | None = None) -> None:
    """Removes them."""
    for path in leftovers(directory, name):
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def leftovers(directory: Path, name: str | None = None) -> list[Path]:
    """What killed processes left in a directory of what they wrote aside, of `name` alone or of everything.

    What belongs to a process that lives is none.
    """
    found = []
    with contextlib.suppress(OSError):  # there is no such directory, or it may not be looked into
        for path in directory.iterdir():
            aside = _ASIDE.fullmatch(path.name)
            if aside and name in (None, aside["name"]) and not _lives(aside["process"]):
                found.append(path)
    return found


# Three were written without a process's number before.
_ASIDE = re.compile(r"\.(?P<name>model|curves\.png|confusion\.png|.+(?=\.\d))(\.(?P<process>\d+))?\.partial", re.DOTALL)


def _lives(process: str | None) -> bool:
    # Of this process's number is also what one of before left that had it: in containers they repeat.
    return process is not None and int(process) != os.getpid() and psutil.pid_exists(int(process))
