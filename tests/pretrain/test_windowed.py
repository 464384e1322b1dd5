"""Pretraining a Longformer: its runs resume, its global projections wait for fine-tuning, its step is not captured."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch

import minibert
from minibert import checkpoint
from minibert.fast.cuda_graphs import Graphed
from minibert.heads import BertForMaskedLM
from minibert.model import Bert
from minibert.tokenizer import Tokenizer
from minibert.training.device import choose_precision
from minibert.windowed import WindowedSelfAttention
from pretrain.options import PretrainOptions
from pretrain.passes import backward_pass
from pretrain.setup import is_compiled, model_config
from tests.helpers import FAMILY, refusal, seeded
from tests.pretrain.running import finished, run_here, start, summary, weights, write_shape
from tests.pretrain.test_resume import run_until

pytestmark = pytest.mark.usefixtures("plain")


@pytest.fixture
def shape(tmp_path: Path) -> Path:
    """Instead of the usual one: the config file of a tiny Longformer."""
    return write_shape(tmp_path / "shape.json", attention_window=[4, 8], positions_skip_padding=True)


@pytest.mark.parametrize("extra", [(), ("--no-nsp",)])
def test_a_run_says_at_its_start_that_it_cannot_be_exported(
    common: tuple[object, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    extra: tuple[str, ...],
) -> None:  # fmt: skip
    assert run_here(monkeypatch, *common, *extra, "--steps", 1, "--out", tmp_path / "run") == 0
    said = "to-hf can't export this model: transformers has no Longformer for sentence pairs; use --no-nsp\n"
    assert capsys.readouterr().out.startswith(said) == (not extra)


def projections(run: Path) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Those of global tokens and of others, in each layer."""
    attentions = [block.attention for block in minibert.load(run)[0].encoder.blocks]
    assert all(isinstance(attention, WindowedSelfAttention) for attention in attentions)
    return [(attention.global_query_key_value.weight, attention.query_key_value.weight) for attention in attentions]


@pytest.mark.parametrize(("optimizer", "extra"), [("muon", ()), ("adamw", ("--no-nsp",))])
def test_a_run_cut_off_ends_with_the_same_bytes(
    common: tuple[object, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, optimizer: str, extra: tuple[str, ...]
) -> None:
    common = (*common, "--optimizer", optimizer, "--learning-rate", 3e-3, *extra, "--steps", 12, "--save-every", 5)
    assert run_here(monkeypatch, *common, "--out", tmp_path / "whole") == 0
    assert run_until(7, *common, "--out", tmp_path / "cut") == -9
    assert run_here(monkeypatch, *common, "--out", tmp_path / "cut", "--resume") == 0
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")
    assert summary(tmp_path / "cut")["mlm_loss"] < summary(tmp_path / "cut")["unigram_loss"]


def test_fine_tuning_begins_with_the_same_projections_for_global_tokens(
    common: tuple[object, ...], arrays: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run_here(monkeypatch, *common, "--steps", 3, "--out", tmp_path / "first") == 0
    first = projections(tmp_path / "first")
    assert all(torch.equal(of_global, of_others) for of_global, of_others in first)
    again = (
        "--data",
        arrays,
        "--init",
        tmp_path / "first",
        "--steps",
        3,
        "--seq-len",
        32,
        "--out",
        tmp_path / "second",
    )
    assert run_here(monkeypatch, *again) == 0
    for (before, _), (of_global, of_others) in zip(first, projections(tmp_path / "second"), strict=True):
        assert torch.equal(of_global, before) and not torch.equal(of_global, of_others)


def test_the_config_has_the_tokenizers_separator(arrays: Path, shape: Path, tmp_path: Path) -> None:
    tokenizer = Tokenizer.load(arrays)
    options = PretrainOptions(out="x", data=str(arrays), model=str(shape), steps=4)
    assert model_config(options, tokenizer).sep_token_id == tokenizer.sep_id
    other = write_shape(tmp_path / "other.json")
    assert model_config(dataclasses.replace(options, model=str(other)), tokenizer).sep_token_id is None


def test_positions_of_a_trained_model_begin_where_they_did(arrays: Path, tmp_path: Path) -> None:
    """As in Lawformer, whose `pad_token_id` is not its tokenizer's."""
    tokenizer = Tokenizer.load(arrays)
    config = FAMILY["longformer"].replace(vocab_size=tokenizer.vocab_size).with_separator(tokenizer.sep_id)
    assert config.pad_token_id != tokenizer.pad_id
    padded_alike = config.replace(pad_token_id=tokenizer.pad_id)
    checkpoint.save(Bert(padded_alike, generator=seeded(1)), tokenizer, tmp_path / "init")
    file = tmp_path / "init" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"pad_token_id": config.pad_token_id}))
    options = PretrainOptions(out="x", data=str(arrays), init=str(tmp_path / "init"), steps=4)
    assert model_config(options, tokenizer).pad_token_id == config.pad_token_id


@pytest.mark.parametrize(("family", "captured"), [("bert", True), ("longformer", False)])
def test_only_a_step_that_looks_at_no_values_is_captured(family: str, captured: bool) -> None:
    device = torch.device("cuda")
    model = BertForMaskedLM(FAMILY[family], generator=seeded(1))
    backward = backward_pass(model, device=device, precision=choose_precision("float32", torch.device("cpu")))
    assert isinstance(backward, Graphed) and (backward.at_most > 0) is captured


def test_it_is_not_compiled(shape: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pretrain.setup.missing_for_compiling", lambda device: None)
    options = PretrainOptions(out="x", data="d", model=str(shape), minutes=60)
    assert is_compiled(options, torch.device("cuda", 0)) is False
    asked = dataclasses.replace(options, compile="yes")
    message = refusal(lambda: is_compiled(asked, torch.device("cuda", 0)))
    assert message == "--compile yes needs a model without attention_window"


@pytest.mark.slow
def test_two_processes_train_as_one(arrays: Path, shape: Path, tmp_path: Path) -> None:
    """Neither has a gradient of the global projections."""
    common = ("--data", arrays, "--model", shape, "--seq-len", 32, "--batch-size", 8, "--steps", 6,
              "--dtype", "float32", "--optimizer", "muon", "--first-weights", "random")  # fmt: skip
    for processes in (1, 2):
        finished(start(*common, "--out", tmp_path / str(processes), processes=processes))
    one, two = (summary(tmp_path / str(processes)) for processes in (1, 2))
    assert two["processes"] == 2 and two["mlm_loss"] == pytest.approx(one["mlm_loss"], abs=1e-3)
