"""Pretraining on byte-level BPE and unigram vocabularies, and the commands that read what it leaves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import minibert
from minibert.exploring.record import make_record
from minibert.tokenizer import Tokenizer
from pretrain.arrays.shards import TokenArrays, open_prepared
from pretrain.batches.batch import BatchMaker
from pretrain.batches.masking import Draws, Masker
from pretrain.batches.pairs import PAIR, PairOptions
from tests.minibert.running import run as run_minibert
from tests.pretrain.running import run_here, write_shape

SENTENCES = ["The cat sat on the mat.", "The dog ran home, tokenizing."]


def arrays_of(tokenizer: Tokenizer) -> TokenArrays:
    ids = tokenizer.encode_plain(SENTENCES)
    ends = np.cumsum([0, *map(len, ids)])
    return TokenArrays(np.concatenate(ids).astype(np.uint16), ends, np.array([0, 2]), np.ones(2, bool))


def test_a_pair_is_laid_out_as_the_tokenizer_does() -> None:
    tokenizer = Tokenizer.train(SENTENCES * 3, vocab_size=280, kind="bpe")
    arrays = arrays_of(tokenizer)
    options = PairOptions(64, separators=tokenizer.separators)
    assert options.room == 60
    masker = Masker.of(tokenizer, rate=1.0, whole_words=False)
    scored = np.arange(len(arrays.tokens)) % 2 == 0
    maker = BatchMaker(arrays, tokenizer, options, masker, seed=1, scored=scored)
    first, second = np.diff(arrays.sentence_starts).tolist()
    made = maker.examples(np.array([(0, first, first, second, True)], PAIR), np.array([0]))
    batch = tokenizer(*SENTENCES)
    assert made.ids.tolist() == batch.input_ids.tolist()
    assert made.segments.tolist() == batch.token_type_ids.tolist() == [[0] * made.ids.shape[1]]
    text = np.flatnonzero(batch.sequence_ids[0] >= 0)
    assert np.flatnonzero(made.asked).tolist() == text[scored].tolist()


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_whole_words_are_chosen(kind: str) -> None:
    tokenizer = Tokenizer.train([*SENTENCES, "cat dog"], vocab_size=262 if kind == "bpe" else 40, kind=kind)
    masker = Masker.of(tokenizer, rate=0.3, whole_words=True)
    ids = np.array(tokenizer.encode_plain(SENTENCES[1:])[0])
    rows = np.tile(ids, (100, 1))
    _, chosen_at = masker(rows, np.ones(rows.shape, bool), Draws(0, np.arange(100)))
    chosen = {"".join(tokenizer.shown(int(token)) for token in ids[row]) for row in chosen_at}
    words = {"The", "▁dog", "▁ran", "▁home", ",", "▁tokenizing", "."}
    for found in chosen:
        left = found.lower().replace("<unk>", "t")  # the rare capital of a small vocabulary
        for word in sorted(words, key=len, reverse=True):
            left = left.replace(word.lower(), "")
        assert left in ("", "▁"), found


@pytest.mark.parametrize(
    ("kind", "options", "mask"),
    [("bpe", ("--no-nsp", "--whole-word-mask"), "<mask>"), ("bpe", (), "<mask>"), ("unigram", (), "[MASK]")],
)
def test_a_run_from_text_to_answers(
    kind: str, options: tuple[str, ...], mask: str, text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    shape, out = write_shape(tmp_path / "shape.json", vocab_size=300), tmp_path / "run"
    made = ("--tokenizer-kind", kind, "--vocab-size", 300 if kind == "bpe" else 60)
    arguments = ("--corpus", text, "--out", out, "--model", shape, *made, *options, "--steps", 2, "--seq-len", 32)
    assert run_here(monkeypatch, *arguments, "--batch-size", 4, "--evaluations", 1) == 0
    assert run_here(monkeypatch, "inspect", "--data", out / "data", "--count", 1, "--seq-len", 32) == 0
    assert run_minibert(monkeypatch, "fill-mask", str(out), f"red green {mask} pink") == 0
    assert mask in capsys.readouterr().out
    assert run_minibert(monkeypatch, "fill-mask", str(out), "red green") == 2
    assert f"no {mask} in the text 'red green'" in capsys.readouterr().err
    texts, vectors = tmp_path / "texts.txt", tmp_path / "vectors.npy"
    texts.write_text("red green\none two three\n")
    assert run_minibert(monkeypatch, "embed", str(out), "--input", str(texts), "--output", str(vectors)) == 0
    assert np.load(vectors).shape == (2, 32)
    model, tokenizer = minibert.load(out)
    assert tokenizer.kind == kind
    assert tokenizer.fingerprint == open_prepared(out / "data").tokenizer.fingerprint
    record = make_record(model, tokenizer, f"Red green {mask}", "one two", name="run")
    assert "".join(token["characters"] for token in record["tokens"]).replace(" ", "") == f"Redgreen{mask}onetwo"
    assert [token["text"] for token in record["tokens"]].count(1) >= 3
    assert "a_to_b" in record["attention"]["figures"]


def test_a_sequence_without_room_is_refused(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shape, out = write_shape(tmp_path / "shape.json", vocab_size=300), tmp_path / "run"
    arguments = ("--corpus", text, "--out", out, "--model", shape, "--tokenizer-kind", "bpe", "--vocab-size", 300)
    assert run_here(monkeypatch, *arguments, "--steps", 2, "--seq-len", 5) == 2
    message = "error: --seq-len must be at least 6, not 5: it counts special tokens too"
    assert capsys.readouterr().err.splitlines()[-1] == message
    assert not out.exists()
