"""Bad input to `from-hf` and `to-hf`: exit code 2, one line that says what and where, and nothing left behind."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from minibert.tokenizer import Tokenizer
from tests.helpers import REPOSITORY, contents
from tests.weights_convert.reference_models import edit_json, reference_model, write_directory, write_vocabulary
from tests.weights_convert.test_commands import run
from tests.weights_convert.test_weight_files import Bomb

Damage = Callable[[Path], None]


@pytest.fixture
def hf_directory(tmp_path: Path) -> Path:
    """A classifier of the reference with three labels; free to be damaged."""
    return write_directory(reference_model("single label").float(), tmp_path / "hf")


# --- Damage that both kinds of directory can have --------------------------------------------------------------------


def no_directory(directory: Path) -> None:
    directory.rename(directory.with_name("elsewhere"))


def a_file(directory: Path) -> None:
    no_directory(directory)
    directory.write_text("text")


def no_config(directory: Path) -> None:
    (directory / "config.json").unlink()


def config_of_the_first_releases(directory: Path) -> None:
    (directory / "config.json").rename(directory / "bert_config.json")


def one_layer_more(directory: Path) -> None:
    edit_json(directory / "config.json", num_hidden_layers=3)


def wider(directory: Path) -> None:
    edit_json(directory / "config.json", intermediate_size=64)


def more_positions(directory: Path) -> None:
    edit_json(directory / "config.json", max_position_embeddings=17)


def no_weights(directory: Path) -> None:
    (directory / "model.safetensors").unlink()


def truncated(directory: Path) -> None:
    path = directory / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def empty_weights(directory: Path) -> None:
    (directory / "model.safetensors").write_bytes(b"")


def a_bit_flipped(directory: Path) -> None:
    path = directory / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1000] ^= 1
    path.write_bytes(content)


def edit_weights(directory: Path, edit: Callable[[dict[str, Tensor]], object]) -> None:
    """A model directory's checksum is taken away: it is not what is to be found."""
    tensors = load_file(directory / "model.safetensors")
    edit(tensors)
    save_file(tensors, directory / "model.safetensors")
    edit_json(directory / "config.json", weights_sha256=None)


def unknown_keys(directory: Path) -> None:
    edit_weights(directory, lambda tensors: tensors.update({"x.lora_A": torch.zeros(1), "x.lora_B": torch.zeros(1)}))


def no_vocabulary(directory: Path) -> None:
    for path in (directory / "vocab.txt", directory / "tokenizer.json"):
        path.unlink(missing_ok=True)


# --- A Hugging Face directory ----------------------------------------------------------------------------------------


def another_model(directory: Path) -> None:
    edit_json(directory / "config.json", model_type="electra", architectures=["ElectraForPreTraining"])


def a_relative_of_several_blocks(directory: Path) -> None:
    edit_json(directory / "config.json", model_type="albert", num_hidden_groups=2)


def another_class(directory: Path) -> None:
    edit_json(directory / "config.json", architectures=["BertLMHeadModel"])


def class_left_open(directory: Path) -> None:
    edit_json(directory / "config.json", architectures=None)


def one_label_more(directory: Path) -> None:
    edit_json(directory / "config.json", id2label={str(i): f"label {i}" for i in range(4)})


def label_twice(directory: Path) -> None:
    edit_json(directory / "config.json", id2label={"0": "bad", "1": "good", "2": "bad"})


def untied_without_decoder(directory: Path) -> None:
    edit_json(directory / "config.json", architectures=["BertForMaskedLM"], tie_word_embeddings=False)


def missing_head(directory: Path) -> None:
    edit_weights(directory, lambda tensors: tensors.pop("classifier.weight"))


def whole_numbers(directory: Path) -> None:
    edit_weights(directory, lambda t: t.update({"classifier.bias": torch.zeros(3, dtype=torch.int8)}))


def another_shape(directory: Path) -> None:
    edit_weights(directory, lambda t: t.update({"bert.embeddings.LayerNorm.weight": torch.zeros(25)}))


def missing_and_unknown_keys(directory: Path) -> None:
    def edit(tensors: dict[str, Tensor]) -> None:
        tensors["bert.pooler.weight"] = tensors.pop("bert.pooler.dense.weight")
        tensors["bert.adapter.bias"] = tensors.pop("bert.encoder.layer.1.output.dense.bias")

    edit_weights(directory, edit)


def truncated_bin(directory: Path) -> None:
    torch.save(load_file(directory / "model.safetensors"), directory / "pytorch_model.bin")
    (directory / "model.safetensors").unlink()
    content = (directory / "pytorch_model.bin").read_bytes()
    (directory / "pytorch_model.bin").write_bytes(content[:-100])


def another_tokenizer(directory: Path) -> None:
    (directory / "tokenizer_config.json").write_text('{"tokenizer_class": "BertJapaneseTokenizer"}')


def one_token_more(directory: Path) -> None:
    write_vocabulary(directory, 81)


def bomb(directory: Path) -> None:
    (directory / "model.safetensors").unlink()
    torch.save({"classifier.weight": Bomb(directory / "ran")}, directory / "pytorch_model.bin")


BAD_HF: list[tuple[Damage, str]] = [
    (no_directory, "hf: no such directory"),
    (a_file, "hf: no such directory"),
    (no_config, "hf is not a Hugging Face directory: it has no config.json"),
    (
        config_of_the_first_releases,
        "hf is not a Hugging Face directory: it has no config.json; rename bert_config.json to config.json",
    ),
    (
        another_model,
        "config.json: model_type 'electra' is not supported, expected one of bert, roberta, distilbert, albert",
    ),
    (a_relative_of_several_blocks, "config.json: num_hidden_groups 2: only 1 is supported"),
    (another_class, "config.json: architectures ['BertLMHeadModel']: expected exactly one of BertModel, "),
    (class_left_open, "config.json: architectures is missing, and classifier.weight fits several classes"),
    (one_label_more, "model.safetensors: classifier.weight is (3, 24), but classifier.dense.weight is (4, 24)"),
    (label_twice, "config.json: labels must differ from one another; repeated: bad"),
    (one_layer_more, "keys of 2 layers (encoder.layer.1 is the last), but num_hidden_layers is 3"),
    (
        wider,
        "bert.encoder.layer.0.intermediate.dense.weight is (56, 24), "
        "but encoder.blocks.0.feed_forward.inner.weight is (64, 24)",
    ),
    (
        more_positions,
        "bert.embeddings.position_embeddings.weight is (16, 24), but encoder.embeddings.position.weight is (17, 24)",
    ),
    (untied_without_decoder, "config.json: tie_word_embeddings is false, but the weights have no decoder"),
    (no_weights, "hf: no weights; expected model.safetensors, "),
    (truncated, "model.safetensors is damaged ("),
    (empty_weights, "model.safetensors is damaged ("),
    (truncated_bin, "pytorch_model.bin: refused: it is damaged, or holds more than tensors"),
    (
        another_shape,
        "model.safetensors: bert.embeddings.LayerNorm.weight is (25,), but encoder.embeddings.norm.weight is (24,)",
    ),
    (unknown_keys, "model.safetensors: unknown x.lora_A, x.lora_B"),
    (
        missing_and_unknown_keys,
        "model.safetensors: missing bert.encoder.layer.1.output.dense.bias, bert.pooler.dense.weight; "
        "unknown bert.adapter.bias, bert.pooler.weight",
    ),
    (missing_head, "model.safetensors: missing classifier.weight (use --new-head to initialise a missing head)"),
    (whole_numbers, "classifier.dense.bias is torch.int8, expected floating-point numbers"),
    (no_vocabulary, "hf: expected tokenizer.json, vocab.txt, vocab.json or spiece.model in it"),
    (another_tokenizer, "tokenizer_config.json, tokenizer_class: expected one of BertTokenizer, "),
    (
        one_token_more,
        "config.json: vocab_size is 80, but the tokenizer has 81 tokens: the last ones would have no embedding",
    ),
    (bomb, f"pytorch_model.bin: refused: it names {os.name}.system, but no code is run"),
]


@pytest.mark.parametrize(("damage", "message"), BAD_HF, ids=[damage.__name__ for damage, _ in BAD_HF])
def test_from_hf_is_one_line_and_leaves_nothing(
    damage: Damage,
    message: str,
    hf_directory: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    damage(hf_directory)
    assert_refused("from-hf", hf_directory, message, tmp_path, monkeypatch, capsys)


def assert_refused(
    command: str,
    directory: Path,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """2; one line; every file as it was, and no new directory (a bomb that went off would leave a file)."""
    before = contents(tmp_path)
    capsys.readouterr()
    assert run(monkeypatch, command, directory, tmp_path / "new" / "out") == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert len(shown.err.splitlines()) == 1
    assert shown.err.startswith("error: ") and message in shown.err
    assert contents(tmp_path) == before
    assert not (tmp_path / "new").exists()


def test_a_bomb_does_not_go_off_in_a_process_of_its_own(hf_directory: Path, tmp_path: Path) -> None:
    bomb(hf_directory)
    command = [sys.executable, "-m", "weights_convert", "from-hf", str(hf_directory), str(tmp_path / "out")]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (2, "")
    refused = f"refused: it names {os.name}.system, but no code is run"
    assert result.stderr == f"error: {hf_directory / 'pytorch_model.bin'}: {refused}\n"
    assert sorted(contents(hf_directory)) == ["config.json", "pytorch_model.bin", "vocab.txt"]
    assert not (tmp_path / "out").exists()


# --- A model directory -----------------------------------------------------------------------------------------------


def of_hugging_face(directory: Path) -> None:
    edit_json(directory / "config.json", architecture=None, model_type="bert")


def missing_and_unknown_names(directory: Path) -> None:
    def edit(tensors: dict[str, Tensor]) -> None:
        tensors["pooler.weight"] = tensors.pop("pooler.dense.weight")
        del tensors["nsp_head.bias"]

    edit_weights(directory, edit)


def truncated_without_a_checksum(directory: Path) -> None:
    truncated(directory)
    edit_json(directory / "config.json", weights_sha256=None)


def a_larger_vocabulary(directory: Path) -> None:
    tokenizer = Tokenizer.load(directory)
    tokenizer.add_tokens(["zebra"])
    tokenizer.save(directory)


def text_that_is_not_cleaned(directory: Path) -> None:
    (directory / "tokenizer_config.json").write_text('{"clean_text": false}')


DAMAGED = "model.safetensors is damaged: its SHA-256 differs from the one in config.json"
BAD_OURS: list[tuple[Damage, str]] = [
    (no_directory, "model is not a model directory: it has no config.json"),
    (a_file, "model is not a model directory: it has no config.json"),
    (no_config, "model is not a model directory: it has no config.json"),
    (of_hugging_face, "config.json: this is a Hugging Face config; convert it with python -m weights_convert "),
    (one_layer_more, "model.safetensors: missing encoder.blocks.2.attention.output.bias, "),
    (
        wider,
        "model.safetensors: encoder.blocks.0.feed_forward.inner.weight is (56, 24), expected (64, 24)",
    ),
    (more_positions, "model.safetensors: encoder.embeddings.position.weight is (16, 24), expected (17, 24)"),
    (no_weights, "model.safetensors is missing; a model directory holds "),
    (truncated, DAMAGED),
    (truncated_without_a_checksum, "model.safetensors is damaged ("),
    (a_bit_flipped, DAMAGED),
    (unknown_keys, "model.safetensors: unknown x.lora_A, x.lora_B"),
    (
        missing_and_unknown_names,
        "model.safetensors: missing nsp_head.bias, pooler.dense.weight; unknown pooler.weight",
    ),
    (no_vocabulary, "model: expected tokenizer.json, vocab.txt, vocab.json or spiece.model in it"),
    (
        a_larger_vocabulary,
        "config.json: vocab_size is 80, but the tokenizer has 81 tokens: the last ones would have no embedding",
    ),
    (text_that_is_not_cleaned, "model: the tokenizer's clean_text is false; transformers' BertTokenizer always cleans"),
]


@pytest.mark.parametrize(("damage", "message"), BAD_OURS, ids=[damage.__name__ for damage, _ in BAD_OURS])
def test_to_hf_is_one_line_and_leaves_nothing(
    damage: Damage,
    message: str,
    model_directory: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    damage(model_directory)
    assert_refused("to-hf", model_directory, message, tmp_path, monkeypatch, capsys)


def test_from_hf_says_of_a_model_directory_what_it_is(
    model_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    message = "config.json: expected a Hugging Face config, but it is minibert's: it has the field architecture"
    assert_refused("from-hf", model_directory, message, tmp_path, monkeypatch, capsys)


# --- An output that is there -----------------------------------------------------------------------------------------


def make_directory(out: Path) -> None:
    out.mkdir()


def make_full_directory(out: Path) -> None:
    out.mkdir()
    (out / "config.json").write_text("mine")


def make_file(out: Path) -> None:
    out.write_text("mine")


def make_dangling_link(out: Path) -> None:
    out.symlink_to(out.with_name("nowhere"))


@pytest.mark.parametrize("make", [make_directory, make_full_directory, make_file, make_dangling_link])
def test_an_output_that_is_there_is_refused(
    make: Callable[[Path], None],
    hf_directory: Path,
    model_directory: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    make(out)
    before = contents(tmp_path)
    capsys.readouterr()  # the reference's progress bar
    for command, directory in (("from-hf", hf_directory), ("to-hf", model_directory)):
        assert run(monkeypatch, command, directory, out) == 2
        assert capsys.readouterr().err == f"error: {out} already exists; choose a new directory\n"
    assert contents(tmp_path) == before
    assert out.is_symlink() == (make is make_dangling_link)
