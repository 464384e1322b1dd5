"""The encoder that computes only what its heads need, and `accelerate`, which makes a plain model fast.

The modules, their weights and their names stay the same. Only their classes change, to ones that compute the same
equations faster: `Bert` of this file, `DotProductAttention` of `attention.py`, `Dropout` of `dropout.py`.
"""

from itertools import chain
from typing import TypeVar

import torch
from torch import Tensor, nn

from minibert import model, windowed
from minibert.fast.attention import DotProductAttention, is_bare, is_ours
from minibert.fast.dropout import Dropout
from minibert.fast.unpadding import Unpadded
from minibert.fast.windowed import WindowedSelfAttention
from minibert.model import Block, FeedForward, SelfAttention, check_positions
from minibert.windowed import PADDING

AnyModule = TypeVar("AnyModule", bound=nn.Module)


class Bert(model.Bert):
    """A faster `minibert.model.Bert`, with the same class name: to everything else it is the same model."""

    def begin(
        self, input_ids: Tensor, token_type_ids: Tensor | None, attention_mask: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """As in the plain model, but under autocast on a CPU x is in its format: sublayers need not cast their sums."""
        x, mask = super().begin(input_ids, token_type_ids, attention_mask)
        # On a GPU LayerNorm returns float32 in any case.
        if x.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
            x = x.to(torch.get_autocast_dtype("cpu"))
        return x, mask

    def states_at(
        self,
        input_ids: Tensor,
        positions: Tensor,
        *,
        token_type_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
    ) -> Tensor:
        """As in the plain model, but the last block computes only these positions.

        If a module of the blocks has hooks or is not as `minibert.model` made it, all positions are computed.
        """
        if not is_as_written(self):
            return super().states_at(input_ids, positions, token_type_ids=token_type_ids, attention_mask=attention_mask)
        check_positions(positions)
        x, mask = self.begin(input_ids, token_type_ids, attention_mask)
        positions = positions.long()
        # Padding is left out in training on a CPU, where it costs most: on a GPU, counting the rest would mean waiting
        # for it, and tools that record a model as a graph don't allow sizes that depend on its input.
        keys = None
        if mask is not None and self.training and x.device.type == "cpu":
            keys = mask != PADDING if self.config.attention_window is not None else mask[:, 0, 0]  # (B, T)
        layout = Unpadded.of((x.size(0), x.size(1)), keys, positions)
        x = layout.select(x)
        for block in self.blocks[:-1]:
            x = block_at(block, x, mask, layout)
        return block_at(self.blocks[-1], x, mask, layout.returning(positions))


def block_at(block: nn.Module, x: Tensor, mask: Tensor | None, layout: Unpadded) -> Tensor:
    """Compute `Block.forward`, with `SelfAttention.forward`, on lists of positions: (R, H), mask -> (W, H)"""
    assert isinstance(block, Block)
    attention, residual = block.attention, layout.residual(x)
    if isinstance(attention, windowed.WindowedSelfAttention):
        context = attention.context(layout.pad(x), mask)  # (B, T, H)
    else:
        projected = layout.pad(attention.query_key_value(x))  # (B, T, 3H)
        query, key, value = map(attention.split_heads, projected.chunk(3, dim=-1))
        context = attention.merge_heads(attention.dot_product(query, key, value, mask))  # (B, T, H)
    x = block.attention_norm(residual + block.dropout(attention.output(layout.select(context))))
    return block.feed_forward_norm(x + block.dropout(block.feed_forward(x)))


FAST: dict[type[nn.Module], type[nn.Module]] = {
    model.Bert: Bert,
    model.DotProductAttention: DotProductAttention,
    nn.Dropout: Dropout,
    windowed.WindowedSelfAttention: WindowedSelfAttention,
}


def accelerate(module: AnyModule) -> AnyModule:
    """Make a model, or a part of one, fast: it is changed in place and returned.

    Its results agree with the plain model's within rounding, except that dropout draws different masks, with the same
    rate. Modules of your own classes stay as they are.
    """
    for part in module.modules():
        part.__class__ = FAST.get(type(part), type(part))
    return module


# What a block for `block_at` may consist of: these treat each position separately, or `block_at` does their work.
KNOWN = {
    Bert, nn.ModuleList, Block, SelfAttention, FeedForward, nn.Linear, nn.LayerNorm, nn.GELU, nn.ReLU,
    model.DotProductAttention, DotProductAttention, nn.Dropout, Dropout,
    windowed.WindowedSelfAttention, WindowedSelfAttention,
}  # fmt: skip


def is_as_written(encoder: Bert) -> bool:
    """Whether the encoder's blocks have no hooks and no replaced parts, which only a full pass would call.

    A class can declare, with `is_position_wise`, that it treats each position separately.
    """
    # These are not called when only some positions are computed.
    whole = [Bert.forward, Block.forward, SelfAttention.forward]
    whole += [module.context for module in encoder.blocks.modules() if isinstance(module, SelfAttention)]
    return all(map(is_ours, whole)) and all(
        (type(module) in KNOWN or getattr(module, "is_position_wise", False)) and is_bare(module)
        for module in chain([encoder], encoder.blocks.modules())
    )
