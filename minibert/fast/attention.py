"""Attention by PyTorch's fused kernel if that is faster, or else by the plain code."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.module import _has_any_global_hook

from minibert import model
from minibert.fast.dropout import Dropout


class DotProductAttention(model.DotProductAttention):
    """A faster `minibert.model.DotProductAttention`, and the only place that decides which kernel computes it."""

    def forward(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        """Shapes as in `minibert.model.DotProductAttention.forward`."""
        is_own = is_ours(model.DotProductAttention.forward) and is_ours(self.probabilities)
        if not (is_own and type(self.dropout) is Dropout and is_bare(self.dropout)):  # the kernel would skip changes
            return super().forward(query, key, value, mask)
        dropped = self.dropout.p if self.dropout.training else 0.0
        if query.device.type == "cpu" and (dropped or (query.requires_grad and query.dtype == torch.bfloat16)):
            # On a CPU the fused kernel has no dropout, and its backward pass in bfloat16 takes several times as long
            # as plain matrix products (torch 2.13).
            return super().forward(query, key, value, mask)
        if query.device.type == "cpu" and query.size(0) > 1:  # with a single text, the copies cost what they save
            key, value, mask = filled_up(key, value, mask)
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropped)


def filled_up(key: Tensor, value: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """Pad keys and values to a multiple of 16, with a mask that hides the padding: (B, N, T, D) -> (B, N, T', D).

    The CPU's fused kernel computes a query's scores 16 at a time and the remaining ones one by one (torch 2.13): with
    15 keys it takes three times as long as with 16.
    """
    length = key.size(-2)
    added = -length % 16
    if not added:
        return key, value, mask
    if mask is None:
        mask = torch.ones(1, 1, 1, length, dtype=torch.bool)
    return F.pad(key, (0, 0, 0, added)), F.pad(value, (0, 0, 0, added)), F.pad(mask, (0, added))


def is_bare(module: nn.Module) -> bool:
    """Whether a call of a module runs only the `forward` of its class: no hook, no `forward` of the object's own."""
    return not (
        _has_any_global_hook()
        or module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
        or "forward" in vars(module)
    )


def is_ours(method: object) -> bool:
    """Whether a method is minibert's own, not one that replaced it in an object or a class."""
    return getattr(method, "__globals__", {}).get("__name__", "").startswith("minibert.")
