"""Text -> a tokenizer and token arrays, in the files that `shards.py` describes.

Five stages: read and split every document into a spool file; find what repeats, and drop it if that is asked for;
choose the held-out documents; train the vocabulary on the others; tokenise. Documents travel in chunks through a pool
of processes, a few at a time, and come back in the order of the corpus: memory does not grow with it, and the result
does not depend on the number of processes.

The output is whole or absent: it is built in a hidden directory beside the one asked for, and renamed at the end.
"""

import contextlib
import itertools
import json
import shutil
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import tyro
from numpy.typing import DTypeLike, NDArray
from tqdm import tqdm

from minibert.console.cli import NO_ROOM
from minibert.console.typed import option_name
from minibert.errors import InputError, RunStopped
from minibert.files.text import check_path
from minibert.files.writing import new_directory, parents_made, real_path, sha256
from minibert.tokenizer import Tokenizer
from minibert.tokenizer.vocabulary import Kind
from minibert.training.lock import hold
from pretrain.arrays import duplicates, shards
from pretrain.arrays.encoding import TokenBlock, encode, encoder_of, running_sentences
from pretrain.arrays.heldout import HeldOutChoice, are_unseen, text_hash
from pretrain.arrays.workers import Workers, peak_rss_bytes, stop_requests
from pretrain.text.corpus import check_corpus, read_documents, split_document
from pretrain.text.sentences import fold
from pretrain.text.word_bounds import Segmenter, word_cutter

CHUNK_CHARACTERS = 256 * 1024  # per task: enough to outweigh the cost of a message, and little memory


@dataclass(frozen=True)
class PrepareOptions:
    """What the arrays contain, and how many processes make them."""

    corpus: Annotated[tuple[str, ...], tyro.conf.arg(metavar="PATH [PATH ...]")]
    """the text to train on: pydocs (the documentation that comes with Python and its packages), or files and directories; .txt files have a blank line between documents, .jsonl files an object per line, and both may be .gz"""  # noqa: E501
    text_field: Annotated[str, tyro.conf.arg(metavar="FIELD")] = "text"
    """the field of a .jsonl line that holds the text"""
    sentence_per_line: bool = False
    """each line of the corpus is one sentence; otherwise the text is split into sentences (English or Chinese)"""
    document_per_line: bool = False
    """each line of a text file is a document; otherwise a blank line ends one"""
    drop_duplicates: bool = False
    """drop documents, and paragraphs of 60 characters or more, that repeat earlier ones word for word"""
    vocab_size: int = 8192
    """number of tokens in the vocabulary that is trained on the corpus"""
    tokenizer_kind: Kind = "wordpiece"
    """kind of vocabulary to train; wordpiece: BERT's; bpe: RoBERTa's, over bytes; unigram: ALBERT's"""
    lowercase: bool = True
    """lower-case the text; not for bpe, which keeps the text as it is"""
    strip_accents: Annotated[bool | None, tyro.conf.arg(metavar="{True,False}")] = None
    """remove accents; not for bpe, which keeps the text as it is; if not given: the same as --lowercase"""
    chinese_chars: bool = True
    """treat every Chinese character as a word; only for wordpiece"""
    tokenizer: Annotated[str | None, tyro.conf.arg(metavar="DIR")] = None
    """a directory with a tokenizer to use, instead of training a vocabulary"""
    word_segmenter: Annotated[Segmenter | None, tyro.conf.arg(metavar="{jieba}")] = None
    """jieba: segment Chinese text into words, whose characters --whole-word-mask then masks together (needs the optional dependency `zh`: pip install -e '.[zh]' in minibert's checkout)"""  # noqa: E501
    nsp: bool = True
    """require enough documents for next-sentence prediction: two to train on and two held out; with --no-nsp, one of each"""  # noqa: E501
    workers: int = 0
    """number of processes; 0: one per core"""

    def __post_init__(self) -> None:
        """Raises InputError if an option has the wrong type or is out of range; the message names it."""
        if not self.corpus or not all(isinstance(path, str) and path for path in self.corpus):
            raise InputError("--corpus: expected pydocs, or one or more paths")
        if not self.text_field:
            raise InputError("--text-field: expected the name of a field")
        smallest = 262 if self.tokenizer_kind == "bpe" else 10  # of these, 256 are bytes and 5 special tokens
        for name, lowest, highest in (("vocab_size", smallest, 2**24), ("workers", 0, 1024)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
                expected = f"expected a whole number from {lowest} to {highest}"
                raise InputError(f"{option_name(name)}: {expected}, not {value!r}")

    def vocabulary_options(self) -> dict[str, Any]:
        """Return the arguments of `Tokenizer.train` besides the size: the options that this kind of vocabulary has."""
        options: dict[str, Any] = {"kind": self.tokenizer_kind}
        if self.tokenizer_kind != "bpe":
            options |= {"lowercase": self.lowercase, "strip_accents": self.strip_accents}
        if self.tokenizer_kind == "wordpiece":
            options |= {"chinese_chars": self.chinese_chars}
        return options

    @property
    def documents_a_side(self) -> int:
        """The smallest number of documents that training, and likewise evaluation, can work with."""
        return 2 if self.nsp else 1


def prepare(options: PrepareOptions, directory: str | Path) -> None:
    """Make the tokenizer and the token arrays of a corpus, in a directory that `open_prepared` opens.

    SIGINT, SIGTERM and SIGHUP stop it at the next chunk of documents. Because it spawns processes, a script that calls
    it needs the usual `if __name__ == "__main__"`. After any error, nothing is left behind.

    Raises InputError if the corpus is unusable or has too few documents, or if `directory` already exists and is not
    empty; RunStopped if the disk is full or a worker process is killed; Interrupted if a signal arrives.
    """
    check_corpus(options.corpus, text_field=options.text_field, document_per_line=options.document_per_line)
    check_path(directory)
    tokenizer = None if options.tokenizer is None else Tokenizer.load(options.tokenizer)
    if options.word_segmenter is not None:
        word_cutter(options.word_segmenter)  # raises InputError if it is not installed
    try:
        with (
            stop_requests() as check_stop,
            _built_aside(Path(directory)) as partial,
            Workers(options.workers, check_stop) as workers,
        ):
            _build(options, tokenizer, partial, workers)
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise RunStopped(f"{directory}: {error.strerror}; nothing was kept") from error


def _build(options: PrepareOptions, tokenizer: Tokenizer | None, directory: Path, workers: Workers) -> None:
    """Run the stages one after the other; at the end `directory` holds the manifest and all of `shards.FILES`."""
    seconds: dict[str, float] = {}
    with _timed(seconds, "read"):
        spool = _read(options, directory / "spool", directory / "keys", workers)
    with _timed(seconds, "duplicates"):
        spool, found = _find_duplicates(options, spool, directory / "keys", workers)
    with _timed(seconds, "vocabulary"):
        if tokenizer is None:
            tokenizer = Tokenizer.train(
                _training_sentences(spool, workers.check_stop),
                vocab_size=options.vocab_size,
                **options.vocabulary_options(),
            )
        tokenizer.save(directory)
    with _timed(seconds, "tokenise"):
        dtype = shards.TOKEN_DTYPES[tokenizer.vocab_size > 2**16]
        train, heldout = _tokenise(options, spool, tokenizer, dtype, directory, workers)
    with _timed(seconds, "checksum"):
        spool.path.unlink()
        there = (*shards.FILES, *(name for name in shards.NOT_ALWAYS if (directory / name).exists()))
        files = {name: shards.FileRecord((directory / name).stat().st_size, sha256(directory / name)) for name in there}
    seconds["total"] = sum(seconds.values())
    shards.Manifest(
        format=shards.FORMAT,
        options={name: value for name, value in asdict(options).items() if name != "workers"},
        vocab_size=tokenizer.vocab_size,
        tokenizer_fingerprint=tokenizer.fingerprint,
        dtype=dtype,
        train=train,
        heldout=heldout,
        files=files,
        seconds=seconds,
        tokens_per_second=(train.tokens + heldout.tokens) / seconds["total"],
        peak_rss_bytes=peak_rss_bytes() + sum(workers.peaks.values()),
        duplicates=found,
    ).write(directory)


@contextlib.contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[stage] = time.perf_counter() - start


# -- Documents -> spool ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Spool:
    """The corpus in sentences, on disk: each line is a document, its hash (16 hex digits) and its paragraphs (JSON)."""

    path: Path
    blocks: list[tuple[int, int, int]]  # (offset, bytes, number of keys) of the lines from each chunk
    documents: int
    threshold: int  # documents with a smaller hash are held out


class _Lines(NamedTuple):
    """The documents of a chunk, as lines for the spool."""

    lines: bytes
    hashes: list[int]
    sizes: list[int]  # bytes of each line
    keys: NDArray[np.void]


def _read(options: PrepareOptions, path: Path, keys: Path, workers: Workers) -> _Spool:
    """Write the spool, and the keys by which duplicates are found."""
    corpus = read_documents(options.corpus, text_field=options.text_field, document_per_line=options.document_per_line)
    chunks = _chunks(corpus)
    tasks = ((texts, options.sentence_per_line) for texts in chunks)
    # Closed at once after an error, since reading `pydocs` starts processes of its own.
    with contextlib.closing(chunks), _bar("reading", None) as bar:
        return _spooled(options, path, _saving_keys(workers.map(_split, tasks), keys), bar)


def _saving_keys(chunks: Iterable[_Lines], keys: Path) -> Iterator[_Lines]:
    for chunk in chunks:
        shards.append_array(keys, chunk.keys, duplicates.KEY)
        yield chunk


def _spooled(options: PrepareOptions, path: Path, chunks: Iterable[_Lines], bar: tqdm) -> _Spool:
    """Write a spool, and choose the documents that are held out. Raises InputError if there are too few."""
    choice = HeldOutChoice(options.documents_a_side)
    blocks: list[tuple[int, int, int]] = []
    offset = 0
    with path.open("wb") as file:
        for chunk in chunks:
            file.write(chunk.lines)
            blocks.append((offset, len(chunk.lines), len(chunk.keys)))
            offset += len(chunk.lines)
            for document, size in zip(chunk.hashes, chunk.sizes, strict=True):
                choice.add(document, size)
            bar.update(len(chunk.hashes))
    if choice.different < 2 * options.documents_a_side:
        kind = "document" if choice.different == choice.documents else "different document"
        raise _too_few(f"{choice.different} {kind}", options)
    return _Spool(path, blocks, choice.documents, choice.threshold())


def _chunks(documents: Iterable[str]) -> Generator[list[str], None, None]:
    chunk: list[str] = []
    characters = 0
    for text in documents:
        chunk.append(text)
        characters += len(text)
        if characters >= CHUNK_CHARACTERS:
            yield chunk
            chunk, characters = [], 0
    if chunk:
        yield chunk


def _split(texts: list[str], sentence_per_line: bool) -> _Lines:
    """In a worker: split documents into sentences; drop any without one."""
    lines, hashes, keys = [], [], [np.empty(0, duplicates.KEY)]
    for text in texts:
        paragraphs = split_document(text, sentence_per_line=sentence_per_line)
        if paragraphs:
            folded = fold(text)
            hashes.append(text_hash(folded))
            keys.append(duplicates.keys_of(folded, paragraphs))
            lines.append(_line(f"{hashes[-1]:016x}".encode(), paragraphs))
    return _Lines(b"".join(lines), hashes, [len(line) for line in lines], np.concatenate(keys))


def _line(document_hash: bytes, paragraphs: list[list[str]]) -> bytes:
    return document_hash + json.dumps(paragraphs, ensure_ascii=False).encode() + b"\n"


def _too_few(found: str, options: PrepareOptions) -> InputError:
    need = "at least one to train on and one held out are needed; add documents"
    if options.nsp:
        need = "next-sentence prediction needs at least two to train on and two held out; add documents or use --no-nsp"
    ends = "" if options.document_per_line else " (a blank line ends one; with --document-per-line, each line is one)"
    left = " without duplicates" if options.drop_duplicates else ""
    return InputError(f"only {found}{'' if found.startswith('1 ') else 's'}{left}: {need}{ends}")


# -- Duplicates -----------------------------------------------------------------------------------------------------


def _find_duplicates(
    options: PrepareOptions, spool: _Spool, keys: Path, workers: Workers
) -> tuple[_Spool, shards.Duplicates]:
    """Count what repeats; return the spool without it if that is asked for, otherwise as it is, and the counts.

    Raises InputError if too few documents are left.
    """
    repeated = keys.with_name("repeated")
    duplicates.mark_repeated(keys, repeated, workers.check_stop)
    marks = _of_blocks(spool, repeated, "?")
    found = duplicates.count_duplicates(zip(_of_blocks(spool, keys, duplicates.KEY), marks, strict=True))
    if options.drop_duplicates:
        blocks = zip(spool.blocks, _of_blocks(spool, repeated, "?"), strict=True)
        tasks = ((spool.path, offset, size, marks) for (offset, size, _), marks in blocks)
        with _bar("duplicates", spool.documents) as bar:
            kept = _spooled(options, spool.path.with_name("kept"), workers.map(_drop_repeated, tasks), bar)
        spool.path.unlink()
        spool = kept
    keys.unlink()
    repeated.unlink()
    return spool, found


def _of_blocks(spool: _Spool, path: Path, dtype: DTypeLike) -> Iterator[NDArray[Any]]:
    """Yield what a file holds for the keys of each block."""
    with path.open("rb") as file:
        for *_, keys in spool.blocks:
            yield np.fromfile(file, dtype, keys)


def _drop_repeated(spool: Path, offset: int, size: int, repeated: NDArray[np.bool_]) -> _Lines:
    """In a worker: return a block of the spool without what repeats. repeated: for each of its keys."""
    lines, hashes = [], []
    marks = iter(repeated.tolist())
    for line in _block(spool, offset, size):
        paragraphs = _paragraphs(line)
        kept = duplicates.without_repeated(paragraphs, marks)
        if kept:
            hashes.append(int(line[:16], 16))
            lines.append(line + b"\n" if len(kept) == len(paragraphs) else _line(line[:16], kept))
    return _Lines(b"".join(lines), hashes, [len(line) for line in lines], np.empty(0, duplicates.KEY))


# -- Spool -> vocabulary and arrays ---------------------------------------------------------------------------------


def _training_sentences(spool: _Spool, check_stop: Callable[[], None]) -> Iterator[str]:
    with spool.path.open("rb") as file, _bar("vocabulary", spool.documents) as bar:
        for line in file:
            check_stop()
            if not _is_held_out(line, spool.threshold):
                yield from itertools.chain.from_iterable(map(running_sentences, _paragraphs(line)))
            bar.update()


def _is_held_out(line: bytes, threshold: int) -> bool:
    return int(line[:16], 16) < threshold


def _block(spool: Path, offset: int, size: int) -> list[bytes]:
    """Return the lines of a block, without their ends."""
    with spool.open("rb") as file:
        file.seek(offset)
        return file.read(size).splitlines()


def _paragraphs(line: bytes) -> list[list[str]]:
    return json.loads(line[16:])


def _tokenise(
    options: PrepareOptions, spool: _Spool, tokenizer: Tokenizer, dtype: str, directory: Path, workers: Workers
) -> tuple[shards.SideCounts, shards.SideCounts]:
    """Write the arrays of both sides, and return their counts (training, held out)."""
    train, heldout = (shards.SideWriter(directory / side, dtype, tokenizer.vocab_size) for side in ("train", "heldout"))
    passed = directory / "paragraphs"  # uint64 hashes of the training side's paragraphs, too many for memory
    hashes, sentences = [], []  # of the held-out side's paragraphs
    fixed = spool.threshold, directory, dtype, options.word_segmenter
    tasks = ((spool.path, offset, size, *fixed) for offset, size, _ in spool.blocks)
    with _bar("tokenising", spool.documents) as bar:
        for train_block, heldout_block in workers.map(_tokenise_block, tasks):
            for side, block in ((train, train_block), (heldout, heldout_block)):
                side.append(block.tokens, block.sentence_lengths, block.document_sentences, words=block.words)
            shards.append_array(passed, train_block.paragraph_hashes, "<u8")
            if train_block.continues_word is not None:
                shards.append_array(directory / "train" / shards.CONTINUES_WORD, train_block.continues_word, "?")
            hashes.append(heldout_block.paragraph_hashes)
            sentences.append(heldout_block.paragraph_sentences)
            bar.set_postfix_str(f"{train.tokens + heldout.tokens:,} tokens", refresh=False)
            bar.update(len(train_block.document_sentences) + len(heldout_block.document_sentences))
    fewest = min(train.documents, heldout.documents)  # counted again, since documents without a token are dropped
    if fewest < options.documents_a_side:
        raise _too_few(f"{fewest} document", options)
    scored = np.repeat(are_unseen(np.concatenate(hashes), passed), np.concatenate(sentences))
    if not scored.any():
        raise InputError(
            "every held-out paragraph also occurs in the training documents, so nothing is left to evaluate on"
        )
    passed.unlink()
    shards.append_array(directory / "heldout" / "scored.bin", scored, "?")
    shards.append_array(directory / "train" / "token_counts.bin", train.token_counts, shards.POSITION_DTYPE)
    return train.counts(tokenizer.unk_id, train.sentences), heldout.counts(tokenizer.unk_id, int(scored.sum()))


def _tokenise_block(
    spool: Path, offset: int, size: int, threshold: int, tokenizer: Path, dtype: str, segmenter: Segmenter | None
) -> tuple[TokenBlock, TokenBlock]:
    """In a worker: tokenise a block of the spool; return its training documents and its held-out ones."""
    sides: tuple[list[list[list[str]]], list[list[list[str]]]] = ([], [])
    for line in _block(spool, offset, size):
        sides[_is_held_out(line, threshold)].append(_paragraphs(line))
    train, heldout = (encode(documents, encoder_of(tokenizer, segmenter), dtype) for documents in sides)
    return train, heldout


# -- A directory that is whole or absent ----------------------------------------------------------------------------


@contextlib.contextmanager
def _built_aside(directory: Path) -> Iterator[Path]:
    """Give a hidden directory beside `directory` to build in; rename it at the end, or remove it after an error.

    What a killed run left there is removed first; a run that is still active holds a lock, which ends with it. The lock
    is a file beside both, since Windows can't rename a directory that holds an open file.

    Raises InputError if `directory` exists and is not empty, can't be made, or is being made by another run.
    """
    target = real_path(directory)
    partial, leftover, lock = (target.with_name(f".{target.name}.{kind}") for kind in ("partial", "leftover", "lock"))
    with contextlib.ExitStack() as undo:
        try:
            _check_absent(directory)
            undo.enter_context(parents_made(target))
            alone = undo.enter_context(contextlib.ExitStack())
            alone.enter_context(hold(lock, busy=f"{directory}: another run is making it"))
            shutil.rmtree(leftover, ignore_errors=True)
            with contextlib.suppress(FileNotFoundError):
                partial.rename(leftover)  # atomic: if another run renames it at the same time, one of the two fails
                shutil.rmtree(leftover)
            _check_absent(directory)  # again: another run may have made it meanwhile
            undo.enter_context(new_directory(partial))
        except OSError as error:
            if error.errno in NO_ROOM:
                raise
            raise InputError(f"{directory} can't be made ({error.strerror})") from error
        yield partial
        alone.close()  # before the last step, so that no kill leaves a lock beside the whole directory
        try:
            partial.rename(target)
        except FileExistsError:  # Windows can't rename to an existing name, even an empty directory's
            target.rmdir()
            partial.rename(target)


def _check_absent(directory: Path) -> None:
    if directory.exists() and not (directory.is_dir() and not any(directory.iterdir())):
        raise InputError(f"{directory} already exists; choose a new or empty directory")


def _bar(stage: str, documents: int | None) -> tqdm:
    """Return a progress bar that counts documents; silent if standard error is not a terminal."""
    return tqdm(desc=stage, total=documents, unit=" documents", unit_scale=True, disable=None)
