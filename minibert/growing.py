"""New words: a token each, in the tokenizer and in the model.

A word that the vocabulary lacks is cut into pieces, and the model has to put its meaning together anew each time it
reads it. As a token it has a row of its own, which training can fill; here is only where that row begins.
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

    word: str  # as it stands in the vocabulary
    token_id: int
    piece_ids: tuple[int, ...]  # what the word was before


class Growth(NamedTuple):
    """What became of the words."""

    added: tuple[NewToken, ...]  # in the order of their ids
    known: tuple[str, ...]  # those that were tokens already


def grow_vocabulary(
    model: Model,
    tokenizer: Tokenizer,
    words: Sequence[str] | str,
    *,
    init: Init = "mean",
    generator: torch.Generator | None = None,
) -> Growth:
    """Makes each word one token and gives the model a row for it; both are changed in place. One string is one word.

    init: a new row is the "mean" of the rows of the pieces that the word was before ([UNK] among them, where that is
    what the model has been shown for it), or "random", N(0, initializer_range²) from `generator`. Rows that the model
    has beyond the tokenizer's last token are used first and written over; only then does `vocab_size` grow. Every other
    row stays as it is, and the decoder stays tied. An optimizer made before does not know the new parameters.

    Raises InputError: no word, one that `Tokenizer.add_tokens` refuses, or one that would still be cut into pieces
    since it holds a token like [MASK]; then nothing has changed.
    """
    words = [words] if isinstance(words, str) else words
    if not words:
        raise InputError("no word to add")
    written = [tokenizer.as_found_in_text(word) for word in words]
    grown = copy.deepcopy(tokenizer)
    grown.add_tokens(written)
    for word, ids in zip(words, grown.encode_words(words), strict=True):
        if len(ids) != 1:
            raise InputError(f"token to add {word!r}: texts would still have it as {' '.join(grown.tokens(ids))}")
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
    """Writes the rows `first`, `first` + 1 and so on, one for each of `added`."""
    embedding = model.encoder.embeddings.token
    if init == "random":
        drawn = torch.randn(len(added), model.config.embedding_width, generator=generator)
        rows = drawn * model.config.initializer_range
    else:
        rows = torch.stack([embedding.weight[list(token.piece_ids)].double().mean(0) for token in added])
    embedding.weight = _with_rows(embedding.weight, rows, first)
    embedding.num_embeddings = len(embedding.weight)
    if isinstance(model, BertForPreTraining | BertForMaskedLM):
        # The mean of the pieces' biases, whatever the rows begin with. With the mean of their rows it makes the word's
        # score the mean of its pieces' scores, in every context: never above the best of them, so that what was likely
        # before stays so. A bias of 0 would not: trained ones are near the logarithm of a token's frequency, far below
        # 0, and a word that the model has never seen would come before all others.
        decoder = model.mlm_head.decoder
        biases = torch.stack([decoder.bias[list(token.piece_ids)].double().mean() for token in added])
        decoder.bias = _with_rows(decoder.bias, biases, first)
        decoder.out_features = len(decoder.bias)
        model.mlm_head.tie(embedding)
    model.config = model.encoder.config = model.config.replace(vocab_size=len(embedding.weight))


def _with_rows(old: Tensor, rows: Tensor, first: int) -> nn.Parameter:
    """(V, ...), (n, ...) -> (at least first + n, ...): `rows` written from the row `first` on, the others kept."""
    new = torch.cat([old[:first], rows.to(old), old[first + len(rows) :]])
    return nn.Parameter(new, requires_grad=old.requires_grad)
