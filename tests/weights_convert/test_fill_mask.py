"""What a model of ours answers to [MASK], transformers' fill-mask pipeline answers too, after `to-hf`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
import transformers

import minibert
from minibert import __main__ as program
from minibert import checkpoint
from minibert.architectures import ARCHITECTURES
from minibert.console import cli
from minibert.filling import mask_probabilities
from minibert.tokenizer import Tokenizer
from tests.helpers import TINY, randomize, seeded
from weights_convert.convert import to_hf

TEXTS = [
    "the [MASK] sat",
    "[MASK]",
    "He bought [MASK], she bought BREAD.",
    "A dog [MASK] to the [MASK]; the cats ran [MASK].",
    "[MASK][MASK] café 中国 the zebra.",
]


@pytest.fixture(params=["BertForPreTraining", "BertForMaskedLM"])
def directories(request: pytest.FixtureRequest, tokenizer: Tokenizer, tmp_path: Path) -> tuple[Path, Path]:
    """A model directory with a trained vocabulary, and what `to-hf` makes of it."""
    model = ARCHITECTURES[request.param](TINY.replace(vocab_size=80), generator=seeded(1)).eval()
    randomize(model, seed=4)
    checkpoint.save(model, tokenizer, tmp_path / "ours")
    to_hf(tmp_path / "ours", tmp_path / "hf")
    return tmp_path / "ours", tmp_path / "hf"


def test_the_five_answers_and_their_scores_are_the_same(directories: tuple[Path, Path]) -> None:
    ours, hf = directories
    pipeline = transformers.pipeline("fill-mask", model=str(hf), device="cpu")
    model, tokenizer = minibert.load(ours)
    for text in TEXTS:
        answers = pipeline(text, top_k=5)
        answers = answers if isinstance(answers[0], list) else [answers]  # a list for each [MASK] where there are more
        with torch.inference_mode():
            best = mask_probabilities(model, tokenizer(text), tokenizer).topk(5)
        assert [[answer["token"] for answer in each] for each in answers] == best.indices.tolist(), text
        for each, scores in zip(answers, best.values.tolist(), strict=True):
            assert [answer["score"] for answer in each] == pytest.approx(scores, abs=1e-5), text


def test_the_command_prints_what_the_pipeline_answers(
    directories: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ours, hf = directories
    pipeline = transformers.pipeline("fill-mask", model=str(hf), device="cpu")
    expected = [
        f"{answer['score']:.2%} {answer['token_str']}" for each in pipeline(TEXTS[3], top_k=5) for answer in each
    ]
    capsys.readouterr()  # the reference's progress bar
    monkeypatch.setattr(sys, "argv", ["minibert", "fill-mask", str(ours), TEXTS[3]])
    cli.run(program.main)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == TEXTS[3]
    assert [" ".join(line[12:].split()) for line in lines[1:]] == expected
