"""`spiece.model`: a SentencePiece model, read as ALBERT was trained with it.

The file is a protocol buffer of which six fields are needed, in three messages: pieces with score and kind, the kind
of model, and the table of characters. To read these takes less than the two compiled packages that can (sentencepiece
for the text, protobuf for the table). Numbers of messages and fields: sentencepiece_model.proto of
github.com/google/sentencepiece; the encoding: protobuf.dev/programming-guides/encoding.

Two things are not in the file, and are done here as the published `tokenizer.json` of ALBERT has them. A comma behind a
digit is a piece of its own ("2000,", albert/tokenization.py, `encode_pieces`): pieces that end so are made too unlikely
to be taken. And a piece that the trainer was given ("(", ".") has the score 0, so that it is always cut out of a word.
transformers 5 does neither when it reads the file: it finds the latter before it splits words, which puts a space
before what follows them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from minibert.errors import InputError
from minibert.files.text import VOCABULARY_FILE, read_small_bytes

# ModelProto, SentencePiece, TrainerSpec, NormalizerSpec
PIECES, TRAINER, NORMALIZER = 1, 2, 3
PIECE, SCORE, TYPE = 1, 2, 3
MODEL_TYPE = 3
CHARSMAP = 2

UNIGRAM_MODEL = 1
NORMAL, UNKNOWN, CONTROL, GIVEN = 1, 2, 3, 4  # of a piece; beyond: unused ones, and bytes

VARINT, EIGHT_BYTES, COUNTED, FOUR_BYTES = 0, 1, 2, 5  # how a field's value is written

UNLIKELY = -100.0  # added to a log-probability: no other way to cut a word is as bad


class SentencePieces(NamedTuple):
    """What the file holds of a vocabulary, by id."""

    pieces: list[str]
    scores: list[float]
    charsmap: bytes | None


def read_spiece(path: Path) -> SentencePieces:
    """
    Raises:
        InputError: no such protocol buffer, too large, another model than the unigram one, pieces of bytes.
    """
    pieces: list[str] = []
    scores: list[float] = []
    charsmap: bytes | None = None
    model_type: int | bytes = UNIGRAM_MODEL
    try:
        for number, value in _fields(read_small_bytes(path, limit=VOCABULARY_FILE)):
            if number == PIECES:
                fields = dict(_fields(_bytes(value)))
                piece, kind = _bytes(fields[PIECE]).decode(), fields.get(TYPE, NORMAL)
                if kind not in (NORMAL, UNKNOWN, CONTROL, GIVEN):
                    raise InputError(f"{path}: piece {piece!r} is of the type {kind!r}, which ALBERT does not have")
                (score,) = struct.unpack("<f", _bytes(fields.get(SCORE, bytes(4))))
                pieces.append(piece)
                scores.append(score + (UNLIKELY if _ends_in_number_and_comma(piece) else 0.0))
            elif number == TRAINER:
                model_type = dict(_fields(_bytes(value))).get(MODEL_TYPE, UNIGRAM_MODEL)
            elif number == NORMALIZER:
                charsmap = _bytes(dict(_fields(_bytes(value))).get(CHARSMAP, b"")) or None
    except (IndexError, KeyError, TypeError, ValueError, struct.error) as error:
        raise InputError(f"{path}: expected a SentencePiece model") from error
    if model_type != UNIGRAM_MODEL:
        raise InputError(f"{path}: expected a unigram model, found SentencePiece's model type {model_type!r}")
    if not pieces:
        raise InputError(f"{path}: expected a SentencePiece model, found no piece")
    return SentencePieces(pieces, scores, charsmap)


def _ends_in_number_and_comma(piece: str) -> bool:
    return len(piece) > 1 and piece[-1] == "," and piece[-2].isdigit()


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Each field of a message: its number, and its value as it is written. Raises ValueError where it is cut short."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        number, written_as = key >> 3, key & 7
        if written_as == VARINT:
            whole, place = _varint(message, place)
            yield number, whole
            continue
        if written_as == COUNTED:
            size, place = _varint(message, place)
        else:
            size = {EIGHT_BYTES: 8, FOUR_BYTES: 4}[written_as]
        if place + size > len(message):
            raise ValueError("cut short")
        yield number, message[place : place + size]
        place += size


def _varint(message: bytes, place: int) -> tuple[int, int]:
    """A number, seven bits a byte, the lowest first; and where it ends."""
    value = shift = 0
    while True:
        byte = message[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return value, place


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise TypeError("a number where bytes are expected")
    return value
