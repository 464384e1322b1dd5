"""How much a model is asked at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from finetune.answering import by_length
from finetune.task import Feature, Tokens


def feature(number: int, *lengths: int) -> Feature:
    return Feature(number, tuple(Tokens(np.zeros(length, np.int32), length) for length in lengths), None)


@pytest.mark.parametrize(
    ("features", "expected"),
    [
        ([], []),
        ([feature(0, 3), feature(1, 9), feature(2, 3)], [[1, 0, 2]]),
        ([feature(i, *[5] * 30) for i in range(5)], [[0, 1, 2], [3, 4]]),  # those that begin below 64, and so on
        ([feature(0, *[5] * 500), feature(1, 6)], [[1, 0]]),
        ([feature(0, *[5] * 500), feature(1, 4)], [[0], [1]]),
    ],
)
def test_features_come_longest_first_and_some_sequences_at_once(
    features: Sequence[Feature], expected: list[list[int]]
) -> None:
    assert [numbers.tolist() for numbers in by_length(features)] == expected
