"""Resumable state: numbered directories below `state/`, each whole or not there at all, checked when they are read.

    state/step-00000200/tensors.safetensors     every tensor that resuming needs
    state/step-00000200/state.json              the facts beside them, and the sha256 and size of the tensors file
    state/.step-00000300.partial/               being written; after a kill, rubbish that the next save removes
    state/.step-00000200.replaced/              what its successor is replacing; counts if that never came

Files are written aside, brought to the disk and renamed, in this order, so that a power cut leaves the old state or the
new one. Reading changes nothing, so that several processes may read at once; only one of them may save.
"""

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from minibert.errors import InputError, RunStopped
from minibert.files.text import read_small
from minibert.files.writing import new_directory, sha256, to_disk

TENSORS = "tensors.safetensors"
RECORD = "state.json"
FORMAT = 1
KEPT = 2  # states


@dataclass(frozen=True)
class State:
    """What `save_state` was given, read back; the tensors lie on the CPU."""

    step: int
    tensors: dict[str, Tensor]
    facts: dict[str, Any]


class Damaged(Exception):
    """A state that is not whole; the message is the reason."""


def save_state(directory: Path, step: int, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> Path:
    """Save the state after `step` steps below `directory` and return its path; then remove all but `KEPT` states.

    `facts` is anything that JSON can hold; no two of `tensors` may share memory. With safetensors 0.8, tensors on the
    CPU are written from where they lie; earlier ones copy them first.

    Raises RunStopped, naming the reason and the last good state, where the disk does not take it; the states that were
    there before are then as they were.
    """
    final = directory / f"step-{step:08d}"
    partial = directory / f".{final.name}.partial"
    replaced = directory / f".{final.name}.replaced"
    try:
        tidy(directory)
        with new_directory(partial):
            _write(partial, step, tensors, facts)
            if final.exists():
                final.rename(replaced)
            partial.rename(final)
            to_disk(directory)
    except (OSError, SafetensorError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or str(error)
        good = [known for known, path in sorted(_states(directory).items()) if _is_plausible(path)]
        last = f"the last good state is that of step {good[-1]}" if good else "no state was saved before"
        raise RunStopped(f"{final}: could not be written ({reason}); {last}") from error
    tidy(directory)
    _remove_old(directory, step)
    return final


def load_newest_state(directory: Path, report: Callable[[str], None]) -> State | None:
    """The newest whole state below `directory`, or None where there is none at all.

    A damaged one is told to `report`, with path and reason, and the one before it is tried.

    Raises InputError where there are states but none is whole: training must not start again at step 0 unnoticed, and
    what is asked for, to go on from this directory, cannot be done.
    """
    states = _states(directory)
    for step in sorted(states, reverse=True):
        try:
            return _read(states[step], step)
        except Damaged as damage:
            report(f"{states[step]}: damaged, skipped: {damage}")
    if states:
        raise InputError(f"{directory}: expected a whole state to resume from, but all {len(states)} are damaged")
    return None


def _states(directory: Path) -> dict[int, Path]:
    """Step -> path of every state that was once whole."""
    found: dict[int, Path] = {}
    if directory.is_dir():
        # Sorted, the names with a dot come first: a state that took its place again wins over the one it replaced.
        for path in sorted(directory.iterdir()):
            name = re.fullmatch(r"step-(\d+)|\.step-(\d+)\.replaced", path.name)
            if name:
                found[int(name[1] or name[2])] = path
    return found


def _write(partial: Path, step: int, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    tensors_path = partial / TENSORS
    # On a full disk this raises an error that names it (tried with safetensors 0.5 to 0.8).
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, tensors_path)
    to_disk(tensors_path)
    record = {
        "format": FORMAT,
        "step": step,
        "tensors_bytes": tensors_path.stat().st_size,
        "tensors_sha256": sha256(tensors_path),
        "facts": dict(facts),
    }
    record["record_sha256"] = _record_sha256(record)
    record_path = partial / RECORD
    record_path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8", newline="\n")
    tensors_path.chmod(record_path.stat().st_mode)  # safetensors makes its files readable to their owner alone
    to_disk(record_path)
    to_disk(partial)


def _read(path: Path, step: int) -> State:
    """Raises Damaged, with the reason, where anything is missing or is not what was written."""
    try:
        record = _read_record(path)
        if record["step"] != step:
            raise Damaged(f"{RECORD} belongs to step {record['step']}")
        if sha256(path / TENSORS) != record["tensors_sha256"]:
            raise Damaged(f"{TENSORS} does not have the sha256 that {RECORD} names")
        return State(step, load_file(path / TENSORS), record["facts"])
    except OSError as error:
        raise Damaged(f"{error.filename}: {error.strerror}") from error
    except SafetensorError as error:
        raise Damaged(f"{TENSORS}: {error}") from error
    except InputError as error:  # no file, or one of another size than a state has
        raise Damaged(str(error)) from error


def _read_record(path: Path) -> dict[str, Any]:
    """state.json, whole in itself, beside a tensors file of the size that it names. Raises Damaged or OSError."""
    try:
        record = json.loads(read_small(path / RECORD))
    except (ValueError, RecursionError) as error:
        raise Damaged(f"{RECORD} is not JSON") from error
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise Damaged(f"{RECORD} is no record of format {FORMAT}")
    if record.pop("record_sha256", None) != _record_sha256(record):
        raise Damaged(f"{RECORD} was changed after it was written")
    size = (path / TENSORS).stat().st_size
    if size != record["tensors_bytes"]:
        raise Damaged(f"{TENSORS} has {size} bytes, expected {record['tensors_bytes']}")
    return record


def _is_plausible(path: Path) -> bool:
    """Whether a state looks whole without its tensors being read."""
    try:
        _read_record(path)
    except (Damaged, InputError, OSError):
        return False
    return True


def tidy(directory: Path) -> None:
    """Remove what interrupted saves left, and put back a state that lost its place to a successor that never came.

    For the process that saves, at a time when no other reads.
    """
    for rest in directory.glob(".step-*.partial"):
        shutil.rmtree(rest)
    for replaced in directory.glob(".step-*.replaced"):
        final = directory / replaced.name.removeprefix(".").removesuffix(".replaced")
        if final.exists():
            shutil.rmtree(replaced)
        else:
            replaced.rename(final)


def _remove_old(directory: Path, step: int) -> None:
    """Keep the newest `KEPT` whole states up to `step`. A resume that went back to it has passed later ones over."""
    states = _states(directory)
    whole = [known for known in sorted(states) if known <= step and _is_plausible(states[known])]
    for known, path in states.items():
        if known not in whole[-KEPT:]:
            shutil.rmtree(path)


def _record_sha256(record: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
