"""The forward and backward pass of a micro-batch, as the machine runs it: captured or compiled on a GPU."""

from collections.abc import Callable

import torch
from torch import Tensor

from minibert.fast.cuda_graphs import graphed
from minibert.training.device import Precision
from pretrain.batches.batch import PretrainBatch
from pretrain.loss import BatchSums, loss_sums, predict
from pretrain.setup import PretrainModel


def backward_pass(
    model: PretrainModel, *, device: torch.device, precision: Precision, compiled: bool = False
) -> Callable[[PretrainBatch, Tensor], BatchSums]:
    """Return the forward and backward pass as a function of a micro-batch and the counts of the global batch, both on
    the CPU. It adds the gradient of mlm / counts[0] + nsp / counts[1] to the parameters' own and returns the sums,
    detached. On a GPU its kernels are captured, except those of a Longformer: its attention looks where global tokens
    are before it goes on.

    compiled: by `torch.compile`, once for all shapes, which takes a minute and a C compiler.
    """
    compute = torch.compile(losses, dynamic=True) if compiled else losses

    def backward(batch: PretrainBatch, counts: Tensor) -> BatchSums:
        with precision.autocast():
            sums = compute(model, batch)
        (sums.mlm / counts[0] + sums.nsp / counts[1]).backward()
        return BatchSums(sums.mlm.detach(), sums.nsp.detach())

    return graphed(backward, device, at_most=None if model.config.attention_window is None else 0)


def losses(model: PretrainModel, batch: PretrainBatch) -> BatchSums:
    """Return the loss sums of a batch."""
    return loss_sums(predict(model, batch), batch)
