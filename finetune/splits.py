"""Holding out a part of the training examples, where there is no dev file."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

import numpy as np

Example = TypeVar("Example")


def hold_out(
    examples: Sequence[Example],
    *,
    share: float = 0.1,
    generator: np.random.Generator,
    stratum: Callable[[Example], Hashable] | None = None,
) -> tuple[list[Example], list[Example]]:
    """(to train on, to evaluate on), both in the file's order.

    stratum: examples with the same value are shared out alike, each keeping at least one to train on: a text's label.

    Raises:
        InputError: a share that is not between 0 and 1, too few examples for both parts.
    """
    raise NotImplementedError


def hold_out_groups(
    examples: Sequence[Example],
    *,
    share: float = 0.1,
    generator: np.random.Generator,
    group: Callable[[Example], Hashable],
) -> tuple[list[Example], list[Example]]:
    """As `hold_out`, but a group stays together: all questions of an article, so that no passage is on both sides.

    Where there is one group alone, it is cut after its first examples: something must be held out.

    Raises:
        InputError: as `hold_out`.
    """
    raise NotImplementedError
