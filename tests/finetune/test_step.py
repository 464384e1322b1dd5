"""What a step adds up."""

from __future__ import annotations

from finetune.step import StepSums


def test_sums_of_steps_add_up_and_what_teaches_nothing_has_no_loss() -> None:
    nothing = StepSums(loss=0.0, count=0.0, examples=2.0, tokens=7.0)  # of words without a piece
    assert nothing.mean_loss == 0.0
    both = nothing + StepSums(loss=6.0, count=4.0, examples=2.0, tokens=9.0)
    assert (both, both.mean_loss) == (StepSums(6.0, 4.0, 4.0, 16.0), 1.5)
