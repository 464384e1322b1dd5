"""Sentence pairs: the procedure by hand, its shares counted, and access to any stretch of an epoch."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from pretrain.arrays.shards import TokenArrays
from pretrain.batches import pairs as pairing
from pretrain.batches.pairs import NextCoin, PairObjective, PairOptions, PairPlan, plan_block
from tests.helpers import numbered

# No document longer than the room of 125 tokens; mostly several chunks in one of 61.
RAGGED = [[random.Random(d * 100 + s).randint(1, 30) for s in range(1 + d % 12)] for d in range(300)]
Pairs = NDArray[np.void]


class Scripted(random.Random):
    """Answers what it was told to, in order, whatever is asked; shuffles nothing."""

    def __init__(self, *answers: float) -> None:
        super().__init__(0)
        self.answers = list(answers)

    def random(self) -> float:
        return self.answers.pop(0)

    def randrange(self, *limits: Any) -> int:
        answer = int(self.answers.pop(0))
        assert answer in range(*limits)
        return answer

    def randint(self, a: int, b: int) -> int:
        return self.randrange(a, b + 1)

    def getrandbits(self, k: int) -> int:
        return self.randrange(2**k) if k else 0

    def shuffle(self, x: Any) -> None:
        pass


def planned(arrays: TokenArrays, options: PairOptions, rng: random.Random, *documents: int) -> list[tuple[Any, ...]]:
    return plan_block(arrays, np.array(documents), options, rng).tolist()


def one_epoch(arrays: TokenArrays, options: PairOptions, *, seed: int = 1, epoch: int = 0) -> Pairs:
    return np.concatenate(list(PairPlan(arrays, options, seed=seed).epoch(epoch)))


def document_of(arrays: TokenArrays, positions: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.searchsorted(arrays.sentence_starts[arrays.document_starts], positions, side="right") - 1


def read(arrays: TokenArrays, pairs: Pairs, objective: PairObjective = "nsp") -> list[int]:
    """The tokens that A, or a B of the same chunk, shows: those that an epoch uses up."""
    shown = [range(pair["a_start"], pair["a_start"] + pair["a_length"]) for pair in pairs]
    own = pairs if objective == "sop" else pairs[~pairs["not_next"]]
    shown += [range(pair["b_start"], pair["b_start"] + pair["b_length"]) for pair in own]
    return sorted(token for piece in shown for token in piece)


def as_tuples(pairs: Pairs) -> list[tuple[Any, ...]]:
    return pairs.tolist()


# --- By hand ---------------------------------------------------------------------------------------------------------

NOT_SHORT, SHORT = 0.5, 0.05
NEXT, RANDOM = 0.2, 0.8


def test_a_next_pair_is_a_chunk_split_at_a_sentence() -> None:
    arrays = numbered([[4, 5, 6], [3, 3]])
    rng = Scripted(NOT_SHORT, 2, NEXT)  # of the chunk's three sentences two are A
    assert planned(arrays, PairOptions(18), rng, 0) == [(0, 9, 9, 6, False)]
    assert rng.answers == []


def test_the_unused_rest_of_a_random_pair_begins_the_next_chunk() -> None:
    arrays = numbered([[4, 5, 6], [3, 3]])
    # A is sentence 0; B from the only other document, from its second sentence (4 of all) to its end, though 11 tokens
    # would fit; then sentences 1 and 2 make the next chunk.
    rng = Scripted(NOT_SHORT, 1, RANDOM, 0, 4, NOT_SHORT, 2, NEXT)
    assert planned(arrays, PairOptions(18), rng, 0) == [(0, 4, 18, 3, True), (4, 5, 9, 6, False)]
    assert rng.answers == []


def test_a_chunk_ends_with_the_sentence_that_fills_the_target() -> None:
    arrays = numbered([[4, 5, 6, 2, 2], [3, 3]])
    rng = Scripted(NOT_SHORT, 1, NEXT, NOT_SHORT, 4, NEXT)  # the room is 15 tokens: 4 + 5 + 6, then 2 + 2
    assert planned(arrays, PairOptions(18), rng, 0) == [(0, 4, 4, 11, False), (15, 2, 17, 2, False)]


def test_a_random_segment_is_whole_sentences_that_fill_what_a_leaves() -> None:
    arrays = numbered([[4, 9], [2, 2, 2, 2, 2, 2, 2, 2]])
    # First from sentence 3 on, three sentences: the room is 10, less the 4 of A. Then the single sentence that is left
    # can't be next; beside its 9 tokens one would fit, a sentence has 2, and the longer side loses one, at its front.
    rng = Scripted(NOT_SHORT, 1, RANDOM, 0, 3, NOT_SHORT, 0, 2, 0b1)
    assert planned(arrays, PairOptions(13), rng, 0) == [(0, 4, 15, 6, True), (5, 8, 13, 2, True)]
    assert rng.answers == []


def test_a_random_segment_has_a_sentence_even_where_a_fills_the_room() -> None:
    arrays = numbered([[10], [3, 3]])
    rng = Scripted(NOT_SHORT, 0, 1, 0b101)  # the three tokens that are too many come off A: two at its front
    assert planned(arrays, PairOptions(13), rng, 0) == [(2, 7, 10, 3, True)]


def test_a_short_target_takes_fewer_sentences() -> None:
    arrays = numbered([[2, 2, 2, 2], [3]])
    rng = Scripted(SHORT, 3, 1, NEXT, NOT_SHORT, 3, NEXT)
    assert planned(arrays, PairOptions(18), rng, 0) == [(0, 2, 2, 2, False), (4, 2, 6, 2, False)]


def test_without_nsp_chunks_are_read_through() -> None:
    arrays = numbered([[4, 5, 6, 2], [3, 3]])
    rng = Scripted(NOT_SHORT, 0b000, NOT_SHORT)  # 4 + 5 + 6 tokens into a room of 12; then the last two
    pairs = planned(arrays, PairOptions(14, objective="none"), rng, 0)
    assert pairs == [(0, 12, 0, 0, False), (15, 2, 0, 0, False)]


def test_the_room_leaves_place_for_special_tokens() -> None:
    assert [PairOptions(128, objective).room for objective in ("nsp", "sop", "none")] == [125, 125, 126]


def test_sentence_order_by_hand() -> None:
    arrays = numbered([[4, 5, 6], [3, 3]])
    # No short target; split before sentence 2; in order, or swapped.
    assert planned(arrays, PairOptions(18, "sop"), Scripted(0.5, 2, 0.5), 0) == [(0, 9, 9, 6, False)]
    assert planned(arrays, PairOptions(18, "sop"), Scripted(0.5, 2, 0.4), 0) == [(9, 6, 0, 9, True)]


def test_a_single_sentence_is_ordered_by_its_own_parts() -> None:
    options = PairOptions(18, "sop")
    assert planned(numbered([[7], [2, 2]]), options, Scripted(0.5, 3, 0.4), 0) == [(3, 4, 0, 3, True)]
    assert planned(numbered([[1], [2, 2]]), options, Scripted(0.5, 0, 0.5), 0) == [(0, 0, 0, 1, False)]


def test_half_of_the_orders_are_swapped_and_all_pairs_of_one_document() -> None:
    arrays = numbered(RAGGED)
    pairs = PairPlan(arrays, PairOptions(64, "sop"), seed=3).pairs(0, 20_000)
    assert float(pairs["not_next"].mean()) == pytest.approx(0.5, abs=0.01)
    assert (document_of(arrays, pairs["a_start"]) == document_of(arrays, pairs["b_start"]))[pairs["b_length"] > 0].all()
    first = np.where(pairs["not_next"], pairs["b_start"], pairs["a_start"])
    length = np.where(pairs["not_next"], pairs["b_length"], pairs["a_length"])
    second = np.where(pairs["not_next"], pairs["a_start"], pairs["b_start"])
    assert (first + length <= second).all()  # what is cut off lies between


def test_a_corpus_of_one_document_has_orders() -> None:
    assert len(PairPlan(numbered([[5, 5, 5]]), PairOptions(18, "sop"), seed=1).pairs(0, 10)) == 10


def test_the_coin_pays_for_single_sentences() -> None:
    coin = NextCoin(Scripted(RANDOM, NEXT, RANDOM, RANDOM))
    assert [coin.keeps_its_own(sentences) for sentences in (1, 2, 1, 2, 2, 2)] == [
        False,  # no second half: owes a half
        False,  # a debt under 1 is not paid
        False,  # owes 1
        True,  # by the coin: nothing is paid
        True,  # against the coin: paid
        False,
    ]


# --- Counted ---------------------------------------------------------------------------------------------------------


def share_of_next(documents: Sequence[Sequence[int]], seq_len: int) -> float:
    """Over 20,000 pairs."""
    pairs = PairPlan(numbered(documents), PairOptions(seq_len), seed=3).pairs(0, 20_000)
    return float((~pairs["not_next"]).mean())


def test_half_of_the_pairs_follow_each_other() -> None:
    documents = [[random.Random(d * 1000 + s).randint(3, 30) for s in range(60)] for d in range(500)]
    assert share_of_next(documents, 64) == pytest.approx(0.5, abs=0.01)


def test_half_of_the_pairs_follow_each_other_where_a_third_of_the_documents_is_one_sentence() -> None:
    documents = [[40] if d % 3 == 0 else [10, 10, 10, 10, 10, 10] for d in range(3000)]
    arrays = numbered(documents)
    pairs = PairPlan(arrays, PairOptions(64), seed=3).pairs(0, 20_000)
    single = np.isin(document_of(arrays, pairs["a_start"]), np.arange(0, 3000, 3))
    assert float(single.mean()) > 0.2
    assert bool(pairs["not_next"][single].all())
    assert float((~pairs["not_next"]).mean()) == pytest.approx(0.5, abs=0.01)


def test_half_of_the_pairs_follow_each_other_where_a_third_of_the_chunks_is_one_sentence() -> None:
    rng = random.Random(5)
    # A sentence of 61 tokens fills the room alone; between them stand two short ones, which end with the next long one.
    documents = [[rng.choice([61, 30, 15]) for _ in range(40)] for _ in range(600)]
    arrays = numbered(documents)
    singles = 0
    keeps = NextCoin.keeps_its_own

    def counting(coin: NextCoin, sentences: int) -> bool:
        nonlocal singles
        singles += sentences == 1
        return keeps(coin, sentences)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(NextCoin, "keeps_its_own", counting)
        pairs = np.concatenate(list(PairPlan(arrays, PairOptions(64), seed=3).epoch(0)))
    assert singles / len(pairs) == pytest.approx(0.4, abs=0.1)
    assert float((~pairs["not_next"]).mean()) == pytest.approx(0.5, abs=0.01)


def test_a_random_segment_is_never_from_the_same_document_and_a_next_one_always() -> None:
    arrays = numbered(RAGGED)
    pairs = PairPlan(arrays, PairOptions(64), seed=3).pairs(0, 20_000)
    same = document_of(arrays, pairs["a_start"]) == document_of(arrays, pairs["b_start"])
    assert int((same & pairs["not_next"]).sum()) == 0
    assert int((~same & ~pairs["not_next"]).sum()) == 0


def test_every_other_document_is_as_likely_to_give_a_random_segment() -> None:
    arrays = numbered([[5, 5]] * 5)
    rng = random.Random(1)
    pairs = np.concatenate([plan_block(arrays, np.array([2]), PairOptions(40), rng) for _ in range(8_000)])
    given = document_of(arrays, pairs["b_start"][pairs["not_next"]])
    shares = np.bincount(given, minlength=5) / len(given)
    np.testing.assert_allclose(shares, [0.25, 0.25, 0, 0.25, 0.25], atol=0.015)


def test_a_random_segment_begins_at_any_sentence() -> None:
    arrays = numbered([[5], [5, 5, 5, 5]])
    rng = random.Random(1)
    pairs = np.concatenate([plan_block(arrays, np.array([0]), PairOptions(64), rng) for _ in range(4_000)])
    shares = np.bincount((pairs["b_start"] - 5) // 5, minlength=4) / len(pairs)
    np.testing.assert_allclose(shares, [0.25] * 4, atol=0.03)


@pytest.mark.parametrize("objective", get_args(PairObjective))
def test_a_tenth_of_the_targets_is_short_of_any_length(objective: PairObjective) -> None:
    arrays = numbered([[1] * 50_000] * 15)  # sentences of one token fill every target to the token
    options = PairOptions(64, objective)
    pairs = PairPlan(arrays, options, seed=3).pairs(0, 10_000)
    lengths = pairs["a_length"] + pairs["b_length"]
    short = lengths[lengths < options.room]
    assert len(short) / len(pairs) == pytest.approx(0.1 * (options.room - 2) / (options.room - 1), abs=0.01)
    assert (int(short.min()), int(short.max())) == (2, options.room - 1)
    assert float(short.mean()) == pytest.approx((2 + options.room - 1) / 2, rel=0.05)


def test_none_is_short_where_none_shall_be() -> None:
    pairs = one_epoch(numbered([[1] * 610] * 20), PairOptions(64, objective="none", short_share=0.0))
    assert set(pairs["a_length"].tolist()) == {62, 610 % 62}


# --- Nothing lost, nothing used twice --------------------------------------------------------------------------------


@pytest.mark.parametrize("epoch", [0, 1])
@pytest.mark.parametrize("objective", get_args(PairObjective))
def test_an_epoch_reads_every_token_once_where_nothing_is_cut(objective: PairObjective, epoch: int) -> None:
    arrays = numbered([[1] * (1 + d * 7 % 200) for d in range(120)])
    pairs = one_epoch(arrays, PairOptions(32, objective), epoch=epoch)
    assert read(arrays, pairs, objective) == list(range(len(arrays.tokens)))


def test_an_epoch_reads_every_sentence_once_in_sequences_longer_than_any_document() -> None:
    arrays = numbered(RAGGED)
    pairs = one_epoch(arrays, PairOptions(10_000, short_share=0.0))
    assert read(arrays, pairs) == list(range(len(arrays.tokens)))


@pytest.mark.parametrize("objective", get_args(PairObjective))
def test_what_an_epoch_does_not_read_is_what_was_cut(objective: PairObjective, monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = numbered(RAGGED)
    uncut: list[tuple[int, int, int, int]] = []
    truncate = pairing._truncate

    def recording(a: int, a_length: int, b: int, b_length: int, room: int, rng: random.Random) -> tuple[int, ...]:
        uncut.append((a, a_length, b, b_length))
        return truncate(a, a_length, b, b_length, room, rng)

    monkeypatch.setattr(pairing, "_truncate", recording)
    pairs = one_epoch(arrays, PairOptions(64, objective))
    of_one_document = objective == "sop"
    follows = [of_one_document or (objective == "nsp" and b == a + a_length) for a, a_length, b, _ in uncut]
    whole = [range(a, a + a_length) for a, a_length, _, _ in uncut]
    whole += [range(b, b + b_length) for (_, _, b, b_length), kept in zip(uncut, follows, strict=True) if kept]
    assert sorted(token for piece in whole for token in piece) == list(range(len(arrays.tokens)))
    shown = read(arrays, pairs, objective)
    assert len(shown) == len(set(shown))  # nothing twice
    own = sum(a_length + kept * b_length for (_, a_length, _, b_length), kept in zip(uncut, follows, strict=True))
    cut = own - int(
        (pairs["a_length"] + np.where(pairs["not_next"] & (not of_one_document), 0, pairs["b_length"])).sum()
    )
    assert cut > 0
    assert len(shown) == len(arrays.tokens) - cut


def test_an_epoch_of_several_blocks_reads_every_token_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairing, "DOCUMENTS_IN_A_BLOCK", 7)
    arrays = numbered([[1] * (1 + d * 7 % 50) for d in range(45)])
    plan = PairPlan(arrays, PairOptions(16), seed=1)
    blocks = list(plan.epoch(2))
    assert len(blocks) == plan.blocks_in_epoch == 7  # six of 7 documents, one of 3
    assert read(arrays, np.concatenate(blocks)) == list(range(len(arrays.tokens)))


# --- Truncation ------------------------------------------------------------------------------------------------------


def test_truncation_takes_from_the_longer_side() -> None:
    for a in range(13):
        for b in range(13):
            for room in range(2, 14):
                kept_a, kept_b = a, b
                while kept_a + kept_b > room:  # the paper's way: token by token
                    kept_a, kept_b = (kept_a - 1, kept_b) if kept_a > kept_b else (kept_a, kept_b - 1)
                _, found_a, _, found_b = pairing._truncate(0, a, 100, b, room, random.Random(1))
                assert (found_a, found_b) == (kept_a, kept_b), f"{a} and {b} tokens into {room}"


def test_truncation_takes_from_front_and_back_alike() -> None:
    rng = random.Random(2)
    cuts = np.array([pairing._truncate(1000, 80, 2000, 60, 100, rng) for _ in range(4_000)])
    assert set(cuts[:, 1].tolist()) == {50}
    assert set(cuts[:, 3].tolist()) == {50}
    off_a, off_b = cuts[:, 0] - 1000, cuts[:, 2] - 2000
    assert 0 <= int(off_a.min()) <= int(off_a.max()) <= 30
    assert 0 <= int(off_b.min()) <= int(off_b.max()) <= 10
    assert float(off_a.mean()) == pytest.approx(15, abs=0.2)  # of the 30 tokens that go, one by one
    assert float(off_b.mean()) == pytest.approx(5, abs=0.2)
    assert float(off_a.std()) == pytest.approx(7.5**0.5, rel=0.05)


@pytest.mark.parametrize("seq_len", [5, 16, 64, 512])
def test_no_pair_is_over_the_room_or_empty(seq_len: int) -> None:
    pairs = one_epoch(numbered(RAGGED), PairOptions(seq_len))
    assert int((pairs["a_length"] + pairs["b_length"]).max()) <= seq_len - 3
    assert int(pairs["a_length"].min()) >= 1
    assert int(pairs["b_length"].min()) >= 1


# --- Random access ---------------------------------------------------------------------------------------------------


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairing, "DOCUMENTS_IN_A_BLOCK", 40)


@pytest.mark.usefixtures("small_blocks")
def test_any_stretch_is_the_slice_of_a_long_read() -> None:
    arrays = numbered(RAGGED)
    long = as_tuples(PairPlan(arrays, PairOptions(64), seed=1).pairs(0, 5_000))  # several epochs of 8 blocks
    plan = PairPlan(arrays, PairOptions(64), seed=1)
    for start, stop in ((0, 1), (1, 100), (100, 1_700), (4_000, 4_900), (3, 5), (2_000, 2_000)):  # back and forth
        assert as_tuples(plan.pairs(start, stop)) == long[start:stop], f"pairs {start} to {stop}"


@pytest.mark.usefixtures("small_blocks")
def test_with_block_counts_a_plan_begins_anywhere_and_plans_only_what_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arrays = numbered(RAGGED)
    first = PairPlan(arrays, PairOptions(64), seed=1)
    long = first.pairs(0, 5_000)
    made: list[int] = []
    plan_of_block = pairing.plan_block

    def counting(*args: Any) -> Pairs:
        made.append(1)
        return plan_of_block(*args)

    monkeypatch.setattr(pairing, "plan_block", counting)
    later = PairPlan(arrays, PairOptions(64), seed=1, block_counts=first.block_counts)
    assert as_tuples(later.pairs(4_000, 4_010)) == as_tuples(long[4_000:4_010])
    assert len(made) == 1
    assert later.block_counts == first.block_counts


@pytest.mark.usefixtures("small_blocks")
def test_a_plan_goes_on_beyond_the_block_counts_that_it_was_given() -> None:
    arrays = numbered(RAGGED)
    long = PairPlan(arrays, PairOptions(64), seed=1)
    expected = as_tuples(long.pairs(0, 5_000))
    later = PairPlan(arrays, PairOptions(64), seed=1, block_counts=long.block_counts[:3])
    assert as_tuples(later.pairs(4_500, 5_000)) == expected[4_500:]
    assert later.block_counts == long.block_counts


class Untouchable:
    """Stands in for tokens that nobody may read."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"the tokens were asked for {name}")

    def __getitem__(self, _index: Any) -> Any:
        raise AssertionError("a token was read")

    def __len__(self) -> int:
        raise AssertionError("the tokens were counted")


@pytest.mark.parametrize("objective", get_args(PairObjective))
def test_planning_reads_no_token(objective: PairObjective) -> None:
    whole = numbered(RAGGED)
    blind = TokenArrays(Untouchable(), whole.sentence_starts, whole.document_starts, whole.scored)  # type: ignore[arg-type]
    options = PairOptions(64, objective)
    assert len(PairPlan(blind, options, seed=1).pairs(0, 3_000)) == 3_000


def test_the_same_seed_gives_the_same_pairs_and_another_others() -> None:
    arrays = numbered(RAGGED)
    one, same, other = (as_tuples(PairPlan(arrays, PairOptions(64), seed=s).pairs(0, 500)) for s in (1, 1, 2))
    assert one == same
    assert one != other


def test_epochs_differ_in_order_and_in_pairs() -> None:
    arrays = numbered(RAGGED)
    one, two = (as_tuples(one_epoch(arrays, PairOptions(64), epoch=epoch)) for epoch in (0, 1))
    assert len(set(one) & set(two)) < 0.5 * len(one)


@pytest.mark.usefixtures("small_blocks")
def test_the_documents_of_a_block_are_others_in_each_epoch() -> None:
    arrays = numbered(RAGGED)
    plan = PairPlan(arrays, PairOptions(64), seed=1)
    one, two = (set(document_of(arrays, next(plan.epoch(epoch))["a_start"]).tolist()) for epoch in (0, 1))
    assert (len(one), len(two)) == (40, 40)
    assert len(one & two) < 20  # 40 of 300: about 5 are expected


def test_pairs_of_a_document_are_not_side_by_side() -> None:
    arrays = numbered([[5] * 60 for _ in range(50)])
    documents = document_of(arrays, one_epoch(arrays, PairOptions(64))["a_start"])
    assert float((np.diff(documents) == 0).mean()) < 0.1


@pytest.mark.usefixtures("small_blocks")
def test_the_epoch_of_a_pair() -> None:
    plan = PairPlan(numbered(RAGGED), PairOptions(64), seed=1)
    first = sum(len(block) for block in plan.epoch(0))
    plan.pairs(0, first + 1)
    assert [plan.epoch_of(position) for position in (0, first - 1, first)] == [0, 0, 1]


def test_only_two_blocks_are_kept(small_blocks: None) -> None:
    plan = PairPlan(numbered(RAGGED), PairOptions(64), seed=1)
    plan.pairs(0, 3_000)
    assert len(plan._planned) == 2
