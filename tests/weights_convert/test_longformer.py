"""Longformers: windows and global tokens beside the reference, and a BERT's vocabulary beside one (Lawformer)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch.testing import assert_close

import minibert
from minibert import checkpoint
from minibert.fast import accelerate
from minibert.heads import BertForMaskedLM
from minibert.tokenizer import Tokenizer
from tests.conftest import SENTENCES
from tests.helpers import FAMILY, contents, refusal, tiny_model
from tests.weights_convert.reference_models import (
    RELATIVES,
    edit_json,
    reference_model,
    write_directory,
    write_vocabulary,
)
from tests.weights_convert.test_causes_in_windows import SHAPE
from tests.weights_convert.test_verify import assert_agrees, converted
from weights_convert.commands import from_hf_command
from weights_convert.convert import from_hf, read_hf, to_hf
from weights_convert.parity import compare, verify
from weights_convert.reference import SoftmaxInFull

# --- The same numbers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("window", [4, 16])
@pytest.mark.parametrize("kind", [f"longformer {kind}" for kind in RELATIVES["longformer"][1]])
def test_every_class_gives_the_references_numbers_at_any_window(kind: str, window: int) -> None:
    """Of 41 tokens, as the commands run it; `test_verify` has windows that differ, and the plain code."""
    reference = reference_model(kind, SHAPE.replace(attention_window=(window, window)))
    ours = accelerate(converted(reference, kind).double())
    rows, _ = compare(ours, lambda dtype: reference, dtype="float64")
    assert_agrees(rows)
    names = {row.name for row in rows}
    for part in ("query", "key", "value", "probabilities", "context"):
        assert {f"blocks.1.attention.{part}", f"blocks.1.attention.global_{part}"} <= names


def test_a_window_that_reaches_everything_is_a_robertas_attention() -> None:
    """Another reference: RoBERTa's own code, of the same weights without those of global tokens."""
    windowed = reference_model("longformer encoder", SHAPE.replace(attention_window=(96, 96)))
    roberta = transformers.RobertaModel(
        transformers.RobertaConfig(**(windowed.config.to_dict() | {"model_type": "roberta"}))
    ).double()
    roberta.load_state_dict({key: value for key, value in windowed.state_dict().items() if "_global" not in key})
    ids = torch.randint(4, 131, (3, 41), generator=torch.Generator().manual_seed(0))
    mask = torch.arange(41) < torch.tensor([[41], [29], [7]])
    ids = ids.masked_fill(~mask, 1)
    with torch.no_grad():
        expected = roberta.eval()(ids, attention_mask=mask.long()).last_hidden_state
        found = converted(windowed, "longformer encoder")(ids, attention_mask=mask).hidden
    assert_close(found[mask], expected[mask], rtol=0, atol=1e-12)


def test_the_report_names_the_batches(tmp_path: Path) -> None:
    hf = write_directory(reference_model("longformer answers", SHAPE).float(), tmp_path / "hf")
    assert list(verify(hf).lines())[2] == (
        "batches:   5, of 6 sequences each; padding: right (many global tokens), left (one global token), none (no "
        "global token), right, left; seed 0"
    )


@pytest.mark.parametrize("ours_is_windowed", [True, False])
def test_only_a_longformer_is_compared_with_a_longformer(ours_is_windowed: bool) -> None:
    windowed, plain = reference_model("longformer encoder", SHAPE), reference_model("roberta encoder", SHAPE)
    ours, theirs = (windowed, plain) if ours_is_windowed else (plain, windowed)
    kinds = {windowed: "longformer encoder", plain: "roberta encoder"}
    values = {windowed: "(4, 16)", plain: "None"}
    assert refusal(lambda: compare(converted(ours, kinds[ours]), lambda dtype: theirs, dtype="float64")) == (
        f"attention_window: {values[ours]} in minibert, {values[theirs]} in the reference, so they cannot be compared"
    )


def test_windows_that_the_reference_cannot_run_are_refused() -> None:
    """It makes the length a multiple of the largest window, and fails if that is no multiple of another."""
    reference = reference_model("longformer encoder", SHAPE.replace(attention_window=(4, 6)))
    ours = converted(reference, "longformer encoder")
    assert refusal(lambda: compare(ours, lambda dtype: reference, dtype="float64")) == (
        "attention_window is (4, 6), but in the reference each window must divide the largest"
    )


# --- Lawformer -------------------------------------------------------------------------------------------------------


def lawformer(directory: Path, kind: str = "longformer masked") -> transformers.PreTrainedModel:
    """A small one as it is published: RoBERTa's ids in the config, BERT's vocabulary, a buffer among the weights."""
    reference = reference_model(kind, SHAPE.replace(type_vocab_size=2)).float()
    write_directory(reference, directory)
    write_vocabulary(directory, SHAPE.vocab_size, pad=0)
    edit_json(directory / "config.json", pad_token_id=1, sep_token_id=2, attention_mode="longformer")
    tensors = load_file(directory / "model.safetensors")
    tensors["longformer.embeddings.position_ids"] = torch.arange(43)[None]
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})
    return reference


def test_what_from_hf_says_of_lawformer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lawformer(tmp_path / "hf")
    from_hf_command([str(tmp_path / "hf"), str(tmp_path / "ours")])
    config = minibert.load(tmp_path / "ours")[0].config
    assert (config.pad_token_id, config.sep_token_id, config.attention_window) == (1, 3, (4, 16))
    lines = capsys.readouterr().out.splitlines()
    assert lines[lines.index("dropped: 1") + 1].strip() == (
        "longformer.embeddings.position_ids: a buffer: positions are counted in the forward pass"
    )
    said = [line for line in lines if line.startswith("config.json: ") and "ignored" not in line]
    assert said == [
        "config.json: pad_token_id is 1, but the tokenizer's [PAD] is 0: as in transformers, padding takes positions, "
        "and only token 1 takes none",
        "config.json: sep_token_id is 2, but the tokenizer's [SEP] is 3, which is used: transformers would find no "
        "separator",
    ]
    assert not any("attention_mode" in line for line in lines)


@pytest.mark.parametrize("kind", ["longformer masked", "longformer answers"])
def test_lawformer_is_verified(kind: str, tmp_path: Path) -> None:
    lawformer(tmp_path / "hf", kind)
    report = verify(tmp_path / "hf", dtype="float64")
    assert (report.agrees, report.cause) == (True, None)
    # No separator is the same on both sides, so its task's own global tokens can't be compared.
    assert len(report.layouts) == {"longformer masked": 5, "longformer answers": 3}[kind]


@pytest.mark.parametrize("padding", ["right", "left"])
def test_lawformers_padding_takes_positions_as_in_the_reference(padding: str, tmp_path: Path) -> None:
    reference = lawformer(tmp_path / "hf").double()
    model = read_hf(tmp_path / "hf").model.double()
    assert isinstance(model, BertForMaskedLM)
    ids = torch.randint(5, 131, (2, 19), generator=torch.Generator().manual_seed(0))
    ids[0, 7] = 1  # the token that takes no position
    mask = torch.arange(19) < torch.tensor([[19], [9]])
    mask = mask if padding == "right" else mask.flip(1)
    ids = ids.masked_fill(~mask, 0)
    with torch.no_grad(), SoftmaxInFull():
        expected = reference.base_model(ids, attention_mask=mask.long()).last_hidden_state
        found = model.encoder(ids, attention_mask=mask)
    assert_close(found[mask], expected[mask], rtol=0, atol=1e-10)


def test_lawformer_there_and_back(tmp_path: Path) -> None:
    reference = lawformer(tmp_path / "hf")
    from_hf(tmp_path / "hf", tmp_path / "ours")
    to_hf(tmp_path / "ours", tmp_path / "back")
    from_hf(tmp_path / "back", tmp_path / "again")
    assert contents(tmp_path / "again") == contents(tmp_path / "ours")
    loaded, report = transformers.LongformerModel.from_pretrained(
        tmp_path / "back", add_pooling_layer=False, output_loading_info=True
    )
    assert not report["missing_keys"] and not report["mismatched_keys"]
    assert_close(loaded.state_dict(), reference.longformer.state_dict(), rtol=0, atol=0)
    assert (loaded.config.pad_token_id, loaded.config.attention_window) == (1, [4, 16])
    for auto in (transformers.BertTokenizer, transformers.AutoTokenizer):
        tokenizer = auto.from_pretrained(tmp_path / "back")
        assert type(tokenizer).__name__ == "BertTokenizer"
        assert tokenizer("word7 word9")["input_ids"] == [2, 12, 14, 3]
    fields = json.loads((tmp_path / "back" / "config.json").read_text())
    assert (fields["pad_token_id"], fields["sep_token_id"]) == (1, 3)


def test_another_padding_than_the_configs_is_a_mistake_in_other_models() -> None:
    bpe = Tokenizer.train(SENTENCES, vocab_size=300, kind="bpe")
    for family, tokenizer in (("longformer", bpe), ("roberta", Tokenizer.train(SENTENCES, vocab_size=80))):
        config = FAMILY[family].replace(vocab_size=300, pad_token_id=4, max_position_embeddings=30)
        assert refusal(lambda: checkpoint.check_tokenizer(config, tokenizer)) == (  # noqa: B023
            "pad_token_id, after which positions begin, is 4, but the tokenizer's "
            f"{tokenizer.special_tokens.pad} is {tokenizer.pad_id}"
        )


def test_a_class_that_a_longformers_tokenizer_has_had_is_read(tmp_path: Path) -> None:
    """transformers 4 wrote LongformerTokenizer, which is now another name of RobertaTokenizer."""
    tokenizer = Tokenizer.train(SENTENCES, vocab_size=300, kind="bpe")
    config = FAMILY["longformer"].replace(vocab_size=300, pad_token_id=tokenizer.pad_id, sep_token_id=tokenizer.sep_id)
    checkpoint.save(tiny_model("Bert", config), tokenizer, tmp_path / "ours")
    to_hf(tmp_path / "ours", tmp_path / "hf")
    edit_json(tmp_path / "hf" / "tokenizer_config.json", tokenizer_class="LongformerTokenizerFast")
    conversion = from_hf(tmp_path / "hf", tmp_path / "back")
    assert conversion.notes == () and contents(tmp_path / "back") == contents(tmp_path / "ours")
