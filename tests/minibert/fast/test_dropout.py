"""Dropout: how much, by what factor, seeded by what, and when not at all."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from minibert.fast.dropout import Dropout, keep_mask

ELEMENTS = 1_000_000


def dropped(p: float, x: torch.Tensor, seed: int = 0) -> torch.Tensor:
    torch.manual_seed(seed)
    return Dropout(p).train()(x)


@pytest.mark.parametrize("p", [0.1, 0.25, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_elements_are_dropped_with_the_probability_and_the_rest_scaled(p: float, dtype: torch.dtype) -> None:
    result = dropped(p, torch.ones(1000, ELEMENTS // 1000, dtype=dtype))
    assert result.dtype == dtype
    share = float((result == 0).double().mean())
    assert abs(share - p) < 4 * (p * (1 - p) / ELEMENTS) ** 0.5  # four standard deviations
    kept = round(65536 * (1 - p)) / 65536
    assert set(result.unique().tolist()) == {0.0, float(torch.tensor(1 / kept, dtype=dtype))}


def test_the_mean_stays() -> None:
    assert float(dropped(0.1, torch.ones(ELEMENTS)).mean()) == pytest.approx(1, abs=0.0015)


def test_neighbours_are_dropped_independently() -> None:
    gone = (dropped(0.5, torch.ones(ELEMENTS)) == 0).double().numpy()
    # Elements 1 to 4 apart come of one random number, 64 apart of numbers that follow one another.
    for distance in (1, 2, 3, 4, 8, 64):
        correlation = np.corrcoef(gone[:-distance], gone[distance:])[0, 1]
        assert abs(correlation) < 0.005, distance


def test_the_gradient_passes_where_the_element_did() -> None:
    x = torch.full((1000,), 3.0, requires_grad=True)
    result = dropped(0.4, x)
    result.sum().backward()
    assert x.grad is not None
    assert_close(x.grad * 3, result.detach())


def test_the_seed_decides_and_two_calls_differ() -> None:
    x = torch.ones(1001)  # not a multiple of four
    assert torch.equal(dropped(0.5, x, seed=3), dropped(0.5, x, seed=3))
    assert not torch.equal(dropped(0.5, x, seed=3), dropped(0.5, x, seed=4))
    torch.manual_seed(3)
    layer = Dropout(0.5).train()
    assert not torch.equal(layer(x), layer(x))


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (1,), (5,), (2, 3, 7)])
def test_any_shape_is_served(shape: tuple[int, ...]) -> None:
    assert dropped(0.5, torch.ones(shape)).shape == shape
    assert keep_mask(torch.Size(shape), 40_000).shape == shape


def test_an_element_is_kept_at_the_levels_below_the_count() -> None:
    torch.manual_seed(0)
    assert int(keep_mask(torch.Size([ELEMENTS]), 0).sum()) == 0
    # One in 65,536 is dropped: 15 expected of a million.
    assert 1 <= ELEMENTS - int(keep_mask(torch.Size([ELEMENTS]), 65535).sum()) <= 40


def test_everything_is_dropped_with_probability_one_and_nothing_with_none() -> None:
    x = torch.arange(1.0, 9.0)
    assert torch.equal(dropped(1.0, x), torch.zeros(8))
    assert torch.equal(dropped(0.0, x), x)


def test_evaluation_drops_nothing() -> None:
    x = torch.ones(1000)
    assert torch.equal(Dropout(0.9).eval()(x), x)
