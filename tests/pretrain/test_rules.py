"""The rules: literal rates of runs that they were fitted to, their range, and the advice to a run that is unwise."""

from __future__ import annotations

import dataclasses

import pytest

from pretrain.options import PretrainOptions
from pretrain.rules import Plan, advice, beyond_measured, by_rule, left_to_rules

TINY, MINI = 393_216, 3_145_728  # weights of their blocks


def plan(hidden_size: int, tokens: float, *, passes: float = 1.0, step_tokens: float = 7_870.0) -> Plan:
    weights = {128: TINY, 256: MINI}.get(hidden_size, 12 * 12 * hidden_size**2)
    layers = 2 if hidden_size == 128 else 4
    return Plan(hidden_size, layers, weights, step_tokens, tokens, passes, trained=False)


@pytest.mark.parametrize(
    ("hidden_size", "tokens", "rates"),
    [
        (128, 7.6e6, (6.33e-3, 4.95e-3)),
        (128, 25.2e6, (5.61e-3, 3.89e-3)),
        (256, 1.8e6, (3.65e-3, 3.93e-3)),
        (256, 6.1e6, (3.24e-3, 3.08e-3)),
    ],
)
def test_rates_of_the_runs_that_were_measured(hidden_size: int, tokens: float, rates: tuple[float, float]) -> None:
    found = by_rule(PretrainOptions(steps=1), plan(hidden_size, tokens))
    assert (found.learning_rate, found.block_learning_rate) == rates


def test_only_what_is_left_open_is_filled_in() -> None:
    given = PretrainOptions(steps=1, learning_rate=0.125, dropout=0.25)
    assert left_to_rules(given) == ["block_learning_rate"]
    found = by_rule(given, plan(128, 1e7))
    assert dataclasses.replace(found, block_learning_rate=None) == given
    adamw = PretrainOptions(steps=1, optimizer="adamw", learning_rate=0.125)
    assert left_to_rules(adamw) == ["dropout"]  # nothing is trained by Muon


def test_a_longer_run_and_a_wider_model_have_lower_rates() -> None:
    short, long, wide = (by_rule(PretrainOptions(steps=1), plan(*of)) for of in ((128, 5e6), (128, 5e7), (512, 5e6)))
    for name in ("learning_rate", "block_learning_rate"):
        assert getattr(long, name) < getattr(short, name) > getattr(wide, name)


def test_a_batch_half_as_large_has_lower_rates_by_the_square_root() -> None:
    whole, half = (by_rule(PretrainOptions(steps=1), plan(128, 1e7, step_tokens=size)) for size in (8e3, 4e3))
    assert half.learning_rate == pytest.approx(whole.learning_rate / 2**0.5, rel=2e-3)


@pytest.mark.parametrize(("passes", "dropout"), [(0.5, 0.0), (15.0, 0.0), (23.0, 0.1)])
def test_a_text_that_is_read_often_has_dropout(passes: float, dropout: float) -> None:
    assert by_rule(PretrainOptions(steps=1), plan(128, 1e7, passes=passes)).dropout == dropout


def test_outside_the_measured_range_a_line_says_so() -> None:
    assert beyond_measured(plan(128, 1e7)) == []
    [line] = beyond_measured(plan(768, 1e9))
    assert line == (
        "the rules' measurements do not cover a hidden size of 768 (measured: 128 to 256), 1,000,000,000 tokens in "
        "all (measured: 1,800,000 to 77,000,000): it may be worth trying other rates"
    )
    [line] = beyond_measured(dataclasses.replace(plan(128, 1e7), trained=True))
    assert "cover weights that are already trained (--init)" in line


def test_a_model_too_large_for_its_run_is_told_a_smaller_one() -> None:
    assert advice(plan(256, 2 * MINI)) == []
    assert advice(plan(256, 1.8e6)) == [
        "the model is large for so short a run (0.57 tokens for each weight of its blocks): --model tiny or a longer "
        "run would probably reach a lower loss"
    ]
    [line] = advice(plan(768, 1e7))
    assert "--model mini or a longer run" in line
    [line] = advice(plan(128, 1e5))
    assert "a smaller --model or a longer run" in line


def test_too_many_passes_are_named() -> None:
    assert advice(plan(128, 1e7, passes=25.0)) == []
    [line] = advice(plan(128, 1e7, passes=400.0))
    assert line.startswith("400 passes over the text are more than usually help")
