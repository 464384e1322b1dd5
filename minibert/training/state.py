"""Resumable state: numbered directories under `state/`, each whole or absent, which are checked when they are read.

    state/step-00000200/tensors.safetensors     every tensor that resuming needs
    state/step-00000200/state.json              the other facts, and the sha256 and size of the tensors file
    state/.step-00000300.partial/               being written; after a kill, the next save removes it
    state/.step-00000200.replaced/              being replaced by a newer save; it still counts if that never completes

Files are written aside, flushed to disk and renamed, in this order, so that a power cut leaves either the old state or
the new one. Reading changes nothing, so several processes may read at once; only one of them may save.
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
    """What was passed to `save_state`, read back; the tensors are on the CPU."""

    step: int
    tensors: dict[str, Tensor]
    facts: dict[str, Any]


class Damaged(Exception):
    """A state that is not whole; the message is the reason."""


def save_state(directory: Path, step: int, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> Path:
    """Save the state after `step` steps under `directory` and return its path; then remove all but `KEPT` states.

    `facts` is anything that JSON can hold; no two of `tensors` may share memory. safetensors 0.8 writes tensors on the
    CPU directly; earlier versions copy them first.

    Raises RunStopped, naming the reason and the last good state, if writing fails; earlier states are unchanged.
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
        raise RunStopped(f"{final} could not be written ({reason}); {last}") from error
    tidy(directory)
    _remove_old(directory, step)
    return final


def load_newest_state(directory: Path, report: Callable[[str], None]) -> State | None:
    """Load the newest whole state under `directory`; return None if there are no states.

    A damaged state is passed to `report`, with path and reason, and the one before it is tried.

    Raises InputError if there are states but all are damaged: the run can't be resumed, and training must not start
    again at step 0 unnoticed.
    """
    states = _states(directory)
    for step in sorted(states, reverse=True):
        try:
            return _read(states[step], step)
        except Damaged as damage:
            report(f"{states[step]}: damaged, skipped: {damage}")
    if states:
        raise InputError(
            f"{directory}: no state to resume from, because every saved state is damaged ({len(states)} in all)"
        )
    return None


def _states(directory: Path) -> dict[int, Path]:
    """Return step -> path of every state that was once whole."""
    found: dict[int, Path] = {}
    if directory.is_dir():
        # Names with a dot sort first, so a complete state wins over the one that it replaced.
        for path in sorted(directory.iterdir()):
            name = re.fullmatch(r"step-(\d+)|\.step-(\d+)\.replaced", path.name)
            if name:
                found[int(name[1] or name[2])] = path
    return found


def _write(partial: Path, step: int, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    tensors_path = partial / TENSORS
    # On a full disk this raises an error that says so (tested with safetensors 0.5 to 0.8).
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
    tensors_path.chmod(record_path.stat().st_mode)  # safetensors makes its files readable only by their owner
    to_disk(record_path)
    to_disk(partial)


def _read(path: Path, step: int) -> State:
    """Read and check a state. Raises Damaged, with the reason, if anything is missing or not as it was written."""
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
    except InputError as error:  # not a file, or too large for a state
        raise Damaged(str(error)) from error


def _read_record(path: Path) -> dict[str, Any]:
    """Read state.json. Raises Damaged if it isn't whole or the size of the tensors file is wrong, and OSError."""
    try:
        record = json.loads(read_small(path / RECORD))
    except (ValueError, RecursionError) as error:
        raise Damaged(f"{RECORD} is not JSON") from error
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise Damaged(f"{RECORD} is not a record of format {FORMAT}")
    if record.pop("record_sha256", None) != _record_sha256(record):
        raise Damaged(f"{RECORD} was changed after it was written")
    size = (path / TENSORS).stat().st_size
    if size != record["tensors_bytes"]:
        raise Damaged(f"{TENSORS} has {size} bytes, expected {record['tensors_bytes']}")
    return record


def _is_plausible(path: Path) -> bool:
    """Return whether a state looks whole, without reading its tensors."""
    try:
        _read_record(path)
    except (Damaged, InputError, OSError):
        return False
    return True


def tidy(directory: Path) -> None:
    """Remove what interrupted saves left behind, and put back a state whose replacement never completed.

    To be called by the process that saves, while no other process reads.
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
    """Keep the newest `KEPT` whole states up to `step`; a resume from an earlier state has made later ones obsolete."""
    states = _states(directory)
    whole = [known for known in sorted(states) if known <= step and _is_plausible(states[known])]
    for known, path in states.items():
        if known not in whole[-KEPT:]:
            shutil.rmtree(path)


def _record_sha256(record: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
