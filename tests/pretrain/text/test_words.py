"""Counting words."""

from __future__ import annotations

import pytest

from pretrain.text.words import count_words


@pytest.mark.parametrize(
    ("sentence", "words"),
    [
        ("The cat sat — don't ask.", 6),
        ("cat", 1),
        ("猫。", 1),
        ("我有iPhone 15手机, see below — 好。", 10),  # 我 有 iPhone 15 手 机 see below — 好
        ("\U00020000\uf900", 2),
        ("これは", 1),  # without an ideograph, what stands between spaces
        ("これは猫です", 3),
    ],
)
def test_words_stand_between_spaces_and_each_ideograph_is_one(sentence: str, words: int) -> None:
    assert count_words(sentence) == words
