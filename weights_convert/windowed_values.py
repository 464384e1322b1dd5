"""The values of the reference's Longformer in minibert's shapes.

The reference pads a batch to a multiple of its window (here T' tokens), projects (T', B, H), and divides queries by
√D in place. Of its attention it keeps only what is not empty: of each token's row the w + 1 keys of its window, after
the G global ones, and of global tokens their rows alone; G is the largest number of them in a sequence of the batch.
"""

import math
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from minibert.config import BertConfig
from minibert.verification.names import stacked_part
from minibert.verification.samples import Sample


def in_our_shape(name: str, x: Tensor, sample: Sample) -> Tensor:
    """Return one of the reference's intermediates, or what its module was given, by minibert's name for it; heads are
    not yet split, (B, T, H). Where minibert doesn't use it either (see `Sample.uses`), it is 0.
    """
    assert sample.global_tokens is not None
    put = partial(_put, is_global=sample.global_tokens)
    length, last = sample.real.size(1), name.rpartition(".")[2]
    match last:
        case "probabilities":  # (B, T', N, G + w + 1)
            return _from_band(x[:, :length].transpose(1, 2), sample.global_tokens)
        case "global_probabilities":  # (B, N, G, T')
            return put(x[..., :length].transpose(1, 2)).transpose(1, 2)
        case "global_query":  # (G, B, H)
            return put(x.transpose(0, 1))
        case _ if stacked_part(name):  # (T', B, H)
            return x.transpose(0, 1)[:, :length]
        case _:
            return x[:, :length] if x.ndim == 3 else x


def undivided(name: str, value: Tensor, config: BertConfig) -> Tensor:
    """Return a value as its module made it: the reference then divides queries by √D, in the same memory."""
    is_query = name.rpartition(".")[2] in ("query", "global_query")
    return value * math.sqrt(config.hidden_size // config.num_attention_heads) if is_query else value


def _put(x: Tensor, *, is_global: Tensor) -> Tensor:
    """Put what belongs to each sequence's global tokens in their places: (B, G, …), (B, T) -> (B, T, …), 0 elsewhere"""
    placed = x.new_zeros(*is_global.shape, *x.shape[2:])
    is_there = torch.arange(x.size(1), device=x.device) < is_global.sum(dim=1, keepdim=True)  # (B, G)
    placed[is_global] = x[is_there]
    return placed


def _from_band(rows: Tensor, is_global: Tensor) -> Tensor:
    """Return how much each token attends to each: (B, N, T, G + w + 1), (B, T) -> (B, N, T, T)"""
    length, most = is_global.size(1), int(is_global.sum(dim=1).max())
    window = rows.size(-1) - most - 1
    places = torch.arange(length, device=rows.device)[:, None] + torch.arange(window + 1, device=rows.device)
    whole = rows.new_zeros(*rows.shape[:3], length + window)  # with w/2 columns on each side, which no token has
    whole.scatter_(-1, places.expand_as(rows[..., most:]), rows[..., most:])
    columns = _put(rows[..., :most].permute(0, 3, 1, 2), is_global=is_global)  # (B, T, N, T), key before query
    return F.pad(whole, (-(window // 2), -(window // 2))) + columns.permute(0, 2, 3, 1)
