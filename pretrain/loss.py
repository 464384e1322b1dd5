"""The pretraining loss: mean masked-LM loss over chosen tokens plus mean next-sentence loss over pairs.

Both are sums over what this process sees, divided by the counts of the whole global batch: then the losses and
gradients of any number of micro-batches and processes add up to those of one big batch.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minibert.heads import PreTrainingLogits
from pretrain.batches import PretrainBatch


class LossSums(NamedTuple):
    """Sums over one batch; `nsp` and `nsp_right` are 0 for a model without the next-sentence head."""

    mlm: Tensor  # nats, over the M chosen tokens
    nsp: Tensor  # nats, over the B pairs
    mlm_right: Tensor  # how many of the M were answered right
    nsp_right: Tensor


def loss_sums(model: nn.Module, batch: PretrainBatch) -> LossSums:
    """One forward pass, under whatever autocast is active; the losses are computed in float32 or wider."""
    answer = model(
        batch.input_ids,
        token_type_ids=batch.token_type_ids,
        attention_mask=batch.attention_mask,
        masked_positions=batch.masked_positions,
    )
    if not isinstance(answer, PreTrainingLogits):
        mlm, mlm_right = _cross_entropy(answer, batch.masked_labels)
        return LossSums(mlm, torch.zeros_like(mlm), mlm_right, torch.zeros_like(mlm_right))
    mlm, mlm_right = _cross_entropy(answer.mlm, batch.masked_labels)
    nsp, nsp_right = _cross_entropy(answer.nsp, batch.next_sentence_labels)
    return LossSums(mlm, nsp, mlm_right, nsp_right)


def _cross_entropy(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Summed cross-entropy and the number of right answers; every label counts, there is no ignored class."""
    logits = logits if logits.dtype == torch.float64 else logits.float()
    return F.cross_entropy(logits, labels, reduction="sum"), (logits.detach().argmax(-1) == labels).sum()
