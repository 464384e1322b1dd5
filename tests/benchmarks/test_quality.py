"""Time to quality in small: both sides learn for their time and are scored alike."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.options import QualityOptions
from benchmarks.quality import compare, verdict
from benchmarks.runner import Run
from tests.helpers import TINY, refusal


@pytest.mark.slow
def test_both_are_scored_on_the_same_masks(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, config = tmp_path / "results.json", tmp_path / "config.json"
    config.write_text(json.dumps(TINY.replace(max_position_embeddings=32, vocab_size=60).to_dict()), encoding="utf-8")
    options = QualityOptions(
        model=str(config), corpus=str(corpus), vocab_size=60, minutes=0.03, peer="transformers", peer_minutes=0.03,
        learning_rates=(1e-6, 1e-2), batch_size=4, seq_len=16, threads=1, device="cpu", json=str(path),
    )  # fmt: skip
    compare(options)
    printed = capsys.readouterr().out
    runs = {run["side"]: run for run in json.loads(path.read_text())["runs"]}
    assert list(runs) == ["ours", "transformers 1e-06", "transformers 0.01"]
    losses = {side: run["metrics"]["mlm_loss"] for side, run in runs.items()}
    assert losses["transformers 0.01"] < losses["transformers 1e-06"]  # which has hardly learned
    assert losses["ours"] < losses["transformers 1e-06"]
    for run in runs.values():
        assert 1.8 <= run["figures"]["seconds"] < 5
    assert f"to reach: {losses['transformers 0.01']:.4f}, transformers 0.01 after" in printed


def run(side: str, loss: float, seconds: float) -> Run:
    return Run(side, 0, {}, {"mlm_loss": loss}, {"seconds": seconds})


def test_the_lowest_loss_of_the_loop_is_to_be_reached() -> None:
    peers = [run("transformers 1", 3.0, 1200), run("transformers 2", 2.0, 1200), run("transformers 3", 2.5, 1200)]
    _, target, found = verdict([run("ours", 1.9, 180)], peers)
    assert target == "to reach: 2.0000, transformers 2 after 1,200 s"
    assert found == "ours:     1.9000 after 180 s: reached; the loop took 6.7 times as long"
    assert "2.1000 after 180 s: NOT REACHED" in verdict([run("ours", 2.1, 180)], peers)[-1]


@pytest.mark.parametrize("rates", [(), (0.0,), (2.0,), (float("nan"),)])
def test_rates_are_checked(rates: tuple[float, ...]) -> None:
    assert "--learning-rates must be numbers above 0" in refusal(QualityOptions(learning_rates=rates).check)
