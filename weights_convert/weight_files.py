"""The tensors of a Hugging Face directory, whichever of its four forms they are in. No code in a file is ever run."""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from minibert.errors import InputError
from minibert.training.room import out_of_memory

SAFETENSORS = "model.safetensors"
BIN = "pytorch_model.bin"
FORMS = (SAFETENSORS, f"{SAFETENSORS}.index.json", BIN, f"{BIN}.index.json")  # in the order of the reference


def find_weights(directory: Path) -> Path:
    """The file, or index of shards, that holds the weights.

    Raises:
        InputError: none of the four is there.
    """
    for form in FORMS:
        if (directory / form).is_file():
            return directory / form
    raise InputError(f"{directory}: no weights; expected {', '.join(FORMS[:-1])} or {FORMS[-1]}")


def read_weights(path: Path) -> dict[str, Tensor]:
    """Every tensor by its key, in the number format of the file.

    Raises:
        InputError: damaged, an index and its shards that don't fit together, anything in it but tensors.
    """
    if path.suffix != ".json":
        return _read_file(path)
    places = _read_index(path)
    tensors: dict[str, Tensor] = {}
    for shard in sorted(set(places.values())):
        found = _read_file(path.with_name(shard))
        listed = {key for key, place in places.items() if place == shard}
        if found.keys() != listed:
            odd = ", ".join(sorted(found.keys() ^ listed))
            raise InputError(f"{path.with_name(shard)}: does not hold what {path.name} lists for it: {odd}")
        tensors |= found
    return tensors


def _read_index(path: Path) -> dict[str, str]:
    """Key -> the name of its shard, a file beside the index."""
    try:
        places = json.loads(path.read_text(encoding="utf-8"))["weight_map"]
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        raise InputError(f"{path}: no readable index of shards, a JSON object with weight_map") from error
    if not isinstance(places, dict) or not all(
        isinstance(place, str) and Path(place).name == place for place in places.values()
    ):
        raise InputError(f"{path}: weight_map must give for each key the name of a file beside it")
    return places


def _read_file(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise InputError(f"{path}: missing")
    tensors = _read_safetensors(path) if path.suffix == ".safetensors" else _read_bin(path)
    other = [key for key, value in tensors.items() if not isinstance(key, str) or not isinstance(value, Tensor)]
    if other:
        raise InputError(f"{path}: expected nothing but named tensors, found {', '.join(map(str, other))}")
    return tensors


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except SafetensorError as error:
        raise InputError(f"{path}: damaged ({error})") from error


def _read_bin(path: Path) -> dict[str, Tensor]:
    """A pickle, of which `weights_only` accepts the tensors alone: everything else that it could do is refused."""
    try:
        with warnings.catch_warnings(action="ignore"):  # what is refused is said in one line, below
            tensors = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file may raise anything: pickle, zip, EOF, key or Unicode errors
        if ending := out_of_memory(error):
            raise ending from error
        code = re.search(r"GLOBAL (\S+)", str(error))
        problem = f"it names {code[1]}, and no code in a file is run" if code else "damaged, or more than tensors"
        raise InputError(f"{path}: refused: {problem}") from error
    if not isinstance(tensors, dict):
        raise InputError(f"{path}: expected named tensors, found {type(tensors).__name__}")
    for key, tensor in tensors.items():
        if isinstance(tensor, Tensor) and (tensor.layout != torch.strided or tensor.is_meta):
            raise InputError(f"{path}: {key} is sparse or has no numbers, expected a plain tensor")
    return tensors
