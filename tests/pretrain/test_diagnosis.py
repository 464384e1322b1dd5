"""A run that learns nothing says so, once, with the likely causes; one that learns says nothing."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path

import pytest

from pretrain.arrays.shards import PreparedCorpus, open_prepared
from pretrain.diagnosis import learns_nothing
from tests.pretrain.running import TOPICS, run_here, summary, write_text

TRAINED = ("--seq-len", 32, "--batch-size", 8, "--steps", 120, "--evaluations", 6, "--no-nsp")


@pytest.fixture
def corpus(arrays: Path) -> PreparedCorpus:
    return open_prepared(arrays)


@pytest.mark.usefixtures("plain")
def test_a_run_on_words_in_random_order_says_once_that_it_learns_nothing(
    shape: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = random.Random(0)
    words = [word for topic in TOPICS for word in topic]
    text = write_text(tmp_path / "text.txt", [" ".join(rng.choices(words, k=80)) for _ in range(60)])
    options = ("--corpus", text, "--vocab-size", 100, "--model", shape, *TRAINED)
    assert run_here(monkeypatch, *options, "--out", tmp_path / "run") == 0
    notes = [line for line in capsys.readouterr().out.splitlines() if "learned nothing" in line]
    assert len(notes) == 1 and "text without order" in notes[0]
    assert summary(tmp_path / "run")["mlm_loss"] > 3


@pytest.mark.usefixtures("plain")
def test_a_run_that_learns_does_not_say_so(
    arrays: Path, shape: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_here(monkeypatch, "--data", arrays, "--model", shape, *TRAINED, "--out", tmp_path / "run") == 0
    assert "learned nothing" not in capsys.readouterr().out


@pytest.mark.parametrize(("loss", "said"), [(2.9, False), (2.97, True), (3.0, True), (4.0, True)])
def test_a_loss_counts_as_better_from_a_margin(corpus: PreparedCorpus, loss: float, said: bool) -> None:
    assert (learns_nothing(loss, 3.0, corpus, passes=0.0) is not None) is said


@pytest.mark.parametrize(
    ("counts", "passes", "cause"),
    [
        (
            {},
            3,
            "Likely causes: a learning rate that is too high or too low; text without order, such as lists of words",
        ),
        ({"unknown_tokens": 750}, 3, "Likely cause: 75% of the tokens are [UNK]: the vocabulary does not fit the text"),
        (
            {"documents": 800},
            3,
            "Likely cause: a document has only 1.2 tokens on average, so little is left around a masked one",
        ),
        ({}, 50, "Likely cause: the text was read 50 times and has been memorised: use more text or fewer steps"),
    ],
)
def test_causes_that_figures_show_are_named_instead(
    corpus: PreparedCorpus, counts: dict[str, int], passes: int, cause: str
) -> None:
    train = dataclasses.replace(
        corpus.manifest.train, **{"documents": 10, "tokens": 1000, "unknown_tokens": 0} | counts
    )
    corpus = dataclasses.replace(corpus, manifest=dataclasses.replace(corpus.manifest, train=train))
    note = learns_nothing(3.0, 3.0, corpus, passes=float(passes))
    assert note is not None and note.endswith(cause) and "\n" not in note
