"""Batches for fine-tuning: which features are trained on together, and their tensors.

The order is a function only of the features' lengths, the seed, the epoch and the global batch size: not of the number
of processes, nor of how often a run was interrupted.
"""

import itertools
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from finetune.tasks.task import Feature, Task, TaskBatch
from minibert.tokenizer.batch import Encoding, pad

# Features are drawn for this many batches at a time and sorted by length, so that a batch has features of similar
# length, but which of them share a batch still changes with every epoch.
POOL_BATCHES = 64
# The number of lengths that a batch may have between one power of two and the next.
LENGTHS_PER_OCTAVE = 8


def batches_in_epoch(features: int, batch_size: int) -> int:
    """The number of batches in an epoch; no feature is left out."""
    return -(-features // batch_size)


def smallest_batch(features: int, batch_size: int) -> int:
    """The size of an epoch's smallest batch. Sizes differ by at most one, so that no example counts double."""
    return features // batches_in_epoch(features, batch_size)


def epoch_order(lengths: NDArray[np.int64], *, seed: int, epoch: int, batch_size: int) -> list[NDArray[np.intp]]:
    """Return the batches of an epoch, each as indices of features, from short to long.

    lengths: (n,), the length of each feature.
    """
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(lengths))
    count = batches_in_epoch(len(lengths), batch_size)
    bounds = [len(lengths) * number // count for number in range(count + 1)]
    batches: list[NDArray[np.intp]] = []
    for first in range(0, count, POOL_BATCHES):
        ends = bounds[first : first + POOL_BATCHES + 1]
        pool = order[ends[0] : ends[-1]]
        pool = pool[np.argsort(lengths[pool], kind="stable")]
        batches += [pool[low - ends[0] : high - ends[0]] for low, high in itertools.pairwise(ends)]
    return [batches[number] for number in rng.permutation(count)]


def padded_length(longest: int, limit: int | None) -> int:
    """Return a batch's length T: any up to 16, then 18, 20, ... 32, 36, 40, ... 64, 72, ..., at most `limit`.

    longest: the tokens of its longest sequence; limit: the length that sequences are cut to, so never less.

    A processor's matrix products are compiled for each new size, which takes longer than a small product itself, and
    the compiled code is kept in memory. A few more padding tokens cost less.
    """
    step = max(1, (1 << (longest.bit_length() - 1)) // LENGTHS_PER_OCTAVE)
    rounded = -(-longest // step) * step
    return rounded if limit is None else min(rounded, limit)


def collate(sequences: Sequence[Encoding], *, pad_id: int, limit: int | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return the input ids, segments and mask, (S, T) each, of S sequences, padded to `padded_length`."""
    lengths = np.array([len(sequence.ids) for sequence in sequences])
    input_ids = pad([sequence.ids for sequence in sequences], pad_id, length=padded_length(int(lengths.max()), limit))
    place = np.arange(input_ids.size(1))
    real = place < lengths[:, None]
    in_second = real & (place >= np.array([sequence.second for sequence in sequences])[:, None])
    mask = None if real.all() else torch.from_numpy(real)
    return input_ids, torch.from_numpy(in_second.astype(np.int64)), mask


def make_batch(features: Sequence[Feature], task: Task, *, labelled: bool) -> TaskBatch:
    """Return the tensors of features, (S, T) for S sequences; with targets if they are `labelled`."""
    sequences = [sequence for feature in features for sequence in feature.sequences]
    input_ids, segments, mask = collate(sequences, pad_id=task.tokenizer.pad_id, limit=task.data_options.max_length)
    width = 1 if task.first_token_only else input_ids.size(1)
    hidden = [F.pad(it, (0, 0, 0, width - it.size(1))) for it in (each.hidden for each in features) if it is not None]
    targets = task.targets(features, input_ids.size(1)) if labelled else None
    return TaskBatch(features, input_ids, segments, mask, targets, torch.cat(hidden) if hidden else None)
