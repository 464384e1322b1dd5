"""Texts -> token ids and back: the tokenizer, its vocabulary, and the files that these are kept in."""

from minibert.tokenizer.batch import Batch
from minibert.tokenizer.tokenizer import Tokenizer

__all__ = ["Batch", "Tokenizer"]
