"""Pretraining in small: both sides take the same steps, and in float32 without dropout to the same losses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.options import PretrainBenchmarkOptions
from benchmarks.pretrain import check_losses, compare, report, share_of_ceiling, tokens_per_second
from benchmarks.runner import Run
from minibert.errors import CheckFailed
from minibert.training.flops import encoder_operations, training_operations
from tests.helpers import TINY


@pytest.mark.slow
def test_both_sides_take_the_same_steps(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, config = tmp_path / "results.json", tmp_path / "config.json"
    config.write_text(json.dumps(TINY.replace(max_position_embeddings=32).to_dict()), encoding="utf-8")
    options = PretrainBenchmarkOptions(
        model=str(config), corpus=str(corpus), vocab_size=60, peer="transformers", dtype="float32", batch_size=4,
        seq_len=16, steps=12, warm_up=2, repeats=1, learning_rate=1e-2, dropout=0.0, threads=1, device="cpu",
        json=str(path),
    )  # fmt: skip
    compare(options)
    printed = capsys.readouterr().out
    assert "ratio" in printed and "GFLOP/s (one large matrix product)" in printed and "of the ceiling" in printed
    ours, theirs = json.loads(path.read_text())["runs"]
    assert ours["work"] == theirs["work"] and ours["work"]["steps"] == 12
    differences = [abs(a - b) for a, b in zip(ours["notes"]["losses"], theirs["notes"]["losses"], strict=True)]
    assert max(differences) < 1e-4
    assert ours["notes"]["losses"][-1] < ours["notes"]["losses"][0] - 0.5  # something is learned
    assert len(ours["notes"]["seconds"]) == len(theirs["notes"]["seconds"]) == 12


def run(side: str, losses: list[float], seconds: list[float], *, tokens: int = 30, warm_up: int = 0) -> Run:
    work = {"steps": len(losses), "tokens": tokens}
    figures = {"peak_memory": 1.0, "operations": 6.0, "ceiling": 96.0}
    return Run(side, 0, work, {}, figures, {"losses": losses, "seconds": seconds, "warm_up": warm_up})


def test_the_first_steps_are_not_timed() -> None:
    losses, seconds = [3.0, 2.0, 1.0], [9.0, 0.5, 0.25]
    assert tokens_per_second(run("ours", losses, seconds, warm_up=1)) == 10 / 0.375
    assert tokens_per_second(run("ours", losses, seconds, warm_up=2)) == 40
    assert share_of_ceiling(run("ours", losses, seconds, warm_up=2)) == 0.25


def test_losses_must_agree_where_only_rounding_differs() -> None:
    sides = {"ours": [run("ours", [3.0, 2.0], [1, 1])], "transformers": [run("transformers", [3.0, 2.001], [1, 1])]}
    check_losses(sides, PretrainBenchmarkOptions(dropout=0.1, dtype="float32", peer="transformers"))
    with pytest.raises(CheckFailed, match=r"losses differ by 0.001, expected at most 0.0001"):
        check_losses(sides, PretrainBenchmarkOptions(dropout=0, dtype="float32", peer="transformers"))


def test_other_tokens_are_not_compared() -> None:
    sides = {"ours": [run("ours", [1.0], [1.0])], "transformers": [run("transformers", [1.0], [1.0], tokens=31)]}
    with pytest.raises(CheckFailed, match=r"tokens: 30 \(ours\), 31 \(transformers\)"):
        report(sides)


def test_a_training_step_is_three_times_the_forward_pass() -> None:
    """By hand: a masked token's head has a product of H x H and one of H x V."""
    head = 2 * (24 * 24 + 24 * 40)
    assert training_operations(TINY, [8, 8], 3) == 3 * (encoder_operations(TINY, [8, 8]) + 3 * head)
