"""The gradient of one global batch, whatever the number of micro-batches and processes that it is spread over."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from finetune.forward import Runtime
from finetune.tasks.task import Task, TaskBatch


@dataclass(frozen=True)
class StepSums:
    """Sums over one or more global batches, the same in every process."""

    loss: float
    count: float  # of losses in that sum; 0 of a batch that teaches nothing: words without a piece
    examples: float
    tokens: float

    @property
    def mean_loss(self) -> float:
        """What is learned from; 0 where there is nothing to learn."""
        return self.loss / max(self.count, 1)

    def __add__(self, other: StepSums) -> StepSums:
        return StepSums(*(a + b for a, b in zip(dataclasses.astuple(self), dataclasses.astuple(other), strict=True)))


def accumulate_gradients(
    forward: nn.Module, task: Task, micro_batches: Sequence[TaskBatch], runtime: Runtime
) -> StepSums:
    """Adds the gradient of the global batch's mean loss to the parameters: this process's parts, and then the others'.

    forward: the model as `finetune.forward.caller` gives it.
    """
    losses = sum(task.count(_targets(batch)) for batch in micro_batches)
    examples = sum(len(batch.features) for batch in micro_batches)
    tokens = sum(batch.tokens for batch in micro_batches)
    counts = runtime.processes.sum((losses, examples, tokens))  # of the global batch
    loss_sum = torch.zeros((), device=runtime.device, dtype=torch.float64)
    for batch in micro_batches:
        moved = batch.to(runtime.device)
        loss = task.loss_sum(task.ask(forward, moved), _targets(moved))
        (loss / max(counts[0], 1)).backward()
        loss_sum += loss.detach()
    runtime.processes.add_up_gradients(forward.parameters())
    return StepSums(*runtime.processes.sum([float(loss_sum)]), *counts)


def _targets(batch: TaskBatch) -> Tensor:
    assert batch.targets is not None, "what is trained on has targets"
    return batch.targets
