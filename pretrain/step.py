"""The forward and backward pass of one micro-batch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from minibert.fast.cuda_graphs import graphed
from minibert.heads import BertForMaskedLM, BertForPreTraining
from minibert.training.device import Precision
from pretrain.batches.batch import PretrainBatch
from pretrain.loss import Sums, loss_sums, predict

Backward = Callable[[PretrainBatch, Tensor], Sums]


def backward_pass(
    model: BertForPreTraining | BertForMaskedLM, *, device: torch.device, precision: Precision, compiled: bool = False
) -> Backward:
    """A function that adds the gradient of mlm / counts[0] + nsp / counts[1] to the parameters' own. It takes a batch
    and the counts of the global batch, (2,) or more, both on the CPU, and returns the sums, detached. On a GPU its
    kernels are captured.

    compiled: by `torch.compile`, once for all shapes; it takes a minute and a C compiler.
    """
    compute = torch.compile(losses, dynamic=True) if compiled else losses

    def backward(batch: PretrainBatch, counts: Tensor) -> Sums:
        with precision.autocast():
            sums = compute(model, batch)
        (sums.mlm / counts[0] + sums.nsp / counts[1]).backward()
        return Sums(sums.mlm.detach(), sums.nsp.detach())

    return graphed(backward, device)


def losses(model: BertForPreTraining | BertForMaskedLM, batch: PretrainBatch) -> Sums:
    """The loss sums of a batch."""
    return loss_sums(predict(model, batch), batch)
