"""Which tokens a sequence hides, and what stands in their place (Devlin et al. 2018, section 3.1, task 1)."""

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

    So a sequence is masked in the same way whoever asks for it, and beside whichever others. They come from hashing
    (Steele et al. 2014, "Fast splittable pseudorandom number generators": SplitMix64): a generator made anew for each
    sequence takes longer than all else that is done with it.
    """

    seed: int
    numbers: NDArray[np.int64]  # (B,)

    def uniform(self, purpose: int, width: int) -> NDArray[np.float64]:
        """From 0 to below 1, (B, width); for another `purpose` they are others."""
        key = _mixed(_mixed(_mixed(np.array([self.seed], np.uint64)) + self.numbers.astype(np.uint64)) + _u64(purpose))
        hashed = _mixed(key[:, None] + np.arange(width, dtype=np.uint64) * _u64(0x9E3779B97F4A7C15))
        return (hashed >> _u64(11)).astype(np.float64) * 2.0**-53


_u64 = np.uint64


def _mixed(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's finalizer: each bit of the input changes half of those of the output."""
    x = (x ^ (x >> _u64(30))) * _u64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> _u64(27))) * _u64(0x94D049BB133111EB)
    return x ^ (x >> _u64(31))


ROUNDING, ORDER, FATE, REPLACEMENT = range(4)  # what numbers are drawn for


@dataclass(frozen=True)
class Masker:
    """Chooses `rate` of the text's tokens; of these 80 % become [MASK], 10 % a random token, 10 % stay.

    Tokens that stay keep the model from learning that only [MASK] wants an answer; random ones, from trusting
    everything else.
    """

    rate: float
    mask_id: int
    vocab_size: int
    continues_word: Flags | None = None  # (V,), True for "##…": whole words are chosen when it is given

    @classmethod
    def of(cls, tokenizer: Tokenizer, *, rate: float, whole_words: bool) -> Masker:
        """The masker for a tokenizer's vocabulary."""
        continues_word = tokenizer.continuation_mask if whole_words else None
        return cls(rate, tokenizer.mask_id, tokenizer.vocab_size, continues_word)

    def __call__(self, ids: Ids, text: Flags, draws: Draws, *, continues: Flags | None = None) -> tuple[Ids, Flags]:
        """Masks B sequences.

        ids: (B, T); text: (B, T), True where a token may be chosen, which leaves special tokens and padding out;
        continues: (B, T), True where one goes on with a word, by more than its piece alone (`text.word_bounds`).
        Returns the ids that the model sees, (B, T), and which positions are chosen, (B, T).
        """
        # Rounded up or down by chance, so that the share is right on average whatever the lengths; at least one, so
        # that every sequence teaches something.
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
    """Of each row's text the `wanted` positions that come first in `order`: (B, T), (B, T), (B,) -> (B, T)"""
    order = np.where(text, order, np.inf)
    last = np.take_along_axis(np.sort(order, axis=1), np.minimum(wanted, order.shape[1])[:, None] - 1, axis=1)
    return (order <= last) & text


def _words(text: Flags, order: NDArray[np.float64], wanted: int, continues: Flags) -> Flags:
    """Whole words of one row, all (T,), in the order of their first pieces, until `wanted` tokens are chosen."""
    places = np.flatnonzero(text)
    # A word begins at a piece that continues nothing, and after a gap ([SEP]).
    begins = ~continues[places[1:]] | (np.diff(places) > 1)
    words = np.split(places, np.flatnonzero(begins) + 1)
    words.sort(key=lambda word: order[word[0]] if len(word) else 0.0)
    chosen = np.zeros(len(text), bool)
    for word in words:
        if len(word) <= wanted:  # a word that would overshoot is passed over for a shorter one
            chosen[word] = True
            wanted -= len(word)
        if wanted == 0:
            break
    if not chosen.any():
        chosen[words[0]] = True
    return chosen
