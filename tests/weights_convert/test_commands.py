"""python -m weights_convert: what it prints, and that bad input gets one line and leaves nothing."""

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

from minibert import checkpoint, cli
from minibert.tokenizer import Tokenizer
from tests.helpers import REPOSITORY, contents, tiny_model
from tests.weights_convert.reference_models import SMALL, edit_json, reference_model, write_directory, write_vocabulary
from tests.weights_convert.test_weight_files import Bomb
from weights_convert import __main__


def run(monkeypatch: pytest.MonkeyPatch, *args: object) -> int:
    """The exit code of `python -m weights_convert ARGS`, run here."""
    monkeypatch.setattr(sys, "argv", ["weights_convert", *map(str, args)])
    try:
        cli.run(__main__.main)
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


@pytest.fixture
def hf_directory(tmp_path: Path) -> Path:
    """A classifier of the reference with three labels; free to be damaged."""
    return write_directory(reference_model("single label").float(), tmp_path / "hf")


# --- What is printed -------------------------------------------------------------------------------------------------


def test_from_hf_prints_the_ledger(
    hf_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tensors = load_file(hf_directory / "model.safetensors")
    tensors["qa_outputs.bias"] = torch.zeros(2)
    del tensors["classifier.bias"]
    save_file(tensors, hf_directory / "model.safetensors")
    edit_json(hf_directory / "config.json", use_cache=False)
    assert run(monkeypatch, "from-hf", hf_directory, tmp_path / "ours", "--new-head") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "mapped: 40 keys to 32 parameters"
    assert "  pooler.dense.weight <- bert.pooler.dense.weight" in lines
    start = lines.index("tied: none")
    assert lines[start : start + 5] == [
        "tied: none",
        "dropped: 1",
        "  qa_outputs.bias: BertForSequenceClassification has no span_head",
        "newly initialised: 1",
        "  classifier.dense.bias",
    ]
    assert lines[-3].startswith("config.json: without influence on what is computed: ")
    assert " use_cache" in lines[-3]
    assert lines[-1] == f"a BertForSequenceClassification, written to {tmp_path / 'ours'}"


def test_two_conversions_with_a_new_head_are_the_same_bytes(
    hf_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensors = load_file(hf_directory / "model.safetensors")
    del tensors["classifier.weight"]
    save_file(tensors, hf_directory / "model.safetensors")
    for name in ("one", "two"):
        assert run(monkeypatch, "from-hf", hf_directory, tmp_path / name, "--new-head") == 0
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


@pytest.mark.parametrize(
    ("architecture", "call"),
    [
        ("BertForMaskedLM", "AutoModelForMaskedLM.from_pretrained('{}')"),
        ("BertForMultipleChoice", "AutoModelForMultipleChoice.from_pretrained('{}')"),
        ("BertWithPooler", "AutoModel.from_pretrained('{}')"),
        ("Bert", "AutoModel.from_pretrained('{}', add_pooling_layer=False)"),
    ],
)
def test_to_hf_tells_how_to_load(
    architecture: str,
    call: str,
    tokenizer: Tokenizer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    checkpoint.save(tiny_model(architecture, SMALL), tokenizer, tmp_path / "ours")
    assert run(monkeypatch, "to-hf", tmp_path / "ours", tmp_path / "hf") == 0
    assert f"  transformers.{call.format(tmp_path / 'hf')}" in capsys.readouterr().out.splitlines()


def test_there_and_back_on_the_command_line(
    hf_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(monkeypatch, "from-hf", hf_directory, tmp_path / "ours") == 0
    assert run(monkeypatch, "to-hf", tmp_path / "ours", tmp_path / "back") == 0
    assert run(monkeypatch, "from-hf", tmp_path / "back", tmp_path / "again") == 0
    assert contents(tmp_path / "again") == contents(tmp_path / "ours")


# --- Bad input -------------------------------------------------------------------------------------------------------


def no_directory(directory: Path) -> None:
    directory.rename(directory.with_name("elsewhere"))


def no_config(directory: Path) -> None:
    (directory / "config.json").unlink()


def another_model(directory: Path) -> None:
    edit_json(directory / "config.json", model_type="roberta")


def another_class(directory: Path) -> None:
    edit_json(directory / "config.json", architectures=["BertLMHeadModel"])


def class_left_open(directory: Path) -> None:
    edit_json(directory / "config.json", architectures=None)


def one_label_more(directory: Path) -> None:
    edit_json(directory / "config.json", id2label={str(i): f"label {i}" for i in range(4)})


def label_twice(directory: Path) -> None:
    edit_json(directory / "config.json", id2label={"0": "bad", "1": "good", "2": "bad"})


def one_layer_more(directory: Path) -> None:
    edit_json(directory / "config.json", num_hidden_layers=3)


def wider(directory: Path) -> None:
    edit_json(directory / "config.json", intermediate_size=64)


def untied_without_decoder(directory: Path) -> None:
    edit_json(directory / "config.json", architectures=["BertForMaskedLM"], tie_word_embeddings=False)


def no_weights(directory: Path) -> None:
    (directory / "model.safetensors").unlink()


def truncated(directory: Path) -> None:
    path = directory / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def edit_weights(directory: Path, edit: Callable[[dict[str, Tensor]], object]) -> None:
    tensors = load_file(directory / "model.safetensors")
    edit(tensors)
    save_file(tensors, directory / "model.safetensors")


def unknown_keys(directory: Path) -> None:
    edit_weights(directory, lambda tensors: tensors.update({"x.lora_A": torch.zeros(1), "x.lora_B": torch.zeros(1)}))


def missing_head(directory: Path) -> None:
    edit_weights(directory, lambda tensors: tensors.pop("classifier.weight"))


def whole_numbers(directory: Path) -> None:
    edit_weights(directory, lambda t: t.update({"classifier.bias": torch.zeros(3, dtype=torch.int8)}))


def no_vocabulary(directory: Path) -> None:
    (directory / "vocab.txt").unlink()


def one_token_less(directory: Path) -> None:
    write_vocabulary(directory, 79)


def one_token_more(directory: Path) -> None:
    write_vocabulary(directory, 81)


def bomb(directory: Path) -> None:
    (directory / "model.safetensors").unlink()
    torch.save({"classifier.weight": Bomb(directory / "ran")}, directory / "pytorch_model.bin")


BAD: list[tuple[Callable[[Path], None], str]] = [
    (no_directory, "hf: no such directory"),
    (no_config, "hf: not a Hugging Face directory: it has no config.json"),
    (another_model, "config.json: model_type 'roberta': minibert does bert"),
    (another_class, "config.json: architectures ['BertLMHeadModel']: minibert does one of BertModel, "),
    (class_left_open, "config.json: architectures missing, and classifier.weight may be of several"),
    (one_label_more, "model.safetensors: classifier.weight is (3, 24), but classifier.dense.weight is (4, 24)"),
    (label_twice, "config.json: labels must differ from one another; more than once there: bad"),
    (one_layer_more, "keys of 2 layers (encoder.layer.1 is the last), but num_hidden_layers is 3"),
    (
        wider,
        "bert.encoder.layer.0.intermediate.dense.weight is (56, 24), "
        "but encoder.blocks.0.feed_forward.inner.weight is (64, 24)",
    ),
    (untied_without_decoder, "config.json: tie_word_embeddings is false, but the weights have no decoder"),
    (no_weights, "hf: no weights; expected model.safetensors, "),
    (truncated, "model.safetensors: damaged ("),
    (unknown_keys, "model.safetensors: unknown x.lora_A, x.lora_B"),
    (missing_head, "model.safetensors: missing classifier.weight (--new-head draws a missing head afresh)"),
    (whole_numbers, "classifier.dense.bias is torch.int8, expected floating-point numbers"),
    (no_vocabulary, "hf: expected tokenizer.json or vocab.txt in it"),
    (one_token_less, "hf: 79 tokens in the vocabulary, vocab_size 80 in config.json"),
    (one_token_more, "hf: 81 tokens in the vocabulary, vocab_size 80 in config.json"),
    (bomb, f"pytorch_model.bin: refused: it names {os.name}.system, and no code in a file is run"),
]


@pytest.mark.parametrize(("damage", "message"), BAD, ids=[damage.__name__ for damage, _ in BAD])
def test_bad_input_is_one_line_and_leaves_nothing(
    damage: Callable[[Path], None],
    message: str,
    hf_directory: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    damage(hf_directory)
    before = contents(tmp_path)
    assert run(monkeypatch, "from-hf", hf_directory, tmp_path / "new" / "ours") == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert len(shown.err.splitlines()) == 1
    assert shown.err.startswith("error: ") and message in shown.err
    assert contents(tmp_path) == before
    assert not (tmp_path / "new").exists()


def test_an_output_that_is_there_is_refused(
    hf_directory: Path,
    model_directory: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    out.symlink_to(tmp_path / "nowhere")
    for command, directory in (("from-hf", hf_directory), ("to-hf", model_directory)):
        assert run(monkeypatch, command, directory, out) == 2
        assert capsys.readouterr().err == f"error: {out}: is there already; give a directory that is not\n"
    assert out.is_symlink()


def test_to_hf_refuses_what_is_no_model_directory(
    hf_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "to-hf", hf_directory, tmp_path / "out") == 2
    assert capsys.readouterr().err.startswith(f"error: {hf_directory / 'config.json'}: architecture must be one of ")
    assert run(monkeypatch, "to-hf", tmp_path / "none", tmp_path / "out") == 2
    assert capsys.readouterr().err == f"error: {tmp_path / 'none'}: not a model directory: it has no config.json\n"
    assert not (tmp_path / "out").exists()


def test_to_hf_refuses_damaged_weights(
    model_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    truncated(model_directory)
    assert run(monkeypatch, "to-hf", model_directory, tmp_path / "out") == 2
    assert capsys.readouterr().err == (
        f"error: {model_directory / 'model.safetensors'}: damaged: its SHA-256 is not the one that config.json gives\n"
    )
    assert not (tmp_path / "out").exists()


# --- The words before a command --------------------------------------------------------------------------------------


@pytest.mark.parametrize("args", [(), ("--help",), ("-h",)])
def test_without_a_command_the_commands_are_listed(
    args: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, *args) == 0
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown for name in ("from-hf", "to-hf"))


@pytest.mark.parametrize("command", ["from-hf", "to-hf"])
def test_every_command_has_help(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, command, "--help") == 0
    assert f"python -m weights_convert {command}" in capsys.readouterr().out


def test_missing_arguments_are_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "from-hf") == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_the_module_runs_as_a_program_without_torch() -> None:
    command = [sys.executable, "-m", "weights_convert", "from-hub"]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "error: unknown command 'from-hub': give from-hf or to-hf or verify\n"
    code = "import weights_convert.__main__, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=False).returncode == 0
