"""Rows of unequal length side by side."""

from __future__ import annotations

import numpy as np
import torch

from minibert.tokenizer.batch import pad


def test_rows_are_padded_on_the_right() -> None:
    rows = [np.array([5, 6, 7], np.int32), np.array([8], np.int32)]
    assert pad(rows, -1).tolist() == [[5, 6, 7], [8, -1, -1]]
    assert pad(rows, 0, length=4).tolist() == [[5, 6, 7, 0], [8, 0, 0, 0]]
    states = pad([torch.ones(1, 2, dtype=torch.bfloat16), torch.ones(2, 2, dtype=torch.bfloat16)], 0, length=3)
    assert states.shape == (2, 3, 2) and states.dtype == torch.bfloat16
    assert states.sum(dim=(1, 2)).tolist() == [2, 4] and states[0, 1:].count_nonzero() == 0
