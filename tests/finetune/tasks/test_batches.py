"""Which features meet in a batch, and how they are padded."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from finetune.data.data_options import TagDataOptions
from finetune.tasks.batches import batches_in_epoch, collate, epoch_order, make_batch, padded_length, smallest_batch
from finetune.tasks.task import Feature
from finetune.tasks.token_classification import TokenClassification
from minibert.tokenizer import Tokenizer
from minibert.tokenizer.batch import Encoding

LENGTHS = np.random.default_rng(0).integers(3, 60, size=1003)


@pytest.mark.parametrize(("count", "batch_size"), [(1003, 32), (1003, 1003), (5, 32), (64, 32), (65, 32)])
def test_every_feature_stands_once_in_an_epoch_and_batches_differ_by_one_at_most(count: int, batch_size: int) -> None:
    batches = epoch_order(LENGTHS[:count], seed=3, epoch=2, batch_size=batch_size)
    assert sorted(np.concatenate(batches).tolist()) == list(range(count))
    assert len(batches) == batches_in_epoch(count, batch_size)
    sizes = {len(batch) for batch in batches}
    assert max(sizes) <= batch_size and max(sizes) - min(sizes) <= 1
    assert min(sizes) == smallest_batch(count, batch_size)


def test_the_order_is_a_function_of_seed_epoch_and_size() -> None:
    def order(seed: int = 1, epoch: int = 0, batch_size: int = 16) -> list[list[int]]:
        found = epoch_order(LENGTHS, seed=seed, epoch=epoch, batch_size=batch_size)
        return [batch.tolist() for batch in found]

    assert order() == order()
    assert order() != order(seed=2) and order() != order(epoch=1) and order() != order(batch_size=17)


def test_batches_are_of_like_length_but_come_in_no_order_of_length() -> None:
    batches = epoch_order(LENGTHS, seed=3, epoch=0, batch_size=16)
    padded = sum(len(batch) * LENGTHS[batch].max() for batch in batches)
    assert LENGTHS.sum() / padded > 0.95
    means = [LENGTHS[batch].mean() for batch in batches]
    assert abs(np.corrcoef(means, np.arange(len(means)))[0, 1]) < 0.3
    assert all((np.diff(LENGTHS[batch]) >= 0).all() for batch in batches)


def test_collating_pads_on_the_right_and_leaves_the_mask_out_where_nothing_is_padded() -> None:
    pair, text = Encoding(np.array([2, 7, 3, 8, 3], np.int32), 3), Encoding(np.array([2, 9, 3], np.int32), 3)
    input_ids, segments, mask = collate([pair, text], pad_id=0, limit=None)
    assert input_ids.tolist() == [[2, 7, 3, 8, 3], [2, 9, 3, 0, 0]]
    assert segments.tolist() == [[0, 0, 0, 1, 1], [0, 0, 0, 0, 0]]
    assert mask is not None and mask.tolist() == [[True] * 5, [True] * 3 + [False] * 2]
    assert collate([text, text], pad_id=0, limit=None)[2] is None
    assert input_ids.dtype == segments.dtype == torch.int64


def test_few_lengths_are_met_and_none_above_the_limit() -> None:
    lengths = range(1, 513)
    rounded = [padded_length(length, None) for length in lengths]
    assert sorted(set(rounded))[14:36] == [
        15, 16, 18, 20, 22, 24, 26, 28, 30, 32, 36, 40, 44, 48, 52, 56, 60, 64, 72, 80, 88, 96,
    ]  # fmt: skip
    assert all(length <= found <= length * 9 / 8 for length, found in zip(lengths, rounded, strict=True))
    assert padded_length(97, 100) == padded_length(100, 100) == 100


@pytest.mark.parametrize(("max_length", "width"), [(32, 18), (17, 17)])
def test_a_batch_and_its_known_states_are_as_wide_as_each_other_and_no_wider_than_allowed(
    tokenizer: Tokenizer, max_length: int, width: int
) -> None:
    task = TokenClassification(TagDataOptions(max_length=max_length).fitted(32), tokenizer, ("O", "B-X"))
    features = [
        Feature(example, (Encoding(np.full(length, 5, np.int32), length),), hidden=torch.ones(1, length, 2))
        for example, length in enumerate([16, 17])
    ]
    batch = make_batch(features, task, labelled=False)
    assert batch.input_ids.shape == (2, width)
    assert batch.hidden is not None and batch.hidden.shape == (2, width, 2)
    assert batch.hidden.sum(dim=(1, 2)).tolist() == [32, 34]
