"""The gradient of one global batch, whatever the number of micro-batches and processes that it is spread over."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from minibert.training.device import Precision
from minibert.training.processes import Processes
from pretrain.batches import PretrainBatch
from pretrain.loss import loss_sums, predict


@dataclass(frozen=True)
class StepSums:
    """Sums over one or more global batches, the same in every process."""

    mlm: float  # nats
    nsp: float  # nats
    masked: float  # chosen tokens
    pairs: float
    tokens: float
    positions: float

    def __add__(self, other: StepSums) -> StepSums:
        return StepSums(*(a + b for a, b in zip(dataclasses.astuple(self), dataclasses.astuple(other), strict=True)))


def accumulate_gradients(
    forward: nn.Module,
    micro_batches: Sequence[PretrainBatch],
    *,
    device: torch.device,
    precision: Precision,
    processes: Processes,
) -> StepSums:
    """Adds the gradient of the global batch's loss to the parameters: this process's part, averaged with the others'.

    `DistributedDataParallel` takes the mean over processes; the loss is a sum of parts, so each part is multiplied by
    their number. Gradients are exchanged once, with the last micro-batch.
    """
    masked = sum(len(batch.masked_labels) for batch in micro_batches)
    pairs = sum(len(batch.next_sentence_labels) for batch in micro_batches)
    tokens = sum(batch.tokens for batch in micro_batches)
    positions = sum(batch.positions for batch in micro_batches)
    counts = processes.sum((masked, pairs, tokens, positions))  # of the global batch
    mlm, nsp = (torch.zeros((), device=device, dtype=torch.float64) for _ in range(2))
    for number, batch in enumerate(micro_batches, start=1):
        together = number == len(micro_batches) or not isinstance(forward, DistributedDataParallel)
        with contextlib.nullcontext() if together else forward.no_sync():  # type: ignore[operator]
            moved = batch.to(device)
            with precision.autocast():
                sums = loss_sums(predict(forward, moved), moved)
            loss = sums.mlm / counts[0] + sums.nsp / counts[1]
            (loss * processes.world_size).backward()
        mlm += sums.mlm.detach()
        nsp += sums.nsp.detach()
    return StepSums(*processes.sum((float(mlm), float(nsp))), *counts)
