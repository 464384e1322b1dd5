"""Adding words to the vocabulary: each becomes one token, in the tokenizer and in the model.

A word that is not in the vocabulary is cut into pieces, and the model has to combine their meanings each time. As one
token, the word has its own row in the embedding, which training can fill; this module gives the row its first value.
"""

import copy
from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from minibert.errors import InputError
from minibert.heads import BertForMaskedLM, BertForPreTraining, Model
from minibert.tokenizer import Tokenizer

Init = Literal["mean", "random"]


class NewToken(NamedTuple):
    """A word that became a token."""

    word: str  # as written in the vocabulary
    token_id: int
    piece_ids: tuple[int, ...]  # what the word was cut into before


class Growth(NamedTuple):
    """The result of `grow_vocabulary`."""

    added: tuple[NewToken, ...]  # in the order of their ids
    known: tuple[str, ...]  # words that were tokens already


def grow_vocabulary(
    model: Model,
    tokenizer: Tokenizer,
    words: Sequence[str] | str,
    *,
    init: Init = "mean",
    generator: torch.Generator | None = None,
) -> Growth:
    """Make each word one token and give the model a row for it; both change in place. A single string is one word.

    init: the "mean" of the rows of the pieces that the word was cut into so far (or of [UNK], if the tokenizer gave
    that), or "random", drawn from N(0, initializer_range²) with `generator`. Rows that the model has beyond the
    tokenizer's last token are overwritten first; only then does `vocab_size` grow. All other rows keep their values,
    and the decoder stays tied. An optimizer made earlier does not know the new parameters.

    Raises InputError, changing nothing, if there is no word, if `Tokenizer.add_tokens` refuses one, or if one would
    still be cut into pieces because it contains a token like [MASK].
    """
    words = [words] if isinstance(words, str) else words
    if not words:
        raise InputError("no word to add")
    written = [tokenizer.as_found_in_text(word) for word in words]
    grown = copy.deepcopy(tokenizer)
    grown.add_tokens(written)
    for word, ids in zip(words, grown.encode_words(words), strict=True):
        if len(ids) != 1:
            raise InputError(f"token to add {word!r}: it would still be cut into {' '.join(grown.tokens(ids))}")
    was = dict(zip(written, tokenizer.encode_words(written), strict=True))
    now = dict(zip(written, grown.encode_words(written), strict=True))
    first = tokenizer.vocab_size
    added = tuple(NewToken(word, ids[0], tuple(was[word])) for word, ids in now.items() if ids[0] >= first)
    known = tuple(word for word, ids in now.items() if ids[0] < first)
    if added:
        _write_rows(model, added, first=first, init=init, generator=generator)
    tokenizer.add_tokens(written)
    return Growth(added, known)


@torch.no_grad()
def _write_rows(
    model: Model, added: Sequence[NewToken], *, first: int, init: Init, generator: torch.Generator | None
) -> None:
    """Write the rows `first`, `first` + 1 and so on, one for each of `added`."""
    embedding = model.encoder.embeddings.token
    if init == "random":
        drawn = torch.randn(len(added), model.config.embedding_width, generator=generator)
        rows = drawn * model.config.initializer_range
    else:
        rows = torch.stack([embedding.weight[list(token.piece_ids)].double().mean(0) for token in added])
    embedding.weight = _with_rows(embedding.weight, rows, first)
    embedding.num_embeddings = len(embedding.weight)
    if isinstance(model, BertForPreTraining | BertForMaskedLM):
        # The bias is the mean of the pieces' biases, whatever `init` is. Together with the mean of their rows, it makes
        # the word's score the mean of its pieces' scores in every context: never above the best of them, so likely
        # tokens stay likely. With a bias of 0, a word that the model has never seen would be its first prediction:
        # trained biases are near the logarithm of a token's frequency, far below 0.
        decoder = model.mlm_head.decoder
        biases = torch.stack([decoder.bias[list(token.piece_ids)].double().mean() for token in added])
        decoder.bias = _with_rows(decoder.bias, biases, first)
        decoder.out_features = len(decoder.bias)
        model.mlm_head.tie(embedding)
    model.config = model.encoder.config = model.config.replace(vocab_size=len(embedding.weight))


def _with_rows(old: Tensor, rows: Tensor, first: int) -> nn.Parameter:
    """Return `old` with `rows` written from row `first` on: (V, ...), (n, ...) -> (at least first + n, ...)."""
    new = torch.cat([old[:first], rows.to(old), old[first + len(rows) :]])
    return nn.Parameter(new, requires_grad=old.requires_grad)
