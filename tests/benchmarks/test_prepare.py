"""Preparing in small: every token is counted, and runs are kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.options import PrepareBenchmarkOptions
from benchmarks.prepare import compare
from tests.helpers import refusal


@pytest.mark.slow
def test_tokens_are_those_of_the_arrays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    corpus, path = tmp_path / "text.txt", tmp_path / "x.json"
    corpus.write_text("\n\n".join(f"the cat sat .\nthe dog ran {'and ran ' * (i % 5)}." for i in range(30)) + "\n")
    options = PrepareBenchmarkOptions(
        corpus=str(corpus), vocab_size=40, processes=1, batch_size=2, seq_len=16, batches=3, repeats=2, json=str(path)
    )
    compare(options)
    printed = capsys.readouterr().out
    runs = json.loads(path.read_text())["runs"]
    assert [run["seed"] for run in runs] == [0, 1]
    for run in runs:
        assert run["work"]["bytes"] == corpus.stat().st_size
        assert run["figures"]["tokens_per_second"] == pytest.approx(run["work"]["tokens"] / run["figures"]["seconds"])
    compare(options)
    assert capsys.readouterr().out.splitlines()[-4:] == printed.splitlines()[-4:]


def test_a_corpus_that_is_not_there_is_named() -> None:
    assert refusal(lambda: compare(PrepareBenchmarkOptions(corpus="nowhere.txt"))) == "nowhere.txt: no such file"
