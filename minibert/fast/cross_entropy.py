"""Cross-entropy over a large vocabulary, summed over targets: -Σ log softmax(logits)[label]."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

IGNORED = -100  # a label that does not count, on a GPU


def summed_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the sum in float32 or wider; rows beyond the labels are ignored. (M', V), (M,) -> scalar"""
    return SummedCrossEntropy.apply(logits, labels) if logits.device.type == "cpu" else by_pytorch(logits, labels)


def by_pytorch(logits: Tensor, labels: Tensor) -> Tensor:
    """Do the same on a GPU, where `IGNORED` labels don't count either."""
    wide = torch.float64 if logits.dtype == torch.float64 else torch.float32
    return F.cross_entropy(logits[: len(labels)].to(wide), labels, ignore_index=IGNORED, reduction="sum")


ROWS_AT_ONCE = 64


class SummedCrossEntropy(torch.autograd.Function):
    """-Σ log softmax(logits)[label], in float32 or wider; the gradient, softmax - one-hot, is made in the same pass.

    For a CPU: (M, V) numbers are more than its cache holds, and PyTorch's own function reads them seven times, which
    took a quarter of a step of a small BERT. A few rows at a time stay in the cache until both loss and gradient are
    done. Every label counts: there is no ignored class.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor) -> Tensor:
        """(M', V), (M,) -> scalar"""
        wide = torch.float64 if logits.dtype == torch.float64 else torch.float32
        loss = torch.zeros((), dtype=wide, device=logits.device)
        gradient = torch.empty_like(logits) if ctx.needs_input_grad[0] else None
        if gradient is not None:
            gradient[len(labels) :] = 0
        for start in range(0, len(labels), ROWS_AT_ONCE):
            rows = slice(start, min(start + ROWS_AT_ONCE, len(labels)))
            x = logits[rows].to(wide)
            target = labels[rows, None]
            probabilities = x.softmax(1)
            # log Σ exp(x) is the highest logit minus the log of its probability, which is never tiny.
            loss += (x.amax(1) - x.gather(1, target)[:, 0]).sum() - probabilities.amax(1).log().sum()
            if gradient is not None:
                gradient[rows] = probabilities.scatter_add_(1, target, x.new_full(target.shape, -1.0))
        if gradient is not None:
            ctx.save_for_backward(gradient)
        return loss

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None]:
        """Return the gradient with respect to the logits, in their type."""
        (gradient,) = ctx.saved_tensors
        return gradient.mul_(upstream), None  # safe in place: PyTorch refuses a second backward pass
