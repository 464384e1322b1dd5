"""Many or long texts in bounded memory: batches of texts, and places to cut a text without changing its pieces."""

import re
import string
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any

from tokenizers import AddedToken

from minibert.files.text import LONE_SURROGATE
from minibert.tokenizer.vocabulary import Kind

# How many encodings, at a hundred bytes or more a token, are held in memory; fewer if texts are long.
TEXTS_AT_ONCE = 1_000
CHARACTERS_AT_ONCE = 2**20
# A longer text is encoded in parts, or only as far as needed: the library takes 70 bytes a character.
LONG_TEXT = 2**16  # characters
# A text can be cut before a space, unless Unicode joins the space and what precedes it into one character (UAX 29).
_BEFORE_SPACE = r"(?<=[^\s\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2\u0d4e\U00011000-\U00011fff])(?= )"
_IDEOGRAPHS = "\u3400-\u4dbf\u4e00-\u9fff"


def in_batches(items: Iterable[tuple[str, ...]]) -> Iterator[list[Any]]:
    """Yield `TEXTS_AT_ONCE` texts or pairs at a time, or fewer as soon as they have `CHARACTERS_AT_ONCE`."""
    batch: list[tuple[str, ...]] = []
    characters = 0
    for item in items:
        batch.append(item)
        characters += sum(len(text) for text in item if isinstance(text, str))  # encoding refuses the others
        if len(batch) >= TEXTS_AT_ONCE or characters >= CHARACTERS_AT_ONCE:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


class Seams:
    """The places at which a tokenizer's texts can be cut so that the parts' ids are the text's.

    Neither normalisation nor splitting looks across a space. Only an added token can contain one, or take the one after
    it; texts are then never cut. WordPiece's words also end between two punctuation marks or ideographs.
    """

    def __init__(self, kind: Kind, added: Collection[AddedToken], *, chinese_chars: bool) -> None:
        """chinese_chars: whether each ideograph is a word of its own."""
        self.kind = kind
        self.spaces_matter = any(" " in token.content or token.rstrip for token in added)
        # Words always end between two punctuation marks or ideographs, unless an added token contains one of them.
        alone = re.escape(string.punctuation) + (_IDEOGRAPHS if chinese_chars else "")
        of_added = re.escape("".join({character for token in added for character in token.content}))
        alone = f"(?:(?![{of_added}])[{alone}])"
        between_words = f"(?<={alone})(?={alone})"
        self.between_words = re.compile(between_words)
        self.anywhere = re.compile(f"{_BEFORE_SPACE}|{between_words}" if kind == "wordpiece" else _BEFORE_SPACE)

    def parts(self, text: str) -> list[str]:
        """Cut `text` at its spaces and, with WordPiece, a long part also between punctuation marks or ideographs."""
        if self.spaces_matter:
            return [text]
        parts = text.split(" ")
        if self.kind == "wordpiece" and len(text) > LONG_TEXT:
            return [piece for part in parts for piece in self._pieces(part)]
        return [parts[0], *(f" {part}" for part in parts[1:])] if self.kind == "bpe" else parts

    def _pieces(self, part: str) -> Iterator[str]:
        """Yield pieces of about `LONG_TEXT` characters, or longer if there is no place to cut."""
        start = 0
        while len(part) - start > LONG_TEXT and (found := self.between_words.search(part, start + LONG_TEXT)):
            yield part[start : found.start()]
            start = found.start()
        yield part[start:]

    def beginning(self, text: str, tokens: int | None, count: Callable[[str], int]) -> str:
        """Return a beginning of `text` with more than `tokens` tokens, which are the text's first; None: all of it.

        count: returns the number of tokens in a text, with [CLS] and [SEP]. A text with no place to cut stays whole.
        """
        if tokens is None or self.spaces_matter or not isinstance(text, str):
            return text
        characters = max(LONG_TEXT, 16 * tokens)
        while len(text) > characters and (seam := self.anywhere.search(text, characters)):
            beginning = text[: seam.start()]
            if LONE_SURROGATE.search(beginning):  # the caller reports it
                break
            if count(beginning) > tokens:
                return beginning
            characters = 4 * seam.start()
        return text
