"""Which documents are held out for evaluation, and which of their paragraphs also occur in training documents.

Both are decided by 64-bit hashes of the text: the same text is always on the same side, wherever it occurs.
"""

import hashlib
import heapq
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_HASHES = 2**64
_SHARE, _LARGEST_SHARE = _HASHES // 50, _HASHES // 10  # 2 %; at most 10 % if 2 % are too few tokens to measure on
_ENOUGH_BYTES = 50_000 * 4  # about 50,000 tokens of four bytes of UTF-8: near enough for English and for Chinese


def text_hash(text: str) -> int:
    """Return a 64-bit hash of the text, the same in every process and on every machine."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


class HeldOutChoice:
    """The choice of the held-out documents: all whose hash is below a threshold.

    Only the documents with the smallest hashes are remembered, and no more of them than make enough text: in a large
    corpus the share of 2 % decides, and needs no memory.
    """

    def __init__(self, at_least: int) -> None:
        self.documents = 0
        self._at_least = at_least  # different documents on each side
        self._sizes: dict[int, int] = {}  # hash -> bytes of all documents with that hash
        self._largest_first: list[int] = []  # a heap of the negated hashes
        self._bytes = 0
        self._forgot = False

    def add(self, document: int, size: int) -> None:
        self.documents += 1
        if document not in self._sizes:
            heapq.heappush(self._largest_first, -document)
        self._sizes[document] = self._sizes.get(document, 0) + size
        self._bytes += size
        # Twice as much as is needed, because the last few of them must not be held out.
        while len(self._sizes) > 2 * self._at_least and self._bytes - self._sizes[self._largest] >= 2 * _ENOUGH_BYTES:
            self._bytes -= self._sizes.pop(-heapq.heappop(self._largest_first))
            self._forgot = True

    @property
    def _largest(self) -> int:
        return -self._largest_first[0]

    @property
    def different(self) -> int:
        """The number of different documents; once some are forgotten, a smaller number that is still enough."""
        return len(self._sizes)

    def threshold(self) -> int:
        """Return the hash below which documents are held out, such that each side has enough different documents."""
        hashes = sorted(self._sizes)
        most = max(self._at_least, min(self.documents // 10, len(hashes) - self._at_least))
        taken = self._at_least
        gathered = sum(self._sizes[document] for document in hashes[:taken])
        while taken < most and gathered < _ENOUGH_BYTES and hashes[taken] < _LARGEST_SHARE:
            gathered += self._sizes[hashes[taken]]
            taken += 1
        share = _SHARE if self._forgot else min(_SHARE, hashes[most])
        return max(hashes[taken], share)


def are_unseen(hashes: NDArray[np.uint64], passed: Path) -> NDArray[np.bool_]:
    """Return whether each hash is absent from the file `passed`: (P,) -> (P,), in memory that depends only on P."""
    different, place = np.unique(hashes, return_inverse=True)
    unseen = np.ones(len(different), bool)
    with passed.open("rb") as file:
        while len(some := np.fromfile(file, "<u8", 2**16)):
            nearest = np.searchsorted(different, some) % len(different)
            unseen[nearest[different[nearest] == some]] = False
    return unseen[place]
