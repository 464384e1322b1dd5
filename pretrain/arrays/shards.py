"""Token arrays on disk: how `prepare` writes them and training reads them, memory-mapped.

    DIR/manifest.json                   what was made, from what, and the checksum of every other file
    DIR/tokenizer.json  DIR/vocab.txt   the tokenizer that made the arrays; vocab.txt only with WordPiece
    DIR/train/token_counts.bin          (V,) int64: how often each token occurs in the training text
    DIR/train/  DIR/heldout/            the two sides of the corpus:
        tokens.bin                      (n,) uint16 or uint32: the tokens, without special ones
        sentence_starts.bin             (S+1,) int64: sentence s is tokens[sentence_starts[s] : sentence_starts[s+1]]
        document_starts.bin             (D+1,) int64: document d is sentences document_starts[d] to document_starts[d+1]
        scored.bin                      (S,) uint8, held-out side only: 0 if training has the same paragraph
        continues_word.bin              (n,) uint8, training side only, and only with a word segmenter: 1 if the token
                                        continues the word of the token before it

Arrays are raw little-endian numbers, which can be appended to when written, and memory-mapped when read.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from minibert.errors import InputError, naming, plural
from minibert.files.text import check_path, read_small, reason
from minibert.files.typed import typed
from minibert.files.writing import sha256
from minibert.tokenizer import Tokenizer

FORMAT = 1
MANIFEST = "manifest.json"
REMEDY = "; make the arrays again, with another --out"  # of prepare, or of the run that has them
POSITION_DTYPE = "<i8"
TOKEN_DTYPES = ("<u2", "<u4")
Tokens = NDArray[np.unsignedinteger]  # of one of these dtypes

_SIDE_FILES = ("tokens.bin", "sentence_starts.bin", "document_starts.bin")
FILES = (
    "tokenizer.json",
    "train/token_counts.bin",
    *(f"{side}/{name}" for side in ("train", "heldout") for name in _SIDE_FILES),
    "heldout/scored.bin",
)
CONTINUES_WORD = "continues_word.bin"
NOT_ALWAYS = ("vocab.txt", f"train/{CONTINUES_WORD}")


@dataclass(frozen=True)
class FileRecord:
    """The size and the checksum of a file that is not damaged."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class SideCounts:
    """The size of one side of the corpus."""

    documents: int
    sentences: int
    scored_sentences: int  # on the training side, all of them
    tokens: int
    unknown_tokens: int
    words: int | None = None  # `pretrain.text.words`; None if a version made the arrays that did not count them


@dataclass(frozen=True)
class Duplicates:
    """How much of a corpus repeats an earlier part word for word (`pretrain.arrays.duplicates`)."""

    documents: int  # those that repeat an earlier one
    paragraphs: int  # in the other documents: those of 60 characters or more that repeat an earlier one
    characters: int  # in these documents and paragraphs
    all_characters: int

    @property
    def share(self) -> float:
        """The repeated share of the text."""
        return self.characters / self.all_characters


@dataclass(frozen=True)
class Manifest:
    """The fields of `manifest.json`."""

    format: int
    options: dict[str, Any]  # those that decide the content
    vocab_size: int  # V
    tokenizer_fingerprint: str
    dtype: str  # of tokens.bin, one of TOKEN_DTYPES
    train: SideCounts
    heldout: SideCounts
    files: dict[str, FileRecord]  # for each of FILES, and for those of NOT_ALWAYS that exist
    seconds: dict[str, float]  # by stage of `prepare`, and their sum as "total"
    tokens_per_second: float  # tokens of both sides over the total
    peak_rss_bytes: int  # the main process's peak plus every worker's: shared pages count several times
    duplicates: Duplicates | None = None  # in the corpus, dropped or not; None if an older version made the arrays

    def write(self, directory: Path) -> None:
        """Write `manifest.json`, without which `open_prepared` refuses the directory."""
        (directory / MANIFEST).write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8", newline="\n")

    @classmethod
    def read(cls, directory: Path) -> Manifest:
        """Read and check `manifest.json`.

        Raises InputError if it is missing or unreadable, has another format version, or lacks a field or has a bad one.
        """
        path = directory / MANIFEST
        try:
            content = json.loads(read_small(path))
        except (FileNotFoundError, NotADirectoryError):
            raise InputError(f"{directory} was not made by prepare: it has no {MANIFEST}") from None
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(f"{path}: not readable as JSON ({reason(error)})") from error
        if isinstance(content, dict) and content.get("format") != FORMAT:
            found = f"{path}: format {content.get('format')!r:.40}, expected {FORMAT}"
            raise InputError(found + REMEDY)
        with naming(path):
            manifest: Manifest = typed(content, Manifest)
        if manifest.dtype not in TOKEN_DTYPES:
            raise InputError(f"{path}: dtype must be one of {', '.join(TOKEN_DTYPES)}, not {manifest.dtype!r}")
        if missing := [name for name in FILES if name not in manifest.files]:
            raise InputError(f"{path}: field 'files' lacks {', '.join(missing)}")
        return manifest


@dataclass(frozen=True)
class TokenArrays:
    """One side of the corpus, as read-only arrays mapped from disk."""

    tokens: Tokens  # (n,)
    sentence_starts: NDArray[np.int64]  # (S+1,) positions in `tokens`
    document_starts: NDArray[np.int64]  # (D+1,) positions in `sentence_starts`
    scored: NDArray[np.bool_]  # (S,) whether the held-out loss counts the sentence; all True on the training side
    continues_word: NDArray[np.bool_] | None = None  # (n,) whether a token continues a word; None without a segmenter

    @property
    def documents(self) -> int:
        """D, the number of documents."""
        return len(self.document_starts) - 1


@dataclass(frozen=True)
class PreparedCorpus:
    """A directory that `prepare` wrote, opened for reading."""

    directory: Path
    manifest: Manifest
    train: TokenArrays
    heldout: TokenArrays
    tokenizer: Tokenizer
    token_counts: NDArray[np.int64]  # (V,) of the training side


def open_prepared(directory: str | Path, *, check: bool = True) -> PreparedCorpus:
    """Open a directory that `prepare` wrote. Only the tokenizer is read into memory.

    check: also compare every file's checksum (about a second for a gigabyte), not only its size.

    Raises InputError if it was not made by `prepare`, is damaged, or has a different format or tokenizer.
    """
    check_path(directory)
    directory = Path(directory)
    manifest = Manifest.read(directory)
    for name in (*FILES, *NOT_ALWAYS):
        if name in manifest.files:
            _check_file(directory / name, manifest.files[name], checksum=check)
    tokenizer = Tokenizer.load(directory)
    if tokenizer.fingerprint != manifest.tokenizer_fingerprint:
        raise InputError(f"{directory}: the arrays were made with a different tokenizer{REMEDY}")
    return PreparedCorpus(
        directory=directory,
        manifest=manifest,
        train=_open_side(directory / "train", manifest.train, manifest.dtype),
        heldout=_open_side(directory / "heldout", manifest.heldout, manifest.dtype),
        tokenizer=tokenizer,
        token_counts=_map(directory / "train" / "token_counts.bin", POSITION_DTYPE, manifest.vocab_size),
    )


class SideWriter:
    """The files of one side, to which documents are appended in bounded memory, and their counts."""

    def __init__(self, directory: Path, dtype: str, vocab_size: int) -> None:
        directory.mkdir()
        self._directory, self._dtype = directory, dtype
        self.documents = self.sentences = self.tokens = self.words = 0
        self.token_counts = np.zeros(vocab_size, np.int64)
        for name in ("sentence_starts.bin", "document_starts.bin"):
            append_array(directory / name, np.zeros(1), POSITION_DTYPE)

    def append(
        self, tokens: Tokens, lengths: NDArray[np.int64], document_sentences: NDArray[np.int64], *, words: int
    ) -> None:
        """Append tokens (n,) of so many words, given how many tokens each sentence has (S,) and how many sentences each
        document has (D,).
        """
        sentence_starts = self.tokens + np.cumsum(lengths)  # of the sentences that follow these
        document_starts = self.sentences + np.cumsum(document_sentences)
        append_array(self._directory / "tokens.bin", tokens, self._dtype)
        append_array(self._directory / "sentence_starts.bin", sentence_starts, POSITION_DTYPE)
        append_array(self._directory / "document_starts.bin", document_starts, POSITION_DTYPE)
        self.tokens += len(tokens)
        self.sentences += len(lengths)
        self.documents += len(document_sentences)
        self.words += words
        self.token_counts += np.bincount(tokens, minlength=len(self.token_counts))

    def counts(self, unk_id: int, scored_sentences: int) -> SideCounts:
        unknown = int(self.token_counts[unk_id])
        return SideCounts(self.documents, self.sentences, scored_sentences, self.tokens, unknown, self.words)


def append_array(path: Path, array: NDArray[Any], dtype: DTypeLike) -> None:
    """Append raw numbers to a file; create it if it does not exist."""
    with path.open("ab") as file:
        file.write(np.ascontiguousarray(array, dtype).data)


def _check_file(path: Path, record: FileRecord, *, checksum: bool) -> None:
    try:
        size = path.stat().st_size
        if size != record.bytes:
            raise InputError(f"{path} is damaged: it has {plural(size, 'byte')}, expected {record.bytes:,}{REMEDY}")
        if checksum and sha256(path) != record.sha256:
            raise InputError(f"{path} is damaged: its SHA-256 differs from the one in {MANIFEST}{REMEDY}")
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}){REMEDY}") from error


def _open_side(directory: Path, counts: SideCounts, dtype: str) -> TokenArrays:
    scored, continues = directory / "scored.bin", directory / CONTINUES_WORD
    return TokenArrays(
        tokens=_map(directory / "tokens.bin", dtype, counts.tokens),
        sentence_starts=_map(directory / "sentence_starts.bin", POSITION_DTYPE, counts.sentences + 1),
        document_starts=_map(directory / "document_starts.bin", POSITION_DTYPE, counts.documents + 1),
        scored=_map(scored, "?", counts.sentences) if scored.exists() else np.broadcast_to(True, counts.sentences),
        continues_word=_map(continues, "?", counts.tokens) if continues.exists() else None,
    )


def _map(path: Path, dtype: DTypeLike, length: int) -> NDArray[Any]:
    """Return the file as a read-only array (length,): not a `np.memmap`, whose slicing costs several times as much."""
    size, expected = path.stat().st_size, length * np.dtype(dtype).itemsize
    if not 0 < size == expected:
        found = f"{path} has {plural(size, 'byte')}"
        raise InputError(f"{found}, expected {expected:,} by the counts in {MANIFEST}{REMEDY}")
    return np.asarray(np.memmap(path, dtype, "r", shape=(length,)))
