"""Documents -> token ids, in a worker process of `prepare`: each distinct part between spaces is tokenised once."""

import functools
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minibert.tokenizer import Tokenizer
from minibert.tokenizer.vocabulary import in_running_text
from pretrain.arrays.heldout import text_hash
from pretrain.arrays.shards import Tokens
from pretrain.text.word_bounds import Segmenter, goes_on, word_cutter
from pretrain.text.words import count_words

REMEMBERED_WORDS = 2**16  # per worker, about 15 MB ...
REMEMBERED_CHARACTERS = 2**22  # ... even if the words are long


@dataclass(frozen=True)
class TokenBlock:
    """One side's documents of a chunk, tokenised. Sentences without a token are dropped, and documents left empty."""

    tokens: Tokens  # (n,)
    sentence_lengths: NDArray[np.int64]  # (S,)
    document_sentences: NDArray[np.int64]  # (D,) sentences of each document
    paragraph_sentences: NDArray[np.int64]  # (P,) sentences of each paragraph, possibly 0
    paragraph_hashes: NDArray[np.uint64]  # (P,)
    continues_word: NDArray[np.bool_] | None  # (n,); None without a segmenter
    words: int


class Encoder:
    """`Tokenizer.encode_plain` for large amounts of text: each distinct part between spaces is tokenised once.

    With a segmenter, an encoder also remembers which tokens of a part continue a word; no word extends over a space.
    """

    def __init__(self, directory: Path, segmenter: Segmenter | None = None) -> None:
        self._tokenizer = Tokenizer.load(directory)
        self._cut_words = None if segmenter is None else word_cutter(segmenter)
        self._pieces_go_on = self._tokenizer.continuation_mask
        self._known: dict[str, list[int]] = {}
        self._goes_on: dict[str, list[bool]] = {}  # for the same parts
        self._characters = 0  # in these parts

    def __call__(self, sentences: list[str], dtype: str) -> tuple[Tokens, NDArray[np.int64], NDArray[np.bool_] | None]:
        """Return all tokens (n,), how many each sentence has (S,), and with a segmenter which continue a word (n,)."""
        split = [self._tokenizer.parts(sentence) for sentence in sentences]
        parts = list(itertools.chain.from_iterable(split))
        if len(self._known) > REMEMBERED_WORDS or self._characters > REMEMBERED_CHARACTERS:
            self._known.clear()
            self._goes_on.clear()
            self._characters = 0
        self._learn(list(set(parts).difference(self._known)))
        ids = [self._known[part] for part in parts]
        lengths = np.fromiter(map(len, ids), np.int64, len(ids))
        count = int(lengths.sum())
        tokens = np.fromiter(itertools.chain.from_iterable(ids), dtype, count)
        continues = None
        if self._cut_words is not None:
            flags = itertools.chain.from_iterable(self._goes_on[part] for part in parts)
            continues = np.fromiter(flags, np.bool_, count)
        return tokens, _group_sums(lengths, list(map(len, split))), continues

    def _learn(self, parts: list[str]) -> None:
        self._characters += sum(map(len, parts))
        if self._cut_words is None:
            self._known.update(zip(parts, self._tokenizer.encode_plain(parts), strict=True))
            return
        for part, (ids, offsets) in zip(parts, self._tokenizer.encode_plain_with_offsets(parts), strict=True):
            self._known[part] = ids
            self._goes_on[part] = goes_on(part, offsets, self._pieces_go_on[ids].tolist(), self._cut_words)


encoder_of = functools.cache(Encoder)  # a worker has one for all its tasks


def encode(documents: list[list[list[str]]], encoder: Encoder, dtype: str) -> TokenBlock:
    """Tokenise documents, each a list of paragraphs, each a list of sentences. dtype: of the token ids."""
    paragraphs = [paragraph for document in documents for paragraph in document]
    sentences = itertools.chain.from_iterable(map(running_sentences, paragraphs))
    tokens, lengths, continues = encoder(list(sentences), dtype)
    in_paragraphs = _group_sums(lengths > 0, list(map(len, paragraphs)))
    in_documents = _group_sums(in_paragraphs, list(map(len, documents)))
    return TokenBlock(
        tokens=tokens,
        sentence_lengths=lengths[lengths > 0],
        document_sentences=in_documents[in_documents > 0],
        paragraph_sentences=in_paragraphs,
        paragraph_hashes=np.array([text_hash(" ".join(paragraph)) for paragraph in paragraphs], np.uint64),
        continues_word=continues,
        words=sum(count_words(sentence) for paragraph in paragraphs for sentence in paragraph),
    )


def running_sentences(paragraph: list[str]) -> list[str]:
    """Return the sentences of a paragraph, with the spaces between them that splitting removed."""
    return [*paragraph[:1], *in_running_text(paragraph[1:])]


def _group_sums(values: NDArray[Any], sizes: list[int]) -> NDArray[np.int64]:
    """Return the sums of consecutive groups of `values`: (sum of sizes,) -> (groups,)."""
    ends = np.cumsum([0, *sizes])
    return np.diff(np.concatenate(([0], np.cumsum(values, dtype=np.int64)))[ends])
