"""Encoding in small: each peer makes the same vectors as ours."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from benchmarks.encode import compare, report, spearman
from benchmarks.options import EncodeOptions
from benchmarks.runner import Run
from minibert.errors import CheckFailed


@pytest.mark.slow
@pytest.mark.parametrize("peer", ["sentence-transformers", "onnxruntime"])
def test_the_peers_make_the_same_vectors(
    peer: str, hf_model: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "results.json"
    options = EncodeOptions(
        model=str(hf_model), data=str(data / "stsb" / "sts-train.csv"), peer=peer, dtype="float32", repeats=1,  # type: ignore[arg-type]
        passes=1, singles=3, batch_size=4, threads=1, json=str(path),
    )  # fmt: skip
    compare(options)
    printed = capsys.readouterr().out
    assert "vector and the peer's, among eight of the texts: 1.000000" in printed and "ratio" in printed
    assert re.search(r"ceiling: [\d,]+ GFLOP/s \(one large matrix product\)", printed)
    ours, theirs = json.loads(path.read_text())["runs"]
    assert (ours["side"], theirs["side"], ours["work"]["texts"]) == ("ours", peer, 28)
    assert ours["work"] == theirs["work"]
    assert ours["metrics"]["spearman"] == pytest.approx(theirs["metrics"]["spearman"], abs=1e-6)
    for run in (ours, theirs):
        assert run["figures"]["texts_per_second"] == pytest.approx(28 / run["figures"]["pass_seconds"])


def test_the_worst_of_the_kept_vectors_is_told() -> None:
    sides = {
        "ours": [run("ours", [[1.0, 0.0], [0.6, 0.8]])],
        "onnxruntime": [run("onnxruntime", [[1.0, 0.0], [1.0, 0.0]])],
    }
    assert report(sides)[-1] == "lowest cosine of our vector and the peer's, among eight of the texts: 0.600000"


def test_runs_that_read_other_tokens_are_not_compared() -> None:
    sides = {"ours": [run("ours", [[1.0]], tokens=7)], "transformers": [run("transformers", [[1.0]], tokens=8)]}
    with pytest.raises(CheckFailed, match=r"tokens: 7 \(ours\), 8 \(transformers\)"):
        report(sides)


def run(side: str, vectors: list[list[float]], tokens: int = 7) -> Run:
    names = ("texts_per_second", "first_pass_seconds", "pass_seconds", "single_seconds", "load_seconds", "peak_memory",
             "operations", "ceiling")  # fmt: skip
    figures = dict.fromkeys(names, 1.0)
    return Run(side, 0, {"texts": 2, "tokens": tokens}, {"spearman": 0.5}, figures, {"some_texts": vectors})


def test_spearman_is_of_the_cosines_of_neighbours() -> None:
    vectors = np.array([[1, 0], [1, 0], [1, 0], [0.6, 0.8], [1, 0], [0, 1]], np.float32)
    assert spearman(vectors, [5.0, 3.0, 0.0]) == pytest.approx(1)
    assert spearman(vectors, [0.0, 3.0, 5.0]) == pytest.approx(-1)
