"""Vectors of tokens from their neighbours."""

import numpy as np
import pytest
import torch

from pretrain.cooccurrence import (
    DISTANCES,
    MOST_TOKENS,
    cooccurrence_vectors,
    largest_directions,
    neighbour_surprise,
    sample,
    shifted,
)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_tokens_in_the_same_places_point_the_same_way() -> None:
    rng = np.random.default_rng(0)
    # Sentences of the form 10 A 11 B, where A is 1, 2 or 3, and B is 4, 5 or 6.
    sentences = [(10, rng.integers(1, 4), 11, rng.integers(4, 7)) for _ in range(2000)]
    vectors = cooccurrence_vectors(np.array(sentences).ravel(), 13, 4, generator=generator())
    alike = vectors @ vectors.T
    assert alike[1, 2] > 0.95 and alike[1, 3] > 0.95 and alike[4, 6] > 0.95
    assert alike[1, 4] < 0.5
    torch.testing.assert_close(vectors[1:7].norm(dim=1), torch.ones(6))


def test_tokens_that_the_text_hardly_has_get_no_vector() -> None:
    vectors = cooccurrence_vectors(np.array([1, 2, 3, 1, 2, 4] * 9 + [5]), 8, 40, generator=generator())
    assert vectors.shape == (8, 40)  # more numbers than there are directions: the rest is zero
    assert vectors.any(1).tolist() == [False, True, True, True, True, False, False, False]
    assert vectors.isfinite().all()


def test_surprise_is_counted_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pretrain.cooccurrence.FEWEST", 9)
    # In 1 2 1 2 1 3 the neighbours are, by distance: -2: 1 2 1 2; -1: 1 2 1 2 1; 1: 2 1 2 1 3; 2: 1 2 1 3.
    frequencies = {-2: {1: 2, 2: 2}, -1: {1: 3, 2: 2}, 1: {1: 2, 2: 2, 3: 1}, 2: {1: 2, 2: 1, 3: 1}}
    total = sum(count**0.75 for counts in frequencies.values() for count in counts.values())
    surprise = neighbour_surprise(np.array([1, 2, 1, 2, 1, 3]), 4).view(4, len(DISTANCES), 4)
    by_token = [1, 2, 3, 0]  # columns: the most frequent first
    # A 1 has 9 neighbours: two 1s two before, two 2s one before, 2, 2 and 3 one after, two 1s two after.
    expected = np.log((2 / 9) / (frequencies[1][2] ** 0.75 / total))
    after = DISTANCES.index(1)
    assert surprise[1, after, by_token.index(2)].item() == pytest.approx(expected, rel=1e-5)
    assert surprise[1, after, by_token.index(1)] == 0  # never
    assert (surprise >= 0).all() and not surprise[0].any()
    assert not surprise[2:].any()  # a 2 has only seven neighbours, a 3 has two


@pytest.mark.parametrize(("distance", "expected"), [
    (1, ([1, 2, 3], [2, 3, 4])), (2, ([1, 2], [3, 4])), (-1, ([2, 3, 4], [1, 2, 3])), (-2, ([3, 4], [1, 2])),
])  # fmt: skip
def test_neighbours_stand_beside_their_tokens(distance: int, expected: tuple[list[int], list[int]]) -> None:
    token, neighbour = shifted(np.array([1, 2, 3, 4]), distance)
    assert (token.tolist(), neighbour.tolist()) == expected


def test_a_large_vocabulary_is_described_by_fewer_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pretrain.cooccurrence.MOST_CELLS", 14)
    assert neighbour_surprise(np.array([1, 2] * 30), 7).shape == (7, 2 * len(DISTANCES))


def test_largest_directions_are_those_of_the_exact_decomposition() -> None:
    matrix = torch.randn(60, 8, generator=generator()) @ torch.randn(8, 90, generator=generator())
    directions, values = largest_directions(matrix, 8, generator=generator())
    exact = torch.linalg.svd(matrix)
    torch.testing.assert_close(values, exact.S[:8], rtol=1e-4, atol=0)
    torch.testing.assert_close(directions @ directions.T, exact.U[:, :8] @ exact.U[:, :8].T, rtol=0, atol=1e-3)


def test_a_short_text_is_taken_whole_and_a_long_one_is_sampled_all_over() -> None:
    assert sample(np.array([3, 1, 2], np.uint16)).tolist() == [3, 1, 2]
    long = np.arange(3 * MOST_TOKENS, dtype=np.uint32)
    taken = sample(long)
    assert len(taken) == MOST_TOKENS and taken[0] == 0 and taken[-1] == len(long) - 1
    assert len(np.unique(taken)) == MOST_TOKENS


def test_a_text_shorter_than_the_distances_gives_no_vectors() -> None:
    assert not cooccurrence_vectors(np.array([1]), 4, 8, generator=generator()).any()
