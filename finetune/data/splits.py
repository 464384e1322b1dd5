"""Holding out part of the training examples if there is no dev file."""

from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

import numpy as np

from minibert.errors import InputError

Example = TypeVar("Example")


def hold_out(
    examples: Sequence[Example],
    *,
    share: float = 0.1,
    generator: np.random.Generator,
    stratum: Callable[[Example], Hashable] = lambda _: None,
) -> tuple[list[Example], list[Example]]:
    """Return (examples to train on, examples to evaluate on), both in the file's order.

    stratum: from the examples with the same value, such as a text's label, the same share is held out, rounded; of two
    or more, at least one stays on each side. An example whose value no other has is trained on, unless there are so
    many, as with sets of labels, that less than half the share would be held out: then they fill it up.

    Raises InputError if there are too few examples for two parts.
    """
    strata = _indices_by(examples, stratum)
    held: set[int] = set()
    for indices in strata:
        count = min(max(1, round(share * len(indices))), len(indices) - 1)
        held.update(generator.permutation(indices)[:count].tolist())
    wanted = min(round(share * len(examples)), len(examples) - 1)
    if len(held) < wanted / 2:
        alone = [index for indices in strata if len(indices) == 1 for index in indices]
        held.update(generator.permutation(alone)[: wanted - len(held)].tolist())
    return _parted(examples, held)


def hold_out_groups(
    examples: Sequence[Example],
    *,
    share: float = 0.1,
    generator: np.random.Generator,
    group: Callable[[Example], Hashable],
) -> tuple[list[Example], list[Example]]:
    """Split like `hold_out`, but keep groups together: all questions of an article, so no passage is on both sides.

    A group drawn at random is held out if that brings the share nearer; if all are too large, the smallest is held out.

    Raises InputError if there are fewer than two groups.
    """
    groups = _indices_by(examples, group)
    drawn = [groups[number] for number in generator.permutation(len(groups))]
    held: set[int] = set()
    for indices in drawn[:-1]:
        missing = share * len(examples) - len(held)
        if len(indices) < 2 * missing:
            held.update(indices)
    if not held and len(drawn) > 1:
        smallest = min(drawn, key=len)
        held.update(smallest)
    return _parted(examples, held)


def _indices_by(examples: Sequence[Example], key: Callable[[Example], Hashable]) -> list[list[int]]:
    """Return lists of the indices of examples with the same key, in the order in which keys first occur."""
    found: dict[Hashable, list[int]] = {}
    for index, example in enumerate(examples):
        found.setdefault(key(example), []).append(index)
    return list(found.values())


def _parted(examples: Sequence[Example], held: set[int]) -> tuple[list[Example], list[Example]]:
    if not held:
        raise InputError(f"too few examples to hold some out ({len(examples)}), expected more, or a --dev file")
    train = [example for index, example in enumerate(examples) if index not in held]
    return train, [example for index, example in enumerate(examples) if index in held]
