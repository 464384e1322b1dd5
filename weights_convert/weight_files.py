"""The tensors of a Hugging Face directory, in any of its four forms. No code in a file is ever run."""

import json
import re
import warnings
import zipfile
from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from minibert.errors import InputError
from minibert.files.text import check_file, read_small, reason
from minibert.training.room import out_of_memory

SAFETENSORS = "model.safetensors"
BIN = "pytorch_model.bin"
FORMS = (SAFETENSORS, f"{SAFETENSORS}.index.json", BIN, f"{BIN}.index.json")  # in the reference's order of preference
INDEX = 2**27  # bytes; a model of a thousand layers needs far less


def find_weights(directory: Path) -> Path:
    """Return the file, or the index of shards, that holds the weights.

    Raises InputError if none of the four forms is there.
    """
    for form in FORMS:
        if (directory / form).is_file():
            return directory / form
    raise InputError(f"{directory}: no weights; expected {', '.join(FORMS[:-1])} or {FORMS[-1]}")


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return every tensor by its key, in the number format of the file.

    Raises InputError if a file is damaged or holds anything but tensors, or if an index and its shards don't match.
    """
    if not _is_index(path):
        return _read_file(path)
    places = _read_index(path)
    tensors: dict[str, Tensor] = {}
    for shard in sorted(set(places.values())):
        found = _read_file(path.with_name(shard))
        listed = {key for key, place in places.items() if place == shard}
        if found.keys() != listed:
            odd = _listed(found.keys() ^ listed)
            raise InputError(f"{path.with_name(shard)} does not hold what {path.name} lists for it: {odd}")
        tensors |= found
    return tensors


def files_of(path: Path) -> list[Path]:
    """Return the weights' file, or an index and its shards. Raises InputError as `read_weights` does."""
    return [path, *(path.with_name(shard) for shard in set(_read_index(path).values()))] if _is_index(path) else [path]


def _is_index(path: Path) -> bool:
    return path.suffix == ".json"


def _read_index(path: Path) -> dict[str, str]:
    """Return, for each key, the name of its shard: a file beside the index and of its form."""
    try:
        places = json.loads(read_small(path, limit=INDEX))["weight_map"]
    except (OSError, ValueError, RecursionError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not readable as an index of shards, a JSON object with weight_map") from error
    form = Path(path.name.removesuffix(".index.json")).suffix
    odd = [place for place in places.values() if not _is_shard(place, form)] if isinstance(places, dict) else [places]
    if odd:
        raise InputError(
            f"{path}: weight_map must give for each key the name of a {form} file beside it, found {odd[0]!r:.60}"
        )
    return places


def _is_shard(name: object, form: str) -> bool:
    """Return whether this is the name of a file of this form, and leads to no other directory on any system."""
    return isinstance(name, str) and re.fullmatch(rf"[^/\\:\x00-\x1f\ud800-\udfff]+\{form}", name) is not None


def _read_file(path: Path) -> dict[str, Tensor]:
    try:
        check_file(path)
    except FileNotFoundError:
        raise InputError(f"{path} is missing") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({reason(error)})") from error
    tensors = _read_safetensors(path) if path.suffix == ".safetensors" else _read_bin(path)
    other = [key for key, value in tensors.items() if not isinstance(key, str) or not isinstance(value, Tensor)]
    if other:
        raise InputError(f"{path}: expected nothing but named tensors, found {_listed(map(str, other))}")
    return tensors


def _listed(keys: Iterable[str]) -> str:
    """Return the first ten keys, for messages."""
    keys = sorted(keys)
    return ", ".join(keys[:10]) + (", ..." if len(keys) > 10 else "")


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except SafetensorError as error:
        raise InputError(f"{path} is damaged ({error})") from error


def _read_bin(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a pickle; `weights_only` accepts nothing else, and refuses all that a pickle could do."""
    if _unpacks_to_more(path):
        raise InputError(f"{path}: refused: it unpacks to more data than it holds, which no weights file does")
    try:
        with warnings.catch_warnings(action="ignore"):  # what is refused is said in one line, below
            tensors = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file may raise anything: pickle, zip, EOF, key or Unicode errors
        if ending := out_of_memory(error):
            raise ending from error
        code = re.search(r"GLOBAL (\S+)", str(error))
        problem = f"it names {code[1]}, but no code is run" if code else "it is damaged, or holds more than tensors"
        raise InputError(f"{path}: refused: {problem}") from error
    if not isinstance(tensors, dict):
        raise InputError(f"{path}: expected named tensors, found {type(tensors).__name__}")
    for key, tensor in tensors.items():
        if isinstance(tensor, Tensor) and (tensor.layout != torch.strided or tensor.is_meta):
            raise InputError(f"{path}: {key} is sparse or has no numbers, expected a plain tensor")
    return tensors


def _unpacks_to_more(path: Path) -> bool:
    """Return whether this is a zip archive whose parts are compressed or overlap: torch writes neither, but would read
    both, and fill the memory with what a small file unpacks to."""
    try:
        with zipfile.ZipFile(path) as archive:
            return sum(part.file_size for part in archive.infolist()) > path.stat().st_size
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        return False  # torch's old format, or damaged
