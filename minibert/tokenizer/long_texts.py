"""Many texts and long ones, in bounded memory: batches of texts, and where a text can be cut without other pieces."""

import re
import string
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any

from tokenizers import AddedToken

from minibert.files.text import LONE_SURROGATE
from minibert.tokenizer.vocabulary import Kind

# So many encodings, of a hundred bytes and more a token, are held in memory; of long texts fewer.
TEXTS_AT_ONCE = 1_000
CHARACTERS_AT_ONCE = 2**20
# A text that is longer is encoded in parts, or only as far as it is asked for: the library takes 70 bytes a character.
LONG_TEXT = 2**16  # characters
# Before a space a text can be cut, unless Unicode makes one character of the space and what stands before it (UAX 29).
_BEFORE_SPACE = r"(?<=[^\s\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2\u0d4e\U00011000-\U00011fff])(?= )"
_IDEOGRAPHS = "\u3400-\u4dbf\u4e00-\u9fff"


def in_batches(items: Iterable[tuple[str, ...]]) -> Iterator[list[Any]]:
    """`TEXTS_AT_ONCE` texts or pairs at a time, of long ones as many as have `CHARACTERS_AT_ONCE`."""
    batch: list[tuple[str, ...]] = []
    characters = 0
    for item in items:
        batch.append(item)
        characters += sum(len(text) for text in item if isinstance(text, str))  # others are refused in encoding
        if len(batch) >= TEXTS_AT_ONCE or characters >= CHARACTERS_AT_ONCE:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


class Seams:
    """Where a tokenizer's texts can be cut: the ids of the parts are those of the text.

    Neither normalisation nor splitting looks across a space. Only an added token can hold one, or take the one behind
    it; then there is no place to cut. WordPiece's words end between two marks or ideographs, too.
    """

    def __init__(self, kind: Kind, added: Collection[AddedToken], *, chinese_chars: bool) -> None:
        """chinese_chars: whether each ideograph is a word of its own."""
        self.kind = kind
        self.spaces_matter = any(" " in token.content or token.rstrip for token in added)
        # Where a word ends by itself: between two marks or ideographs, as long as no added token holds one of them.
        alone = re.escape(string.punctuation) + (_IDEOGRAPHS if chinese_chars else "")
        of_added = re.escape("".join({character for token in added for character in token.content}))
        alone = f"(?:(?![{of_added}])[{alone}])"
        between_words = f"(?<={alone})(?={alone})"
        self.between_words = re.compile(between_words)
        self.anywhere = re.compile(f"{_BEFORE_SPACE}|{between_words}" if kind == "wordpiece" else _BEFORE_SPACE)

    def parts(self, text: str) -> list[str]:
        """`text` cut at its spaces; a long part of WordPiece between marks or ideographs, too."""
        if self.spaces_matter:
            return [text]
        parts = text.split(" ")
        if self.kind == "wordpiece" and len(text) > LONG_TEXT:
            return [piece for part in parts for piece in self._pieces(part)]
        return [parts[0], *(f" {part}" for part in parts[1:])] if self.kind == "bpe" else parts

    def _pieces(self, part: str) -> Iterator[str]:
        """Pieces of about `LONG_TEXT` characters, as far as there are places to cut."""
        start = 0
        while len(part) - start > LONG_TEXT and (found := self.between_words.search(part, start + LONG_TEXT)):
            yield part[start : found.start()]
            start = found.start()
        yield part[start:]

    def beginning(self, text: str, tokens: int | None, count: Callable[[str], int]) -> str:
        """`text`, or as much of it as has more than `tokens` tokens, the first of which are the text's; None: all.

        count: tells how many tokens a text has, [CLS] and [SEP] among them. A text that can be cut nowhere stays whole.
        """
        if tokens is None or self.spaces_matter or not isinstance(text, str):
            return text
        characters = max(LONG_TEXT, 16 * tokens)
        while len(text) > characters and (seam := self.anywhere.search(text, characters)):
            beginning = text[: seam.start()]
            if LONE_SURROGATE.search(beginning):  # which the caller reports
                break
            if count(beginning) > tokens:
                return beginning
            characters = 4 * seam.start()
        return text
