"""`spiece.model`: a SentencePiece model, read as ALBERT was trained with it.

The file is a protocol buffer (sentencepiece_model.proto of github.com/google/sentencepiece), which the libraries of the
extra `sentencepiece` read. Two rules are not in it and are applied here as in ALBERT's published `tokenizer.json`.
First, a comma after a digit is a piece of its own ("2000,"; albert/tokenization.py, `encode_pieces`), so pieces ending
in a digit and a comma are made too unlikely to be chosen. Second, a piece that was given to the trainer ("(", ".") has
the score 0 and is therefore always cut out of a word. transformers 5 does neither when it reads the file: it finds the
given pieces before it splits words, which puts a space before whatever follows them.
"""

from pathlib import Path

from minibert.errors import InputError
from minibert.files.text import VOCABULARY_FILE, read_small_bytes

EXTRA = "the optional dependency `sentencepiece`: pip install -e '.[sentencepiece]' in minibert's checkout"
UNLIKELY = -100.0  # added to a log-probability: every other way to cut a word is likelier


def read_spiece(path: Path) -> tuple[list[tuple[str, float]], bytes | None]:
    """Return the pieces with their scores, by id, and the table of characters, if there is one.

    Raises InputError if the extra `sentencepiece` is not installed, or the file is not such a protocol buffer, is too
    large, or holds a model other than the unigram one or pieces for single bytes.
    """
    try:
        from google.protobuf.message import DecodeError
        from sentencepiece.sentencepiece_model_pb2 import ModelProto, TrainerSpec  # type: ignore[attr-defined]  # made at run time
    except ImportError:
        raise InputError(f"{path}: reading a SentencePiece model needs {EXTRA}") from None
    try:
        model = ModelProto.FromString(read_small_bytes(path, limit=VOCABULARY_FILE))
    except DecodeError as error:
        raise InputError(f"{path}: expected a SentencePiece model") from error
    kinds = ModelProto.SentencePiece
    pieces: list[tuple[str, float]] = []
    for entry in model.pieces:
        piece = entry.piece
        if not entry.HasField("piece") or isinstance(piece, bytes):  # bytes: it is not UTF-8
            raise InputError(f"{path}: expected a SentencePiece model")
        if entry.type not in (kinds.NORMAL, kinds.UNKNOWN, kinds.CONTROL, kinds.USER_DEFINED):
            raise InputError(f"{path}: piece {piece!r} has type {entry.type}, which ALBERT does not use")
        number_and_comma = len(piece) > 1 and piece[-1] == "," and piece[-2].isdigit()
        pieces.append((piece, entry.score + (UNLIKELY if number_and_comma else 0.0)))
    if (model_type := model.trainer_spec.model_type) != TrainerSpec.UNIGRAM:
        raise InputError(f"{path}: expected a unigram model, found SentencePiece's model type {model_type}")
    if not pieces:
        raise InputError(f"{path}: expected a SentencePiece model, found no pieces in it")
    return pieces, model.normalizer_spec.precompiled_charsmap or None
