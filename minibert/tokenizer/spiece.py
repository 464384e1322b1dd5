"""`spiece.model`: a SentencePiece model, read as ALBERT was trained with it.

The file is a protocol buffer (sentencepiece_model.proto of github.com/google/sentencepiece), which the libraries of the
extra `sentencepiece` read. Two things are not in it, and are done here as the published `tokenizer.json` of ALBERT has
them. A comma behind a digit is a piece of its own ("2000,", albert/tokenization.py, `encode_pieces`): pieces that end
so are made too unlikely to be taken. And a piece that the trainer was given ("(", ".") has the score 0, so that it is
always cut out of a word. transformers 5 does neither when it reads the file: it finds the latter before it splits
words, which puts a space before what follows them.
"""

from pathlib import Path

from minibert.errors import InputError
from minibert.files.text import VOCABULARY_FILE, read_small_bytes

EXTRA = "the extra sentencepiece: pip install -e '.[sentencepiece]' in minibert's checkout"
UNLIKELY = -100.0  # added to a log-probability: no other way to cut a word is as bad


def read_spiece(path: Path) -> tuple[list[tuple[str, float]], bytes | None]:
    """The pieces with their scores, by id, and the table of characters, where there is one.

    Raises InputError: the extra `sentencepiece` is not installed; no such protocol buffer, too large, another model
    than the unigram one, pieces of bytes.
    """
    try:
        from google.protobuf.message import DecodeError
        from sentencepiece.sentencepiece_model_pb2 import ModelProto, TrainerSpec  # type: ignore[attr-defined]  # made at run time
    except ImportError:
        raise InputError(f"{path}: to read a SentencePiece model needs {EXTRA}") from None
    try:
        model = ModelProto.FromString(read_small_bytes(path, limit=VOCABULARY_FILE))
    except DecodeError as error:
        raise InputError(f"{path}: expected a SentencePiece model") from error
    kinds = ModelProto.SentencePiece
    pieces: list[tuple[str, float]] = []
    for entry in model.pieces:
        piece = entry.piece
        if not entry.HasField("piece") or isinstance(piece, bytes):  # which is not UTF-8
            raise InputError(f"{path}: expected a SentencePiece model")
        if entry.type not in (kinds.NORMAL, kinds.UNKNOWN, kinds.CONTROL, kinds.USER_DEFINED):
            raise InputError(f"{path}: piece {piece!r} is of the type {entry.type}, which ALBERT does not have")
        number_and_comma = len(piece) > 1 and piece[-1] == "," and piece[-2].isdigit()
        pieces.append((piece, entry.score + (UNLIKELY if number_and_comma else 0.0)))
    if (model_type := model.trainer_spec.model_type) != TrainerSpec.UNIGRAM:
        raise InputError(f"{path}: expected a unigram model, found SentencePiece's model type {model_type}")
    if not pieces:
        raise InputError(f"{path}: expected a SentencePiece model, found no piece")
    return pieces, model.normalizer_spec.precompiled_charsmap or None
