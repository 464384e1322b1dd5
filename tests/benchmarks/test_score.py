"""Scoring in small: the loop around transformers gives the same scores as ours."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.options import ScoreBenchmarkOptions
from benchmarks.runner import Run
from benchmarks.score import compare, report
from tests.weights_convert.reference_models import reference_model, write_directory


@pytest.mark.slow
def test_the_loop_gives_the_same_scores(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_directory(reference_model("masked").float(), tmp_path / "hf")
    pairs = [{"sentence_good": f"word{i} word7", "sentence_bad": f"word7 word{i} word3"} for i in range(4)]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, pairs)))
    compare(
        ScoreBenchmarkOptions(
            model=str(tmp_path / "hf"), data=str(tmp_path / "pairs.jsonl"), pairs=2, repeats=1, threads=1
        )
    )
    printed = capsys.readouterr().out
    assert printed.startswith("scoring 4 sentences in float32\n") and "ratio" in printed
    assert float(printed.rpartition("scores: ")[2].split()[0]) < 1e-4


def test_the_largest_difference_is_told() -> None:
    def run(side: str, scores: list[float]) -> list[Run]:
        figures = {"texts_per_second": -scores[0], "peak_memory": 1e6}
        return [Run(side, 0, {"texts": 2}, {"accuracy": 0.5}, figures, {"scores": scores})]

    lines = report({"ours": run("ours", [-8.0, -1.0]), "transformers": run("transformers", [-4.0, -1.5])})
    assert lines[-1] == "largest difference between the two sides' scores: 4.0e+00 nats"
    assert lines[3].endswith("ratio 2.00")
