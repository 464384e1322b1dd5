"""python -m pretrain prepare and inspect, and what python -m minibert says of the model that comes of them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from minibert import __main__ as minibert_main
from minibert.tokenizer import Tokenizer
from minibert.training.processes import Processes
from pretrain.arrays.shards import open_prepared
from pretrain.batches.batch import BatchMaker
from pretrain.options import parse_options
from pretrain.run_directory import PretrainDirectory
from pretrain.setup import set_up
from pretrain.train import Pretraining
from tests.helpers import REPOSITORY
from tests.pretrain.running import finished, run_here, start, tree


def said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *args: object) -> str:
    """What a command prints when all is well."""
    capsys.readouterr()
    assert run_here(monkeypatch, *args) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    return shown.out


# --- prepare ---------------------------------------------------------------------------------------------------------


def test_prepare_writes_arrays_and_says_what(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "arrays"
    shown = said(monkeypatch, capsys, "prepare", "--corpus", text, "--vocab-size", 100, "--out", out)
    corpus = open_prepared(out)
    assert (corpus.train.documents, corpus.heldout.documents) == (54, 6)
    assert re.search(r"training +54 documents", shown) and re.search(r"held out +6 documents", shown)
    assert f"{len(corpus.train.tokens):,} tokens" in shown and "0.00% unknown" in shown
    assert f"vocabulary {corpus.tokenizer.vocab_size:12,} tokens" in shown and f"written to {out}" in shown


def test_prepare_in_a_process_of_its_own_makes_the_same_arrays(text: Path, arrays: Path, tmp_path: Path) -> None:
    finished(start("prepare", "--corpus", text, "--vocab-size", 100, "--out", tmp_path / "arrays"))
    ours, theirs = tree(tmp_path / "arrays"), tree(arrays)
    assert set(ours) == set(theirs)
    assert all(ours[name] == theirs[name] for name in ours if name != "manifest.json")


@pytest.mark.parametrize("option", [("--vocab-size", 100), ("--no-lowercase",), ("--strip-accents", "True")])
def test_prepare_refuses_what_a_tokenizer_that_is_there_has_decided(
    option: tuple[object, ...], text: Path, arrays: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    out = tmp_path / "out"
    assert run_here(monkeypatch, "prepare", "--corpus", text, "--tokenizer", arrays, *option, "--out", out) == 2
    assert capsys.readouterr().err == f"error: {option[0]} has no effect here: the vocabulary already exists\n"
    assert not out.exists()


def test_prepare_with_a_tokenizer_that_is_there(
    text: Path, arrays: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said(monkeypatch, capsys, "prepare", "--corpus", text, "--tokenizer", arrays, "--out", tmp_path / "arrays")
    assert Tokenizer.load(tmp_path / "arrays").fingerprint == Tokenizer.load(arrays).fingerprint


@pytest.mark.parametrize("command", [(), ("prepare",), ("inspect",)])
def test_each_command_has_help(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: tuple[str, ...]
) -> None:
    shown = said(monkeypatch, capsys, *command, "--help")
    assert "usage: python -m pretrain" in shown
    assert ("--corpus" in shown) == (command != ("inspect",))
    assert ("--count" in shown) == (command == ("inspect",))


def test_without_a_word_it_shows_help(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert "usage: python -m pretrain" in said(monkeypatch, capsys)


# --- inspect ---------------------------------------------------------------------------------------------------------


def test_inspect_shows_pairs_with_their_masks(
    arrays: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = tree(arrays)
    shown = said(monkeypatch, capsys, "inspect", "--data", arrays, "--count", 30, "--seq-len", 32)
    heads = re.findall(
        r"^pair (\d+): (B follows A|B is from another document); (\d+) tokens, (\d+) masked$", shown, re.M
    )
    assert [int(number) for number, *_ in heads] == list(range(30))
    assert {kind for _, kind, *_ in heads} == {"B follows A", "B is from another document"}
    rows = [line.strip() for line in shown.splitlines() if line.startswith("  ")]
    assert len(rows) == 30
    for row, (_, _, tokens, chosen) in zip(rows, heads, strict=True):
        marks = re.findall(r"\{(\S+?)(?: -> (\S+?))?\}", row)
        assert len(marks) == int(chosen) >= 1
        words = re.sub(r"\{(\S+?)(?: -> \S+?)?\}", r"\1", row).split()
        assert len(words) == int(tokens) <= 32
        assert words[0] == "[CLS]" and words[-1] == "[SEP]" and words.count("[SEP]") == 2
        assert not {was for was, _ in marks} & {"[CLS]", "[SEP]", "[PAD]"}
    assert "-> [MASK]}" in shown
    assert tree(arrays) == before


def test_inspect_makes_a_few_pairs_at_a_time(
    arrays: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made: list[int] = []
    examples = BatchMaker.examples

    def counted(self: BatchMaker, pairs: Any, numbers: Any) -> Any:
        made.append(len(numbers))
        return examples(self, pairs, numbers)

    monkeypatch.setattr(BatchMaker, "examples", counted)
    shown = said(monkeypatch, capsys, "inspect", "--data", arrays, "--count", 40, "--seq-len", 32)
    assert made == [16, 16, 8] and "pair 39:" in shown and "pair 40:" not in shown


def test_inspect_begins_anywhere_and_says_the_same_again(
    arrays: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    all_ten = said(monkeypatch, capsys, "inspect", "--data", arrays, "--count", 10, "--seq-len", 32)
    last_three = said(monkeypatch, capsys, "inspect", "--data", arrays, "--count", 3, "--start", 7, "--seq-len", 32)
    assert all_ten.endswith(last_three)


def test_inspect_without_pairs(
    arrays: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = said(monkeypatch, capsys, "inspect", "--data", arrays, "--no-nsp", "--whole-word-mask", "--count", 2)
    assert shown.count("one segment") == 2 and shown.count("[SEP]") == 2


@pytest.mark.parametrize("seed", [0, 3])
def test_inspect_shows_what_a_run_of_that_seed_trains_on(
    arrays: Path, shape: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    seed: int,
) -> None:  # fmt: skip
    args = ("--data", arrays, "--model", shape, "--seq-len", 32, "--batch-size", 4, "--steps", 1, "--mask-rate", 0.15,
            "--seed", seed, "--out", tmp_path / "run")  # fmt: skip
    options = parse_options([*map(str, args)])
    set_up(PretrainDirectory(tmp_path / "run"), options, None, processes=1)
    run = Pretraining(PretrainDirectory(tmp_path / "run"), options, None, Processes())
    trained = {int(row[mask].sum()) for batch in run.micro_batches(0) for row, mask in zip(
        batch.input_ids, batch.input_ids != run.corpus.tokenizer.pad_id, strict=True)}  # fmt: skip
    shown = said(monkeypatch, capsys, "inspect", "--data", arrays, "--seq-len", 32, "--count", 4, "--seed", seed)
    inspected = set()
    for line in shown.splitlines():
        if line.startswith("  "):
            words = re.sub(r"\{(?:\S+ -> )?(\S+?)\}", r"\1", line).split()
            inspected.add(sum(run.corpus.tokenizer.token_to_id(word) for word in words))
    assert inspected == trained


# --- The model that comes of it --------------------------------------------------------------------------------------


def test_a_run_can_be_asked_at_once(
    arrays: Path, shape: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("pretrain.train.draw_run", lambda *_, **__: None)
    run = tmp_path / "run"
    said(monkeypatch, capsys, "--data", arrays, "--model", shape, "--seq-len", 32, "--steps", 2, "--out", run)
    monkeypatch.setattr(sys, "argv", ["minibert", "fill-mask", str(run), "One two [MASK] four.", "--top-k", "3"])
    minibert_main.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "One two [MASK] four." and len(lines) == 4
    assert all(re.search(r"\d+\.\d\d%  \S+$", line) for line in lines[1:])
    shown = subprocess.run(
        [sys.executable, "-m", "minibert", "info", str(run)], capture_output=True, text=True, cwd=REPOSITORY
    )
    assert shown.returncode == 0 and shown.stderr == ""
    assert "BertForPreTraining" in shown.stdout and re.search(r"hidden_size +32", shown.stdout)


def test_the_data_of_a_run_can_be_inspected_and_trained_on(
    text: Path, shape: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("pretrain.train.draw_run", lambda *_, **__: None)
    common = ("--model", shape, "--seq-len", 32, "--steps", 2)
    said(monkeypatch, capsys, "--corpus", text, "--vocab-size", 100, *common, "--out", tmp_path / "one")
    assert "pair 0" in said(monkeypatch, capsys, "inspect", "--data", tmp_path / "one" / "data", "--count", 1)
    said(monkeypatch, capsys, "--data", tmp_path / "one" / "data", *common, "--out", tmp_path / "two")
    ours, theirs = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "two"))
    assert ours == theirs
