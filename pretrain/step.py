"""The gradient of one global batch, whatever the number of micro-batches and processes that it is spread over."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from minibert.fast.cuda_graphs import Replayed
from minibert.heads import BertForMaskedLM, BertForPreTraining
from minibert.training.device import Precision
from minibert.training.flops import training_operations
from minibert.training.processes import Processes
from pretrain.batches.batch import PretrainBatch
from pretrain.loss import NO_LABEL, Sums, loss_sums, predict


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


class Pass:
    """The forward and backward pass of one micro-batch. On a GPU its kernels are recorded and replayed."""

    def __init__(
        self,
        model: BertForPreTraining | BertForMaskedLM,
        *,
        device: torch.device,
        precision: Precision,
        compiled: bool = False,
    ) -> None:
        """compiled: by `torch.compile`, once for all shapes; it takes a minute and a C compiler."""
        self.model = model
        self.device = device
        self.precision = precision
        self.losses = torch.compile(losses, dynamic=True) if compiled else losses
        self.replayed = Replayed(self.backward, device)

    def __call__(self, batch: PretrainBatch, counts: Tensor) -> Sums:
        """Adds the gradient of mlm / counts[0] + nsp / counts[1] to the parameters' own. Returns the sums, detached.

        counts: (2,) of the global batch, on the CPU.
        """
        return Sums(*self.replayed(counts, *tensors_of(batch, filled=self.device.type == "cuda")))

    def backward(self, counts: Tensor, *tensors: Any) -> tuple[Tensor, ...]:
        """The same, of tensors on the device, which alone decide what is computed."""
        with self.precision.autocast():
            sums = self.losses(self.model, *tensors)
        (sums.mlm / counts[0] + sums.nsp / counts[1]).backward()
        return sums.mlm.detach(), sums.nsp.detach()


def losses(
    model: BertForPreTraining | BertForMaskedLM,
    input_ids: Tensor,
    token_type_ids: Tensor,
    attention_mask: Tensor | None,
    masked_positions: Tensor,
    masked_labels: Tensor,
    next_sentence_labels: Tensor,
) -> Sums:
    """The loss sums of a batch that `tensors_of` took apart."""
    batch = PretrainBatch(
        input_ids,
        token_type_ids,
        attention_mask,
        masked_positions,
        masked_labels,
        next_sentence_labels,
        lengths=(),  # not asked here
    )
    return loss_sums(predict(model, batch), batch)


def tensors_of(batch: PretrainBatch, *, filled: bool) -> tuple[Tensor | None, ...]:
    """The tensors of a batch, in the order of its fields; `filled`: as many labels as masked positions, of which those
    beyond the real ones are `NO_LABEL`, so that batches have few shapes.
    """
    labels = batch.masked_labels
    if filled:
        labels = F.pad(labels, (0, len(batch.masked_positions) - len(labels)), value=NO_LABEL)
    return (
        batch.input_ids,
        batch.token_type_ids,
        batch.attention_mask,
        batch.masked_positions,
        labels,
        batch.next_sentence_labels,
    )


def accumulate_gradients(run: Pass, micro_batches: Sequence[PretrainBatch], *, processes: Processes) -> StepSums:
    """Adds the gradient of the global batch's loss to the parameters: this process's parts, and then the others'."""
    masked = sum(len(batch.masked_labels) for batch in micro_batches)
    pairs = sum(len(batch.next_sentence_labels) for batch in micro_batches)
    tokens = sum(batch.tokens for batch in micro_batches)
    positions = sum(batch.positions for batch in micro_batches)
    operations = sum(
        training_operations(run.model.config, batch.lengths, len(batch.masked_labels)) for batch in micro_batches
    )
    counts = processes.sum((masked, pairs, tokens, positions, operations))  # of the global batch
    divisors = torch.tensor(counts[:2], dtype=run.precision.parameter_dtype)
    mlm, nsp = (torch.zeros((), device=run.device, dtype=torch.float64) for _ in range(2))
    for batch in micro_batches:
        sums = run(batch, divisors)
        mlm += sums.mlm
        nsp += sums.nsp
    processes.add_up_gradients(run.model.parameters())
    return StepSums(*processes.sum((float(mlm), float(nsp))), *counts)
