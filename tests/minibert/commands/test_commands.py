"""python -m minibert: info and fill-mask, on a tiny model whose answers are known."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

import minibert
from minibert import __main__, checkpoint
from minibert.filling import mask_probabilities
from minibert.heads import BertForMaskedLM, BertForPreTraining
from minibert.model import Bert
from minibert.tokenizer import Tokenizer
from tests.helpers import REPOSITORY, TINY, tiny_model
from tests.minibert.running import error_line, run


@pytest.fixture(params=[BertForPreTraining, BertForMaskedLM])
def opinionated(request: pytest.FixtureRequest, tokenizer: Tokenizer, tmp_path: Path) -> Path:
    """A model that says "dog" with 3 in 4, "cat" with 3 in 16, "the" with 1 in 16, whatever the text."""
    model: BertForPreTraining | BertForMaskedLM = request.param(TINY.replace(vocab_size=88))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        bias = model.mlm_head.decoder.bias.fill_(-100.0)
        for word, share in (("dog", 12), ("cat", 3), ("the", 1)):
            bias[tokenizer.token_to_id(word)] = math.log(share)
        bias[80:] = 50.0  # rows beyond the tokenizer's 80 tokens are no answers
    checkpoint.save(model, tokenizer, tmp_path / "opinionated")
    return tmp_path / "opinionated"


# --- fill-mask -------------------------------------------------------------------------------------------------------


def test_fill_mask_prints_the_likeliest_tokens(
    opinionated: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "fill-mask", str(opinionated), "The [MASK] sat.", "--top-k", "3") == 0
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["The", "[MASK]", "sat."],
        ["[MASK]", "75.00%", "dog"],
        ["18.75%", "cat"],
        ["6.25%", "the"],
    ]


def test_fill_mask_numbers_several_masks(
    opinionated: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "fill-mask", str(opinionated), "[MASK] [MASK]", "--top-k", "1") == 0
    assert [line.split() for line in capsys.readouterr().out.splitlines()[1:]] == [
        ["[MASK]", "1", "75.00%", "dog"],
        ["[MASK]", "2", "75.00%", "dog"],
    ]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_fill_mask_takes_weights_of_other_formats_than_it_computes_in(
    dtype: str, opinionated: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model, tokenizer = checkpoint.load(opinionated)
    model.half().encoder.embeddings.double()
    checkpoint.save(model, tokenizer, opinionated)
    assert run(monkeypatch, "fill-mask", str(opinionated), "The [MASK]", "--top-k", "1", "--dtype", dtype) == 0
    assert capsys.readouterr().out.split()[-1] == "dog"


def test_fill_mask_gives_five_answers_by_default(
    opinionated: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "fill-mask", str(opinionated), "The [MASK].") == 0
    assert len(capsys.readouterr().out.splitlines()) == 1 + 5


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("The cat.",), "no [MASK] in the text 'The cat.': put it where a word is to be predicted"),
        (("two\nlines",), r"no [MASK] in the text 'two\nlines': put it where a word is to be predicted"),
        (("[MASK]", "--top-k", "0"), "--top-k must be from 1 to 80, not 0"),
        (("[MASK]", "--top-k", "81"), "--top-k must be from 1 to 80, not 81"),
        (("[MASK] " * 15,), "17 tokens, but the model has 16 positions"),
    ],
    ids=["no mask", "two lines", "top 0", "top 81", "too long"],
)
def test_fill_mask_refuses_in_one_line(
    args: tuple[str, ...],
    message: str,
    model_directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(monkeypatch, "fill-mask", str(model_directory), *args) == 2
    assert error_line(capsys) == f"error: {message}"


def test_fill_mask_needs_a_masked_lm_head(
    tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint.save(Bert(TINY.replace(vocab_size=80)), tokenizer, tmp_path / "encoder")
    assert run(monkeypatch, "fill-mask", str(tmp_path / "encoder"), "[MASK]") == 2
    assert error_line(capsys) == f"error: {tmp_path / 'encoder'}: a Bert has no masked-LM head"


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_fill_mask_refuses_a_gpu_that_is_not_there(
    model_directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "fill-mask", str(model_directory), "[MASK]", "--device", "cuda") == 2
    assert error_line(capsys).startswith("error: device: cuda was requested")


def test_mask_probabilities_are_those_of_the_full_softmax_in_the_order_of_the_text(
    model: BertForPreTraining, tokenizer: Tokenizer
) -> None:
    batch = tokenizer(["the [MASK] ran", "[MASK] cat [MASK] on the mat"])
    with torch.no_grad():
        found = mask_probabilities(model, batch, tokenizer)
        hidden = model.encoder(
            batch.input_ids, token_type_ids=batch.token_type_ids, attention_mask=batch.attention_mask
        )
        places = [(0, 2), (1, 1), (1, 3)]
        expected = torch.stack([model.mlm_head(hidden[row, place]) for row, place in places]).softmax(-1)
    assert_close(found, expected)
    assert_close(found.sum(-1), torch.ones(3))


# --- info ------------------------------------------------------------------------------------------------------------


def test_info_prints_the_architecture_the_fields_and_the_parameters_by_part(
    model_directory: Path,
    tokenizer: Tokenizer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(monkeypatch, "info", str(model_directory)) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == f"{model_directory}: BertForPreTraining"
    assert "hidden_size 24" in lines
    assert "layer_norm_eps 1e-12" in lines
    assert "tokens in the vocabulary 80" in lines
    assert f"tokenizer fingerprint {tokenizer.fingerprint}" in lines
    assert lines[-7:] == [
        "encoder.embeddings 2,400",  # (80 + 16 + 2)·24 and a LayerNorm's 48
        "encoder.blocks.0 5,264",  # 4·(24·24 + 24) + 24·56 + 56 + 56·24 + 24 + 2·48
        "encoder.blocks.1 5,264",
        "pooler 600",
        "mlm_head 728",  # 600, a LayerNorm's 48, and the decoder's bias: its matrix is the embeddings'
        "nsp_head 50",
        "parameters 14,306 (a tied matrix counts once)",
    ]


def test_info_of_a_bare_encoder_has_its_parts(
    tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint.save(Bert(TINY.replace(vocab_size=80)), tokenizer, tmp_path / "encoder")
    assert run(monkeypatch, "info", str(tmp_path / "encoder")) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[-4:-1] == ["embeddings 2,400", "blocks.0 5,264", "blocks.1 5,264"]


def test_info_of_a_task_head_has_its_labels(
    tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint.save(
        tiny_model("BertForTokenClassification", TINY.replace(vocab_size=80)), tokenizer, tmp_path / "tagger"
    )
    assert run(monkeypatch, "info", str(tmp_path / "tagger")) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "labels O, B, I, E" in lines
    assert lines[-2] == "classifier 100"


@pytest.mark.parametrize(("windows", "shown"), [((512, 512), "512 in each layer"), ((4, 64), "4, 64")])
def test_info_has_the_attention_windows(
    windows: tuple[int, int], shown: str, tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    checkpoint.save(Bert(TINY.replace(vocab_size=80, attention_window=windows)), tokenizer, tmp_path / "encoder")
    assert run(monkeypatch, "info", str(tmp_path / "encoder")) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert f"attention_window {shown}" in lines


@pytest.mark.parametrize("command", [("info",), ("fill-mask", "[MASK]")], ids=["info", "fill-mask"])
def test_a_directory_that_is_not_there_is_one_line(
    command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, command[0], str(tmp_path / "none"), *command[1:]) == 2
    assert error_line(capsys) == f"error: {tmp_path / 'none'} is not a model directory: it has no config.json"


# --- The words before a command --------------------------------------------------------------------------------------


@pytest.mark.parametrize("args", [(), ("--help",), ("-h",)])
def test_without_a_command_the_commands_are_listed(
    args: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, *args) == 0
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown for name in __main__.COMMANDS)


@pytest.mark.parametrize("command", list(__main__.COMMANDS))
def test_every_command_has_help(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, command, "--help") == 0
    assert f"python -m minibert {command}" in capsys.readouterr().out


def test_an_unknown_command_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "fil-mask") == 2
    assert error_line(capsys) == "error: unknown command 'fil-mask': did you mean fill-mask?"


def test_the_module_runs_as_a_program() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "minibert", "frobnicate"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stdout) == (2, "")
    known = "info, fill-mask, embed, score, probe, add-tokens, explore"
    assert result.stderr == f"error: unknown command 'frobnicate', expected one of {known}\n"


# --- The package -----------------------------------------------------------------------------------------------------


def test_the_package_offers_load_and_save(model: BertForPreTraining, tokenizer: Tokenizer, tmp_path: Path) -> None:
    minibert.save(model, tokenizer, tmp_path / "model")
    loaded, _ = minibert.load(tmp_path / "model")
    assert_close(loaded.state_dict(), model.state_dict(), rtol=0, atol=0)
    assert minibert.BertConfig is type(model.config)
    assert minibert.Tokenizer is Tokenizer
