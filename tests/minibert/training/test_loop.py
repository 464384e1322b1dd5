"""What the loop adds up; whole runs of it are in the tests of pretraining and fine-tuning."""

from __future__ import annotations

from typing import NamedTuple

from minibert.training.loop import added


class Sums(NamedTuple):
    loss: float
    tokens: float


def test_sums_of_steps_add_up_in_their_order() -> None:
    assert added([Sums(0.5, 7.0), Sums(6.0, 9.0), Sums(0.25, 1.0)]) == Sums(6.75, 17.0)
    steps = [Sums(value, 1.0) for value in (0.1, 0.2, 0.3, 1e16)]
    assert added(steps).loss == ((0.1 + 0.2) + 0.3) + 1e16  # as ever, whatever Python's own `sum` does
