"""Holding out: shares, strata, groups, and that a seed decides."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.data.splits import hold_out, hold_out_groups
from tests.helpers import refusal

# (label, number): 900 of one label, 90 and 10 of others, mixed.
EXAMPLES = [("abc"[(n % 10 == 0) + (n % 100 == 0)], n) for n in range(1000)]


def seeded(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_every_label_gives_its_share() -> None:
    train, dev = hold_out(EXAMPLES, generator=seeded(1), stratum=lambda example: example[0])
    assert Counter(label for label, _ in dev) == {"a": 90, "b": 9, "c": 1}
    assert sorted(train + dev) == sorted(EXAMPLES)
    for part in (train, dev):
        assert [number for _, number in part] == sorted(number for _, number in part)


def test_the_seed_decides() -> None:
    one, same, other = (hold_out(EXAMPLES, share=0.3, generator=seeded(seed)) for seed in (1, 1, 2))
    assert one == same != other
    assert len(one[1]) == len(other[1]) == 300


@given(st.lists(st.sampled_from("abc"), min_size=4), st.floats(0.01, 0.99), st.integers(0, 5))
def test_all_that_can_be_on_both_sides_is(labels: list[str], share: float, seed: int) -> None:
    train, dev = map(Counter, hold_out(labels, share=share, generator=seeded(seed), stratum=str))
    assert train + dev == Counter(labels)
    for label, count in Counter(labels).items():
        if count > 1:
            assert train[label] >= 1 and dev[label] >= 1
            assert abs(dev[label] - share * count) <= 1


@pytest.mark.parametrize("labels", ["", "a", "ab"])
def test_too_few_to_hold_out_a_part(labels: str) -> None:
    assert "expected more, or a --dev file" in refusal(lambda: hold_out(labels, generator=seeded(1), stratum=str))


def test_examples_that_are_nearly_all_alone_with_their_label_are_held_out_too() -> None:
    """Sets of labels: 900 that are there once, 100 of one kind."""
    examples = [f"set {number}" for number in range(900)] + ["common"] * 100
    train, dev = hold_out(examples, generator=seeded(1), stratum=str)
    assert (len(train), len(dev), dev.count("common")) == (900, 100, 10)
    train, dev = hold_out(examples[700:], generator=seeded(1), stratum=str)
    assert (len(train), len(dev)) == (270, 30)
    train, dev = hold_out(examples[850:], generator=seeded(1), stratum=str)
    assert dev == ["common"] * 10


def articles(*sizes: int) -> list[tuple[str, int]]:
    return [(f"article {name}", number) for name, size in enumerate(sizes) for number in range(size)]


def test_an_article_stays_together() -> None:
    examples = articles(*range(50, 90))
    train, dev = hold_out_groups(examples, generator=seeded(1), group=lambda example: example[0])
    assert not {title for title, _ in train} & {title for title, _ in dev}
    assert sorted(train + dev) == sorted(examples)
    assert 0.08 < len(dev) / len(examples) < 0.12
    again = hold_out_groups(examples, generator=seeded(1), group=lambda example: example[0])
    other = hold_out_groups(examples, generator=seeded(2), group=lambda example: example[0])
    assert (train, dev) == again != other


@pytest.mark.parametrize("seed", range(5))
def test_large_articles_are_not_held_out_for_a_small_share(seed: int) -> None:
    _, dev = hold_out_groups(articles(900, 30, 70), generator=seeded(seed), group=lambda example: example[0])
    assert {title for title, _ in dev} <= {"article 1", "article 2"}
    _, dev = hold_out_groups(articles(900, 600), generator=seeded(seed), group=lambda example: example[0])
    assert {title for title, _ in dev} == {"article 1"}


@given(st.lists(st.integers(1, 20), min_size=2), st.floats(0.01, 0.99), st.integers(0, 5))
def test_both_sides_have_articles(sizes: list[int], share: float, seed: int) -> None:
    train, dev = hold_out_groups(articles(*sizes), share=share, generator=seeded(seed), group=lambda x: x[0])
    assert train and dev


def test_one_article_cannot_be_parted() -> None:
    message = refusal(lambda: hold_out_groups(articles(9), generator=seeded(1), group=lambda example: example[0]))
    assert "too few examples to hold some out (9), expected more, or a --dev file" in message
