"""Cost as work grows, in small: every point is measured, and drawn."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.growth import compare, draw, report, write_text
from benchmarks.options import GrowthOptions
from benchmarks.runner import Run
from tests.helpers import refusal


def test_text_of_a_size_is_the_embedded_corpus_and_then_other_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pretrain.text.pydocs.documents", lambda: iter(["one.\n\ntwo.", "three."]))
    write_text(tmp_path / "x.jsonl", 1e-4)
    texts = [json.loads(line)["text"] for line in (tmp_path / "x.jsonl").read_text().splitlines()]
    assert texts == ["one.\n\ntwo.", "three.", "one. copy1\n\ntwo. copy1", "three. copy1"]
    assert [path.name for path in tmp_path.iterdir()] == ["x.jsonl"]


def run(side: str, seed: int, speed: float, memory: float) -> Run:
    return Run(side, seed, {"tokens": 1}, {}, {"tokens_per_second": speed, "peak_memory": memory})


FOUND = {
    "text": {value: [run("text", seed, 1000.0 * seed, 1e6 * value) for seed in (1, 2, 4)] for value in (1.0, 10.0)},
    "processes": {value: [run("processes", 0, 10.0 * value, 3e6)] for value in (1.0, 2.0)},
}


def test_medians_are_told() -> None:
    assert report(FOUND)[1:] == [
        "MB of text, prepared",
        "         1         2,000 tokens/s         1 MB",
        "        10         2,000 tokens/s        10 MB",
        "processes, as many threads in all",
        "         1            10 tokens/s         3 MB",
        "         2            20 tokens/s         3 MB",
    ]


def test_a_picture_is_drawn(tmp_path: Path) -> None:
    path = tmp_path / "growth.png"
    draw(path, GrowthOptions(), FOUND)
    assert path.read_bytes().startswith(b"\x89PNG") and len(path.read_bytes()) > 10_000


@pytest.mark.parametrize(
    "options", [{"megabytes": (0.0,)}, {"lengths": (4,)}, {"batches": (8, 0)}, {"megabytes": (float("inf"),)}]
)
def test_points_are_checked(options: dict[str, tuple[float, ...]]) -> None:
    assert f"--{next(iter(options))} must be numbers above" in refusal(GrowthOptions(**options).check)  # type: ignore[arg-type]


@pytest.mark.slow
def test_every_point_is_measured(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "growth.json"
    options = GrowthOptions(
        model="tiny", corpus=str(corpus), vocab_size=60, megabytes=(0.1,), lengths=(16,), batches=(2,), seq_len=16,
        batch_size=2, steps=3, warm_up=1, repeats=1, dtype="float32", json=str(path),
        picture=str(tmp_path / "growth.png"),
    )  # fmt: skip
    compare(options)
    runs = {run["side"]: run for run in json.loads(path.read_text())["runs"]}
    assert list(runs) == ["text 0.1", "length 16", "batch 2", "processes 1", "processes 2"]
    assert all(run["figures"]["tokens_per_second"] > 0 and run["figures"]["peak_memory"] > 1e7 for run in runs.values())
    assert (tmp_path / "growth.png").exists() and "MB of text, prepared" in capsys.readouterr().out
