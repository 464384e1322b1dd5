"""Examples and batches: their layout, and that nobody who asks makes a difference."""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple, get_args

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from minibert.fast.cross_entropy import IGNORED
from minibert.tokenizer import Tokenizer
from pretrain.arrays.shards import TokenArrays
from pretrain.batches.batch import MASKED_MULTIPLE, BatchMaker, Examples, Prefetcher, PretrainBatch
from pretrain.batches.masking import Masker
from pretrain.batches.pairs import PAIR, PairObjective, PairOptions, PairPlan
from tests.helpers import arrays_of

# Two documents: sentences of 2, 3, 1 and of 2, 2 tokens.
ARRAYS = arrays_of([[[10, 11], [12, 13, 14], [15]], [[20, 21], [22, 23]]])
RNG = np.random.default_rng(0)
LARGER = arrays_of([[RNG.integers(5, 80, size=RNG.integers(2, 9)).tolist() for _ in range(9)] for _ in range(30)])


def pair(a: int, a_length: int, b: int = 0, b_length: int = 0, not_next: bool = False) -> NDArray[np.void]:
    return np.array([(a, a_length, b, b_length, not_next)], PAIR)


def maker(
    tokenizer: Tokenizer, arrays: TokenArrays, options: PairOptions, *, seed: int = 1, **kwargs: Any
) -> BatchMaker:
    masker = Masker.of(tokenizer, rate=kwargs.pop("rate", 0.15), whole_words=False)
    return BatchMaker(arrays, tokenizer, options, masker, seed=seed, **kwargs)


class Made(NamedTuple):
    """One example without its padding."""

    ids: list[int]
    seen: list[int]
    segments: list[int]
    chosen: list[int]
    not_next: bool


def figures(examples: Examples) -> list[Made]:
    """Each of some examples."""
    columns = examples.ids, examples.seen, examples.segments
    return [
        Made(*(column[row, :length].tolist() for column in columns), np.flatnonzero(examples.asked[row]).tolist(),
             bool(examples.not_next[row]))
        for row, length in enumerate(examples.lengths.tolist())
    ]  # fmt: skip


def example(make: BatchMaker, planned: NDArray[np.void], number: int) -> Made:
    """The example of one pair."""
    return figures(make.examples(planned, np.array([number])))[0]


def side_by_side(*made: tuple[list[int], list[int], list[int], bool]) -> Examples:
    """Examples of these ids, segments and chosen positions; what is chosen is masked."""
    lengths = np.array([len(ids) for ids, *_ in made])
    ids, segments = (np.array([one[k] + [(9, 0)[k]] * (lengths.max() - len(one[0])) for one in made]) for k in (0, 1))
    asked = np.array([np.isin(np.arange(lengths.max()), chosen) for _, _, chosen, _ in made])
    return Examples(
        ids, np.where(asked, 4, ids), segments, asked, lengths, np.array([not_next for *_, not_next in made])
    )


ONE = side_by_side(([2, 10, 3], [0, 0, 0], [1], False))


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
    made = example(maker(tokenizer, ARRAYS, PairOptions(16)), pair(1, 4, 6, 3, True), 0)
    assert (tokenizer.cls_id, tokenizer.sep_id) == (2, 3)
    assert made.ids == [2, 11, 12, 13, 14, 3, 20, 21, 22, 3]
    assert made.segments == [0, 0, 0, 0, 0, 0, 1, 1, 1, 1]
    assert made.not_next is True


def test_a_single_segment_is_cls_a_sep(tokenizer: Tokenizer) -> None:
    made = example(maker(tokenizer, ARRAYS, PairOptions(16, objective="none")), pair(1, 4), 0)
    assert made.ids == [2, 11, 12, 13, 14, 3]
    assert made.segments == [0, 0, 0, 0, 0, 0]
    assert made.not_next is False


@pytest.mark.parametrize("objective", ["nsp", "none"])
def test_examples_are_laid_out_as_the_tokenizer_does_one(tokenizer: Tokenizer, objective: PairObjective) -> None:
    options = PairOptions(24, objective)
    planned = PairPlan(LARGER, options, seed=1).pairs(0, 40)
    made = figures(maker(tokenizer, LARGER, options).examples(planned, np.arange(40)))
    for one, pair in zip(made, planned, strict=True):
        a, b = (LARGER.tokens[pair[f"{s}_start"] : pair[f"{s}_start"] + pair[f"{s}_length"]] for s in "ab")
        encoding = tokenizer.lay_out(a, b if options.paired else None)
        assert one.ids == encoding.ids.tolist()
        assert one.segments == [int(place >= encoding.second) for place in range(len(one.ids))]


def test_all_of_the_text_and_nothing_else_may_be_chosen(tokenizer: Tokenizer) -> None:
    pairs = example(maker(tokenizer, ARRAYS, PairOptions(16), rate=1.0), pair(1, 4, 6, 3), 0)
    assert pairs.chosen == [1, 2, 3, 4, 6, 7, 8]
    single = example(maker(tokenizer, ARRAYS, PairOptions(16, objective="none"), rate=1.0), pair(1, 4), 0)
    assert single.chosen == [1, 2, 3, 4]


def test_ids_are_the_text_and_seen_is_masked(tokenizer: Tokenizer) -> None:
    made = example(maker(tokenizer, ARRAYS, PairOptions(16), rate=1.0), pair(0, 6, 6, 4), 3)
    assert made.ids == [2, 10, 11, 12, 13, 14, 15, 3, 20, 21, 22, 23, 3]
    assert made.seen.count(tokenizer.mask_id) >= 5
    assert [made.seen[at] for at in (0, 7, 12)] == [2, 3, 3]


def test_tokens_that_are_not_scored_are_hidden_but_not_asked_for(tokenizer: Tokenizer) -> None:
    scored = np.ones(10, bool)
    scored[[2, 3, 4, 7]] = False  # the second sentence, and a token of B
    options = PairOptions(16)
    made = example(maker(tokenizer, ARRAYS, options, rate=1.0, scored=scored), pair(1, 4, 6, 3), 0)
    everything = example(maker(tokenizer, ARRAYS, options, rate=1.0), pair(1, 4, 6, 3), 0)
    assert made.chosen == [1, 6, 8]
    assert made.seen == everything.seen


def test_an_example_is_the_same_whoever_asks_in_whatever_order(tokenizer: Tokenizer) -> None:
    pairs = PairPlan(LARGER, PairOptions(24), seed=1).pairs(0, 20)
    one = maker(tokenizer, LARGER, PairOptions(24))
    two = maker(tokenizer, LARGER, PairOptions(24))
    together = figures(one.examples(pairs, np.arange(20)))
    backward = [example(two, pairs[number : number + 1], number) for number in reversed(range(20))]
    assert together == backward[::-1]


def test_the_number_and_the_seed_decide_the_masks(tokenizer: Tokenizer) -> None:
    this = pair(0, 6, 6, 4)
    options = PairOptions(16)
    chosen = [tuple(example(maker(tokenizer, ARRAYS, options, rate=0.4), this, n).chosen) for n in range(10)]
    assert len(set(chosen)) > 5
    seeds = [tuple(example(maker(tokenizer, ARRAYS, options, seed=s, rate=0.4), this, 0).chosen) for s in range(10)]
    assert len(set(seeds)) > 5


# --- Side by side ----------------------------------------------------------------------------------------------------


def test_examples_are_padded_to_the_longest(tokenizer: Tokenizer) -> None:
    planned = np.concatenate([pair(1, 4, 6, 3), pair(0, 2, 8, 1)])
    made = maker(tokenizer, ARRAYS, PairOptions(16)).examples(planned, np.arange(2))
    assert made.ids.tolist() == [[2, 11, 12, 13, 14, 3, 20, 21, 22, 3], [2, 10, 11, 3, 22, 3, *[tokenizer.pad_id] * 4]]
    assert made.segments.tolist() == [[0, 0, 0, 0, 0, 0, 1, 1, 1, 1], [0, 0, 0, 0, 1, 1, 0, 0, 0, 0]]
    assert made.seen[1, 6:].tolist() == [tokenizer.pad_id] * 4
    assert made.lengths.tolist() == [10, 6]


@pytest.mark.parametrize(("seq_len", "wanted"), [(32, 12), (24, 12), (11, 10)])
def test_for_a_gpu_lengths_are_multiples_of_an_eighth_of_the_longest(
    tokenizer: Tokenizer, seq_len: int, wanted: int
) -> None:
    make = maker(tokenizer, ARRAYS, PairOptions(seq_len), few_shapes=True)
    assert make.examples(pair(1, 4, 6, 3), np.array([0])).ids.shape == (1, wanted)


def test_for_a_gpu_masked_positions_are_a_multiple_of_a_64th_of_all() -> None:
    long = side_by_side(([2, *[10] * 8190, 3], [0] * 8192, [1], False))
    assert len(long.batch().masked_positions) == 64
    assert len(long.batch(few_shapes=True).masked_positions) == 128
    assert len(ONE.batch(few_shapes=True).masked_positions) == 64


def test_for_a_gpu_labels_are_filled_up_too() -> None:
    """A batch is then of few shapes altogether, and still tells how many tokens it asks for."""
    examples = side_by_side(([2, 10, 11, 3], [0] * 4, [1, 2], False))
    assert examples.batch(few_shapes=True).masked_labels.tolist() == [10, 11] + [IGNORED] * (MASKED_MULTIPLE - 2)
    assert examples.batch(few_shapes=True).masked == 2


def test_a_batch_is_its_examples_as_tensors() -> None:
    batch = side_by_side(
        ([2, 10, 11, 3, 20, 3], [0, 0, 0, 0, 1, 1], [2, 4], True), ([2, 12, 3], [0, 0, 0], [1], False)
    ).batch()
    assert batch.input_ids.tolist() == [[2, 10, 4, 3, 4, 3], [2, 4, 3, 9, 9, 9]]
    assert batch.token_type_ids.tolist() == [[0, 0, 0, 0, 1, 1], [0, 0, 0, 0, 0, 0]]
    assert batch.attention_mask is not None
    assert batch.attention_mask.dtype == torch.bool
    assert batch.attention_mask.int().tolist() == [[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0]]
    assert batch.masked_positions.tolist() == [2, 4, 7] + [0] * (MASKED_MULTIPLE - 3)
    assert batch.masked_labels.tolist() == [11, 20, 12]
    assert batch.next_sentence_labels.tolist() == [1, 0]
    assert batch.lengths.tolist() == [6, 3]
    assert (batch.masked, batch.tokens, batch.positions) == (3, 9, 12)


def test_without_padding_there_is_no_mask() -> None:
    same = side_by_side(([2, 10, 3], [0, 0, 0], [1], False), ([2, 11, 3], [0, 0, 0], [1], False))
    assert same.batch().attention_mask is None


def test_batches_are_of_integers(tokenizer: Tokenizer) -> None:
    batch = maker(tokenizer, ARRAYS, PairOptions(16)).examples(pair(1, 4, 6, 3), np.array([0])).batch()
    tensors = {name: value.dtype for name, value in batch._asdict().items() if isinstance(value, torch.Tensor)}
    assert set(tensors.values()) == {torch.int64}
    assert len(tensors) == 6


def test_a_batch_may_ask_for_nothing() -> None:
    batch = side_by_side(([2, 10, 3], [0, 0, 0], [], False)).batch()
    assert (batch.masked_positions.tolist(), batch.masked_positions.dtype) == ([], torch.int64)


def test_a_batch_on_the_cpu_is_not_copied() -> None:
    batch = ONE.batch()
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
    examples = make.examples(plan.pairs(40, 48), np.arange(40, 48))
    assert Counter(rows(batch)) == Counter(rows(examples.batch()))


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
    pairs = PairPlan(LARGER, options, seed=1).pairs(0, 40)
    for planned, (ids, *_) in zip(pairs, figures(make.examples(pairs, np.arange(40))), strict=True):
        end = ids.index(3)
        a, b = ids[1:end], ids[end + 1 : -1]
        assert text[planned["a_start"] : planned["a_start"] + len(a)] == a
        assert text[planned["b_start"] : planned["b_start"] + len(b)] == b


# --- Prefetching -----------------------------------------------------------------------------------------------------

EMPTY = ONE.batch()


def test_the_prefetcher_hands_out_what_was_asked_for_and_makes_the_next() -> None:
    made: list[int] = []

    def make(start: int) -> list[PretrainBatch]:
        made.append(start)
        return [EMPTY._replace(lengths=torch.tensor([start]))]

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
