"""Seeded strings of every kind of character there is, mixed with words that a vocabulary has."""

from __future__ import annotations

import random
import sys
import unicodedata
from collections.abc import Callable, Sequence
from functools import cache

ZERO_WIDTH_JOINER, VARIATION_SELECTOR = "\u200d", "\ufe0f"

# Every kind of white space and what looks like it: ASCII, separators, line ends, zero-width ones.
SPACES = (
    " \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2000\u2003\u2007\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u3000"
    "\ufeff"
)

# Ideographs: those that BERT splits (the first block, extensions A to E, compatibility) and later extensions, which
# it does not; kana and hangul.
IDEOGRAPHS = [
    (0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B739), (0x2B740, 0x2B81D), (0x2B820, 0x2CEA1),
    (0xF900, 0xFA6D), (0x2F800, 0x2FA1D), (0x2CEB0, 0x2EBE0), (0x30000, 0x3134A), (0x3041, 0x30FF), (0xAC00, 0xD7A3),
]  # fmt: skip
RIGHT_TO_LEFT = [(0x5D0, 0x5EA), (0x621, 0x64A), (0x64B, 0x655), (0x710, 0x72F), (0x7CA, 0x7EA), (0x200E, 0x200F)]
ACCENTS = [(0x300, 0x36F), (0x591, 0x5BD), (0x93C, 0x94D), (0x1AB0, 0x1ABE), (0x20D0, 0x20DC), (0x302A, 0x302D)]
EMOJI = [(0x1F300, 0x1F64F), (0x1F680, 0x1F6C5), (0x1F900, 0x1F9FF), (0x2600, 0x27BF)]
SKIN_TONES, FLAG_LETTERS, CONTROLS = (0x1F3FB, 0x1F3FF), (0x1F1E6, 0x1F1FF), [(0x0, 0x1F), (0x7F, 0x9F)]
# What lower-casing and taking accents off make longer, shorter or leave: İ, ß, final sigma, ligatures, ½, full width.
FOLDED = "İıßẞΣσςﬁﬃſKÅŉǰΐᾳ½²ªⅣ①ＡｂÆøŁđ"


def strings(count: int, words: Sequence[str], *, seed: int) -> list[str]:
    """`count` strings of up to about 12 pieces, among them words of a vocabulary in any case."""
    rng = random.Random(seed)
    pieces: list[Callable[[], str]] = [
        lambda: rng.choice(words),
        lambda: rng.choice((str.upper, str.title, str.swapcase))(rng.choice(words)),
        lambda: rng.choice(words) + _of(rng, ACCENTS) * rng.randint(1, 3),
        lambda: _run(rng, rng.choice(list(_by_category().values()))),  # each category as often as any other
        lambda: "".join(rng.choice(rng.choice(list(_by_category().values()))) for _ in range(rng.randint(1, 6))),
        lambda: chr(rng.choice((rng.randrange(0xD800), rng.randrange(0xE000, 0x110000)))),
        lambda: _emoji(rng),
        lambda: "".join(_of(rng, IDEOGRAPHS) for _ in range(rng.randint(1, 5))),
        lambda: "".join(_of(rng, RIGHT_TO_LEFT) for _ in range(rng.randint(1, 6))),
        lambda: _of(rng, CONTROLS) * rng.randint(1, 2),
        lambda: _run(rng, SPACES),
        lambda: _run(rng, FOLDED),
        lambda: rng.choice(("[MASK]", "[SEP]", "[CLS]", "[PAD]", "[UNK]", "[mask]", "[MASK", "##", "##ing", "\ufffd")),
        lambda: rng.choice(
            ("<mask>", " <mask>", "<s>", "</s>", "<pad>", "<unk>", "<MASK>", "``", "''", "Ġ", "▁", "'re")
        ),
        lambda: unicodedata.normalize(rng.choice(("NFC", "NFD", "NFKC", "NFKD")), rng.choice(words) + "éÅ한ひ゛"),
    ]
    return [_joined(rng, [rng.choice(pieces)() for _ in range(rng.randint(0, 12))]) for _ in range(count)]


def _joined(rng: random.Random, pieces: list[str]) -> str:
    """Close together, with spaces of any kind between, or (rarely) a word that is too long to be one."""
    if rng.random() < 0.01:
        pieces.append("".join(rng.choice("abcdeé") for _ in range(rng.randint(95, 105))))
    spaces = rng.choice(("", " ", SPACES))
    return "".join(piece + (rng.choice(spaces) if spaces and rng.random() < 0.7 else "") for piece in pieces)


@cache
def _by_category() -> dict[str, list[str]]:
    """Every character by its general category; half characters (Cs) are in no text."""
    found: dict[str, list[str]] = {}
    for character in map(chr, range(sys.maxunicode + 1)):
        found.setdefault(unicodedata.category(character), []).append(character)
    del found["Cs"]
    return found


def _run(rng: random.Random, characters: Sequence[str]) -> str:
    return "".join(rng.choice(characters) for _ in range(rng.randint(1, 4)))


def _of(rng: random.Random, ranges: Sequence[tuple[int, int]]) -> str:
    return chr(rng.randint(*rng.choice(ranges)))


def _emoji(rng: random.Random) -> str:
    """One alone, with a skin tone or a selector, joined to a family, a flag of two letters, or a keycap."""
    kind = rng.randrange(5)
    if kind == 0:
        return _of(rng, EMOJI) + rng.choice(("", VARIATION_SELECTOR, _of(rng, [SKIN_TONES])))
    if kind == 1:
        return ZERO_WIDTH_JOINER.join(_of(rng, EMOJI) for _ in range(rng.randint(2, 4)))
    if kind == 2:
        return _of(rng, [FLAG_LETTERS]) + _of(rng, [FLAG_LETTERS])
    if kind == 3:
        return rng.choice("0123456789#*") + VARIATION_SELECTOR + "\u20e3"
    return "👩" + _of(rng, [SKIN_TONES]) + ZERO_WIDTH_JOINER + "💻" + rng.choice(("", VARIATION_SELECTOR))
