"""BERT's encoder, written out: embeddings, self-attention, feed-forward, block, and the stack of blocks.

Read from top to bottom: each part comes before what is built from it.
Devlin et al. 2018, "BERT" (arXiv 1810.04805); Vaswani et al. 2017, "Attention Is All You Need" (arXiv 1706.03762).
BERT's relatives are the same code with another config; a line that is only for one of them has its name beside it.

One legend for shapes everywhere: B batch, T tokens in a sequence, H hidden, N heads, D = H/N, V vocabulary,
M masked positions in the batch, L layers, E width of the embeddings, which is H except in ALBERT.

`minibert.fast` makes the same modules fast.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from minibert.config import BertConfig, TextVectors
from minibert.errors import InputError


class Embeddings(nn.Module):
    """Token, learned position and segment embeddings, summed, normalised, dropped (BERT section 3, figure 2)."""

    segment: nn.Embedding | None  # DistilBERT has none
    projection: nn.Linear | None  # only ALBERT has one (Lan et al. 2019, section 3.1, "factorized embedding")

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        width, self.not_counted = config.embedding_width, config.padding_without_position
        self.token = nn.Embedding(config.vocab_size, width, padding_idx=config.pad_token_id)
        self.position = nn.Embedding(config.max_position_embeddings, width, padding_idx=self.not_counted)
        self.segment = nn.Embedding(config.type_vocab_size, width) if config.type_vocab_size else None
        self.norm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.projection = nn.Linear(width, config.hidden_size) if config.embedding_size else None

    def forward(self, input_ids: Tensor, *, token_type_ids: Tensor) -> Tensor:
        """(B, T), (B, T) -> (B, T, H)"""
        x = self.token(input_ids) + self.position(position_ids(input_ids, self.not_counted))
        if self.segment is not None:
            x = x + self.segment(token_type_ids)
        x = self.dropout(self.norm(x))  # (B, T, E)
        return x if self.projection is None else self.projection(x)


def position_ids(input_ids: Tensor, pad_token_id: int | None) -> Tensor:
    """Return the row of the position table for each token.

    BERT counts all tokens from 0: `pad_token_id` is None, (B, T) -> (T,). RoBERTa counts only tokens that are not
    padding, from `pad_token_id` + 1, and gives padding the row `pad_token_id`: (B, T) -> (B, T).
    """
    if pad_token_id is None:
        return torch.arange(input_ids.size(1), device=input_ids.device)
    is_token = input_ids != pad_token_id
    return pad_token_id + is_token.cumsum(1) * is_token


class DotProductAttention(nn.Module):
    """softmax(QKᵀ / √D) V (Vaswani et al. 2017, equation 1). It has no weights, but as a module it can take hooks."""

    def __init__(self, dropout_prob: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout_prob)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        """query, key, value: (B, N, T, D); mask: (B, 1, 1, T) bool, True for keys that may be attended to, or None; a
        Longformer's is (B, 1, T, T), as each token has its own keys.

        Returns (B, N, T, D).
        """
        return self.dropout(self.probabilities(query, key, mask)) @ value

    def probabilities(self, query: Tensor, key: Tensor, mask: Tensor | None) -> Tensor:
        """Row q, column k is how much token q attends to token k: twice (B, N, T, D) -> (B, N, T, T)."""
        scores = (query / math.sqrt(query.size(-1))) @ key.transpose(-2, -1)  # (B, N, T, T)
        if mask is not None:
            scores = scores + torch.where(mask, 0.0, -math.inf).to(scores.dtype)
        return scores.softmax(dim=-1)


class SelfAttention(nn.Module):
    """Multi-head self-attention (Vaswani et al. 2017, section 3.2.2); one matrix computes query, key and value."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.query_key_value = nn.Linear(config.hidden_size, 3 * config.hidden_size)
        self.dot_product = DotProductAttention(config.attention_probs_dropout_prob)
        self.output = nn.Linear(config.hidden_size, config.hidden_size)
        self.num_heads = config.num_attention_heads

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """(B, T, H), (B, 1, 1, T) -> (B, T, H)"""
        return self.output(self.context(x, mask))

    def context(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """What each head has gathered from the other tokens, side by side: (B, T, H), (B, 1, 1, T) -> (B, T, H)"""
        query, key, value = map(self.split_heads, self.query_key_value(x).chunk(3, dim=-1))
        return self.merge_heads(self.dot_product(query, key, value, mask))

    def split_heads(self, x: Tensor) -> Tensor:
        """(B, T, H) -> (B, N, T, D)"""
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)

    def merge_heads(self, context: Tensor) -> Tensor:
        """(B, N, T, D) -> (B, T, H), the heads side by side"""
        return context.transpose(1, 2).flatten(-2)


def self_attention(config: BertConfig, layer: int) -> SelfAttention:
    """Return the attention of one layer: over all tokens, or in a Longformer over a window around each."""
    if config.attention_window is None:
        return SelfAttention(config)
    from minibert.windowed import WindowedSelfAttention  # here, since it is built from the parts above

    return WindowedSelfAttention(config, config.attention_window[layer])


# Each call makes a new module: if two blocks shared one, both would call its hooks.
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "gelu": nn.GELU,
    "gelu_new": partial(nn.GELU, approximate="tanh"),
    "relu": nn.ReLU,
}


class FeedForward(nn.Module):
    """Two dense layers with an activation between, at each position separately (Vaswani et al. 2017, section 3.3)."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.inner = nn.Linear(config.hidden_size, config.intermediate_size)
        self.activation = ACTIVATIONS[config.hidden_act]()
        self.output = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, H) -> (B, T, H)"""
        return self.output(self.activation(self.inner(x)))


class Block(nn.Module):
    """One layer: each sublayer's output is dropped, added to its input, and the sum normalised (post-norm)."""

    def __init__(self, config: BertConfig, layer: int = 0) -> None:
        super().__init__()
        self.attention = self_attention(config, layer)
        self.attention_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.feed_forward = FeedForward(config)
        self.feed_forward_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """(B, T, H), (B, 1, 1, T) -> (B, T, H)"""
        x = self.attention_norm(x + self.dropout(self.attention(x, mask)))
        return self.feed_forward_norm(x + self.dropout(self.feed_forward(x)))


class Bert(nn.Module):
    """The encoder: embeddings, then L blocks. Fresh weights are drawn from `generator`."""

    text_vectors: TextVectors | None = None  # how the last block's hidden states become vectors of texts, if known

    def __init__(self, config: BertConfig, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.config = config
        self.embeddings = Embeddings(config)
        count = config.num_hidden_layers
        # ALBERT's L layers are one and the same block (Lan et al. 2019, section 3.1, "cross-layer parameter sharing").
        blocks = [Block(config)] * count if config.share_layers else [Block(config, i) for i in range(count)]
        self.blocks = nn.ModuleList(blocks)
        initialize(self, config.initializer_range, generator)

    @property
    def encoder(self) -> Bert:
        """The model itself, so that `model.encoder` is the encoder in every class that a directory can hold."""
        return self

    def forward(
        self, input_ids: Tensor, *, token_type_ids: Tensor | None = None, attention_mask: Tensor | None = None
    ) -> Tensor:
        """The last block's output.

        input_ids: (B, T); token_type_ids: (B, T), 0 for segment A, 1 for B, None for all A; a model with fewer than
        two segments (RoBERTa, DistilBERT) ignores them, and only the separators show where B begins;
        attention_mask: (B, T) bool, True at real tokens, None if nothing is padded; of a Longformer also integers, 0 at
        padding, 1 at other tokens, 2 at global ones, which attend to all tokens, and all to them. Returns (B, T, H).

        Raises InputError if shapes or types are wrong or T is more than the config's `longest`.
        """
        x, mask = self.begin(input_ids, token_type_ids, attention_mask)
        for block in self.blocks:
            x = block(x, mask)
        return x

    def states_at(
        self,
        input_ids: Tensor,
        positions: Tensor,
        *,
        token_type_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
    ) -> Tensor:
        """The last block's output at some positions only, for heads that need no others.

        positions: (M,) flat, b·T + t, in any order; the rest as in `forward`. Returns (M, H).

        Raises InputError as `forward` does, or if positions have the wrong shape or type, and IndexError if one is
        outside the batch.
        """
        check_positions(positions)
        states = self(input_ids, token_type_ids=token_type_ids, attention_mask=attention_mask)
        return states.flatten(0, 1).index_select(0, positions)

    def begin(
        self, input_ids: Tensor, token_type_ids: Tensor | None, attention_mask: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Return the first block's input, (B, T, H), and the mask of keys that may be attended to, (B, 1, 1, T).

        The mask of a Longformer is (B, T) int8: 0 at padding, 1 at other tokens, 2 at global ones.
        """
        token_type_ids = torch.zeros_like(input_ids) if token_type_ids is None else token_type_ids
        check_inputs(self.config, input_ids, token_type_ids, attention_mask)
        if self.config.type_vocab_size < 2:
            token_type_ids = torch.zeros_like(token_type_ids)
        mask = attention_mask
        if self.config.attention_window is not None:
            mask = (torch.ones_like(input_ids) if mask is None else mask).to(torch.int8)
        elif mask is not None:
            mask = visible_keys(mask)
        return self.embeddings(input_ids, token_type_ids=token_type_ids), mask


def check_inputs(config: BertConfig, input_ids: Tensor, token_type_ids: Tensor, attention_mask: Tensor | None) -> None:
    """Check shapes and types once, at the boundary, so that nothing inside has to; raises InputError."""
    if input_ids.ndim != 2:
        raise InputError(f"input_ids must have the shape (B, T), not {tuple(input_ids.shape)}")
    if input_ids.size(1) > config.longest:
        raise InputError(f"{input_ids.size(1)} tokens, but the model has {config.longest} positions")
    for name, ids in (("input_ids", input_ids), ("token_type_ids", token_type_ids)):
        if ids.dtype not in (torch.int32, torch.int64):
            raise InputError(f"{name} must be int64 or int32, not {ids.dtype}")
    if token_type_ids.shape != input_ids.shape:
        raise InputError(
            f"token_type_ids have the shape {tuple(token_type_ids.shape)}, input_ids {tuple(input_ids.shape)}"
        )
    if attention_mask is None:
        return
    is_integer = not (attention_mask.is_floating_point() or attention_mask.dtype == torch.bool)
    if config.attention_window is not None and is_integer:
        if not torch.isin(attention_mask, attention_mask.new_tensor([0, 1, 2])).all():
            raise InputError("attention_mask must be 0 at padding, 1 at other tokens and 2 at global ones")
    elif attention_mask.dtype != torch.bool:
        raise InputError(f"attention_mask must be bool, True at real tokens, not {attention_mask.dtype}")
    if attention_mask.shape != input_ids.shape:
        raise InputError(
            f"attention_mask has the shape {tuple(attention_mask.shape)}, input_ids {tuple(input_ids.shape)}"
        )


def check_positions(positions: Tensor) -> None:
    """Check flat positions b·T + t, as `check_inputs`. A bool mask would be taken for the positions 0 and 1."""
    if positions.ndim != 1:
        raise InputError(f"positions must have the shape (M,), not {tuple(positions.shape)}")
    if positions.dtype not in (torch.int32, torch.int64):
        raise InputError(f"positions must be int64 or int32, not {positions.dtype}")


def visible_keys(attention_mask: Tensor) -> Tensor:
    """Return which keys every query of a sequence may attend to: (B, T) -> (B, 1, 1, T).

    Without any real token softmax would have nothing to sum over and give NaN: such a sequence attends to its padding.
    """
    return (attention_mask | ~attention_mask.any(dim=1, keepdim=True))[:, None, None, :]


def initialize(model: nn.Module, std: float, generator: torch.Generator | None) -> None:
    """Draw weights from N(0, std²) and set biases to 0, LayerNorm to 1 and 0, and the padding token's row to 0."""
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=std, generator=generator)
        if isinstance(module, nn.Linear | nn.LayerNorm) and module.bias is not None:
            nn.init.zeros_(module.bias)
        if isinstance(module, nn.LayerNorm):
            nn.init.ones_(module.weight)
        if isinstance(module, nn.Embedding) and module.padding_idx is not None:
            nn.init.zeros_(module.weight[module.padding_idx].detach())
