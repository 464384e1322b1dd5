"""One long text in small: the peer has the same states as ours, and full attention others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.long import compare, report
from benchmarks.options import LongOptions
from benchmarks.runner import Run
from tests.helpers import refusal
from tests.weights_convert.reference_models import reference_model, write_directory


@pytest.mark.slow
def test_the_peer_has_the_same_states(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    directory, path = tmp_path / "hf", tmp_path / "results.json"
    write_directory(reference_model("longformer encoder").float(), directory)
    options = LongOptions(
        model=str(directory), lengths=(13,), global_tokens=2, repeats=1, passes=1, threads=1, json=str(path)
    )
    compare(options)
    ours, peer, full = json.loads(path.read_text(encoding="utf-8"))["runs"]
    assert [run["side"] for run in (ours, peer, full)] == ["ours, 13", "transformers, 13", "full attention, 13"]
    assert ours["notes"]["some_states"] != full["notes"]["some_states"]
    apart = float(capsys.readouterr().out.rpartition("transformers': ")[2])
    assert apart < 1e-5


def run(side: str, seconds: float, memory: float) -> list[Run]:
    notes = {"some_states": [[1.0, 2.0 + seconds / 1000]]}
    return [Run(side, 0, {"tokens": 64}, {}, {"seconds": seconds, "memory": memory}, notes)]


def test_ours_is_shown_as_a_share_of_the_others() -> None:
    runs = {
        side: run(side, *figures)
        for side, figures in {
            "ours, 64": (1.0, 20e6),
            "transformers, 64": (2.0, 80e6),
            "full attention, 64": (4.0, 25e6),
        }.items()
    }
    lines = report(runs, [64])
    row = " ".join(lines[-3].split())
    assert row == "64 1.000 s, 20 MB 2.000 s, 80 MB (0.50, 0.25) 4.000 s, 25 MB (0.25, 0.80)"
    assert lines[-1] == "largest difference between our hidden states and transformers': 1.0e-03"


def test_a_model_without_windows_is_refused(tmp_path: Path) -> None:
    write_directory(reference_model("masked").float(), tmp_path)
    expected = f"{tmp_path}: expected a Longformer, with attention_window in its config.json"
    assert refusal(lambda: compare(LongOptions(model=str(tmp_path)))) == expected
