"""The record made small for the page: large arrays as whole numbers of steps, compressed, in base64.

A page of 128 tokens, 12 layers and 12 heads would take over 100 MB as decimal numbers. The largest error of each array
is measured, kept beside it, and shown on the page.
"""

import base64
import json
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minibert.exploring.states import GLOBAL_KEY

Path = tuple[str, ...]  # a place in the record: ("attention", "probabilities")

KEYS = ("attention.key", GLOBAL_KEY)  # of which a page has the second only if there are global tokens

DECIMALS = 4  # of attention: the page has each value as it prints it
FINE_LEVELS = 2047  # steps from zero to the largest query or key, whose products the page sums
STEPS_A_DEVIATION = 8  # per root mean square of what is shown as colours: the eye sees no finer ones

SIGNIFICANT_DIGITS = 6  # of all other numbers

# The only parts besides these arrays that can take megabytes.
COMPRESSED: Sequence[Path] = (("what_if", "answers"), ("contributions", "values"))


@dataclass(frozen=True)
class Packed:
    """An array as whole numbers of steps: value = number · step of its layer."""

    shape: tuple[int, ...]
    steps: list[float]  # one for each index of the first axis, or one for all
    numbers: NDArray[np.int64]
    largest_error: float

    def values(self) -> NDArray[np.float64]:
        """Return what the page has: the array, rounded to its steps."""
        steps = np.array(self.steps).reshape(-1, *[1] * (len(self.shape) - 1))
        return self.numbers * steps

    def to_json(self) -> dict[str, Any]:
        """Return the entry in the page. All low bytes of two-byte numbers come first: so they compress."""
        size = 1 if np.abs(self.numbers).max(initial=0) <= np.iinfo(np.int8).max else 2
        raw = self.numbers.astype(f"<i{size}").reshape(-1, 1).view(np.uint8).T.tobytes()
        return {"shape": list(self.shape), "steps": self.steps, "bytes": size, "data": compressed(raw)}


def compressed(raw: bytes) -> str:
    """Return bytes deflated, in base64."""
    return base64.b64encode(zlib.compress(raw, 9)).decode()


def pack(array: NDArray[Any], steps: Sequence[float]) -> Packed:
    """Return `array` in steps: one step for all of it, or one for each index of its first axis."""
    exact = array.astype(np.float64)
    by_layer = np.array(steps).reshape(-1, *[1] * (array.ndim - 1))
    numbers = np.rint(exact / by_layer).astype(np.int64)
    error = np.abs(numbers * by_layer - exact).max(initial=0.0)
    return Packed(array.shape, list(steps), numbers, float(error))


def steps_of(path: Path, array: NDArray[Any]) -> list[float] | None:
    """Return the steps to which an array of the record is rounded; None if it is small, and stays as it is."""
    if path[-1] == "probabilities":
        return [10.0**-DECIMALS]
    if path[:2] not in (("blocks", "values"), ("embeddings", "values")):
        return None
    layers = array.reshape(1 if path[0] == "embeddings" else len(array), -1).astype(np.float64)
    if path[-1] in ("attention.query", *KEYS):
        steps = np.abs(layers).max(axis=1) / FINE_LEVELS
    else:
        steps = np.sqrt((layers**2).mean(axis=1)) / STEPS_A_DEVIATION
    return [rounded(step) or 1.0 for step in steps]  # for zeros only, any step is right


def packed(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record as JSON can hold it, with large arrays packed; and `rounding`, the errors that this makes."""
    rounding: list[dict[str, Any]] = []
    columns: dict[str, Packed] = {}

    def walk(value: Any, path: Path) -> Any:
        if isinstance(value, Mapping):
            return {key: walk(item, (*path, key)) for key, item in value.items()}
        if isinstance(value, np.ndarray) and (steps := steps_of(path, value)) is not None:
            columns[path[-1]] = found = pack(value, steps)
            rounding.append({"name": " ".join(path), "step": max(steps), "largest_error": found.largest_error})
            return found.to_json()
        if path in COMPRESSED:
            return {"json": compressed(json.dumps(plain(value), separators=(",", ":")).encode())}
        return plain(value)

    page = walk(record, ())
    exact = record["blocks"]["values"]
    heads = record["model"]["heads"]
    error = max(score_error(exact, key, columns, heads) for key in KEYS if key in exact)
    rounding.append({"name": "scores, computed on the page from rounded queries and keys", "largest_error": error})
    return plain({**page, "rounding": rounding})


def score_error(
    values: Mapping[str, NDArray[np.float32]], key: str, columns: Mapping[str, Packed], heads: int
) -> float:
    """Return the largest difference between q·k/√D of exact queries and keys, (L, T, H) each, and the page's."""

    def scores(queries: NDArray[Any], keys: NDArray[Any]) -> NDArray[np.float64]:
        split = (*queries.shape[:2], heads, queries.shape[2] // heads)
        products = np.einsum("lqnd,lknd->lnqk", queries.reshape(split), keys.reshape(split), optimize=True)
        return products / math.sqrt(split[-1])

    exact = scores(*(values[name].astype(np.float64) for name in ("attention.query", key)))
    rounded = scores(*(columns[name].values() for name in ("attention.query", key)))
    return float(np.abs(exact - rounded).max())


def plain(value: Any) -> Any:
    """Return what JSON can hold: arrays as nested lists, numbers with six significant digits."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return rounded(value) if isinstance(value, float) else value


def rounded(value: float) -> float:
    """Return a number as it is printed into the page."""
    return float(f"{value:.{SIGNIFICANT_DIGITS}g}")
