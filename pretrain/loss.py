"""The pretraining loss: mean masked-LM loss over chosen tokens plus mean next-sentence loss over pairs.

Both are sums over what this process sees, divided by the counts of the whole global batch: then the losses and
gradients of any number of micro-batches and processes add up to those of one big batch.

M' >= M rows of logits answer M labels: what comes after is filling (see `batches.batch`) and counts for nothing, nor
does, on a GPU, a label that is `NO_LABEL`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minibert.heads import PreTrainingLogits
from pretrain.batches.batch import NO_LABEL, PretrainBatch


class Sums(NamedTuple):
    """Sums over one batch; `nsp` is 0 for a model without the next-sentence head."""

    mlm: Tensor  # over the M chosen tokens
    nsp: Tensor  # over the B pairs


def loss_sums(answer: Tensor | PreTrainingLogits, batch: PretrainBatch) -> Sums:
    """The losses of a model's answer, in float32 or wider: MLM logits (M', V), or with them NSP logits (B, 2)."""
    if isinstance(answer, PreTrainingLogits):
        nsp = _cross_entropy(answer.nsp, batch.next_sentence_labels)
        return Sums(_cross_entropy(answer.mlm, batch.masked_labels), nsp)
    mlm = _cross_entropy(answer, batch.masked_labels)
    return Sums(mlm, torch.zeros_like(mlm))


def right_answers(answer: Tensor | PreTrainingLogits, batch: PretrainBatch) -> Sums:
    """How many of the chosen tokens, and of the pairs, have the right answer as the highest score."""
    mlm_logits = answer.mlm if isinstance(answer, PreTrainingLogits) else answer
    mlm = (mlm_logits[: len(batch.masked_labels)].argmax(-1) == batch.masked_labels).sum()
    if isinstance(answer, PreTrainingLogits):
        return Sums(mlm, (answer.nsp.argmax(-1) == batch.next_sentence_labels).sum())
    return Sums(mlm, torch.zeros_like(mlm))


def predict(model: nn.Module, batch: PretrainBatch) -> Tensor | PreTrainingLogits:
    """One forward pass, under whatever autocast is active."""
    return model(
        batch.input_ids,
        token_type_ids=batch.token_type_ids,
        attention_mask=batch.attention_mask,
        masked_positions=batch.masked_positions,
    )


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Summed; rows beyond the labels don't count. (M', V), (M,) -> scalar"""
    if logits.device.type == "cpu":
        return SummedCrossEntropy.apply(logits, labels)
    return summed_cross_entropy(logits, labels)


def summed_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """For a GPU: PyTorch's own, in float32 or wider; `NO_LABEL` does not count. (M', V), (M,) -> scalar"""
    wide = torch.float64 if logits.dtype == torch.float64 else torch.float32
    return F.cross_entropy(logits[: len(labels)].to(wide), labels, ignore_index=NO_LABEL, reduction="sum")


ROWS_AT_ONCE = 64


class SummedCrossEntropy(torch.autograd.Function):
    """-Σ log softmax(logits)[label], in float32 or wider, with its gradient softmax - one-hot made in the same pass.

    For a CPU: (M, V) numbers are more than its cache holds, and PyTorch's own goes through them seven times, which took
    a quarter of a step of a small BERT. A few rows at a time stay in the cache until loss and gradient are both done.
    Every label counts: there is no ignored class.
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
            # log Σ exp(x) is the highest logit less the log of its probability, which is never small.
            loss += (x.amax(1) - x.gather(1, target)[:, 0]).sum() - probabilities.amax(1).log().sum()
            if gradient is not None:
                gradient[rows] = probabilities.scatter_add_(1, target, x.new_full(target.shape, -1.0))
        if gradient is not None:
            ctx.save_for_backward(gradient)
        return loss

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None]:
        """The gradient of the logits, in their own type."""
        (gradient,) = ctx.saved_tensors
        return gradient.mul_(upstream), None  # in place: PyTorch refuses a second backward pass through it
