"""python -m weights_convert: what it prints."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from minibert import checkpoint
from minibert.tokenizer import Tokenizer
from tests.helpers import FAMILY, REPOSITORY, contents, tiny_model
from tests.weights_convert.reference_models import SMALL, edit_json, reference_model, write_directory, write_vocabulary
from weights_convert import __main__


def run(monkeypatch: pytest.MonkeyPatch, *args: object) -> int:
    """The exit code of `python -m weights_convert ARGS`, run here."""
    monkeypatch.setattr(sys, "argv", ["weights_convert", *map(str, args)])
    try:
        __main__.main()
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
    assert lines[-3].startswith("config.json: fields ignored (they do not affect results): ")
    assert " use_cache" in lines[-3]
    assert lines[-1] == f"wrote a BertForSequenceClassification to {tmp_path / 'ours'}"


def test_from_hf_says_what_was_taken_off_and_which_rows_have_no_token(
    hf_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tensors = load_file(hf_directory / "model.safetensors")
    save_file({f"_orig_mod.{key}": tensor for key, tensor in tensors.items()}, hf_directory / "model.safetensors")
    write_vocabulary(hf_directory, 77)
    assert run(monkeypatch, "from-hf", hf_directory, tmp_path / "ours") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["the prefix _orig_mod. is removed from every key", "mapped: 41 keys to 33 parameters"]
    assert lines[-3] == "vocab_size: 80 rows for 77 tokens; the rows after the last token are kept but not used"


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


@pytest.mark.parametrize(
    ("family", "architecture", "dropout", "said"),
    [
        (
            "distilbert", "BertForTokenClassification", 0.2,
            "classifier_dropout is 0.2, but DistilBertForTokenClassification has no such field and trains with its "
            "hidden_dropout_prob, 0.1; its answers are the same",
        ),
        (
            "roberta", "BertForMultipleChoice", 0.3,
            "classifier_dropout is 0.3, but RobertaForMultipleChoice has no such field and trains with its "
            "hidden_dropout_prob, 0.1; its answers are the same",
        ),
        ("distilbert", "BertForTokenClassification", None, ""),
        ("distilbert", "BertForTokenClassification", 0.1, ""),
        ("distilbert", "BertForSequenceClassification", 0.2, ""),
        ("bert", "BertForMultipleChoice", 0.3, ""),
    ],
)  # fmt: skip
def test_to_hf_says_of_a_dropout_that_its_class_does_not_have(
    family: str, architecture: str, dropout: float | None, said: str, tokenizer: Tokenizer, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    config = FAMILY[family].replace(vocab_size=tokenizer.vocab_size, pad_token_id=0, classifier_dropout=dropout)
    checkpoint.save(tiny_model(architecture, config), tokenizer, tmp_path / "ours")
    assert run(monkeypatch, "to-hf", tmp_path / "ours", tmp_path / "hf") == 0
    assert "".join(line for line in capsys.readouterr().out.splitlines() if "classifier_dropout" in line) == said


def test_there_and_back_on_the_command_line(
    hf_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(monkeypatch, "from-hf", hf_directory, tmp_path / "ours") == 0
    assert run(monkeypatch, "to-hf", tmp_path / "ours", tmp_path / "back") == 0
    assert run(monkeypatch, "from-hf", tmp_path / "back", tmp_path / "again") == 0
    assert contents(tmp_path / "again") == contents(tmp_path / "ours")


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
    assert result.stderr == "error: unknown command 'from-hub': did you mean from-hf?\n"
    code = "import weights_convert.__main__, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=False).returncode == 0
