"""Which of two sentences a model prefers, and how often it is the right one: minimal pairs, as BLiMP has them.

Warstadt et al. 2020, "BLiMP: The Benchmark of Linguistic Minimal Pairs" (arXiv 1912.00582): a model is right about a
pair if the grammatical sentence scores higher than the other, which differs as little as possible.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from minibert.errors import InputError
from minibert.files.text import (
    check_text,
    json_type,
    parse_json,
    parse_object,
    read_lines,
    read_small,
    reason,
    shown,
    suffix,
)

ALL = "all"  # the only group where no field names them


class Pair(NamedTuple):
    """A line of the file of pairs."""

    good: str
    bad: str
    group: str
    row: int  # its line, from 1


def read_pairs(path: str, *, good: str, bad: str, group: str | None) -> list[Pair]:
    """Return the pairs of a file of JSON lines, plain or .gz. good, bad, group: the names of their fields; group None:
    all pairs are one group.

    Raises InputError, naming the line, if it is not a JSON object, or a field is missing or not a text; also if the
    file has no pair or cannot be read.
    """
    if suffix(path) not in (".jsonl", ".ndjson", ""):
        raise InputError(f"{path}: expected one JSON object per line, in a file whose name ends in .jsonl or .jsonl.gz")
    pairs = []
    for row, line in read_lines(path):
        if not line.strip():
            continue
        where = f"{shown(path)}:{row}"
        record = parse_object(line, where)
        values = []
        for name in (good, bad, *([] if group is None else [group])):
            if name not in record:
                raise InputError(f"{where}: field {name!r} is missing; the object has {', '.join(record) or 'none'}")
            value = record[name]
            if name == group and type(value) in (bool, int):  # a number can name a group
                value = json.dumps(value)
            values.append(check_text(value, f"{where}: field {name!r}"))
        pairs.append(Pair(values[0], values[1], ALL if group is None else values[2], row))
    if not pairs:
        raise InputError(f"{shown(path)}: expected one pair per line, found nothing")
    return pairs


class Accuracy(NamedTuple):
    """How often a model prefers the good sentence."""

    accuracy: float  # 0 to 1
    pairs: int


class Preferences(NamedTuple):
    """The accuracy of a model in each group, in the order in which the groups appear, and their unweighted mean."""

    mean: float
    groups: Mapping[str, Accuracy]


def preferences(good: NDArray[np.float64], bad: NDArray[np.float64], groups: Sequence[str]) -> Preferences:
    """Compare the scores of good and bad sentences, (pairs,) each; a tie counts half. groups: that of each pair."""
    points = (good > bad) + 0.5 * (good == bad)
    names = list(dict.fromkeys(groups))
    number = {name: i for i, name in enumerate(names)}
    group = np.array([number[name] for name in groups])
    counts = np.bincount(group, minlength=len(names))
    shares = np.bincount(group, weights=points, minlength=len(names)) / counts
    found = {name: Accuracy(float(share), int(count)) for name, share, count in zip(names, shares, counts, strict=True)}
    return Preferences(float(shares.mean()), found)


def table(found: Mapping[str, Preferences]) -> Iterable[str]:
    """Yield the lines of a table: a row for each group and for their mean, a column for each model, and the pairs."""
    models = list(found.values())
    groups = models[0].groups
    rows = [(name, [one.groups[name].accuracy for one in models], groups[name].pairs) for name in groups]
    if len(rows) > 1:
        total = sum(each.pairs for each in groups.values())
        rows.append((f"mean of {len(groups):,} groups", [one.mean for one in models], total))
    width = max(len(name) for name, *_ in rows)
    yield "  ".join([" " * width, *(f"{name:>8}" for name in found), f"{'pairs':>9}"])
    for name, values, pairs in rows:
        cells = [f"{100 * value:>{max(8, len(head)) - 1}.2f}%" for head, value in zip(found, values, strict=True)]
        yield "  ".join([f"{name:{width}}", *cells, f"{pairs:>9,}"])


def words_seen(directory: str) -> int | None:
    """Return how many words of text a run's model has seen, from its summary.json; None if that is not known.

    Raises InputError if the file is not a JSON object, or has something else than a count.
    """
    path = Path(directory) / "summary.json"
    if not path.exists():
        return None
    remedy = "the number of words seen is read from this file; without it, the number counts as unknown"
    try:
        summary = parse_json(read_small(path))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not readable as JSON ({reason(error)}); {remedy}") from error
    if not isinstance(summary, dict):
        raise InputError(f"{path}: expected a JSON object, found {json_type(summary)}; {remedy}")
    words = summary.get("words")
    if words is not None and (type(words) is not int or words < 0):
        raise InputError(f"{path}: field 'words' is {words!r:.40}, expected a count; {remedy}")
    return words
