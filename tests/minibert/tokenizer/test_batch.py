"""Rows of unequal length side by side."""

from __future__ import annotations

import numpy as np
import torch

from minibert.tokenizer.batch import pad


def test_rows_are_padded_on_the_right() -> None:
    rows = [np.array([5, 6, 7], np.int32), np.array([8], np.int32)]
    assert pad(rows, -1).tolist() == [[5, 6, 7], [8, -1, -1]]
    assert pad(rows, 0, length=4).tolist() == [[5, 6, 7, 0], [8, 0, 0, 0]]
    assert pad(rows, 0).dtype == torch.int64
    offsets = pad([[(0, 3), (4, 7)], [(1, 2)]], 0, length=3)
    assert offsets.tolist() == [[[0, 3], [4, 7], [0, 0]], [[1, 2], [0, 0], [0, 0]]]
