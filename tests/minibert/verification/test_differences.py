"""What counts as a difference: measured by hand, on either side of each tolerance, in every format."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from minibert.verification.differences import (
    BFLOAT16_ROUNDING,
    Difference,
    Row,
    difference,
    in_one_order,
    judged,
    judged_by_cost,
    weight_rows,
    worst,
)


def apart(
    largest: float, *, scale: float = 1.0, mean: float = 0.0, entries: int = 100, spread: float = 1.0
) -> Difference:
    return Difference(max=largest, mean=mean, entries=entries, scale=scale, spread=spread)


def test_a_difference_by_hand() -> None:
    found = difference(torch.tensor([1.0, 2.0, -3.0, 0.0]), torch.tensor([1.0, 2.5, -4.0, 0.0]))
    assert found == Difference(max=1.0, mean=0.375, entries=4, scale=4.0, spread=1.875)


@pytest.mark.parametrize(
    ("ours", "theirs", "note"),
    [
        (None, torch.ones(2), "not in minibert"),
        (torch.ones(2), None, "not in the reference"),
        (torch.ones(2), torch.ones(3), "(2,) against (3,)"),
        (torch.tensor([math.nan, 1.0]), torch.ones(2), "not finite"),
        (torch.ones(2), torch.tensor([math.inf, 1.0]), "not finite"),
        (torch.tensor([math.nan]), torch.tensor([math.nan]), "not finite"),
    ],
)
def test_what_can_not_be_compared_is_infinitely_far(ours: Tensor | None, theirs: Tensor | None, note: str) -> None:
    found = difference(ours, theirs)
    assert (found.max, found.mean, found.note) == (math.inf, math.inf, note)
    assert not judged({("value", "loss"): found}, "float64")[0].agrees
    assert not judged_by_cost({("value", "loss"): found}, {("value", "loss"): found})[0].agrees


@pytest.mark.parametrize(
    ("kind", "name", "dtype", "scale", "tolerance"),
    [
        ("value", "blocks.3", "float64", 1.0, 1e-10),
        ("value", "blocks.3.feed_forward.output", "float64", 100.0, 1e-10),
        ("value", "loss", "float64", 7.0, 1e-10),
        ("value", "embeddings", "float32", 1.0, 2e-5),
        ("value", "blocks.11", "float32", 9.0, 2e-5),
        ("value", "blocks.3.feed_forward.output", "float32", 100.0, 2e-3),
        ("value", "blocks.3.attention.probabilities", "float32", 0.5, 2e-5),
        ("gradient", "encoder.embeddings.norm.bias", "float64", 0.25, 2.5e-10),
        ("gradient", "encoder.embeddings.norm.bias", "float32", 0.25, 2.5e-4),
    ],
)
def test_either_side_of_a_tolerance(kind: str, name: str, dtype: str, scale: float, tolerance: float) -> None:
    for share, agrees in ((0.99, True), (1.01, False)):
        (row,) = judged({(kind, name): apart(share * tolerance, scale=scale)}, dtype)  # type: ignore[dict-item]
        assert row.tolerance == pytest.approx(tolerance)
        assert row.agrees == agrees


@pytest.mark.parametrize(
    ("kind", "cost", "entries", "tolerance"),
    [
        ("value", 0.5, 10_000, 2 * 1.04 * 0.5),  # twice the reference's own error, and a little for luck
        ("value", 0.5, 4, 2 * 3 * 0.5),  # more luck with few entries
        ("value", 0.0, 10_000, 2 * 1.04 * BFLOAT16_ROUNDING * 3.0),  # rounding of entries of 3 is not nothing
        ("gradient", 0.5, 16, 2 * 2 * 0.5 + BFLOAT16_ROUNDING * 8.0),  # and of the model's largest gradient, 8
    ],
)
def test_either_side_of_bfloat16s_tolerance(kind: str, cost: float, entries: int, tolerance: float) -> None:
    for share, agrees in ((0.99, True), (1.01, False)):
        found = apart(9.0, mean=share * tolerance, entries=entries, scale=8.0, spread=3.0)
        (row,) = judged_by_cost(
            {(kind, "x"): found},  # type: ignore[dict-item]
            {(kind, "x"): apart(9.0, mean=cost, entries=entries)},  # type: ignore[dict-item]
        )
        assert row.tolerance == pytest.approx(tolerance)
        assert row.agrees == agrees


def test_weights_must_be_equal() -> None:
    ones = {"pooler.dense.weight": torch.ones(2, 2)}
    assert [row.agrees for row in weight_rows(ones, ones)] == [True]
    (row,) = weight_rows({"pooler.dense.weight": torch.full((2, 2), 1 + 2e-7)}, ones)
    assert (row.title, row.agrees, row.tolerance) == ("weight of pooler.dense.weight", False, 0.0)


def test_names_of_either_side_stand_in_one_order() -> None:
    assert in_one_order(dict.fromkeys("acd"), dict.fromkeys("abce")) == ["a", "b", "c", "e", "d"]
    assert in_one_order(dict.fromkeys("ab"), dict.fromkeys("xab")) == ["x", "a", "b"]


def test_of_several_samples_the_one_that_differs_is_shown() -> None:
    def row(largest: float, tolerance: float, *, agrees: bool) -> Row:
        return Row("value", "loss", largest, 0.0, 0.0, tolerance, agrees)

    near, far, differing = row(8.0, 10.0, agrees=True), row(9.0, 100.0, agrees=True), row(2.0, 1.0, agrees=False)
    assert worst([far, near]) is near
    assert worst([far, differing, near]) is differing
