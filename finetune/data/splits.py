"""Holding out a part of the training examples, where there is no dev file."""

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
    """(to train on, to evaluate on), both in the file's order.

    stratum: of examples with the same value, a text's label say, the same share is held out, to the nearest whole
    number; of two or more, one at least stays on each side. One that is alone with its value stays to be trained on,
    unless there are so many, as with sets of labels, that not half the share would be held out: then they fill it up.

    Raises InputError: too few examples for both parts.
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
    """As `hold_out`, but a group stays together: all questions of an article, so that no passage is on both sides.

    Groups are drawn while they come nearer to the share than without them; if each is too large, the smallest is drawn.

    Raises InputError: fewer than two groups.
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
    """The indices of the examples that have the same key, in the keys' order."""
    found: dict[Hashable, list[int]] = {}
    for index, example in enumerate(examples):
        found.setdefault(key(example), []).append(index)
    return list(found.values())


def _parted(examples: Sequence[Example], held: set[int]) -> tuple[list[Example], list[Example]]:
    if not held:
        raise InputError(
            f"too little to hold out a part of it ({len(examples)} example(s)), expected more or a --dev file"
        )
    train = [example for index, example in enumerate(examples) if index not in held]
    return train, [example for index, example in enumerate(examples) if index in held]
