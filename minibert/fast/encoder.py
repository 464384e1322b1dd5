"""The encoder, computing what its heads look at and no more; and `accelerate`, which makes a plain model a fast one.

The modules stay the same, weights and names too: each becomes an instance of a class with the same equations and
another way to them, `Bert` of this file, `DotProductAttention` of `attention.py`, `Dropout` of `dropout.py`.
"""

from itertools import chain
from typing import TypeVar

import torch
from torch import Tensor, nn

from minibert import model
from minibert.fast.attention import DotProductAttention, is_bare, is_ours
from minibert.fast.dropout import Dropout
from minibert.fast.unpadding import Unpadded
from minibert.model import Block, FeedForward, SelfAttention, check_positions

AnyModule = TypeVar("AnyModule", bound=nn.Module)


class Bert(model.Bert):
    """`minibert.model.Bert`, in less time; under the same name, as it is the same model to all who ask."""

    def begin(
        self, input_ids: Tensor, token_type_ids: Tensor | None, attention_mask: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """As there; under autocast on a CPU, x in its format: else every sublayer would cast its sum anew."""
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
        """As there, but the last block computes these positions alone.

        Where anything of the blocks is not as `minibert.model` has it, or has hooks, all positions are computed.
        """
        if not is_as_written(self):
            return super().states_at(input_ids, positions, token_type_ids=token_type_ids, attention_mask=attention_mask)
        check_positions(positions)
        x, mask = self.begin(input_ids, token_type_ids, attention_mask)
        positions = positions.long()
        # Padding is left out where most time goes, in training on a CPU: a GPU would have to be waited for, to count
        # what is left, and tools that record a model as a graph can't have sizes that depend on its input.
        keys = mask[:, 0, 0] if mask is not None and self.training and x.device.type == "cpu" else None
        layout = Unpadded.of((x.size(0), x.size(1)), keys, positions)
        x = layout.select(x)
        for block in self.blocks[:-1]:
            x = block_at(block, x, mask, layout)
        return block_at(self.blocks[-1], x, mask, layout.returning(positions))


def block_at(block: nn.Module, x: Tensor, mask: Tensor | None, layout: Unpadded) -> Tensor:
    """`Block.forward` with `SelfAttention.forward` in it, on lists of positions: (R, H), (B, 1, 1, T) -> (W, H)"""
    assert isinstance(block, Block)
    attention, residual = block.attention, layout.residual(x)
    projected = layout.pad(attention.query_key_value(x))  # (B, T, 3H)
    query, key, value = map(attention.split_heads, projected.chunk(3, dim=-1))
    context = attention.merge_heads(attention.dot_product(query, key, value, mask))  # (B, T, H)
    x = block.attention_norm(residual + block.dropout(attention.output(layout.select(context))))
    return block.feed_forward_norm(x + block.dropout(block.feed_forward(x)))


FAST: dict[type[nn.Module], type[nn.Module]] = {
    model.Bert: Bert,
    model.DotProductAttention: DotProductAttention,
    nn.Dropout: Dropout,
}


def accelerate(module: AnyModule) -> AnyModule:
    """Makes a model, or a part of one, compute the same in less time; in place, and returns it.

    What it computes agrees with the plain model's within rounding, but for dropout, which draws other masks of the same
    rate. Modules of classes of one's own stay as they are.
    """
    for part in module.modules():
        part.__class__ = FAST.get(type(part), type(part))
    return module


# What may stand in a block that is computed by `block_at`: these treat each position alone, or are asked for the rest.
KNOWN = {
    Bert, nn.ModuleList, Block, SelfAttention, FeedForward, nn.Linear, nn.LayerNorm, nn.GELU, nn.ReLU,
    model.DotProductAttention, DotProductAttention, nn.Dropout, Dropout,
}  # fmt: skip


def is_as_written(encoder: Bert) -> bool:
    """Whether nothing was attached to the encoder's blocks or put in their place, that a full pass alone would call.

    A class can say of itself, by `is_position_wise`, that it treats each position alone.
    """
    # These three are not called when some positions alone are computed.
    return all(map(is_ours, (Bert.forward, Block.forward, SelfAttention.forward))) and all(
        (type(module) in KNOWN or getattr(module, "is_position_wise", False)) and is_bare(module)
        for module in chain([encoder], encoder.blocks.modules())
    )
