"""Documents and paragraphs that repeat earlier text word for word: found, counted, and dropped if that is asked for.

A text that occurs often is memorised, at the cost of the others: Lee et al. 2021, "Deduplicating Training Data
Makes Language Models Better" (arXiv 2107.06499). Texts are compared by 128-bit hashes, white space folded. The hashes
are dealt out to files such that equal ones meet in the same file, and one file at a time is sorted: memory does not
grow with the corpus.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pretrain.arrays.shards import Duplicates, Manifest, append_array

SHORTEST = 60  # characters: a shorter paragraph, such as "Chapter 1", may be repeated; as in `pydocs`
KEY = np.dtype([("high", "<u8"), ("low", "<u8"), ("characters", "<u4"), ("is_document", "?")])
_PLACED = np.dtype([("high", "<u8"), ("low", "<u8"), ("place", "<i8")])
_KEYS_AT_ONCE = 2**20  # about 100 MB while they are sorted
NOTED_SHARE = 0.03  # of the text; below it, dropping what repeats would hardly change a model


def keys_of(document: str, paragraphs: list[list[str]]) -> NDArray[np.void]:
    """Return the key of a document, white space folded, and then those of its paragraphs that are long enough."""
    long = [text for text in map(" ".join, paragraphs) if len(text) >= SHORTEST]
    keys = np.empty(1 + len(long), KEY)
    hashes = [_hash(document, b"document"), *(_hash(text, b"paragraph") for text in long)]
    keys["high"], keys["low"] = np.frombuffer(b"".join(hashes), "<u8").reshape(-1, 2).T
    keys["characters"] = [len(document), *map(len, long)]
    keys["is_document"] = [True, *[False] * len(long)]
    return keys


def _hash(text: str, kind: bytes) -> bytes:
    # A document of one paragraph does not repeat itself: hence the kind.
    return hashlib.blake2b(text.encode(), digest_size=16, person=kind).digest()


def mark_repeated(keys: Path, repeated: Path, check_stop: Callable[[], None]) -> None:
    """Write to the file `repeated`, for each key in the file `keys`, whether an equal key stands before it.

    check_stop: raises an error if this should stop.
    """
    files = -(-keys.stat().st_size // (KEY.itemsize * _KEYS_AT_ONCE))
    dealt = [keys.with_name(f"keys-{number}") for number in range(files)]
    start = 0
    with keys.open("rb") as file:
        while len(some := np.fromfile(file, KEY, _KEYS_AT_ONCE)):
            check_stop()
            placed = np.empty(len(some), _PLACED)
            placed["high"], placed["low"] = some["high"], some["low"]
            placed["place"] = np.arange(start, start + len(some))
            # Only the first of equal keys is dealt out: no text, however often it occurs, makes a file large.
            places, placed = _split_repeated(placed)
            marks = np.zeros(len(some), bool)
            marks[places - start] = True
            append_array(repeated, marks, "?")
            number = placed["high"] % files
            for chosen, path in enumerate(dealt):
                append_array(path, placed[number == chosen], _PLACED)
            start += len(some)
    all_marks = np.memmap(repeated, "?", "r+")
    for path in dealt:
        check_stop()
        places, _ = _split_repeated(np.fromfile(path, _PLACED))
        all_marks[places] = True
        path.unlink()


def _split_repeated(placed: NDArray[np.void]) -> tuple[NDArray[np.int64], NDArray[np.void]]:
    """Return the places of keys that an equal one precedes, and the other keys."""
    placed = placed[np.lexsort((placed["low"], placed["high"]))]  # stable: equal keys stay in the corpus's order
    repeated = np.zeros(len(placed), bool)
    repeated[1:] = (placed["high"][1:] == placed["high"][:-1]) & (placed["low"][1:] == placed["low"][:-1])
    return placed["place"][repeated], placed[~repeated]


def count_duplicates(blocks: Iterable[tuple[NDArray[np.void], NDArray[np.bool_]]]) -> Duplicates:
    """Return how much of a corpus repeats. Each block holds the keys of whole documents (n,), and whether each key has
    occurred before (n,).

    The paragraphs of a repeated document are part of it, and not counted again.
    """
    counts = np.zeros(4, np.int64)
    for keys, repeated in blocks:
        is_document = keys["is_document"]
        in_repeated = repeated[np.maximum.accumulate(np.where(is_document, np.arange(len(keys)), 0))]
        documents, paragraphs = repeated & is_document, repeated & ~in_repeated
        characters = keys["characters"].astype(np.int64)
        repeats = characters[documents | paragraphs]
        counts += [documents.sum(), paragraphs.sum(), repeats.sum(), characters[is_document].sum()]
    return Duplicates(*counts.tolist())


def without_repeated(document: list[list[str]], repeated: Iterator[bool]) -> list[list[str]]:
    """Return the paragraphs of a document that have not occurred before; none if the document has.

    repeated: the marks of its keys come next.
    """
    is_repeated = next(repeated)
    kept = [paragraph for paragraph in document if len(" ".join(paragraph)) < SHORTEST or not next(repeated)]
    return [] if is_repeated else kept


def duplicates_note(manifest: Manifest) -> str | None:
    """Return a line for the user if much of the text repeats and was not dropped."""
    found = manifest.duplicates
    if found is None or found.share < NOTED_SHARE or manifest.options.get("drop_duplicates"):
        return None
    return (
        f"note     {found.share:.0%} of the text repeats earlier text word for word; --drop-duplicates keeps only the "
        "first copy of each document and paragraph"
    )
