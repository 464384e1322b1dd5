"""Longformer's attention without the empty part of the picture: time and memory grow with T·w, not with T².

The sequences of a batch are laid end to end and cut into chunks of c tokens. A chunk attends to its own tokens and to
w/2 on each side, c + w keys, of which a mask hides those that are too far away or belong to another sequence. The
chunks' keys are views that overlap. Global tokens are further keys of every chunk, and as queries they are
computed alone. Shapes: see `minibert.model`; here also S = B·T/c chunks, and G, the most global tokens of a sequence.
"""

from __future__ import annotations

from typing import NamedTuple, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from minibert import windowed
from minibert.fast.attention import is_bare, is_ours
from minibert.model import visible_keys
from minibert.windowed import GLOBAL, LOCAL, PADDING, picture

CHUNK = 128  # tokens, at least: smaller products take as long


class WindowedSelfAttention(windowed.WindowedSelfAttention):
    """A faster `minibert.windowed.WindowedSelfAttention`."""

    def context(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Shapes as in `minibert.windowed.WindowedSelfAttention.context`."""
        assert mask is not None
        own = (self.dot_product, self.global_dot_product, self.query_key_value, self.global_query_key_value)
        # Whoever hooks or replaces them expects the whole picture.
        if not (is_ours(windowed.WindowedSelfAttention.context) and all(map(is_bare, own))):
            return super().context(x, mask)
        tokens = GlobalTokens.of(mask)
        context = self.of_local(x, mask, tokens).masked_fill((mask == PADDING)[..., None], 0)
        if tokens is None:
            return context
        return torch.where((mask == GLOBAL)[..., None], tokens.put(self.of_global(x, mask, tokens), like=x), context)

    def of_local(self, x: Tensor, mask: Tensor, tokens: GlobalTokens | None) -> Tensor:
        """What tokens that are not global gather: (B, T, H), (B, T) -> (B, T, H)"""
        length, aside = x.size(1), self.window // 2
        chunk = chunk_length(length, self.window)
        if chunk == length:
            query, key, value = map(self.split_heads, self.query_key_value(x).chunk(3, dim=-1))
            return self.merge_heads(self.dot_product(query, key, value, picture(mask, self.window)))
        x, mask = F.pad(x, (0, 0, 0, -length % chunk)), F.pad(mask, (0, -length % chunk))
        query, *key_value = self.query_key_value(x).chunk(3, dim=-1)  # (B, T, H), from here on T is a multiple of c
        seen = band(mask, chunk, aside)  # (S, c, c + w)
        near = [overlapping(each, chunk, aside) for each in key_value]  # (S, c + w, H)
        if tokens is not None:
            chunks = mask.size(1) // chunk
            far = [tokens.take(each).repeat_interleave(chunks, 0) for each in key_value]  # (S, G, H)
            near = [torch.cat(both, dim=1) for both in zip(near, far, strict=True)]
            is_there = tokens.is_there.repeat_interleave(chunks, 0)[:, None]  # (S, 1, G)
            seen = torch.cat([seen, is_there.expand(-1, chunk, -1)], dim=-1)
        query, key, value = map(self.split_heads, (query.reshape(-1, chunk, query.size(-1)), *near))  # (S, N, ·, D)
        context = self.merge_heads(self.dot_product(query, key, value, seen[:, None]))  # (S, c, H)
        return context.view(len(x), -1, context.size(-1))[:, :length]

    def of_global(self, x: Tensor, mask: Tensor, tokens: GlobalTokens) -> Tensor:
        """What global tokens gather: (B, T, H), (B, T) -> (B, G, H)"""
        query, key, value = self.global_query_key_value(x).chunk(3, dim=-1)  # (B, T, H)
        query, key, value = map(self.split_heads, (tokens.take(query), key, value))
        return self.merge_heads(self.global_dot_product(query, key, value, visible_keys(mask != PADDING)))


class GlobalTokens(NamedTuple):
    """Where the global tokens of each sequence are; a sequence with fewer than G has others in their place."""

    places: Tensor  # (B, G), different ones in each row
    is_there: Tensor  # (B, G) bool

    @classmethod
    def of(cls, mask: Tensor) -> Self | None:
        """(B, T); None if no token is global"""
        is_global = mask == GLOBAL
        if not is_global.any():
            return None
        most = int(is_global.sum(dim=1).max())
        places = is_global.to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, :most]
        return cls(places, is_global.gather(1, places))

    def take(self, x: Tensor) -> Tensor:
        """(B, T, H) -> (B, G, H)"""
        return x.gather(1, self.places[..., None].expand(-1, -1, x.size(-1)))

    def put(self, x: Tensor, *, like: Tensor) -> Tensor:
        """(B, G, H) -> (B, T, H), 0 elsewhere"""
        return x.new_zeros(like.shape).scatter(1, self.places[..., None].expand_as(x), x)


def chunk_length(length: int, window: int) -> int:
    """Return c for sequences of T tokens; T if a chunk would see nearly everything."""
    chunk = max(CHUNK, window // 2)
    return length if length <= chunk + window // 2 else chunk


def keys_at_once(length: int, window: int) -> int:
    """Return how many keys a query of a sequence of T tokens is multiplied by, without the global ones."""
    chunk = chunk_length(length, window)
    return length if chunk == length else chunk + window


def overlapping(x: Tensor, chunk: int, aside: int) -> Tensor:
    """Return each chunk with what is on both sides of it: (B, T, H) -> (S, c + w, H)"""
    flat = F.pad(x.flatten(0, 1), (0, 0, aside, aside))
    return flat.unfold(0, chunk + 2 * aside, chunk).transpose(1, 2)


def band(mask: Tensor, chunk: int, aside: int) -> Tensor:
    """Return which of its keys in `overlapping` a token attends to: (B, T) -> (S, c, c + w) bool.

    Those are the tokens of its window that are neither padding nor global, and itself, as in `picture`.
    """
    length, device = mask.size(1), mask.device
    key = torch.arange(-aside, chunk + aside, device=device)  # a key's place in its chunk
    distance = key - torch.arange(chunk, device=device)[:, None]  # (c, c + w)
    starts = torch.arange(0, length, chunk, device=device)[:, None]
    is_inside = (starts + key >= 0) & (starts + key < length)  # of the same sequence, (T/c, c + w)
    is_key = (overlapping(mask[..., None], chunk, aside)[..., 0] == LOCAL) & is_inside.repeat(len(mask), 1)
    return ((distance.abs() <= aside) & is_key[:, None]) | (distance == 0)
