"""Running a model: its outputs for any number of features, or only the encoder's hidden states."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from finetune.scoring.metrics import gather_in_order
from finetune.tasks.batches import make_batch
from finetune.tasks.task import Example, Feature, Logits, Prediction, Task, TaskBatch
from minibert.heads import TaskModel
from minibert.training.device import Precision
from minibert.training.processes import Processes

SEQUENCES_AT_ONCE = 64  # of up to 512 tokens; of longer ones fewer, so that they need no more memory


def logits_of(model: TaskModel, batch: TaskBatch, precision: Precision) -> Logits:
    """Return the logits of a batch. The encoder runs in the fast number format, the head in that of the parameters;
    only the head runs if the batch has the encoder's hidden states already.

    The head is small, and its logits are compared: in bfloat16, which rounds the third digit, many would be equal.
    """
    hidden = states_of(model, batch, precision) if batch.hidden is None else batch.hidden
    return model.head(hidden.to(precision.parameter_dtype))


def states_of(model: TaskModel, batch: TaskBatch, precision: Precision) -> Tensor:
    """Return the encoder's hidden states (S, 1 or T, H): only the first token's if the head reads no other."""
    with precision.autocast():
        return model.states(batch.input_ids, token_type_ids=batch.token_type_ids, attention_mask=batch.attention_mask)


@dataclass(frozen=True)
class Runtime:
    """The device, the number format and the processes that a model runs on."""

    device: torch.device
    precision: Precision
    processes: Processes


def sequences_at_once(length: int) -> int:
    """Return how many sequences of this many tokens are computed together."""
    return max(1, SEQUENCES_AT_ONCE * 512 // max(length, 512))


def by_length(features: Sequence[Feature]) -> Iterator[NDArray[np.intp]]:
    """Yield the indices of features in groups of similar length, the longest first, so that too little memory shows at
    once. A group has about `sequences_at_once` sequences."""
    order = np.argsort([-feature.length for feature in features], kind="stable")
    sequences = np.array([len(features[number].sequences) for number in order], np.intp)
    share = sequences / np.array([sequences_at_once(features[number].length) for number in order], np.intp)
    group = np.floor(np.cumsum(share) - share)  # by the sequences before it
    for one in np.unique(group):
        yield order[group == one]


def outputs_of(model: TaskModel, task: Task, features: Sequence[Feature], runtime: Runtime) -> list[Any]:
    """Return the model's output for each feature, in evaluation mode."""
    was_training = model.training
    model.eval()
    outputs: list[Any] = [None] * len(features)
    with torch.inference_mode():
        for numbers in by_length(features):
            batch = make_batch([features[number] for number in numbers], task, labelled=False).to(runtime.device)
            answers = task.outputs(logits_of(model, batch, runtime.precision), batch.features)
            for number, answer in zip(numbers, answers, strict=True):
                outputs[number] = answer
    model.train(was_training)
    return outputs


def predictions_of(
    model: TaskModel,
    task: Task[Example, Prediction],
    examples: Sequence[Example],
    features: Sequence[Feature],
    runtime: Runtime,
) -> list[Prediction]:
    """Return the prediction for each example. Every process computes a share of them and receives all."""
    processes = runtime.processes
    mine = range(processes.rank, len(examples), processes.world_size)
    place = {number: index for index, number in enumerate(mine)}
    own = [replace(feature, example=place[feature.example]) for feature in features if feature.example in place]
    predictions = task.predictions([examples[number] for number in mine], own, outputs_of(model, task, own, runtime))
    return gather_in_order(processes, list(zip(mine, predictions, strict=True)))


def with_states(model: TaskModel, task: Task, features: Sequence[Feature], runtime: Runtime) -> list[Feature]:
    """Return the features with the encoder's hidden states: of the first token, or of all if the head reads all.

    They are kept in the number format of the matrix products.
    """
    model.encoder.eval()
    found: list[Feature] = list(features)
    with torch.no_grad():
        for numbers in by_length(features):
            chosen = [features[number] for number in numbers]
            batch = make_batch(chosen, task, labelled=False).to(runtime.device)
            hidden = states_of(model, batch, runtime.precision).to("cpu", runtime.precision.dtype)
            first = 0
            for number, feature in zip(numbers, chosen, strict=True):
                last = first + len(feature.sequences)
                found[number] = replace(feature, hidden=hidden[first:last, : feature.length].clone())
                first = last
    return found
