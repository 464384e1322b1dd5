"""Batches for pretraining: planned pairs, cut out of the token array, masked, and laid side by side.

A batch is a function of the token arrays, the options, the seed and the numbers of its pairs. Each pair is masked by a
generator of its own, so it makes no difference which process, worker or run asks for it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from minibert.tokenizer import Tokenizer
from pretrain.instances import PairOptions, PairPlan
from pretrain.masking import Masker
from pretrain.shards import TokenArrays

# The number of masked positions is rounded up to a multiple of this. It differs from batch to batch, and on a processor
# every new size of a matrix product has its kernel built anew: a tenth of a step of a small BERT.
MASKED_MULTIPLE = 64


@dataclass(frozen=True)
class PretrainBatch:
    """What one forward and backward pass needs."""

    input_ids: Tensor  # (B, T) int64, masked
    token_type_ids: Tensor  # (B, T) int64
    attention_mask: Tensor | None  # (B, T) bool, True at real tokens; None when nothing is padded
    masked_positions: Tensor  # (M',) int64, flat: b·T + t; what comes after the first M only fills up to M'
    masked_labels: Tensor  # (M,) int64, the tokens that stood there
    next_sentence_labels: Tensor  # (B,) int64, 0: B follows A, 1: it does not
    tokens: int  # real ones, special tokens included

    @property
    def positions(self) -> int:
        """B·T, padding included."""
        return self.input_ids.numel()

    @property
    def lengths(self) -> list[int]:
        """The real tokens of each sequence."""
        if self.attention_mask is None:
            return [self.input_ids.size(1)] * len(self.input_ids)
        return self.attention_mask.sum(1).tolist()

    def to(self, device: torch.device) -> PretrainBatch:
        """The same batch on another device."""
        if device.type == "cpu":
            return self
        tensors = {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}
        moved = {name: tensor.pin_memory().to(device, non_blocking=True) for name, tensor in tensors.items()}
        return replace(self, **moved)  # type: ignore[arg-type]  # tensors take the place of tensors


@dataclass(frozen=True)
class Example:
    """One sequence: [CLS] A [SEP], or [CLS] A [SEP] B [SEP]."""

    ids: NDArray[np.int64]  # (T,) as in the text
    seen: NDArray[np.int64]  # (T,) masked
    segments: NDArray[np.int64]  # (T,)
    chosen: NDArray[np.intp]  # positions whose token is to be told, ascending
    not_next: bool  # B is not what follows A


class BatchMaker:
    """Makes the examples and batches of one token array, given its plan of pairs."""

    def __init__(
        self,
        arrays: TokenArrays,
        tokenizer: Tokenizer,
        pairs: PairOptions,
        masker: Masker,
        *,
        seed: int,
        scored: NDArray[np.bool_] | None = None,
    ) -> None:
        """scored: (n,) one flag a token of the array; a masked token that has it False is not asked for."""
        self.arrays = arrays
        self.tokenizer = tokenizer
        self.options = pairs
        self.masker = masker
        self.seed = seed
        self.scored = scored

    def example(self, pair: np.void, number: int) -> Example:
        """The example of one planned pair; `number` is the pair's place in the plan, and decides its masks."""
        a = slice(pair["a_start"], pair["a_start"] + pair["a_length"])
        b = slice(pair["b_start"], pair["b_start"] + pair["b_length"])
        tokens = self.arrays.tokens
        ids, segments, text = self.tokenizer.lay_out(tokens[a], tokens[b] if self.options.paired else None)
        bounds = self.arrays.continues_word
        continues = None if bounds is None else self._of_text(bounds, a, b)
        seen, chosen = self.masker(ids, text, np.random.default_rng([self.seed, number]), continues=continues)
        if self.scored is not None:
            chosen = chosen[self._of_text(self.scored, a, b)[np.searchsorted(text, chosen)]]
        return Example(ids, seen, segments, chosen, bool(pair["not_next"]))

    def _of_text(self, values: NDArray[np.bool_], a: slice, b: slice) -> NDArray[np.bool_]:
        """What `values`, one a token of the array, has for the text of a sequence: A and, in pairs, B."""
        return np.concatenate([values[a], values[b]]) if self.options.paired else values[a]

    def micro_batches(
        self, plan: PairPlan, *, start: int, stop: int, parts: int, share: slice = slice(None)
    ) -> list[PretrainBatch]:
        """Pairs `start` to `stop` of the plan as `parts` batches of like length, so that little is padded.

        share: which of the pairs, sorted by length, this process takes: `slice(rank, None, world_size)`.
        """
        pairs = plan.pairs(start, stop)
        by_length = np.argsort(pairs["a_length"] + pairs["b_length"], kind="stable")[share]
        examples = [self.example(pairs[i], start + int(i)) for i in by_length]
        bounds = [len(examples) * part // parts for part in range(parts + 1)]
        return [collate(examples[low:high], pad_id=self.tokenizer.pad_id) for low, high in itertools.pairwise(bounds)]


def data_seed(seed: int, *, phase: int) -> int:
    """The seed of a phase's pairs and masks: each phase of a run draws anew."""
    return seed * 1000 + phase


def collate(examples: list[Example], *, pad_id: int) -> PretrainBatch:
    """Examples side by side, padded to the longest."""
    lengths = np.array([len(example.ids) for example in examples])
    size = (len(examples), int(lengths.max()))
    input_ids, segments = np.full(size, pad_id, np.int64), np.zeros(size, np.int64)
    for row, example in enumerate(examples):
        input_ids[row, : len(example.seen)] = example.seen
        segments[row, : len(example.segments)] = example.segments
    positions = np.concatenate([row * size[1] + example.chosen for row, example in enumerate(examples)])
    labels = np.concatenate([example.ids[example.chosen] for example in examples])
    filling = np.zeros(-len(positions) % MASKED_MULTIPLE, np.int64)
    real = np.arange(size[1]) < lengths[:, None]
    return PretrainBatch(
        input_ids=torch.from_numpy(input_ids),
        token_type_ids=torch.from_numpy(segments),
        attention_mask=None if real.all() else torch.from_numpy(real),
        masked_positions=torch.from_numpy(np.concatenate([positions, filling])),
        masked_labels=torch.from_numpy(labels),
        next_sentence_labels=torch.tensor([int(example.not_next) for example in examples]),
        tokens=int(lengths.sum()),
    )


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
