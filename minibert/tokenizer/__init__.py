"""Texts -> token ids and back: the tokenizer, its vocabulary, and the files that these are kept in."""

from minibert.tokenizer.tokenizer import Batch, Tokenizer

__all__ = ["Batch", "Tokenizer"]
