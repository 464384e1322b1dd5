"""What bad input gets: exit code 2, one line that names the thing, and nothing left behind."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import minibert
from minibert import __main__ as minibert_main
from minibert.heads import BertForPreTraining
from minibert.tokenizer import Tokenizer
from tests.helpers import REPOSITORY
from tests.pretrain.running import Refused, documents, finished, run_here, start, write_shape, write_text

# --- The corpus ------------------------------------------------------------------------------------------------------


def test_a_corpus_that_is_missing(refused: Refused, out: Path, tmp_path: Path) -> None:
    message = refused("--corpus", tmp_path / "none.txt", "--out", out, "--steps", 1)
    assert str(tmp_path / "none.txt") in message and "no such file" in message


def test_one_of_several_paths_that_is_missing(refused: Refused, out: Path, tmp_path: Path, text: Path) -> None:
    assert "none.txt" in refused("--corpus", text, tmp_path / "none.txt", "--out", out, "--steps", 1)


def test_a_file_that_is_empty(refused: Refused, out: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.txt").touch()
    assert "empty.txt: the file is empty" in refused("--corpus", tmp_path / "empty.txt", "--out", out, "--steps", 1)


def test_a_file_of_white_space(refused: Refused, out: Path, tmp_path: Path) -> None:
    (tmp_path / "blank.txt").write_text(" \n\n \n")
    assert "blank.txt" in refused("--corpus", tmp_path / "blank.txt", "--out", out, "--steps", 1)


def test_a_directory_without_text(refused: Refused, out: Path, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "cat.png").write_bytes(b"\x89PNG")
    message = refused("--corpus", tmp_path / "images", "--out", out, "--steps", 1)
    assert "images: no text in this directory" in message


@pytest.mark.parametrize("command", [(), ("prepare",)])
def test_text_that_is_not_utf8(refused: Refused, out: Path, tmp_path: Path, command: tuple[str, ...]) -> None:
    good = "\n\n".join(documents(10)).encode()
    (tmp_path / "latin.txt").write_bytes(good + "caf\xe9".encode("latin-1"))
    message = refused(*command, "--corpus", tmp_path / "latin.txt", "--out", out)
    assert f"latin.txt:{good.count(bytes([10])) + 1}: not UTF-8 at byte {len(good) + 3}" in message


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "lines.jsonl:3: expected one JSON object"),
        ("[1]", "lines.jsonl:3: expected a JSON object, found an array"),
        ('{"body": "x"}', "lines.jsonl:3: no field 'text'"),
        ('{"text": 5}', "lines.jsonl:3: field 'text' is a number"),
    ],
)
def test_a_jsonl_line_that_is_bad(refused: Refused, out: Path, tmp_path: Path, line: str, problem: str) -> None:
    lines = [json.dumps({"text": text}) for text in documents(10)]
    (tmp_path / "lines.jsonl").write_text("\n".join([*lines[:2], line, *lines[2:]]))
    assert problem in refused("--corpus", tmp_path / "lines.jsonl", "--out", out, "--steps", 1)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_too_few_documents_for_nsp(refused: Refused, out: Path, tmp_path: Path, count: int) -> None:
    corpus = write_text(tmp_path / "few.txt", documents(count))
    message = refused("--corpus", corpus, "--vocab-size", 100, "--out", out, "--steps", 1)
    assert f"only {count} document" in message and "at least two" in message and "--no-nsp" in message


def test_few_documents_do_without_nsp(
    tmp_path: Path, shape: Path, monkeypatch: pytest.MonkeyPatch, refused: Refused, out: Path
) -> None:
    corpus = write_text(tmp_path / "few.txt", documents(3))
    args = ("--corpus", corpus, "--vocab-size", 100, "--model", shape, "--seq-len", 32, "--steps", 1)
    refused(*args, "--out", out)
    assert run_here(monkeypatch, *args, "--out", out, "--no-nsp") == 0
    assert (out / "summary.json").is_file()


def test_arrays_of_too_few_documents_for_nsp(
    refused: Refused, out: Path, tmp_path: Path, shape: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = write_text(tmp_path / "few.txt", documents(3))
    assert run_here(monkeypatch, "prepare", "--corpus", corpus, "--vocab-size", 100, "--no-nsp", "--out",
                    tmp_path / "arrays") == 0  # fmt: skip
    common = ("--data", tmp_path / "arrays", "--model", shape, "--seq-len", 32, "--steps", 1)
    message = refused(*common, "--out", out)
    assert "at least two documents" in message and "--no-nsp" in message
    assert run_here(monkeypatch, *common, "--out", out, "--no-nsp") == 0


def test_data_that_is_no_token_arrays(refused: Refused, out: Path, tmp_path: Path, text: Path) -> None:
    for place in (tmp_path, tmp_path / "none", text):
        message = refused("--data", place, "--out", out, "--steps", 1)
        assert str(place) in message and "not made by prepare" in message


def test_data_that_is_damaged(refused: Refused, out: Path, tmp_path: Path, arrays: Path) -> None:
    shutil.copytree(arrays, tmp_path / "arrays")
    tokens = tmp_path / "arrays" / "train" / "tokens.bin"
    content = bytearray(tokens.read_bytes())
    content[100] ^= 1
    tokens.write_bytes(content)
    assert "tokens.bin is damaged" in refused("--data", tmp_path / "arrays", "--out", out, "--steps", 1)


# --- The model -------------------------------------------------------------------------------------------------------


def test_an_unknown_model(refused: Refused, out: Path, arrays: Path, text: Path) -> None:
    for source in (("--data", arrays), ("--corpus", text)):
        message = refused(*source, "--out", out, "--steps", 1, "--model", "huge")
        assert "'huge'" in message and "tiny, mini, small, medium, base, large" in message


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"hiden_size": 3}, "unknown config field hiden_size"),
        ({"num_attention_heads": 3}, "hidden_size 32 is not a multiple of num_attention_heads 3"),
        ({"hidden_size": -32}, "hidden_size must be at least 1"),
        ({"num_hidden_layers": 0}, "num_hidden_layers must be at least 1"),
        ({"intermediate_size": -64}, "intermediate_size must be at least 1"),
        ({"hidden_size": "32"}, "hidden_size must be of type int"),
        ({"hidden_dropout_prob": 1.5}, "hidden_dropout_prob must be"),
        ({"hidden_act": "swish"}, "hidden_act must be one of"),
        ({"vocab_size": 20}, "vocab_size 20 is smaller than the tokenizer's"),
        ({"max_position_embeddings": 31}, "--seq-len 32 is more than the model's 31 positions"),
    ],
)
@pytest.mark.parametrize("source", ["corpus", "data"])
def test_a_config_that_is_impossible(
    refused: Refused, out: Path, tmp_path: Path, arrays: Path, text: Path, fields: dict[str, object], problem: str,
    source: str,
) -> None:  # fmt: skip
    shape = write_shape(tmp_path / "shape.json", **fields)
    where = ("--data", arrays) if source == "data" else ("--corpus", text, "--vocab-size", 100)
    assert problem in refused(*where, "--out", out, "--steps", 1, "--seq-len", 32, "--model", shape)


def test_a_config_file_that_cannot_be_read(refused: Refused, out: Path, tmp_path: Path, arrays: Path) -> None:
    (tmp_path / "bad.json").write_text("{")
    (tmp_path / "list.json").write_text("[]")
    for name in ("bad.json", "list.json", "none.json"):
        assert name in refused("--data", arrays, "--out", out, "--steps", 1, "--model", tmp_path / name)


def test_a_sequence_over_the_positions(refused: Refused, out: Path, tmp_path: Path, arrays: Path, shape: Path) -> None:
    assert "--seq-len 65 is more than the model's 64 positions" in refused(
        "--data", arrays, "--out", out, "--steps", 1, "--model", shape, "--seq-len", 65
    )
    assert "600" in refused("--data", arrays, "--out", out, "--steps", 1, "--model", "tiny", "--seq-len", 600)


def model_with(directory: Path, tokenizer: Tokenizer, shape: Path) -> Path:
    config = minibert.BertConfig.from_json(shape)
    minibert.save(BertForPreTraining(config), tokenizer, directory)
    return directory


def test_arrays_of_another_tokenizer_than_the_models(
    refused: Refused, out: Path, tmp_path: Path, arrays: Path, shape: Path
) -> None:
    other = model_with(tmp_path / "other", Tokenizer.train(documents(5, seed=9), vocab_size=60), shape)
    message = refused("--data", arrays, "--init", other, "--out", out, "--steps", 1, "--seq-len", 32)
    assert "a different tokenizer" in message and str(other) in message


def test_init_that_is_no_model_directory(refused: Refused, out: Path, tmp_path: Path, arrays: Path, text: Path) -> None:
    for source in (("--data", arrays), ("--corpus", text)):
        for place in (tmp_path, tmp_path / "none"):
            assert str(place) in refused(*source, "--init", place, "--out", out, "--steps", 1)


@pytest.mark.parametrize("source", ["corpus", "data"])
def test_init_whose_weights_are_damaged(
    refused: Refused, out: Path, tmp_path: Path, arrays: Path, text: Path, shape: Path, source: str
) -> None:
    model = model_with(tmp_path / "model", Tokenizer.load(arrays), shape)
    content = bytearray((model / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (model / "model.safetensors").write_bytes(content)
    where = ("--data", arrays) if source == "data" else ("--corpus", text)
    message = refused(*where, "--init", model, "--out", out, "--steps", 1, "--seq-len", 32)
    assert "model.safetensors is damaged" in message


def test_a_tokenizer_directory_without_one(refused: Refused, out: Path, tmp_path: Path, text: Path) -> None:
    (tmp_path / "tokenizer").mkdir()
    message = refused("--corpus", text, "--tokenizer", tmp_path / "tokenizer", "--out", out, "--steps", 1)
    assert str(tmp_path / "tokenizer") in message


# --- The directory ---------------------------------------------------------------------------------------------------


def test_a_directory_that_holds_something_else(refused: Refused, tmp_path: Path, arrays: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("Dear all")
    for more in ((), ("--resume",)):
        message = refused("--data", arrays, "--out", tmp_path / "mine", "--steps", 1, *more)
        assert str(tmp_path / "mine") in message and "holds no pretraining run" in message


def test_a_file_where_the_directory_should_be(refused: Refused, tmp_path: Path, arrays: Path, shape: Path) -> None:
    (tmp_path / "file").write_text("")
    common = ("--data", arrays, "--model", shape, "--seq-len", 32, "--steps", 1)
    for place in (tmp_path / "file", tmp_path / "file" / "run"):
        assert str(tmp_path / "file") in refused(*common, "--out", place)


def test_an_empty_directory_stays_empty(refused: Refused, tmp_path: Path, text: Path) -> None:
    (tmp_path / "empty").mkdir()
    shape = write_shape(tmp_path / "shape.json", vocab_size=20)
    refused("--corpus", text, "--model", shape, "--out", tmp_path / "empty", "--steps", 1, "--seq-len", 32)
    assert not any((tmp_path / "empty").iterdir())


def test_a_run_toml_that_is_damaged(refused: Refused, tmp_path: Path, arrays: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.toml").write_text("steps = ")
    assert "run.toml: not readable as TOML" in refused("--data", arrays, "--out", tmp_path / "run", "--steps", 1)


# --- Options: all ranges stand in test_options.py --------------------------------------------------------------------


@pytest.mark.parametrize(
    "option",
    [
        ("--batch-size", "0"), ("--batch-size", "x"), ("--batch-size", "2.5"), ("--seq-len", "2"),
        ("--seq-len", "long"), ("--mask-rate", "1.5"), ("--mask-rate", "nan"), ("--mask-rate", "some"),
        ("--learning-rate", "-1"), ("--learning-rate", "inf"), ("--learning-rate", "nan"), ("--learning-rate", "2"),
        ("--learning-rate", "1e30"), ("--block-learning-rate", "3"), ("--weight-decay", "2"), ("--eps", "5"),
        ("--seed", str(2**64)), ("--seed", "-1"),
        ("--accumulate", "9"), ("--no-such-option",), ("--minutes", "1"), ("--resume", "7"),
        ("--vocab-size", "300"), ("--init",),
    ],
)  # fmt: skip
def test_options_out_of_range(refused: Refused, out: Path, arrays: Path, shape: Path, option: tuple[str, ...]) -> None:
    message = refused("--data", arrays, "--model", shape, "--seq-len", 32, "--batch-size", 8, "--steps", 1, "--out",
                      out, *option)  # fmt: skip
    name = option[0].removeprefix("--")
    assert re.search(name.replace("-", "[-_]"), message) or option[-1] in message


@pytest.mark.parametrize("seq_len", [3, 4, 5])
def test_the_shortest_sequences_without_nsp_are_trained_or_refused(
    arrays: Path, shape: Path, out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    seq_len: int,
) -> None:  # fmt: skip
    monkeypatch.setattr("pretrain.train.draw_run", lambda *_, **__: None)
    code = run_here(monkeypatch, "--data", arrays, "--model", shape, "--seq-len", seq_len, "--steps", 2, "--no-nsp",
                    "--out", out)  # fmt: skip
    assert code == 0 or (code == 2 and "--seq-len" in capsys.readouterr().err and not out.parent.exists())


def test_the_shortest_pairs_are_trained(arrays: Path, shape: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pretrain.train.draw_run", lambda *_, **__: None)
    assert run_here(monkeypatch, "--data", arrays, "--model", shape, "--seq-len", 5, "--steps", 2, "--out", out) == 0


def test_neither_text_nor_arrays(refused: Refused, out: Path) -> None:
    assert "give either --corpus" in refused("--out", out, "--steps", 1)


# --- prepare and inspect ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--vocab-size", "3"), "--vocab-size"),
        (("--vocab-size", "many"), "--vocab-size"),
        (("--workers", "-1"), "--workers"),
        (("--text-field", ""), "--text-field"),
        (("--tokenizer", "none"), "none"),
        (("--mask-rate", "0.2"), "--mask-rate"),
    ],
)
def test_prepare_refuses(refused: Refused, out: Path, text: Path, args: tuple[str, ...], message: str) -> None:
    assert message in refused("prepare", "--corpus", text, "--out", out, *args)


def test_prepare_refuses_a_place_that_is_taken(refused: Refused, tmp_path: Path, text: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "x").touch()
    assert "taken already exists" in refused("prepare", "--corpus", text, "--out", tmp_path / "taken")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--count", "0"), "--count"),
        (("--start", "-1"), "--start"),
        (("--seq-len", "4"), "--seq-len"),
        (("--seq-len", "x"), "--seq-len"),
        (("--mask-rate", "nan"), "--mask-rate"),
        (("--mask-rate", "1"), "--mask-rate"),
        (("--seed", "-1"), "--seed"),
        (("--data", "none"), "none was not made by prepare"),
    ],
)
def test_inspect_refuses(refused: Refused, arrays: Path, args: tuple[str, ...], message: str) -> None:
    assert message in refused("inspect", "--data", arrays, *args)


# --- fill-mask -------------------------------------------------------------------------------------------------------


def test_fill_mask_refuses_a_text_without_mask(
    tmp_path: Path, arrays: Path, shape: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = model_with(tmp_path / "model", Tokenizer.load(arrays), shape)
    monkeypatch.setattr(sys, "argv", ["minibert", "fill-mask", str(model), "one two three"])
    with pytest.raises(SystemExit) as ending:
        minibert_main.main()
    shown = capsys.readouterr()
    assert ending.value.code == 2 and shown.out == ""
    assert len(shown.err.splitlines()) == 1 and "no [MASK]" in shown.err and "one two three" in shown.err


def test_fill_mask_says_of_an_unfinished_run_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run" / "state").mkdir(parents=True)
    monkeypatch.setattr(sys, "argv", ["minibert", "fill-mask", str(tmp_path / "run"), "[MASK]"])
    with pytest.raises(SystemExit) as ending:
        minibert_main.main()
    assert ending.value.code == 2
    assert "holds an unfinished run; continue with --resume" in capsys.readouterr().err


# --- As the shell sees it --------------------------------------------------------------------------------------------


def test_one_line_from_a_process_of_its_own(tmp_path: Path, out: Path, arrays: Path) -> None:
    for args, message in (
        (("--corpus", tmp_path / "none", "--out", out), "no such file or directory"),
        (("--data", arrays, "--out", out, "--steps", "1", "--model", "huge"), "unknown model 'huge'"),
        (("inspect", "--data", tmp_path), "not made by prepare"),
    ):
        shown, err = finished(start(*args), 2)
        assert shown == "" and len(err.splitlines()) == 1 and message in err
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["data", pytest.param("option", marks=pytest.mark.slow)])
def test_one_line_in_all_under_torchrun(tmp_path: Path, out: Path, arrays: Path, kind: str) -> None:
    """torchrun has a report of its own, with the exit codes; ours is one line among it."""
    bad = ("--data", tmp_path) if kind == "data" else ("--data", arrays, "--mask-rate", "7")
    shown, err = finished(start(*bad, "--out", out, "--steps", "1", processes=2), 1)
    assert shown == ""
    assert len([line for line in err.splitlines() if line.startswith("error:")]) == 1
    assert "Traceback (most recent call last)" not in err.split("error:")[0]
    assert re.search(r"exitcode\s*: 2", err)
    assert not any(tmp_path.iterdir())


def test_the_traceback_is_there_for_those_who_ask(tmp_path: Path, out: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pretrain", "--corpus", str(tmp_path / "none"), "--out", str(out)],
        capture_output=True, text=True, cwd=REPOSITORY, env=os.environ | {"MINIBERT_DEBUG": "1"},
    )  # fmt: skip
    assert done.returncode == 1 and "Traceback" in done.stderr


def test_compiling_without_a_gpu(refused: Refused, out: Path, arrays: Path) -> None:
    message = refused("--data", arrays, "--out", out, "--steps", 1, "--compile", "yes", "--device", "cpu")
    assert message == "--compile yes needs a CUDA GPU"
