"""Attention by PyTorch's fused kernel where that is the fast way, and else as it is written out."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.module import _has_any_global_hook

from minibert import model
from minibert.fast.dropout import Dropout


class DotProductAttention(model.DotProductAttention):
    """`minibert.model.DotProductAttention`, in less time. The one place that decides which kernel computes it."""

    def forward(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        """Shapes as there."""
        is_own = is_ours(model.DotProductAttention.forward) and is_ours(self.probabilities)
        if not (is_own and type(self.dropout) is Dropout and is_bare(self.dropout)):  # the kernel would call none of it
            return super().forward(query, key, value, mask)
        dropped = self.dropout.p if self.dropout.training else 0.0
        if query.device.type == "cpu" and (dropped or (query.requires_grad and query.dtype == torch.bfloat16)):
            # The fused kernel can't drop there, and its backward pass in bfloat16 takes several times as long as plain
            # matrix products (torch 2.13).
            return super().forward(query, key, value, mask)
        if query.device.type == "cpu" and query.size(0) > 1:  # of a single text, the copies cost what is saved
            key, value, mask = filled_up(key, value, mask)
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropped)


def filled_up(key: Tensor, value: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """Keys and values up to a multiple of 16, with a mask that hides what was added: (B, N, T, D) -> (B, N, T', D).

    The processor's fused kernel takes a query's scores 16 at a time, and those left over one by one (torch 2.13): of 15
    keys it needs three times as long as of 16.
    """
    length = key.size(-2)
    added = -length % 16
    if not added:
        return key, value, mask
    if mask is None:
        mask = torch.ones(1, 1, 1, length, dtype=torch.bool)
    return F.pad(key, (0, 0, 0, added)), F.pad(value, (0, 0, 0, added)), F.pad(mask, (0, added))


def is_bare(module: nn.Module) -> bool:
    """Whether nothing is attached to a module that calling it would call."""
    return not (
        _has_any_global_hook()
        or module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
        or "forward" in vars(module)
    )


def is_ours(method: object) -> bool:
    """Whether a method is minibert's own, and not one that was put in its place, for an object or a whole class."""
    return getattr(method, "__globals__", {}).get("__name__", "").startswith("minibert.")
