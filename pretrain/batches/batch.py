"""Batches for pretraining: planned pairs, cut out of the token array, masked, and laid side by side.

A batch is a function of the token arrays, the options, the seed and the numbers of its pairs. Each pair is masked by
random numbers of its own, so it makes no difference which process, worker or run asks for it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import KW_ONLY, dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils._pytree import tree_map_only

from minibert.fast.cross_entropy import IGNORED
from minibert.tokenizer import Tokenizer
from pretrain.arrays.shards import TokenArrays
from pretrain.batches.masking import Draws, Masker
from pretrain.batches.pairs import PairOptions, PairPlan

# The number of masked positions is rounded up to a multiple of this. It differs from batch to batch, and on a processor
# every new size of a matrix product has its kernel built anew: a tenth of a step of a small BERT.
MASKED_MULTIPLE = 64
# On a GPU a pass is captured for each shape (`minibert.fast.cuda_graphs`), so there should be few: T is a multiple of
# an eighth of the longest, and the number of masked positions of a 64th of all.
LENGTHS, MASKED_COUNTS = 8, 64


class PretrainBatch(NamedTuple):
    """What one forward and backward pass needs."""

    input_ids: Tensor  # (B, T) int64, masked
    token_type_ids: Tensor  # (B, T) int64
    attention_mask: Tensor | None  # (B, T) bool, True at real tokens; None when nothing is padded
    masked_positions: Tensor  # (M',) int64, flat: b·T + t; what comes after the first M only fills up to M'
    masked_labels: Tensor  # (M,) int64, the tokens that stood there; of few shapes (M',), filled up with `IGNORED`
    next_sentence_labels: Tensor  # (B,) int64, 0: B follows A, 1: it does not
    lengths: Tensor  # (B,) int64, the real tokens of each sequence, special tokens included

    @property
    def masked(self) -> int:
        """M: the tokens that are asked for."""
        return int((self.masked_labels != IGNORED).sum())

    @property
    def tokens(self) -> int:
        """Real ones."""
        return int(self.lengths.sum())

    @property
    def positions(self) -> int:
        """B·T, padding included."""
        return self.input_ids.numel()

    def to(self, device: torch.device) -> PretrainBatch:
        """The same batch on another device."""
        if device.type == "cpu":
            return self
        return tree_map_only(Tensor, lambda tensor: tensor.pin_memory().to(device, non_blocking=True), self)

    def pinned(self) -> PretrainBatch:
        """The same in memory that a GPU reads from while the processor goes on."""
        return tree_map_only(Tensor, Tensor.pin_memory, self)


@dataclass(frozen=True)
class Examples:
    """B sequences side by side, padded to the longest: [CLS] A [SEP], or [CLS] A [SEP] B [SEP]."""

    ids: NDArray[np.int64]  # (B, T) as in the text
    seen: NDArray[np.int64]  # (B, T) masked
    segments: NDArray[np.int64]  # (B, T)
    asked: NDArray[np.bool_]  # (B, T) True where the token is to be told
    lengths: NDArray[np.int64]  # (B,)
    not_next: NDArray[np.bool_]  # (B,) B is not what follows A

    def batch(self, *, few_shapes: bool = False) -> PretrainBatch:
        """As tensors; few_shapes: with more filling, as a GPU likes it."""
        positions = np.flatnonzero(self.asked)
        multiple = max(MASKED_MULTIPLE, self.ids.size // MASKED_COUNTS) if few_shapes else MASKED_MULTIPLE
        filling = np.zeros(-len(positions) % multiple, np.int64)
        labels = self.ids[self.asked]
        if few_shapes:
            labels = np.concatenate([labels, filling + IGNORED])
        real = np.arange(self.ids.shape[1]) < self.lengths[:, None]
        return PretrainBatch(
            input_ids=torch.from_numpy(self.seen),
            token_type_ids=torch.from_numpy(self.segments),
            attention_mask=None if real.all() else torch.from_numpy(real),
            masked_positions=torch.from_numpy(np.concatenate([positions, filling])),
            masked_labels=torch.from_numpy(labels),
            next_sentence_labels=torch.from_numpy(self.not_next.astype(np.int64)),
            lengths=torch.from_numpy(self.lengths),
        )


@dataclass(frozen=True)
class BatchMaker:
    """Makes the examples and batches of one token array, given its plan of pairs."""

    arrays: TokenArrays
    tokenizer: Tokenizer
    options: PairOptions
    masker: Masker
    _: KW_ONLY
    seed: int
    scored: NDArray[np.bool_] | None = None  # (n,) for each token of the array: may it be asked for?
    few_shapes: bool = False  # batches are filled up so that many have the same shapes, for a GPU

    def micro_batches(
        self, plan: PairPlan, *, start: int, stop: int, parts: int, share: slice = slice(None)
    ) -> list[PretrainBatch]:
        """Pairs `start` to `stop` of the plan as `parts` batches of like length, so that little is padded.

        share: which of the pairs, sorted by length, this process takes: `slice(rank, None, world_size)`.
        """
        pairs = plan.pairs(start, stop)
        by_length = np.argsort(pairs["a_length"] + pairs["b_length"], kind="stable")[share]
        bounds = [len(by_length) * part // parts for part in range(parts + 1)]
        chosen = [by_length[low:high] for low, high in itertools.pairwise(bounds)]
        return [self.examples(pairs[part], start + part).batch(few_shapes=self.few_shapes) for part in chosen]

    def examples(self, pairs: NDArray[np.void], numbers: NDArray[np.int64]) -> Examples:
        """The examples of planned pairs, (B,) of PAIR; `numbers`, (B,), are their places in the plan, and decide their
        masks. The vectorised twin of `Tokenizer.lay_out`: what that does for one is done here for all at once.
        """
        tokenizer, arrays = self.tokenizer, self.arrays
        a_start, a_length, b_start, b_length = (
            pairs[name].astype(np.int64)[:, None] for name in ("a_start", "a_length", "b_start", "b_length")
        )
        begin = 1 + a_length + (tokenizer.separators if self.options.paired else 0)  # where B begins
        end = begin + (b_length if self.options.paired else 0)  # where the last [SEP] stands
        place = np.arange(self._rounded(int(end.max()) + 1))  # (T,)
        in_a = (place >= 1) & (place <= a_length)
        in_b = (place >= begin) & (place < end)
        text, real = in_a | in_b, place <= end
        source = np.where(in_b, b_start + place - begin, a_start + place - 1)  # where in the array its token is
        source[~text] = 0
        ids = np.where(text, arrays.tokens[source], np.where(real, tokenizer.sep_id, tokenizer.pad_id)).astype(np.int64)
        ids[:, 0] = tokenizer.cls_id
        continues = None if arrays.continues_word is None else arrays.continues_word[source]
        seen, chosen = self.masker(ids, text, Draws(self.seed, numbers), continues=continues)
        return Examples(
            ids=ids,
            seen=seen,
            segments=np.where(real & (place >= begin), tokenizer.second_segment if self.options.paired else 0, 0),
            asked=chosen if self.scored is None else chosen & self.scored[source],
            lengths=end[:, 0] + 1,
            not_next=pairs["not_next"],
        )

    def _rounded(self, longest: int) -> int:
        """The length T of a batch."""
        multiple = max(1, self.options.seq_len // LENGTHS) if self.few_shapes else 1
        return min(longest + -longest % multiple, self.options.seq_len)


def data_seed(seed: int, *, phase: int) -> int:
    """The seed of a phase's pairs and masks: each phase of a run draws anew."""
    return seed * 1000 + phase


class Prefetcher:
    """Makes the next micro-batches on a thread while the current ones are trained on."""

    def __init__(self, make: Callable[[int], list[PretrainBatch]]) -> None:
        self._make = make
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._ahead: tuple[int, Future[list[PretrainBatch]]] | None = None

    def get(self, start: int, *, then: int) -> list[PretrainBatch]:
        """The micro-batches that begin with pair `start`; those that begin with `then` are made meanwhile."""
        if self._ahead is None or self._ahead[0] != start:
            self._ahead = start, self._thread.submit(self._make, start)
        batches = self._ahead[1].result()
        self._ahead = then, self._thread.submit(self._make, then)
        return batches

    def close(self) -> None:
        """Ends the thread; what it is making is waited for and dropped."""
        self._thread.shutdown(cancel_futures=True)
