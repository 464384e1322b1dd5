"""The table's arithmetic, on numbers that can be checked by hand."""

from __future__ import annotations

import pytest

from benchmarks.report import differences_in_work, statistics_of, table, verdict, verdict_line
from benchmarks.runner import Run


def run(side: str, seed: int, speed: float, tokens: int = 97) -> Run:
    return Run(side, seed, {"steps": 4, "tokens": tokens}, {"mcc": 0.25}, {"speed": speed})


def test_median_mean_and_the_deviation_of_a_sample() -> None:
    assert statistics_of([1.0, 2.0, 6.0]) == (2.0, 3.0, pytest.approx(7**0.5))
    assert statistics_of([5.0]) == (5.0, 5.0, 0.0)


@pytest.mark.parametrize(
    ("ours", "peer", "difference", "margin", "holds"),
    [
        ([0.30, 0.30], [0.30, 0.30], 0.0, 0.5, True),  # half a point at least
        ([0.295, 0.297], [0.30, 0.30], -0.4, 0.5, True),
        ([0.294, 0.294], [0.30, 0.30], -0.6, 0.5, False),
        ([0.28, 0.28, 0.28], [0.27, 0.29, 0.31], -1.0, 2.0, True),  # the peer's deviation is larger
        ([0.26, 0.27, 0.28], [0.28, 0.29, 0.30], -2.0, 1.0, False),
        ([0.40], [0.30], 10.0, 0.5, True),
    ],
)
def test_ours_may_be_lower_by_half_a_point_or_by_the_peers_deviation(
    ours: list[float], peer: list[float], difference: float, margin: float, holds: bool
) -> None:
    assert verdict(ours, peer) == (pytest.approx(difference), pytest.approx(margin), holds)


def test_the_verdict_says_so() -> None:
    assert verdict_line("mcc", verdict([0.28], [0.29])) == (
        "mcc: ours minus the peer's is -1.00 points, expected at least -0.50: DOES NOT HOLD"
    )


def test_the_table_has_each_sides_statistics_and_the_ratio_of_medians() -> None:
    sides = {
        "ours": [run("ours", seed, speed) for seed, speed in enumerate((600, 700, 900))],
        "transformers": [run("transformers", seed, speed) for seed, speed in enumerate((100, 100, 250))],
    }
    rows = {
        "mcc": (lambda one: 100 * one.metrics["mcc"], ".1f"),
        "examples/s": (lambda one: one.figures["speed"], ",.1f"),
    }
    _, heads, mcc, speed = table(sides, rows, ratio_of="examples/s")
    assert heads.split() == ["median", "mean", "std"] * 2
    assert mcc.split() == ["mcc", "25.0", "25.0", "0.0", "25.0", "25.0", "0.0"]
    assert speed.split() == ["examples/s", "700.0", "733.3", "152.8", "100.0", "150.0", "86.6", "ratio", "7.00"]


def test_one_side_alone_has_no_ratio() -> None:
    lines = table({"ours": [run("ours", 0, 5)]}, {"speed": (lambda one: one.figures["speed"], ".0f")}, ratio_of="speed")
    assert lines[-1].split() == ["speed", "5", "5", "0"]


def test_runs_that_did_other_work_are_told_apart() -> None:
    same = [run("ours", 0, 1), run("transformers", 0, 2)]
    assert differences_in_work(same) == []
    assert differences_in_work([*same, run("transformers", 1, 2, tokens=99)]) == [
        "tokens: 97 (ours and transformers), 99 (transformers)"
    ]
