"""The gradient of one global batch, whatever the number of micro-batches and processes that it is spread over."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from minibert.heads import BertForMaskedLM, BertForPreTraining
from minibert.training.ceiling import training_operations
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
    operations: float  # of the model's matrix products, forward and backward

    def __add__(self, other: StepSums) -> StepSums:
        return StepSums(*(a + b for a, b in zip(dataclasses.astuple(self), dataclasses.astuple(other), strict=True)))


def accumulate_gradients(
    model: BertForPreTraining | BertForMaskedLM,
    micro_batches: Sequence[PretrainBatch],
    *,
    device: torch.device,
    precision: Precision,
    processes: Processes,
) -> StepSums:
    """Adds the gradient of the global batch's loss to the parameters: this process's parts, and then the others'."""
    masked = sum(len(batch.masked_labels) for batch in micro_batches)
    pairs = sum(len(batch.next_sentence_labels) for batch in micro_batches)
    tokens = sum(batch.tokens for batch in micro_batches)
    positions = sum(batch.positions for batch in micro_batches)
    operations = sum(
        training_operations(model.config, batch.lengths, len(batch.masked_labels)) for batch in micro_batches
    )
    counts = processes.sum((masked, pairs, tokens, positions, operations))  # of the global batch
    mlm, nsp = (torch.zeros((), device=device, dtype=torch.float64) for _ in range(2))
    for batch in micro_batches:
        moved = batch.to(device)
        with precision.autocast():
            sums = loss_sums(predict(model, moved), moved)
        (sums.mlm / counts[0] + sums.nsp / counts[1]).backward()
        mlm += sums.mlm.detach()
        nsp += sums.nsp.detach()
    processes.add_up_gradients(model.parameters())
    return StepSums(*processes.sum((float(mlm), float(nsp))), *counts)
