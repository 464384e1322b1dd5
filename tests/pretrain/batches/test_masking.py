"""Masks, counted over a million tokens."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from scipy import stats

from minibert.tokenizer import Tokenizer
from pretrain.batches.masking import Draws, Flags, Ids, Masker

MASK, CLS, SEP = 4, 2, 3
VOCABULARY = 1000
LENGTH = 130  # [CLS] 80 tokens [SEP] 47 tokens [SEP]
TEXT = np.array([i for i in range(1, LENGTH - 1) if i != 81])
IS_TEXT = np.isin(np.arange(LENGTH), TEXT)
SEQUENCES = -(-1_000_000 // len(TEXT))


class Masked(NamedTuple):
    """Many sequences before and after, each (n, LENGTH)."""

    ids: Ids
    seen: Ids
    is_chosen: Flags


def mask_all(masker: Masker, sequences: int, *, low: int = 5, high: int = VOCABULARY) -> Masked:
    ids = np.random.default_rng(1).integers(low, high, size=(sequences, LENGTH))
    ids[:, 0], ids[:, 81], ids[:, -1] = CLS, SEP, SEP
    return Masked(ids, *masker(ids, np.tile(IS_TEXT, (sequences, 1)), Draws(1, np.arange(sequences))))


def chosen_of(masker: Masker, ids: list[int], text: list[int], draws: int = 50) -> set[tuple[int, ...]]:
    """Which positions of one sequence are chosen, in so many draws."""
    is_text = np.isin(np.arange(len(ids)), text)
    _, chosen = masker(np.tile(ids, (draws, 1)), np.tile(is_text, (draws, 1)), Draws(2, np.arange(draws)))
    return {tuple(np.flatnonzero(row).tolist()) for row in chosen}


@pytest.fixture(scope="module")
def million() -> Masked:
    return mask_all(Masker(0.15, MASK, VOCABULARY), SEQUENCES)


def test_the_shares_are_the_papers(million: Masked) -> None:
    before, after = million.ids[million.is_chosen], million.seen[million.is_chosen]
    share = len(before) / (SEQUENCES * len(TEXT))
    masked, kept = float((after == MASK).mean()), float((after == before).mean())
    by_chance = 0.1 / VOCABULARY  # a random token may be [MASK] or the one that stood there
    assert share == pytest.approx(0.15, abs=0.003)
    assert masked == pytest.approx(0.8 + by_chance, abs=0.003)
    assert kept == pytest.approx(0.1 + by_chance, abs=0.003)
    assert 1 - masked - kept == pytest.approx(0.1 - 2 * by_chance, abs=0.003)


def test_special_tokens_are_never_chosen_or_changed(million: Masked) -> None:
    special = np.array([0, 81, LENGTH - 1])
    assert int(million.is_chosen[:, special].sum()) == 0
    assert np.unique(million.seen[:, special], axis=0).tolist() == [[CLS, SEP, SEP]]


def test_what_is_not_chosen_stays(million: Masked) -> None:
    np.testing.assert_array_equal(million.seen[~million.is_chosen], million.ids[~million.is_chosen])


def test_every_position_is_chosen_as_often(million: Masked) -> None:
    shares = million.is_chosen[:, TEXT].mean(axis=0)
    np.testing.assert_allclose(shares, 0.15, atol=0.02)  # five deviations of 1 / sqrt(7875 / 0.1275)


def test_the_number_chosen_is_rounded_by_chance(million: Masked) -> None:
    counts = million.is_chosen.sum(1)
    assert set(counts.tolist()) == {19, 20}  # 0.15 · 127 = 19.05
    assert float(counts.mean()) == pytest.approx(19.05, abs=0.02)


def test_positions_are_chosen_independently(million: Masked) -> None:
    """Of two positions both are chosen as often as chance has it: neighbours, and any two far apart."""
    chosen = million.is_chosen[:, TEXT].astype(float)
    both = chosen.T @ chosen / len(chosen)
    expected = 19.05 / 127 * 18.05 / 126
    pairs = both[~np.eye(127, dtype=bool)]
    assert float(pairs.mean()) == pytest.approx(expected, rel=0.001)
    assert float(np.abs(pairs - expected).max()) < 6 * (expected / len(chosen)) ** 0.5  # of 8,001 pairs
    assert float(np.diag(both, 1).mean()) == pytest.approx(expected, rel=0.02)


def test_random_tokens_come_from_the_whole_vocabulary_alike() -> None:
    vocabulary = 50
    masked = mask_all(Masker(0.4, MASK, vocabulary), 6_000, low=7, high=8)  # all tokens are 7
    counts = np.bincount(masked.seen[masked.is_chosen], minlength=vocabulary)
    assert len(counts) == vocabulary
    others = np.delete(counts, [MASK, 7])  # these two are seen for other reasons, too
    assert int(others.sum()) == pytest.approx(6_000 * 127 * 0.4 * 0.1 * 48 / 50, rel=0.03)
    assert float(stats.chisquare(others).pvalue) > 0.001, counts


def test_the_rate_is_the_one_asked_for() -> None:
    masked = mask_all(Masker(0.4, MASK, VOCABULARY), 1_000)
    assert float(masked.is_chosen[:, TEXT].mean()) == pytest.approx(0.4, abs=0.001)


def test_the_ids_handed_in_stay_as_they_were() -> None:
    ids = np.arange(10, 30)[None]
    Masker(1.0, MASK, VOCABULARY)(ids, np.ones(ids.shape, bool), Draws(1, np.array([0])))
    assert ids.tolist() == [list(range(10, 30))]


def test_a_sequence_is_masked_alike_whatever_stands_beside_it() -> None:
    ids, masker = np.arange(10, 140), Masker(0.15, MASK, VOCABULARY)

    def masked(numbers: list[int], seed: int = 1) -> list[tuple[list[int], list[int]]]:
        rows = len(numbers), 1
        seen, chosen = masker(np.tile(ids, rows), np.tile(IS_TEXT, rows), Draws(seed, np.array(numbers)))
        return list(zip(seen.tolist(), chosen.tolist(), strict=True))

    alone = [masked([number])[0] for number in range(4)]
    assert masked([3, 1, 0, 2]) == [alone[3], alone[1], alone[0], alone[2]]
    assert len({str(row) for row in alone}) == 4
    assert masked([0], seed=2)[0] != alone[0]


@pytest.mark.parametrize("whole_words", [False, True])
def test_one_token_is_always_chosen(whole_words: bool) -> None:
    masker = Masker(0.15, MASK, VOCABULARY, np.zeros(VOCABULARY, bool) if whole_words else None)
    assert chosen_of(masker, [CLS, 77, SEP], [1]) == {(1,)}


@pytest.mark.parametrize("purpose", [0, 3])
def test_draws_are_uniform_and_unlike_each_other(purpose: int) -> None:
    """Over numbers that follow one another, places and seeds: each tenth as often, and no two rows or columns alike."""
    draws = Draws(7, np.arange(2_000)).uniform(purpose, 100)
    counts = np.bincount((draws.ravel() * 10).astype(int), minlength=10)
    assert float(stats.chisquare(counts).pvalue) > 0.001, counts
    assert len(np.unique(draws)) == draws.size
    others = Draws(8, np.arange(2_000)).uniform(purpose, 100), Draws(7, np.arange(2_000)).uniform(purpose + 1, 100)
    for other in (*others, np.roll(draws, 1, axis=0), np.roll(draws, 1, axis=1)):
        assert abs(float(np.corrcoef(draws.ravel(), other.ravel())[0, 1])) < 0.01  # 4.5 deviations


# --- Whole words -----------------------------------------------------------------------------------------------------

CONTINUES = np.arange(VOCABULARY) >= 700  # ids from 700 on are ##pieces: three tokens in ten


@pytest.fixture(scope="module")
def words() -> Masked:
    return mask_all(Masker(0.15, MASK, VOCABULARY, CONTINUES), 8_000)


def word_starts(ids: Ids) -> Flags:
    """Where a word begins: at [CLS], at [SEP], after these, and at what continues nothing."""
    starts = ~CONTINUES[ids]
    starts[:, [0, 1, 81, 82, LENGTH - 1]] = True
    return starts


def test_pieces_of_a_word_are_chosen_together(words: Masked) -> None:
    within = ~word_starts(words.ids)[:, 1:]
    assert within.sum() > 100_000
    np.testing.assert_array_equal(words.is_chosen[:, 1:][within], words.is_chosen[:, :-1][within])


def test_whole_words_have_the_share_asked_for(words: Masked) -> None:
    assert float(words.is_chosen[:, TEXT].mean()) == pytest.approx(0.15, abs=0.003)


def test_whole_words_have_the_papers_shares(words: Masked) -> None:
    before, after = words.ids[words.is_chosen], words.seen[words.is_chosen]
    assert float((after == MASK).mean()) == pytest.approx(0.8, abs=0.005)
    assert float((after == before).mean()) == pytest.approx(0.1, abs=0.005)


def test_a_word_longer_than_the_budget_is_chosen_where_there_is_no_other() -> None:
    ids = [CLS, 10, 700, 701, 11, 702, 703, SEP]
    masker = Masker(0.15, MASK, VOCABULARY, CONTINUES)
    assert chosen_of(masker, ids, [1, 2, 3, 4, 5, 6]) == {(1, 2, 3), (4, 5, 6)}


def test_a_word_does_not_go_on_over_a_separator() -> None:
    ids = [CLS, 10, 700, SEP, 701, 702, SEP]  # B begins within a word: its front was cut off
    masker = Masker(0.3, MASK, VOCABULARY, CONTINUES)
    assert chosen_of(masker, ids, [1, 2, 4, 5]) == {(1, 2), (4, 5)}


def test_the_masker_of_a_tokenizer_has_its_ids(tokenizer: Tokenizer) -> None:
    masker = Masker.of(tokenizer, rate=0.2, whole_words=True)
    assert (masker.rate, masker.mask_id, masker.vocab_size) == (0.2, tokenizer.mask_id, 80)
    assert masker.continues_word is not None
    pieces = [token for token in range(80) if tokenizer.id_to_token(token).startswith("##")]
    assert np.flatnonzero(masker.continues_word).tolist() == pieces
    assert Masker.of(tokenizer, rate=0.2, whole_words=False).continues_word is None
