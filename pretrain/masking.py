"""Which tokens a sequence hides, and what stands in their place (Devlin et al. 2018, section 3.1, task 1)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from minibert.tokenizer import Tokenizer

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Masker:
    """Chooses `rate` of the text's tokens; of these 80 % become [MASK], 10 % a random token, 10 % stay.

    Tokens that stay keep the model from learning that only [MASK] wants an answer; random ones, from trusting
    everything else.
    """

    rate: float
    mask_id: int
    vocab_size: int
    continues_word: NDArray[np.bool_] | None = None  # (V,), True for "##…": whole words are chosen when it is given

    @classmethod
    def of(cls, tokenizer: Tokenizer, *, rate: float, whole_words: bool) -> Masker:
        """The masker for a tokenizer's vocabulary."""
        continues_word = tokenizer.continuation_mask if whole_words else None
        return cls(rate, tokenizer.mask_id, tokenizer.vocab_size, continues_word)

    def __call__(
        self,
        ids: Ids,
        text: NDArray[np.intp],
        rng: np.random.Generator,
        *,
        continues: NDArray[np.bool_] | None = None,
    ) -> tuple[Ids, NDArray[np.intp]]:
        """Masks one sequence.

        ids: (T,); text: (n,) positions that may be chosen, ascending, which leaves special tokens out; continues: (n,)
        whether each goes on with a word, by more than its piece alone (`pretrain.word_bounds`).
        Returns the ids that the model sees, (T,), and the chosen positions in ascending order.
        """
        chosen = np.sort(self._choose(ids, text, rng, continues))
        fate = rng.random(len(chosen))
        seen = ids.copy()
        seen[chosen[fate < 0.8]] = self.mask_id
        replaced = chosen[fate >= 0.9]
        seen[replaced] = rng.integers(self.vocab_size, size=len(replaced))
        return seen, chosen

    def _choose(
        self, ids: Ids, text: NDArray[np.intp], rng: np.random.Generator, continues: NDArray[np.bool_] | None
    ) -> NDArray[np.intp]:
        # Rounded up or down by chance, so that the share is right on average whatever the lengths; at least one, so
        # that every sequence teaches something.
        wanted = max(1, math.floor(self.rate * len(text) + rng.random()))
        if self.continues_word is None:
            return rng.permutation(text)[:wanted]
        chosen: list[NDArray[np.intp]] = []
        words = _words(text, self.continues_word[ids[text]] if continues is None else continues)
        for word in rng.permutation(len(words)):
            if len(words[word]) <= wanted:  # a word that would overshoot is passed over for a shorter one
                chosen.append(words[word])
                wanted -= len(words[word])
            if wanted == 0:
                break
        return np.concatenate(chosen) if chosen else words[rng.integers(len(words))]


def _words(text: NDArray[np.intp], continues: NDArray[np.bool_]) -> list[NDArray[np.intp]]:
    """Positions grouped into words: one begins at a piece that continues nothing, and after a gap ([SEP])."""
    begins = ~continues[1:] | (np.diff(text) > 1)
    return np.split(text, np.flatnonzero(begins) + 1)
