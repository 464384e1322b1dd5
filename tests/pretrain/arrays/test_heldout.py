"""Which documents are held out, and which paragraphs training has too."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from pretrain.arrays.heldout import HeldOutChoice, are_unseen, text_hash

HASHES = 2**64


def choose(hashes: list[int], size: int, at_least: int = 2) -> set[int]:
    choice = HeldOutChoice(at_least)
    for document in hashes:
        choice.add(document, size)
    threshold = choice.threshold()
    return {document for document in hashes if document < threshold}


@pytest.mark.parametrize(
    ("documents", "size", "held_out"),
    [
        (10_000, 4_000, 200),  # 2 % are enough
        (10_000, 400, 500),  # 50,000 tokens of four bytes
        (10_000, 4, 1_000),  # never more than 10 %
        (30, 4, 3),
        (12, 4, 2),  # two at least
        (4, 10**6, 2),
    ],
)
def test_how_much_is_held_out(documents: int, size: int, held_out: int) -> None:
    hashes = [i * HASHES // documents for i in range(documents)]
    random.Random(0).shuffle(hashes)
    assert choose(hashes, size) == set(sorted(hashes)[:held_out])


def test_at_least_one_is_held_out_and_one_is_left_without_nsp() -> None:
    assert choose([HASHES - 1, HASHES - 2], 4, at_least=1) == {HASHES - 2}
    assert choose([1, 2], 4, at_least=1) == {1}


def test_small_hashes_only_don_t_empty_the_training_side() -> None:
    assert choose([1, 2, 3, 4, 5], 4) == {1, 2}


def test_the_choice_remembers_few_documents() -> None:
    choice = HeldOutChoice(2)
    generator = random.Random(0)
    for _ in range(20_000):
        choice.add(generator.getrandbits(64), 1_000)
    assert len(choice._sizes) <= 401


def test_hashes_are_the_same_in_every_process() -> None:
    assert text_hash("The cat sat.") == 0xBDF8C2FBBAAFFB4A


def test_unseen_are_the_hashes_that_nothing_passed_has(tmp_path: Path) -> None:
    np.array([7, 5, HASHES - 1, 5], np.uint64).tofile(tmp_path / "passed")
    hashes = np.array([5, 6, HASHES - 1, 5, 0], np.uint64)
    assert are_unseen(hashes, tmp_path / "passed").tolist() == [False, True, False, False, True]
