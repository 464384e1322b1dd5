"""Examples and batches: their layout, and that nobody who asks makes a difference."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest
import torch

from minibert.tokenizer import Tokenizer
from pretrain.batches import MASKED_MULTIPLE, BatchMaker, Example, Prefetcher, PretrainBatch, collate
from pretrain.instances import PAIR, PairObjective, PairOptions, PairPlan
from pretrain.masking import Masker
from pretrain.shards import TokenArrays
from tests.helpers import arrays_of

# Two documents: sentences of 2, 3, 1 and of 2, 2 tokens.
ARRAYS = arrays_of([[[10, 11], [12, 13, 14], [15]], [[20, 21], [22, 23]]])
RNG = np.random.default_rng(0)
LARGER = arrays_of([[RNG.integers(5, 80, size=RNG.integers(2, 9)).tolist() for _ in range(9)] for _ in range(30)])


def pair(a: int, a_length: int, b: int = 0, b_length: int = 0, not_next: bool = False) -> np.void:
    return np.array([(a, a_length, b, b_length, not_next)], PAIR)[0]


def maker(
    tokenizer: Tokenizer, arrays: TokenArrays, options: PairOptions, *, seed: int = 1, **kwargs: Any
) -> BatchMaker:
    masker = Masker.of(tokenizer, rate=kwargs.pop("rate", 0.15), whole_words=False)
    return BatchMaker(arrays, tokenizer, options, masker, seed=seed, **kwargs)


def example(ids: list[int], segments: list[int], chosen: list[int], not_next: bool = False) -> Example:
    seen = np.array(ids)
    seen[chosen] = 4
    return Example(np.array(ids), seen, np.array(segments), np.array(chosen, np.intp), not_next)


def figures(examples: list[Example]) -> list[tuple[Any, ...]]:
    return [(e.ids.tolist(), e.seen.tolist(), e.segments.tolist(), e.chosen.tolist(), e.not_next) for e in examples]


def rows(batch: PretrainBatch) -> list[tuple[Any, ...]]:
    """Each sequence of a batch without its padding: ids, segments, (position, label) of what is asked for, class."""
    size = batch.input_ids.size(1)
    mask = torch.ones_like(batch.input_ids, dtype=torch.bool) if batch.attention_mask is None else batch.attention_mask
    asked: dict[int, list[tuple[int, int]]] = {}
    asked_for = batch.masked_positions[: len(batch.masked_labels)]
    for position, label in zip(asked_for.tolist(), batch.masked_labels.tolist(), strict=True):
        asked.setdefault(position // size, []).append((position % size, label))
    return [
        (
            tuple(batch.input_ids[row][mask[row]].tolist()),
            tuple(batch.token_type_ids[row][mask[row]].tolist()),
            tuple(asked.get(row, [])),
            int(batch.next_sentence_labels[row]),
        )
        for row in range(len(batch.input_ids))
    ]


# --- One example -----------------------------------------------------------------------------------------------------


def test_a_pair_is_cls_a_sep_b_sep(tokenizer: Tokenizer) -> None:
    made = maker(tokenizer, ARRAYS, PairOptions(16)).example(pair(1, 4, 6, 3, True), 0)
    assert (tokenizer.cls_id, tokenizer.sep_id) == (2, 3)
    assert made.ids.tolist() == [2, 11, 12, 13, 14, 3, 20, 21, 22, 3]
    assert made.segments.tolist() == [0, 0, 0, 0, 0, 0, 1, 1, 1, 1]
    assert made.not_next is True


def test_a_single_segment_is_cls_a_sep(tokenizer: Tokenizer) -> None:
    made = maker(tokenizer, ARRAYS, PairOptions(16, objective="none")).example(pair(1, 4), 0)
    assert made.ids.tolist() == [2, 11, 12, 13, 14, 3]
    assert made.segments.tolist() == [0, 0, 0, 0, 0, 0]
    assert made.not_next is False


def test_all_of_the_text_and_nothing_else_may_be_chosen(tokenizer: Tokenizer) -> None:
    pairs = maker(tokenizer, ARRAYS, PairOptions(16), rate=1.0).example(pair(1, 4, 6, 3), 0)
    assert pairs.chosen.tolist() == [1, 2, 3, 4, 6, 7, 8]
    single = maker(tokenizer, ARRAYS, PairOptions(16, objective="none"), rate=1.0).example(pair(1, 4), 0)
    assert single.chosen.tolist() == [1, 2, 3, 4]


def test_ids_are_the_text_and_seen_is_masked(tokenizer: Tokenizer) -> None:
    made = maker(tokenizer, ARRAYS, PairOptions(16), rate=1.0).example(pair(0, 6, 6, 4), 3)
    assert made.ids.tolist() == [2, 10, 11, 12, 13, 14, 15, 3, 20, 21, 22, 23, 3]
    assert int((made.seen == tokenizer.mask_id).sum()) >= 5
    assert made.seen[[0, 7, 12]].tolist() == [2, 3, 3]


def test_tokens_that_are_not_scored_are_hidden_but_not_asked_for(tokenizer: Tokenizer) -> None:
    scored = np.ones(10, bool)
    scored[[2, 3, 4, 7]] = False  # the second sentence, and a token of B
    options = PairOptions(16)
    made = maker(tokenizer, ARRAYS, options, rate=1.0, scored=scored).example(pair(1, 4, 6, 3), 0)
    everything = maker(tokenizer, ARRAYS, options, rate=1.0).example(pair(1, 4, 6, 3), 0)
    assert made.chosen.tolist() == [1, 6, 8]
    assert made.seen.tolist() == everything.seen.tolist()


def test_an_example_is_the_same_whoever_asks_in_whatever_order(tokenizer: Tokenizer) -> None:
    pairs = PairPlan(LARGER, PairOptions(24), seed=1).pairs(0, 20)
    one = maker(tokenizer, LARGER, PairOptions(24))
    two = maker(tokenizer, LARGER, PairOptions(24))
    forward = [one.example(pairs[number], number) for number in range(20)]
    backward = [two.example(pairs[number], number) for number in reversed(range(20))]
    assert figures(forward) == figures(backward[::-1])


def test_the_number_and_the_seed_decide_the_masks(tokenizer: Tokenizer) -> None:
    this = pair(0, 6, 6, 4)
    options = PairOptions(16)
    chosen = [tuple(maker(tokenizer, ARRAYS, options, rate=0.4).example(this, n).chosen.tolist()) for n in range(10)]
    assert len(set(chosen)) > 5
    seeds = [
        tuple(maker(tokenizer, ARRAYS, options, seed=s, rate=0.4).example(this, 0).chosen.tolist()) for s in range(10)
    ]
    assert len(set(seeds)) > 5


# --- Side by side ----------------------------------------------------------------------------------------------------


def test_examples_are_padded_to_the_longest() -> None:
    batch = collate(
        [example([2, 10, 11, 3, 20, 3], [0, 0, 0, 0, 1, 1], [2, 4], True), example([2, 12, 3], [0, 0, 0], [1])],
        pad_id=9,
    )
    assert batch.input_ids.tolist() == [[2, 10, 4, 3, 4, 3], [2, 4, 3, 9, 9, 9]]
    assert batch.token_type_ids.tolist() == [[0, 0, 0, 0, 1, 1], [0, 0, 0, 0, 0, 0]]
    assert batch.attention_mask is not None
    assert batch.attention_mask.dtype == torch.bool
    assert batch.attention_mask.int().tolist() == [[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0]]
    assert batch.masked_positions.tolist() == [2, 4, 7] + [0] * (MASKED_MULTIPLE - 3)
    assert batch.masked_labels.tolist() == [11, 20, 12]
    assert batch.next_sentence_labels.tolist() == [1, 0]
    assert (batch.tokens, batch.positions) == (9, 12)


def test_without_padding_there_is_no_mask() -> None:
    same = [example([2, 10, 3], [0, 0, 0], [1]), example([2, 11, 3], [0, 0, 0], [1])]
    assert collate(same, pad_id=0).attention_mask is None


def test_batches_are_of_integers() -> None:
    batch = collate([example([2, 10, 3], [0, 0, 0], [1])], pad_id=0)
    tensors = {name: value.dtype for name, value in vars(batch).items() if isinstance(value, torch.Tensor)}
    assert set(tensors.values()) == {torch.int64}
    assert len(tensors) == 5


def test_a_batch_may_ask_for_nothing() -> None:
    batch = collate([example([2, 10, 3], [0, 0, 0], [])], pad_id=0)
    assert (batch.masked_positions.tolist(), batch.masked_positions.dtype) == ([], torch.int64)


def test_a_batch_on_the_cpu_is_not_copied() -> None:
    batch = collate([example([2, 10, 3], [0, 0, 0], [1])], pad_id=0)
    assert batch.to(torch.device("cpu")) is batch


# --- Shares of a batch -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("objective", get_args(PairObjective))
@pytest.mark.parametrize(("processes", "parts"), [(1, 1), (1, 4), (2, 1), (2, 3), (3, 1), (3, 5)])
def test_all_processes_and_micro_batches_together_are_the_one_batch(
    processes: int, parts: int, objective: PairObjective, tokenizer: Tokenizer
) -> None:
    options = PairOptions(24, objective)

    def batches(parts: int, share: slice) -> list[PretrainBatch]:
        plan = PairPlan(LARGER, options, seed=1)  # each process has its own
        return maker(tokenizer, LARGER, options).micro_batches(plan, start=32, stop=63, parts=parts, share=share)

    (whole,) = batches(1, slice(None))
    shares = [batches(parts, slice(rank, None, processes)) for rank in range(processes)]
    assert [len(share) for share in shares] == [parts] * processes
    assert Counter(row for share in shares for batch in share for row in rows(batch)) == Counter(rows(whole))
    assert len(whole.input_ids) == 31
    assert sum(batch.tokens for share in shares for batch in share) == whole.tokens


def test_a_batch_is_that_of_its_pairs(tokenizer: Tokenizer) -> None:
    options = PairOptions(24)
    make = maker(tokenizer, LARGER, options)
    plan = PairPlan(LARGER, options, seed=1)
    (batch,) = make.micro_batches(plan, start=40, stop=48, parts=1)
    examples = [make.example(pair, 40 + i) for i, pair in enumerate(plan.pairs(40, 48))]
    assert Counter(rows(batch)) == Counter(rows(collate(examples, pad_id=tokenizer.pad_id)))


def test_micro_batches_have_sequences_of_like_length(tokenizer: Tokenizer) -> None:
    options = PairOptions(24)
    plan = PairPlan(LARGER, options, seed=1)
    parts = maker(tokenizer, LARGER, options).micro_batches(plan, start=0, stop=64, parts=4)
    lengths = [sorted(len(row[0]) for row in rows(part)) for part in parts]
    assert [len(part) for part in lengths] == [16] * 4
    in_order = [length for part in lengths for length in part]
    assert in_order == sorted(in_order)
    assert lengths[0][0] < lengths[-1][-1]


def test_the_text_of_a_batch_is_in_the_arrays(tokenizer: Tokenizer) -> None:
    options = PairOptions(24)
    make = maker(tokenizer, LARGER, options)
    text = LARGER.tokens.tolist()
    for number, planned in enumerate(PairPlan(LARGER, options, seed=1).pairs(0, 40)):
        ids = make.example(planned, number).ids.tolist()
        end = ids.index(3)
        a, b = ids[1:end], ids[end + 1 : -1]
        assert text[planned["a_start"] : planned["a_start"] + len(a)] == a
        assert text[planned["b_start"] : planned["b_start"] + len(b)] == b


# --- Prefetching -----------------------------------------------------------------------------------------------------

EMPTY = collate([example([2, 10, 3], [0, 0, 0], [1])], pad_id=0)


def test_the_prefetcher_hands_out_what_was_asked_for_and_makes_the_next() -> None:
    made: list[int] = []

    def make(start: int) -> list[PretrainBatch]:
        made.append(start)
        return [replace(EMPTY, tokens=start)]

    prefetcher = Prefetcher(make)
    tokens = [prefetcher.get(start, then=then)[0].tokens for start, then in ((0, 8), (8, 16), (100, 108), (108, 116))]
    prefetcher.close()
    assert tokens == [0, 8, 100, 108]
    assert made[:5] == [0, 8, 16, 100, 108]


def test_an_error_of_the_prefetching_thread_is_raised_where_the_batch_is_asked_for() -> None:
    def make(start: int) -> list[PretrainBatch]:
        if start == 8:
            raise ValueError("a bad batch")
        return [EMPTY]

    prefetcher = Prefetcher(make)
    assert prefetcher.get(0, then=8) == [EMPTY]
    with pytest.raises(ValueError, match="a bad batch"):
        prefetcher.get(8, then=16)
    prefetcher.close()
