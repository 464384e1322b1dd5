"""A record: a directory with a file of JSON for each case, and how two are told apart.

A case has entries by name, nested where that reads well. An entry is a number, a text, or of a tensor its type, shape,
digest and a few of its numbers: of a small one all, so that a difference can be read off.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import platform
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load
from torch import Tensor

from minibert.training.device import processor_name
from tests.endurance.forks import REPOSITORY

MACHINE = "machine"  # the case that says where a record was made
WHOLE, FIRST = 12, 4  # numbers of a tensor that are kept: all of so many, or the first
LONGEST_TEXT = 2_000  # characters of a file that are kept


def digest(content: bytes) -> str:
    """Enough of the SHA-256 to tell any two contents apart."""
    return hashlib.sha256(content).hexdigest()[:24]


def of_tensor(tensor: Tensor, *, first: int = FIRST) -> dict[str, Any]:
    """What is kept of a tensor."""
    tensor = tensor.detach().contiguous()
    numbers = tensor.flatten().double()
    content = tensor.flatten().view(torch.uint8).numpy().tobytes()
    entry = {"tensor": f"{str(tensor.dtype)[6:]} {list(tensor.shape)}", "sha256": digest(content)}
    if len(numbers) > WHOLE:
        entry |= {"mean": float(numbers.mean()), "largest": float(numbers.abs().max())}
    return entry | {"numbers": numbers[: len(numbers) if len(numbers) <= WHOLE else first].tolist()}


def of_content(name: str, content: Any) -> Any:
    """What is kept of a file, as `tests.endurance.material.tree` reads it: bytes, or JSON without its clocks."""
    if isinstance(content, bytes) and name.endswith(".safetensors"):
        tensors = {key: of_tensor(tensor) for key, tensor in sorted(load(content).items())}
        return {"sha256": digest(content), **tensors}
    if name.endswith(".npy"):
        return of_tensor(torch.from_numpy(np.load(io.BytesIO(content))))
    if isinstance(content, bytes):
        try:
            text = content.decode()
        except UnicodeDecodeError:
            return digest(content)
        if name.endswith(".jsonl"):
            return dict(enumerate(text.splitlines(), 1))
        return text if len(text) <= LONGEST_TEXT else digest(content)
    return dict(enumerate(content, 1)) if isinstance(content, list) else content


def machine() -> dict[str, str]:
    """What decides the numbers beside the code, and of which commit that is."""
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=REPOSITORY, capture_output=True, text=True)
    return {"torch": torch.__version__, "python": platform.python_version(), "processor": processor_name(),
            "commit": commit.stdout.strip()}  # fmt: skip


def write(directory: Path, name: str, entries: Mapping[str, Any]) -> None:
    """Adds a case to a record."""
    path = directory / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"{json.dumps(name)}: {json.dumps(entry)}" for name, entry in flat(entries)]
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def read(directory: Path) -> dict[str, dict[str, Any]]:
    """The cases of a record."""
    paths = sorted(directory.rglob("*.json"))
    assert paths, f"{directory}: no record"
    return {str(path.relative_to(directory).with_suffix("")): json.loads(path.read_text("utf-8")) for path in paths}


def flat(entries: Mapping[Any, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """The entries within entries, under the names of both."""
    for name, entry in entries.items():
        if isinstance(entry, Mapping) and "tensor" not in entry and entry:
            yield from flat(entry, f"{before}{name}: ")
        else:
            yield f"{before}{name}", entry


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, list[str]]:
    """Case -> lines about it, the first of which stands for all; cases that are equal have none."""
    found = {}
    for name in sorted(before.keys() | after.keys()):
        if name not in before or name not in after:
            found[name] = ["new" if name in after else "missing"]
            continue
        old, new = before[name], after[name]
        lines, furthest = [], 0.0
        for entry in dict.fromkeys([*old, *new]):
            if entry not in old or entry not in new:
                lines.append(f"{entry}: {'new' if entry in new else 'missing'}")
            elif json.dumps(old[entry]) != json.dumps(new[entry]):  # where NaN is itself
                apart = distance(old[entry], new[entry])
                furthest = max(furthest, apart or 0.0)
                lines.append(f"{entry}: {_told(new[entry], old[entry]) if apart is None else f'{apart:.3g} apart'}")
        if lines:
            by = f", by up to {furthest:.3g}" if furthest else ""
            found[name] = [f"{len(lines)} of {len(old)} entries differ{by}", *lines]
    return found


def distance(a: Any, b: Any) -> float | None:
    """How far two numbers or tensors are apart: at least so far, where not all their numbers are kept. None: they are
    no numbers, or not of one type and shape."""
    if type(a) in (int, float) and type(b) in (int, float):
        return abs(a - b)
    if not isinstance(a, Mapping) or not isinstance(b, Mapping) or not a or a.get("tensor") != b.get("tensor"):
        return None
    numbers = ([*entry["numbers"], entry.get("mean", 0.0), entry.get("largest", 0.0)] for entry in (a, b))
    return max(abs(x - y) for x, y in zip(*numbers, strict=True))


def _told(new: Any, old: Any) -> str:
    """Two texts from a little before their first difference on."""
    a, b = (text if isinstance(text, str) else json.dumps(text) for text in (new, old))
    same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False))
    start = max(0, len(list(same)) - 20)
    return f"{a[start : start + 80]!r} instead of {b[start : start + 80]!r}"
