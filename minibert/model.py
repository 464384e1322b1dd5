"""BERT's encoder, written out: embeddings, self-attention, feed-forward, block, and the stack of blocks.

Read downward; parts stand before what is made of them.
Devlin et al. 2018, "BERT" (arXiv 1810.04805); Vaswani et al. 2017, "Attention Is All You Need" (arXiv 1706.03762).
Its relatives are the same code with other fields in their config; where one differs, its name stands beside the line.

One legend for shapes everywhere: B batch, T tokens in a sequence, H hidden, N heads, D = H/N, V vocabulary,
M masked positions in the batch, L layers, R positions that a block is given and W that it returns (see
`minibert.fast.unpadding`; usually all B·T), E the width of the embeddings, which is H but in ALBERT.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minibert.config import BertConfig, TextVectors
from minibert.errors import InputError
from minibert.fast.dropout import Dropout
from minibert.fast.unpadding import PADDED, Layout, Unpadded


class Embeddings(nn.Module):
    """Token, learned position and segment embeddings, summed, normalised, dropped (BERT section 3, figure 2)."""

    segment: nn.Embedding | None  # DistilBERT has none
    projection: nn.Linear | None  # ALBERT alone has one (Lan et al. 2019, section 3.1, "factorized embedding")

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        width, self.not_counted = config.embedding_width, config.padding_without_position
        self.token = nn.Embedding(config.vocab_size, width, padding_idx=config.pad_token_id)
        self.position = nn.Embedding(config.max_position_embeddings, width, padding_idx=self.not_counted)
        self.segment = nn.Embedding(config.type_vocab_size, width) if config.type_vocab_size else None
        self.norm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.dropout = Dropout(config.hidden_dropout_prob)
        self.projection = nn.Linear(width, config.hidden_size) if config.embedding_size else None

    def forward(self, input_ids: Tensor, *, token_type_ids: Tensor) -> Tensor:
        """(B, T), (B, T) -> (B, T, H)"""
        x = self.token(input_ids) + self.position(position_ids(input_ids, self.not_counted))
        if self.segment is not None:
            x = x + self.segment(token_type_ids)
        x = self.dropout(self.norm(x))  # (B, T, E)
        return x if self.projection is None else self.projection(x)


def position_ids(input_ids: Tensor, pad_token_id: int | None) -> Tensor:
    """Which row of the position table each token gets.

    BERT, where `pad_token_id` is None, counts places from 0: (B, T) -> (T,). RoBERTa counts tokens that are no padding,
    the first one as `pad_token_id` + 1, and gives padding the row `pad_token_id`: (B, T) -> (B, T).
    """
    if pad_token_id is None:
        return torch.arange(input_ids.size(1), device=input_ids.device)
    is_token = input_ids != pad_token_id
    return pad_token_id + is_token.cumsum(1) * is_token


class DotProductAttention(nn.Module):
    """softmax(QKᵀ / √D) V (Vaswani et al. 2017, equation 1). The one place that decides how attention is computed.

    It has no weights; being a module, it can be looked at from outside (see `minibert.tracing`).
    """

    def __init__(self, dropout_prob: float) -> None:
        super().__init__()
        self.dropout = Dropout(dropout_prob)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        """By PyTorch's fused kernel where that is the fast way.

        query, key, value: (B, N, T, D); mask: (B, 1, 1, T) bool, True where a key may be looked at, or None.
        Returns (B, N, T, D).
        """
        dropped = self.dropout.p if self.training else 0.0
        if query.device.type == "cpu" and (dropped or (query.requires_grad and query.dtype == torch.bfloat16)):
            # The fused kernel can't drop there, and its backward pass in bfloat16 takes several times as long as plain
            # matrix products (torch 2.13).
            return self.written_out(query, key, value, mask)[0]
        if query.device.type == "cpu" and query.size(0) > 1:  # of a single text, the copies cost what is saved
            key, value, mask = filled_up(key, value, mask)
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropped)

    def written_out(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """The same, step by step.

        Returns what `forward` returns, (B, N, T, D), and the probabilities before dropout, (B, N, T, T): row q, column
        k is how much token q looks at token k.
        """
        scores = (query / math.sqrt(query.size(-1))) @ key.transpose(-2, -1)  # (B, N, T, T)
        if mask is not None:
            scores = scores + torch.zeros_like(mask, dtype=scores.dtype).masked_fill(~mask, -math.inf)
        probabilities = scores.softmax(dim=-1)
        return self.dropout(probabilities) @ value, probabilities


def filled_up(
    key: Tensor, value: Tensor, mask: Tensor | None, multiple: int = 16
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Keys and values up to a multiple of 16, with a mask that hides what was added: (B, N, T, D) -> (B, N, T', D).

    The processor's fused kernel takes a query's scores 16 at a time, and those left over one by one (torch 2.13): of 15
    keys it needs three times as long as of 16.
    """
    length = key.size(-2)
    added = -length % multiple
    if not added:
        return key, value, mask
    if mask is None:
        mask = torch.ones(1, 1, 1, length, dtype=torch.bool)
    return F.pad(key, (0, 0, 0, added)), F.pad(value, (0, 0, 0, added)), F.pad(mask, (0, added))


class SelfAttention(nn.Module):
    """Multi-head self-attention (Vaswani et al. 2017, section 3.2.2); one matrix makes query, key and value."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.query_key_value = nn.Linear(config.hidden_size, 3 * config.hidden_size)
        self.dot_product = DotProductAttention(config.attention_probs_dropout_prob)
        self.output = nn.Linear(config.hidden_size, config.hidden_size)
        self.num_heads = config.num_attention_heads

    def forward(self, x: Tensor, mask: Tensor | None, layout: Layout = PADDED) -> Tensor:
        """(B, T, H), (B, 1, 1, T) -> (B, T, H); unpadded (R, H), (B, 1, 1, T) -> (W, H)"""
        query, key, value = self.project(x, layout)
        return self.merge(self.dot_product(query, key, value, mask), layout)

    def project(self, x: Tensor, layout: Layout = PADDED) -> tuple[Tensor, Tensor, Tensor]:
        """Query, key and value of each head: (B, T, H), or (R, H) -> three of (B, N, T, D)."""
        query, key, value = layout.pad(self.query_key_value(x)).chunk(3, dim=-1)
        return self.split_heads(query), self.split_heads(key), self.split_heads(value)

    def split_heads(self, x: Tensor) -> Tensor:
        """(B, T, H) -> (B, N, T, D)"""
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)

    def merge(self, context: Tensor, layout: Layout = PADDED) -> Tensor:
        """The heads side by side, then the output projection: (B, N, T, D) -> (B, T, H), or (W, H)."""
        return self.output(layout.select(context.transpose(1, 2).flatten(-2)))


ACTIVATION_MODULES: dict[str, nn.Module] = {
    "gelu": nn.GELU(),
    "gelu_new": nn.GELU(approximate="tanh"),
    "relu": nn.ReLU(),
}


class FeedForward(nn.Module):
    """Two dense layers with an activation between, at each position alone (Vaswani et al. 2017, section 3.3)."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.inner = nn.Linear(config.hidden_size, config.intermediate_size)
        self.activation = ACTIVATION_MODULES[config.hidden_act]
        self.output = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, H) -> (B, T, H)"""
        return self.output(self.activation(self.inner(x)))


class Block(nn.Module):
    """One layer: each sublayer's output is dropped, added to its input, and the sum normalised (post-norm)."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.attention = SelfAttention(config)
        self.attention_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.feed_forward = FeedForward(config)
        self.feed_forward_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = Dropout(config.hidden_dropout_prob)

    def forward(self, x: Tensor, mask: Tensor | None, layout: Layout = PADDED) -> Tensor:
        """(B, T, H), (B, 1, 1, T) -> (B, T, H); unpadded (R, H), (B, 1, 1, T) -> (W, H)"""
        x = self.attention_norm(layout.residual(x) + self.dropout(self.attention(x, mask, layout)))
        return self.feed_forward_norm(x + self.dropout(self.feed_forward(x)))


class Bert(nn.Module):
    """The encoder: embeddings, then L blocks. Fresh weights are drawn from `generator`."""

    text_vectors: TextVectors | None = None  # how vectors of texts are made of the last block's states, if that is said

    def __init__(self, config: BertConfig, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.config = config
        self.embeddings = Embeddings(config)
        count = config.num_hidden_layers
        # ALBERT's L layers are one and the same block (Lan et al. 2019, section 3.1, "cross-layer parameter sharing").
        blocks = [Block(config)] * count if config.share_layers else [Block(config) for _ in range(count)]
        self.blocks = nn.ModuleList(blocks)
        initialize(self, config.initializer_range, generator)

    @property
    def encoder(self) -> Bert:
        """Itself, so that `model.encoder` is the encoder whatever class a directory holds."""
        return self

    def forward(
        self, input_ids: Tensor, *, token_type_ids: Tensor | None = None, attention_mask: Tensor | None = None
    ) -> Tensor:
        """The last block's output.

        input_ids: (B, T); token_type_ids: (B, T), 0 for segment A, 1 for B, None for all A; to a model of fewer than
        two segments (RoBERTa, DistilBERT) all is A, and the separators alone tell where B begins;
        attention_mask: (B, T) bool, True at real tokens, None when nothing is padded. Returns (B, T, H).

        Raises:
            InputError: shapes or types don't fit, or T is more than the config's `longest`.
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
        """The same at some positions alone, in less time: the last block computes no others.

        positions: (W,) flat, b·T + t, in any order; the rest as in `forward`. Returns (W, H).

        Raises:
            InputError: as `forward`; or positions of another shape or type.
            IndexError: a position outside the batch.
        """
        check_positions(positions)
        x, mask = self.begin(input_ids, token_type_ids, attention_mask)
        positions = positions.long()
        # Padding is left out where most time goes, in training on a CPU: a GPU would have to be waited for, to count
        # what is left, and tools that record a model as a graph can't have sizes that depend on its input.
        keys = mask[:, 0, 0] if mask is not None and self.training and x.device.type == "cpu" else None
        layout = Unpadded.of((x.size(0), x.size(1)), keys, positions)
        x = layout.select(x)
        for block in self.blocks[:-1]:
            x = block(x, mask, layout)
        return self.blocks[-1](x, mask, layout.returning(positions))

    def begin(
        self, input_ids: Tensor, token_type_ids: Tensor | None, attention_mask: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """What the first block is given, (B, T, H), and the keys that may be looked at, (B, 1, 1, T)."""
        token_type_ids = torch.zeros_like(input_ids) if token_type_ids is None else token_type_ids
        check_inputs(self.config, input_ids, token_type_ids, attention_mask)
        if self.config.type_vocab_size < 2:
            token_type_ids = torch.zeros_like(token_type_ids)
        mask = None if attention_mask is None else visible_keys(attention_mask)
        x = self.embeddings(input_ids, token_type_ids=token_type_ids)
        if x.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
            # Once here, or every sublayer would cast its sum anew. (On a GPU LayerNorm returns float32 in any case.)
            x = x.to(torch.get_autocast_dtype("cpu"))
        return x, mask


def check_inputs(config: BertConfig, input_ids: Tensor, token_type_ids: Tensor, attention_mask: Tensor | None) -> None:
    """Shapes and types, once, at the boundary, so that nothing inside has to ask again."""
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
    if attention_mask.dtype != torch.bool:
        raise InputError(f"attention_mask must be bool, True at real tokens, not {attention_mask.dtype}")
    if attention_mask.shape != input_ids.shape:
        raise InputError(
            f"attention_mask has the shape {tuple(attention_mask.shape)}, input_ids {tuple(input_ids.shape)}"
        )


def check_positions(positions: Tensor) -> None:
    """The same for flat positions b·T + t. A mask in their place would be taken for the positions 0 and 1."""
    if positions.ndim != 1:
        raise InputError(f"positions must have the shape (M,), not {tuple(positions.shape)}")
    if positions.dtype not in (torch.int32, torch.int64):
        raise InputError(f"positions must be int64 or int32, not {positions.dtype}")


def visible_keys(attention_mask: Tensor) -> Tensor:
    """(B, T) -> (B, 1, 1, T): which keys every query of a sequence may look at.

    A row without one real token would leave softmax nothing to sum over and give NaN: such a row looks at its padding.
    """
    return (attention_mask | ~attention_mask.any(dim=1, keepdim=True))[:, None, None, :]


def initialize(model: nn.Module, std: float, generator: torch.Generator | None) -> None:
    """Draws weights from N(0, std²), with biases 0, LayerNorm 1 and 0, and the padding token's row 0."""
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=std, generator=generator)
        if isinstance(module, nn.Linear | nn.LayerNorm) and module.bias is not None:
            nn.init.zeros_(module.bias)
        if isinstance(module, nn.LayerNorm):
            nn.init.ones_(module.weight)
        if isinstance(module, nn.Embedding) and module.padding_idx is not None:
            nn.init.zeros_(module.weight[module.padding_idx].detach())
