"""Which tokens of a sequence are masked, and what replaces them (Devlin et al. 2018, section 3.1, task 1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from minibert.tokenizer import Tokenizer

Ids = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Draws:
    """Random numbers for B sequences, each a function of the seed and of its own sequence's number alone.

    So a sequence is masked in the same way in any process and in any batch. The numbers come from hashing (Steele et
    al. 2014, "Fast splittable pseudorandom number generators": SplitMix64), since making a generator for each sequence
    would take longer than everything else that is done with it.
    """

    seed: int
    numbers: NDArray[np.int64]  # (B,)

    def uniform(self, purpose: int, width: int) -> NDArray[np.float64]:
        """Return numbers in [0, 1), (B, width), different ones for each `purpose`."""
        key = _mixed(_mixed(_mixed(np.array([self.seed], np.uint64)) + self.numbers.astype(np.uint64)) + _u64(purpose))
        hashed = _mixed(key[:, None] + np.arange(width, dtype=np.uint64) * _u64(0x9E3779B97F4A7C15))
        return (hashed >> _u64(11)).astype(np.float64) * 2.0**-53


_u64 = np.uint64


def _mixed(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Apply SplitMix64's finalizer: each bit of the input changes about half of the output's bits."""
    x = (x ^ (x >> _u64(30))) * _u64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> _u64(27))) * _u64(0x94D049BB133111EB)
    return x ^ (x >> _u64(31))


ROUNDING, ORDER, FATE, REPLACEMENT = range(4)  # the purposes that numbers are drawn for


@dataclass(frozen=True)
class Masker:
    """The masking of `rate` of the text's tokens: 80 % of these become [MASK], 10 % a random token, 10 % stay.

    Those that stay keep the model from learning that only [MASK] must be predicted; the random ones keep it from
    trusting every other token.
    """

    rate: float
    mask_id: int
    vocab_size: int
    continues_word: Flags | None = None  # (V,), True for "##…"; if given, whole words are masked

    @classmethod
    def of(cls, tokenizer: Tokenizer, *, rate: float, whole_words: bool) -> Masker:
        """Return the masker for a tokenizer's vocabulary."""
        continues_word = tokenizer.continuation_mask if whole_words else None
        return cls(rate, tokenizer.mask_id, tokenizer.vocab_size, continues_word)

    def __call__(self, ids: Ids, text: Flags, draws: Draws, *, continues: Flags | None = None) -> tuple[Ids, Flags]:
        """Mask B sequences: return the ids that the model sees, (B, T), and which positions are masked, (B, T).

        ids: (B, T); text: (B, T), True where a token may be masked, so not at special tokens and padding; continues:
        (B, T), True where a token continues a word, as found by a segmenter (`text.word_bounds`); None: by its piece.
        """
        # Rounded up or down at random, so that the share is right on average whatever the lengths; at least one, so
        # that every sequence adds to the loss.
        share = self.rate * text.sum(1) + draws.uniform(ROUNDING, 1)[:, 0]
        wanted = np.maximum(1, np.floor(share)).astype(np.int64)
        order = draws.uniform(ORDER, ids.shape[1])
        if self.continues_word is None:
            chosen = first_in_order(text, order, wanted)
        else:
            continues = self.continues_word[ids] if continues is None else continues
            chosen = np.stack([_words(*row) for row in zip(text, order, wanted, continues, strict=True)])
        fate = draws.uniform(FATE, ids.shape[1])
        random_tokens = (draws.uniform(REPLACEMENT, ids.shape[1]) * self.vocab_size).astype(np.int64)
        seen = np.where(chosen & (fate < 0.8), self.mask_id, ids)
        return np.where(chosen & (fate >= 0.9), random_tokens, seen), chosen


def first_in_order(text: Flags, order: NDArray[np.float64], wanted: NDArray[np.int64]) -> Flags:
    """Mark the `wanted` positions of each row's text that come first in `order`: (B, T), (B, T), (B,) -> (B, T)."""
    order = np.where(text, order, np.inf)
    last = np.take_along_axis(np.sort(order, axis=1), np.minimum(wanted, order.shape[1])[:, None] - 1, axis=1)
    return (order <= last) & text


def _words(text: Flags, order: NDArray[np.float64], wanted: int, continues: Flags) -> Flags:
    """Mark whole words of one row, (T,), in the order of their first pieces, until `wanted` tokens are marked."""
    places = np.flatnonzero(text)
    # A word begins at a piece that does not continue one, and after a gap ([SEP]).
    begins = ~continues[places[1:]] | (np.diff(places) > 1)
    words = np.split(places, np.flatnonzero(begins) + 1)
    words.sort(key=lambda word: order[word[0]] if len(word) else 0.0)
    chosen = np.zeros(len(text), bool)
    for word in words:
        if len(word) <= wanted:  # a word that is too long is skipped; a shorter one may fit
            chosen[word] = True
            wanted -= len(word)
        if wanted == 0:
            break
    if not chosen.any():
        chosen[words[0]] = True
    return chosen
