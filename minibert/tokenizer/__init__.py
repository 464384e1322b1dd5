"""The tokenizer (texts to token ids and back), its vocabulary, and the files that store them."""

from minibert.tokenizer.batch import Batch
from minibert.tokenizer.tokenizer import Tokenizer

__all__ = ["Batch", "Tokenizer"]
