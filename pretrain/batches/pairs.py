"""Sentence pairs for next-sentence prediction or sentence order, planned from sentence lengths alone.

The procedure is the paper's (Devlin et al. 2018, appendix A.2): whole sentences of one document fill a target length,
10 % of the targets are short, the chunk is split at a random sentence into A and B, and in half of the pairs a segment
of another document replaces B; the next chunk then begins with the unused sentences. For sentence order (Lan et al.
2019, section 3.1) half of the pairs are swapped instead: what comes first in the text is then B.

A pair is two ranges of the token array, so planning reads no token, only where sentences and documents begin. An epoch
is planned in blocks of documents, each with its own generator: a block can be planned without those before it.
"""

import random
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from minibert.errors import InputError
from pretrain.arrays.shards import TokenArrays

# What the model predicts about a pair. nsp: does B follow A, or is it from another document? sop: does B follow A, or A
# follow B? none: there are no pairs.
PairObjective = Literal["nsp", "sop", "none"]

# One pair: where its two ranges of tokens begin, how long they are, and whether B does not follow A.
PAIR = np.dtype([("a_start", "i8"), ("a_length", "i4"), ("b_start", "i8"), ("b_length", "i4"), ("not_next", "?")])
Pair = tuple[int, int, int, int, bool]  # the same, while a block is planned

DOCUMENTS_IN_A_BLOCK = 4096


@dataclass(frozen=True)
class PairOptions:
    """The options that decide the pairs, together with the text and the seed."""

    seq_len: int  # T, special tokens included
    objective: PairObjective = "nsp"
    short_share: float = 0.1  # of the targets, drawn shorter than the room, as inputs in later use often are
    separators: int = 1  # number of [SEP] between A and B, as the tokenizer puts them

    @property
    def room(self) -> int:
        """The number of text tokens that fit into a sequence besides [CLS] and [SEP]."""
        return self.seq_len - 2 - (self.separators if self.paired else 0)

    @property
    def paired(self) -> bool:
        """Whether a sequence has two segments."""
        return self.objective != "none"

    def check_room(self) -> None:
        """Raises InputError if sequences are too short to hold text of which something can be masked."""
        if self.room < 2:
            shortest = self.seq_len - self.room + 2
            raise InputError(f"--seq-len must be at least {shortest}, not {self.seq_len}: it counts special tokens too")


class PairPlan:
    """The endless sequence of pairs, epoch after epoch, any stretch of which can be read.

    Pairs depend on the arrays, the options and the seed, and on nothing else. How many pairs a block holds is known
    once it is planned; a later plan that is given these `block_counts` can begin anywhere without planning what comes
    before.
    """

    def __init__(
        self, arrays: TokenArrays, options: PairOptions, *, seed: int, block_counts: Sequence[int] = ()
    ) -> None:
        self.arrays = arrays
        self.options = options
        self.seed = seed
        self.blocks_in_epoch = -(-arrays.documents // DOCUMENTS_IN_A_BLOCK)
        self._ends = np.cumsum(block_counts, dtype=np.int64).tolist()  # one past each known block's last pair
        self._planned: dict[int, NDArray[np.void]] = {}  # the blocks in use: at most two
        self._order: tuple[int, NDArray[np.int64]] | None = None  # an epoch and its order of documents

    @property
    def block_counts(self) -> list[int]:
        """The number of pairs in each block planned so far."""
        return np.diff(self._ends, prepend=0).tolist()

    def pairs(self, start: int, stop: int) -> NDArray[np.void]:
        """Return pairs `start` to `stop` of the sequence, an array of PAIR."""
        while not self._ends or self._ends[-1] < stop:
            block = len(self._ends)
            self._ends.append((self._ends[-1] if self._ends else 0) + len(self._block(block)))
        pieces = []
        block = bisect_right(self._ends, start)
        while start < stop:
            first = self._ends[block - 1] if block else 0
            last = min(stop, self._ends[block])
            pieces.append(self._block(block)[start - first : last - first])
            start, block = last, block + 1
        return np.concatenate(pieces) if pieces else np.empty(0, PAIR)

    def epoch_of(self, position: int) -> int:
        """Return the epoch, from 0, of a pair that is already planned."""
        return bisect_right(self._ends, position) // self.blocks_in_epoch

    def epoch(self, epoch: int) -> Iterator[NDArray[np.void]]:
        """Yield all pairs of one epoch, a block at a time."""
        for block in range(epoch * self.blocks_in_epoch, (epoch + 1) * self.blocks_in_epoch):
            yield self._block(block)

    def _block(self, block: int) -> NDArray[np.void]:
        if block not in self._planned:
            epoch, place = divmod(block, self.blocks_in_epoch)
            documents = self._documents(epoch)[place * DOCUMENTS_IN_A_BLOCK : (place + 1) * DOCUMENTS_IN_A_BLOCK]
            rng = random.Random(f"pairs {self.seed} {epoch} {place}")
            self._planned = dict(list(self._planned.items())[-1:])
            self._planned[block] = plan_block(self.arrays, documents, self.options, rng)
        return self._planned[block]

    def _documents(self, epoch: int) -> NDArray[np.int64]:
        """Return the documents of an epoch in their order, each once."""
        if self._order is None or self._order[0] != epoch:
            self._order = epoch, np.random.default_rng([self.seed, epoch]).permutation(self.arrays.documents)
        return self._order[1]


def plan_block(
    arrays: TokenArrays, documents: NDArray[np.int64], options: PairOptions, rng: random.Random
) -> NDArray[np.void]:
    """Return the pairs of some documents, in random order."""
    pairs: list[Pair] = []
    coin = NextCoin(rng)
    for document in documents.tolist():
        first, last = arrays.document_starts[document : document + 2].tolist()
        starts = arrays.sentence_starts[first : last + 1].tolist()
        if options.objective == "nsp":
            pairs += _document_pairs(arrays, document, starts, options, rng, coin)
        elif options.objective == "sop":
            pairs += _document_orders(starts, options, rng)
        else:  # each chunk is an A without a B
            for begin, end in _chunks(starts, options, rng):
                pairs.append((*_truncate(starts[begin], starts[end] - starts[begin], 0, 0, options.room, rng), False))
    rng.shuffle(pairs)
    return np.array(pairs, PAIR)


class NextCoin:
    """A coin that decides which chunks keep their own second half, such that half of *all* pairs do.

    A chunk of one sentence has no second half and must take a random one. Each such chunk adds half a pair to a
    debt; a later chunk pays one pair of it by keeping its half although the coin says otherwise.
    """

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.debt = 0.0

    def keeps_its_own(self, sentences: int) -> bool:
        """Return whether a chunk of this many sentences becomes a "next" pair."""
        if sentences == 1:
            self.debt += 0.5
            return False
        if self.rng.random() < 0.5:
            return True
        if self.debt >= 1:
            self.debt -= 1
            return True
        return False


def _document_pairs(
    arrays: TokenArrays, document: int, starts: list[int], options: PairOptions, rng: random.Random, coin: NextCoin
) -> Iterator[Pair]:
    """Yield the pairs of one document; `starts` holds where its sentences begin, and where the last one ends."""
    sentence, sentences = 0, len(starts) - 1
    while sentence < sentences:
        target = _target_length(options, rng)
        end = min(bisect_left(starts, starts[sentence] + target, lo=sentence + 1), sentences)
        split = sentence + 1 if end - sentence == 1 else rng.randrange(sentence + 1, end)
        a_start, a_length = starts[sentence], starts[split] - starts[sentence]
        if coin.keeps_its_own(end - sentence):
            b_start, b_length, is_random = starts[split], starts[end] - starts[split], False
            sentence = end
        else:
            b_start, b_length = _segment_elsewhere(arrays, document, target - a_length, rng)
            is_random = True
            sentence = split  # what followed A was not used: the next chunk begins with it
        yield *_truncate(a_start, a_length, b_start, b_length, options.room, rng), is_random


def _document_orders(starts: list[int], options: PairOptions, rng: random.Random) -> Iterator[Pair]:
    """Yield the pairs of one document for sentence order: each chunk as two segments, in their order or swapped.

    A chunk of one sentence is split within it, so that no text is left out.
    """
    for sentence, end in _chunks(starts, options, rng):
        first, last = starts[sentence], starts[end]
        if end - sentence > 1:
            middle = starts[rng.randrange(sentence + 1, end)]
        else:
            middle = rng.randrange(min(first + 1, last - 1), last)  # of a single token, one side is empty
        pair = (first, middle - first), (middle, last - middle)
        is_swapped = rng.random() < 0.5
        (a_start, a_length), (b_start, b_length) = reversed(pair) if is_swapped else pair
        yield *_truncate(a_start, a_length, b_start, b_length, options.room, rng), is_swapped


def _chunks(starts: list[int], options: PairOptions, rng: random.Random) -> Iterator[tuple[int, int]]:
    """Yield the chunks of one document: sentences [begin, end) that together fill a target length."""
    sentence, sentences = 0, len(starts) - 1
    while sentence < sentences:
        target = _target_length(options, rng)
        end = min(bisect_left(starts, starts[sentence] + target, lo=sentence + 1), sentences)
        yield sentence, end
        sentence = end


def _target_length(options: PairOptions, rng: random.Random) -> int:
    """Return usually all the room, sometimes less, so that pretraining and later use differ less."""
    return rng.randint(2, options.room) if rng.random() < options.short_share else options.room


def _segment_elsewhere(arrays: TokenArrays, document: int, length: int, rng: random.Random) -> tuple[int, int]:
    """Return start and length of a segment of another document: one or more sentences that fill `length`."""
    other = rng.randrange(arrays.documents - 1)
    other += other >= document  # every document except this one is equally likely
    first, last = arrays.document_starts[other : other + 2].tolist()
    sentence = rng.randrange(first, last)
    start = int(arrays.sentence_starts[sentence])
    ends = arrays.sentence_starts[sentence + 1 : last + 1]
    enough = min(int(np.searchsorted(ends, start + length)), len(ends) - 1)
    return start, int(ends[enough]) - start


def _truncate(
    a_start: int, a_length: int, b_start: int, b_length: int, room: int, rng: random.Random
) -> tuple[int, int, int, int]:
    """Cut a pair to `room` tokens: always from the longer side, each token off its front or its back at random.

    Taking tokens off one by one leaves both sides at half the room, unless one is shorter than that.
    """
    kept_a = min(a_length, max((room + 1) // 2, room - b_length))
    kept_b = min(b_length, room - kept_a)
    off_front_a = rng.getrandbits(a_length - kept_a).bit_count()  # one coin for each token to remove
    off_front_b = rng.getrandbits(b_length - kept_b).bit_count()
    return a_start + off_front_a, kept_a, b_start + off_front_b, kept_b
