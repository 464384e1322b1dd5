"""The learning-rate schedule at literal points."""

import pytest

from minibert.training.schedule import learning_rate_factor


@pytest.mark.parametrize(
    ("progress", "expected"), [(0.0, 0.0), (0.05, 0.5), (0.1, 1.0), (0.5, 1.0), (0.6, 1.0), (0.8, 0.5), (1.0, 0.0)]
)
def test_rises_stays_and_falls(progress: float, expected: float) -> None:
    assert learning_rate_factor(progress, warmup_share=0.1, decay_share=0.4) == pytest.approx(expected)


@pytest.mark.parametrize(("progress", "expected"), [(0.125, 0.5), (0.25, 1.0), (0.5, 2 / 3), (0.75, 1 / 3), (1.0, 0.0)])
def test_paper_schedule_falls_from_the_end_of_the_warmup(progress: float, expected: float) -> None:
    assert learning_rate_factor(progress, warmup_share=0.25, decay_share=0.75) == pytest.approx(expected)


def test_shares_of_zero_give_a_constant_rate() -> None:
    assert [learning_rate_factor(p, warmup_share=0.0, decay_share=0.0) for p in (0.0, 0.5, 1.0)] == [1.0, 1.0, 1.0]


def test_overlapping_shares_give_the_lower_line() -> None:
    assert learning_rate_factor(0.5, warmup_share=1.0, decay_share=1.0) == 0.5


def test_outside_the_run_the_factor_is_zero() -> None:
    assert [learning_rate_factor(p, warmup_share=0.0, decay_share=0.0) for p in (-0.1, 1.1)] == [0.0, 0.0]


def test_first_and_last_step_learn() -> None:
    factors = [learning_rate_factor((s + 0.5) / 10, warmup_share=0.2, decay_share=0.8) for s in range(10)]
    assert factors[0] == pytest.approx(0.25)
    assert factors[-1] == pytest.approx(0.0625)
    assert min(factors) > 0
