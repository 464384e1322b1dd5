"""spiece.model: its texts are cut as SentencePiece cuts them, but for a comma; a damaged one is refused."""

from __future__ import annotations

import math
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import sentencepiece
from sentencepiece import sentencepiece_model_pb2

from minibert.errors import InputError
from minibert.tokenizer import Tokenizer
from minibert.tokenizer.spiece import read_spiece
from tests.helpers import refusal
from tests.minibert.relatives import ALBERT_GIVEN, albert_files

TEXTS = [
    "the man (a baker) went to the mill - it cost £ 20 .",
    'he said "i bought bread" and left the mill .',
    "the baker said the bread cost 2,000 or 3,000, not 20 .",
] * 20


def made(directory: Path) -> Path:
    return albert_files(directory, TEXTS, 90, given=ALBERT_GIVEN) / "spiece.model"


def test_pieces_and_characters_are_the_files_and_scores_but_for_commas(tmp_path: Path) -> None:
    path = made(tmp_path)
    found, charsmap = read_spiece(path)
    pieces = [piece for piece, _ in found]
    reference = sentencepiece_model_pb2.ModelProto()
    reference.ParseFromString(path.read_bytes())
    assert pieces == [piece.piece for piece in reference.pieces]
    commas = [piece for piece in pieces if len(piece) > 1 and piece.endswith(",")]
    expected = [piece.score - 100 if piece.piece in commas else piece.score for piece in reference.pieces]
    assert [score for _, score in found] == expected
    assert charsmap == reference.normalizer_spec.precompiled_charsmap
    assert pieces[:6] == ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]", "("]


def test_texts_are_cut_as_sentencepiece_cuts_them(tmp_path: Path) -> None:
    path = made(tmp_path)
    ours, reference = Tokenizer.load(path), sentencepiece.SentencePieceProcessor(str(path))
    texts = [*TEXTS[:3], "(the)man.went to-the £mill .", "a baker's (bread)", "bread\tmill  bread", "20.30 2 ."]
    for text in texts:
        assert ours.encode_plain([text])[0] == reference.encode(text), text
    assert ours.encode_plain(["the [SEP] <pad>"]) == [reference.encode("the [sep] <pad>")]


def scored(*pieces: tuple[str, float, int]) -> bytes:
    """A model of these pieces: text, score and type."""

    def field(number: int, content: bytes) -> bytes:
        return bytes([number << 3 | 2, len(content)]) + content

    return b"".join(
        field(1, field(1, text.encode()) + b"\x15" + struct.pack("<f", score) + bytes([3 << 3, kind]))
        for text, score, kind in pieces
    )


SPECIAL = (("<pad>", 0.0, 3), ("<unk>", 0.0, 2), ("[CLS]", 0.0, 3), ("[SEP]", 0.0, 3), ("[MASK]", 0.0, 3))


def test_a_comma_behind_a_digit_is_a_piece_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "spiece.model"
    path.write_bytes(scored(*SPECIAL, ("▁2,", -1.0, 1), ("▁2", -5.0, 1), (",", -5.0, 1), ("▁a,", -1.0, 1)))
    tokenizer = Tokenizer.load(path)
    assert [score for _, score in read_spiece(path)[0][5:]] == [-101.0, -5.0, -5.0, -1.0]
    assert tokenizer.tokens(tokenizer.encode_plain(["2, a,"])[0]) == ["▁2", ",", "▁a,"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected a SentencePiece model, found no pieces in it"),
        (b"no model", "expected a SentencePiece model"),
        (scored(*SPECIAL)[:-1], "expected a SentencePiece model"),
        (scored(*SPECIAL) + b"\x0a\x00", "expected a SentencePiece model"),  # a piece without a text
        (scored(*SPECIAL) + b"\x0a\x04\x0a\x02\xff\xfe", "expected a SentencePiece model"),  # one that is not UTF-8
        (scored(*SPECIAL, ("<0x00>", 0.0, 6)), "piece '<0x00>' has type 6, which ALBERT does not use"),
        (scored(*SPECIAL) + b"\x12\x02\x18\x02", "expected a unigram model, found SentencePiece's model type 2"),
        (scored(*SPECIAL, ("a", -1.0, 1), ("a", -1.0, 1)), "expected each piece only once"),
        (scored(*SPECIAL, ("a", math.nan, 1)), "piece 'a': expected a finite score, found nan"),
        (scored(*SPECIAL, ("a", -math.inf, 1)), "piece 'a': expected a finite score, found -inf"),
        (
            scored(*SPECIAL) + b"\x1a\x05\x12\x03abc",
            "expected SentencePiece's table of characters, found a damaged one",
        ),
        (scored(*SPECIAL[:4]), "expected the special tokens in the vocabulary, missing: [MASK]"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "spiece.model"
    path.write_bytes(content)
    found = refusal(lambda: Tokenizer.load(tmp_path))
    assert found.startswith(str(path))
    assert found.endswith(message)


def test_any_cut_of_a_model_is_refused_or_read(tmp_path: Path) -> None:
    whole = made(tmp_path / "whole")
    content, size = whole.read_bytes(), Tokenizer.load(whole).vocab_size
    path = tmp_path / "spiece.model"
    refused, read = 0, 0
    for length in range(400):
        path.write_bytes(content[:length])
        try:
            assert Tokenizer.load(path).vocab_size < size  # between two pieces the cut leaves a smaller model
            read += 1
        except InputError as error:
            assert str(error).startswith(f"{path}: ")
            refused += 1
    assert refused > read > 0


def test_random_bytes_in_a_model_are_refused_or_read(tmp_path: Path) -> None:
    """Anywhere: in the messages, in the pieces, and in the table of characters."""
    content = made(tmp_path / "whole").read_bytes()
    rng = np.random.default_rng(0)
    path = tmp_path / "spiece.model"
    refused = 0
    for count in rng.integers(1, 200, size=400).tolist():
        damaged = np.frombuffer(content, np.uint8).copy()
        # Half of them in the first pieces, since the table is most of the file.
        places = rng.integers(0, len(damaged) if count % 2 else 2_000, size=count)
        damaged[places] = rng.integers(0, 256, size=count)
        path.write_bytes(damaged.tobytes())
        try:
            Tokenizer.load(path)
        except InputError as error:
            assert str(error).startswith(f"{path}") and "\n" not in str(error)
            refused += 1
    assert refused > 200
    for length in range(1, 200):
        path.write_bytes(rng.bytes(length))
        assert refusal(lambda: Tokenizer.load(path)).startswith(f"{path}: expected a SentencePiece model")


def test_without_the_libraries_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = made(tmp_path)
    Tokenizer.load(path).save(tmp_path / "saved")
    for library in ("sentencepiece.sentencepiece_model_pb2", "google.protobuf.message"):
        with monkeypatch.context() as context:
            context.setitem(sys.modules, library, None)
            assert refusal(lambda: Tokenizer.load(path)) == (
                f"{path}: reading a SentencePiece model needs the optional dependency `sentencepiece`: "
                "pip install -e '.[sentencepiece]' in minibert's checkout"
            )
            assert Tokenizer.load(tmp_path / "saved").kind == "unigram"  # tokenizer.json needs neither
