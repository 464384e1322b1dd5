"""Batches for pretraining: planned pairs, cut out of the token array, masked and padded.

A batch is a function of the token arrays, the options, the seed and the numbers of its pairs. Each pair has its
own random numbers for masking, so it makes no difference which process, worker or run asks for it.
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

# The number of masked positions is rounded up to a multiple of this. It differs from batch to batch, and on a CPU a
# kernel is built for every new size of a matrix product, which takes a tenth of a step of a small BERT.
MASKED_MULTIPLE = 64
# On a GPU a pass is captured for each shape (`minibert.fast.cuda_graphs`), so shapes should be few: T is a multiple of
# an eighth of the longest, and the number of masked positions a multiple of a 64th of all positions.
LENGTHS, MASKED_COUNTS = 8, 64


class PretrainBatch(NamedTuple):
    """What one forward and backward pass needs."""

    input_ids: Tensor  # (B, T) int64, masked
    token_type_ids: Tensor  # (B, T) int64
    attention_mask: Tensor | None  # (B, T) bool, True at real tokens; None when nothing is padded
    masked_positions: Tensor  # (M',) int64, flat: b·T + t; those after the first M are padding
    masked_labels: Tensor  # (M,) int64, the original tokens; with few shapes (M',), padded with `IGNORED`
    next_sentence_labels: Tensor  # (B,) int64, 0: B follows A, 1: it does not
    lengths: Tensor  # (B,) int64, the real tokens of each sequence, special tokens included

    @property
    def masked(self) -> int:
        """M, the number of masked tokens."""
        return int((self.masked_labels != IGNORED).sum())

    @property
    def tokens(self) -> int:
        """The number of real tokens, special tokens included."""
        return int(self.lengths.sum())

    @property
    def positions(self) -> int:
        """B·T, the number of positions, padding included."""
        return self.input_ids.numel()

    def to(self, device: torch.device) -> PretrainBatch:
        """Return the same batch on another device."""
        if device.type == "cpu":
            return self
        return tree_map_only(Tensor, lambda tensor: tensor.pin_memory().to(device, non_blocking=True), self)

    def pinned(self) -> PretrainBatch:
        """Return the same batch in pinned memory, which a GPU reads from while the CPU continues."""
        return tree_map_only(Tensor, Tensor.pin_memory, self)


@dataclass(frozen=True)
class Examples:
    """B sequences side by side, padded to the longest: [CLS] A [SEP], or [CLS] A [SEP] B [SEP]."""

    ids: NDArray[np.int64]  # (B, T) before masking
    seen: NDArray[np.int64]  # (B, T) after masking
    segments: NDArray[np.int64]  # (B, T)
    asked: NDArray[np.bool_]  # (B, T) True at the masked tokens that the loss counts
    lengths: NDArray[np.int64]  # (B,)
    not_next: NDArray[np.bool_]  # (B,) True if B does not follow A

    def batch(self, *, few_shapes: bool = False) -> PretrainBatch:
        """Return the examples as tensors; few_shapes: with more padding, so that many batches have the same shapes."""
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
    """A maker of examples and batches from the planned pairs of one side of the corpus."""

    arrays: TokenArrays
    tokenizer: Tokenizer
    options: PairOptions
    masker: Masker
    _: KW_ONLY
    seed: int
    scored: NDArray[np.bool_] | None = None  # (n,) whether the loss may count each token of the array
    few_shapes: bool = False  # pad batches so that many have the same shapes, for a GPU

    def micro_batches(
        self, plan: PairPlan, *, start: int, stop: int, parts: int, share: slice = slice(None)
    ) -> list[PretrainBatch]:
        """Return pairs `start` to `stop` of the plan as `parts` batches of similar length, so that little is padded.

        share: which of the pairs, sorted by length, this process takes: `slice(rank, None, world_size)`.
        """
        pairs = plan.pairs(start, stop)
        by_length = np.argsort(pairs["a_length"] + pairs["b_length"], kind="stable")[share]
        bounds = [len(by_length) * part // parts for part in range(parts + 1)]
        chosen = [by_length[low:high] for low, high in itertools.pairwise(bounds)]
        return [self.examples(pairs[part], start + part).batch(few_shapes=self.few_shapes) for part in chosen]

    def examples(self, pairs: NDArray[np.void], numbers: NDArray[np.int64]) -> Examples:
        """Return the examples of planned pairs, (B,) of PAIR; `numbers`, (B,), are their places in the plan, which
        decide their masks. What `Tokenizer.lay_out` does for one pair is done here for all at once.
        """
        tokenizer, arrays = self.tokenizer, self.arrays
        a_start, a_length, b_start, b_length = (
            pairs[name].astype(np.int64)[:, None] for name in ("a_start", "a_length", "b_start", "b_length")
        )
        begin = 1 + a_length + (tokenizer.separators if self.options.paired else 0)  # where B begins
        end = begin + (b_length if self.options.paired else 0)  # where the last [SEP] is
        place = np.arange(self._rounded(int(end.max()) + 1))  # (T,)
        in_a = (place >= 1) & (place <= a_length)
        in_b = (place >= begin) & (place < end)
        text, real = in_a | in_b, place <= end
        source = np.where(in_b, b_start + place - begin, a_start + place - 1)  # the token's index in the array
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
        """Return the length T of a batch whose longest sequence has `longest` tokens."""
        multiple = max(1, self.options.seq_len // LENGTHS) if self.few_shapes else 1
        return min(longest + -longest % multiple, self.options.seq_len)


def data_seed(seed: int, *, phase: int) -> int:
    """Return the seed of a phase's pairs and masks: each phase of a run has its own."""
    return seed * 1000 + phase


class Prefetcher:
    """A thread that makes the next micro-batches while the model trains on the current ones."""

    def __init__(self, make: Callable[[int], list[PretrainBatch]]) -> None:
        self._make = make
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._ahead: tuple[int, Future[list[PretrainBatch]]] | None = None

    def get(self, start: int, *, then: int) -> list[PretrainBatch]:
        """Return the micro-batches that begin with pair `start`, and start to make those that begin with `then`."""
        if self._ahead is None or self._ahead[0] != start:
            self._ahead = start, self._thread.submit(self._make, start)
        batches = self._ahead[1].result()
        self._ahead = then, self._thread.submit(self._make, then)
        return batches

    def close(self) -> None:
        """End the thread; wait for what it is making, and drop it."""
        self._thread.shutdown(cancel_futures=True)
