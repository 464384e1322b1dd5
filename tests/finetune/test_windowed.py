"""Fine-tuning a Longformer: long texts in one window, global tokens by the tokenizer's separator, every method."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import torch

import minibert
from minibert.heads import BertForQuestionAnswering
from tests.finetune.running import (
    ANIMALS,
    FILLERS,
    SHAPE,
    arguments,
    lines,
    run_here,
    start,
    write_model,
)
from tests.finetune.test_resume import RUN, run_until
from tests.pretrain.running import finished, summary, weights

pytestmark = pytest.mark.usefixtures("plain")

LONG = 300  # tokens: three of the chunks in which attention is computed


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model directory of an encoder with windows, whose config doesn't know the separator."""
    config = SHAPE.replace(attention_window=(4, 8), max_position_embeddings=LONG + 1, positions_skip_padding=True)
    return write_model(tmp_path_factory.mktemp("base") / "model", config)


def write_questions(path: Path, count: int, seed: int) -> Path:
    """What animal is it? The only one in a passage of 250 words."""
    rng, paragraphs = random.Random(seed), []
    for number in range(count):
        words = rng.choices(FILLERS, k=250)
        place = rng.randrange(len(words))
        words[place] = animal = rng.choice(ANIMALS)
        answer = {"text": animal, "answer_start": len(" ".join([*words[:place], ""]))}
        question = {"id": f"q{number}", "question": "who ran", "answers": [answer]}
        paragraphs.append({"context": " ".join(words), "qas": [question]})
    path.write_text(json.dumps({"version": "1.1", "data": [{"title": "animals", "paragraphs": paragraphs}]}))
    return path


def test_a_long_passage_is_answered_in_one_window(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    train, dev = (write_questions(tmp_path / f"{seed}.json", 50, seed) for seed in (1, 2))
    args = ("question-answering", "--model", base, "--train", train, "--dev", dev, "--max-length", LONG)
    run = tmp_path / "run"
    assert run_here(monkeypatch, *args, "--epochs", 2, "--batch-size", 4, "--learning-rate", 3e-3, "--out", run) == 0
    assert "windows" not in capsys.readouterr().out
    assert summary(run)["metrics"]["exact"] > 0.8
    model, tokenizer = minibert.load(run)
    assert isinstance(model, BertForQuestionAnswering)
    batch = tokenizer("who ran", "the cat ran")
    mask = model.with_global_tokens(batch.input_ids, batch.attention_mask)
    assert mask is not None and mask.tolist() == [[2, 2, 2, 1, 1, 1, 1, 1]]
    answers = tmp_path / "answers.jsonl"
    assert run_here(monkeypatch, "predict", run, "--input", dev, "--output", answers) == 0
    assert len({answer["answer"] for answer in lines(answers)} & set(ANIMALS)) > 3


@pytest.mark.parametrize(
    ("method", "untrained"),
    [
        (("--freeze-encoder",), {"query_key_value", "global_query_key_value", "output"}),
        (("--lora-rank", 4), {"output"}),
        (("--layer-decay", 0.5), set()),
    ],
)
def test_each_method_trains_its_own_parts(
    method: tuple[object, ...], untrained: set[str], base: Path, files: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    args = (*arguments("text-classification", base, files, tmp_path / "run"), *method)
    assert run_here(monkeypatch, *args, "--epochs", 1, "--batch-size", 16, "--learning-rate", 3e-3) == 0
    before, after = (minibert.load(model)[0].encoder.blocks[0].attention for model in (base, tmp_path / "run"))
    parts = ("query_key_value", "global_query_key_value", "output")
    pairs = {part: [each.get_submodule(part).get_parameter("weight") for each in (before, after)] for part in parts}
    same = {part for part, pair in pairs.items() if torch.equal(*pair)}
    assert same == untrained


@pytest.mark.parametrize(("task", "method"), [("question-answering", ()), ("text-classification", ("--lora-rank", 2))])
def test_a_run_cut_off_ends_with_the_same_bytes(
    task: str, method: tuple[object, ...], base: Path, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With adapters, those of the last block's windows have no gradient: only the global first token is read there."""
    assert run_here(monkeypatch, *arguments(task, base, files, tmp_path / "whole"), *RUN, *method) == 0
    args = (*arguments(task, base, files, tmp_path / "cut"), *RUN, *method, "--save-every", 4, "--resume")
    assert run_until(6, *args) == -9
    assert run_here(monkeypatch, *args) == 0
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")


@pytest.mark.slow
def test_two_processes_train_with_global_tokens(base: Path, files: Path, tmp_path: Path) -> None:
    args = (
        *arguments("question-answering", base, files, tmp_path / "run"),
        "--epochs",
        1,
        "--batch-size",
        16,
        "--dtype",
        "float32",
    )
    finished(start(*args, processes=2))
    assert summary(tmp_path / "run")["processes"] == 2
