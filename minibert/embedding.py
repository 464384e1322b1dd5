"""Texts -> vectors: one row per text, the mean or maximum of its tokens' last hidden states, or the state of [CLS].

Mean and maximum include [CLS] and [SEP] and exclude padding: Reimers & Gurevych 2019, "Sentence-BERT" (arXiv
1908.10084), section 3.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from minibert.config import TextVectors
from minibert.errors import InputError
from minibert.fast.dropout import without_dropout
from minibert.heads import Model
from minibert.model import Bert
from minibert.tokenizer import Tokenizer
from minibert.tokenizer.batch import pad

Pooling = Literal["mean", "cls", "max"]

BATCH_TOKENS = 2048  # enough to keep a processor busy, few enough to stay in its cache; a GPU is faster with more
SHORTEST_MAX_LENGTH = 3  # [CLS], one token, [SEP]


def embed(
    model: Model,
    tokenizer: Tokenizer,
    texts: Sequence[str] | str,
    *,
    pooling: Pooling | None = None,
    normalize: bool | None = None,
    batch_tokens: int = BATCH_TOKENS,
    max_length: int | None = None,
    progress: bool = False,
) -> NDArray[np.float32]:
    """Return one vector per text, in the order of the texts: (texts, H). A single string is one text.

    pooling: "mean" or "max", in each dimension, of the hidden states of all real tokens, including [CLS] and [SEP], or
    "cls", the state of [CLS]. normalize: scale to length 1, so that a dot product is the cosine. max_length: maximum
    tokens of a text, including [CLS] and [SEP]; the rest is cut off. If None, each is taken from
    `model.encoder.text_vectors`, which a conversion from sentence-transformers sets; without that, it is "mean", False,
    and the model's number of positions. batch_tokens: tokens in a batch, including padding; a longer text gets its own
    batch. progress: show bars on standard error if that is a terminal.

    The model computes on its own device and in its own number format; on a GPU, calling
    `model.to("cuda", torch.bfloat16)` first is fast. The mean is computed in float32.

    Raises InputError if batch_tokens, max_length or pooling is out of range, a text is not valid Unicode, or no pooling
    is given for a model whose own vectors need steps that minibert does not support.
    """
    vectors = text_vectors(model, pooling=pooling, normalize=normalize, max_length=max_length)
    tokenized = tokenize(model, tokenizer, texts, max_length=vectors.max_length, progress=progress)
    return embed_tokenized(model, tokenized, vectors, batch_tokens=batch_tokens, progress=progress)


def text_vectors(
    model: Model, *, pooling: Pooling | None = None, normalize: bool | None = None, max_length: int | None = None
) -> TextVectors:
    """Return how `embed` makes vectors when it is given these arguments; raises its errors about them."""
    said = model.encoder.text_vectors or TextVectors()
    if said.not_done is not None and pooling is None:
        raise InputError(
            f"the vectors of this model need what minibert does not support ({said.not_done}); with --pooling, you get "
            "different ones"
        )
    asked: dict[str, Any] = {"pooling": pooling, "normalize": normalize, "max_length": max_length}
    return replace(said, not_done=None, **{name: value for name, value in asked.items() if value is not None})


class Tokenized(NamedTuple):
    """Texts as token ids, not padded."""

    sequences: list[NDArray[np.int32]]  # (T,) for each text, each with its own T
    cut: int  # number of texts that were longer than max_length
    max_length: int  # tokens, including [CLS] and [SEP]
    pad_id: int


def tokenize(
    model: Model, tokenizer: Tokenizer, texts: Sequence[str] | str, *, max_length: int | None, progress: bool
) -> Tokenized:
    """Do the first half of `embed`: its arguments, its errors."""
    positions = model.config.longest
    max_length = positions if max_length is None else max_length
    if positions < SHORTEST_MAX_LENGTH:
        raise InputError(f"a model of {positions} positions has no room for a text between [CLS] and [SEP]")
    if not SHORTEST_MAX_LENGTH <= max_length <= positions:
        raise InputError(
            f"the max length must be from {SHORTEST_MAX_LENGTH} to {positions}, the model's positions, not {max_length}"
        )
    texts = [texts] if isinstance(texts, str) else texts
    sequences, cut = [], 0
    encoded = tokenizer.encode_whole(texts, tokens=max_length)
    for ids in tqdm(encoded, desc="tokenising", total=len(texts), unit=" texts", disable=None if progress else True):
        if len(ids) > max_length:
            ids, cut = [*ids[: max_length - 1], *ids[-1:]], cut + 1
        sequences.append(np.array(ids, dtype=np.int32))
    return Tokenized(sequences, cut, max_length, tokenizer.pad_id)


@torch.inference_mode()
def embed_tokenized(
    model: Model, tokenized: Tokenized, vectors: TextVectors, *, batch_tokens: int, progress: bool
) -> NDArray[np.float32]:
    """Do the second half of `embed`: its arguments, its errors."""
    if batch_tokens < 1:
        raise InputError(f"a batch must have at least 1 token, not {batch_tokens}")
    encoder = model.encoder
    found = np.empty((len(tokenized.sequences), model.config.hidden_size), dtype=np.float32)
    total = sum(map(len, tokenized.sequences))
    bar = tqdm(desc="embedding", total=total, unit=" tokens", unit_scale=True, disable=None if progress else True)
    with without_dropout(encoder), bar:
        for rows in batches_by_length(tokenized.sequences, batch_tokens):
            sequences = [tokenized.sequences[row] for row in rows]
            pooled = pooled_states(encoder, sequences, tokenized.pad_id, vectors.pooling)
            found[rows] = (F.normalize(pooled, dim=-1) if vectors.normalize else pooled).cpu().numpy()
            bar.update(sum(map(len, sequences)))
    return found


def batches_by_length(sequences: Sequence[NDArray[np.int32]], batch_tokens: int) -> Iterator[NDArray[np.int64]]:
    """Yield the indices of sequences in batches of similar length, so that little is padded: as many as fit into
    `batch_tokens` with their padding, but at least one. The longest come first: a batch too large for memory fails at
    once, and the bar's estimate errs on the slow side.
    """
    order = np.argsort([-len(sequence) for sequence in sequences], kind="stable")
    start = 0
    while start < len(order):
        stop = start + max(1, batch_tokens // len(sequences[order[start]]))
        yield order[start:stop]
        start = stop


def pooled_states(encoder: Bert, sequences: Sequence[NDArray[np.int32]], pad_id: int, pooling: str) -> Tensor:
    """Run one batch through the encoder and pool its hidden states: B sequences -> (B, H) in float32."""
    input_ids, mask = padded(sequences, pad_id, encoder.embeddings.token.weight.device)
    hidden = encoder(input_ids, attention_mask=mask)  # (B, T, H)
    if pooling == "cls":
        return hidden[:, 0].float()
    if pooling == "max":
        return (hidden if mask is None else hidden.masked_fill(~mask[..., None], -torch.inf)).amax(1).float()
    if mask is None:
        return hidden.float().mean(1)
    return (hidden.float() * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)


def padded(sequences: Sequence[NDArray[np.int32]], pad_id: int, device: torch.device) -> tuple[Tensor, Tensor | None]:
    """Pad B sequences to the longest: return ids and, unless all have one length, what is not padding, (B, T) each."""
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    input_ids = pad(sequences, pad_id).to(device)
    if lengths.min() == lengths.max():
        return input_ids, None  # attention is faster without a mask
    return input_ids, (torch.arange(input_ids.size(1)) < lengths[:, None]).to(device)
