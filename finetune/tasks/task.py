"""What every task does in its own way: the interface that the training loop, `evaluate` and `predict` use.

An example (a row of data) becomes features (token sequences and a target), features become a batch, the model computes
logits, and the outputs of an example's features become its prediction. Shapes: S sequences in a batch of T tokens each.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from finetune.data.data_options import DataOptions
from finetune.data.splits import hold_out
from finetune.scoring.metrics import ClassFigures, check_metric
from finetune.tasks.loss import PLAIN, ClassLoss
from minibert.errors import InputError
from minibert.files.tally import Tally
from minibert.heads import TaskModel
from minibert.tokenizer import Tokenizer
from minibert.tokenizer.batch import Encoding

Example = TypeVar("Example")
Prediction = TypeVar("Prediction")
Logits = Any  # what the task's model returns: a tensor, or a tuple of tensors


@dataclass(frozen=True, slots=True)
class Feature:
    """An example, or one window of it."""

    example: int  # the index of its example
    sequences: tuple[Encoding, ...]  # one; in multiple choice, one per choice
    target: Any = None  # what the task's `targets` turns into a tensor
    place: Any = None  # what the task needs to build the prediction
    hidden: Tensor | None = None  # (S, T or 1, H): the encoder's output, if it is known already

    @property
    def length(self) -> int:
        """The number of tokens in the longest sequence."""
        return max(len(sequence.ids) for sequence in self.sequences)

    @property
    def tokens(self) -> int:
        """The number of tokens in all sequences."""
        return sum(len(sequence.ids) for sequence in self.sequences)


@dataclass(frozen=True)
class TaskBatch:
    """What one forward and backward pass needs: S sequences, padded to T tokens."""

    features: Sequence[Feature]
    input_ids: Tensor  # (S, T) int64
    token_type_ids: Tensor  # (S, T) int64
    attention_mask: Tensor | None  # (S, T) bool, True at real tokens; None when nothing is padded
    targets: Tensor | None  # in the task's own form; None if the examples are not labelled
    hidden: Tensor | None = None  # (S, T or 1, H): the encoder's output, if it is known already

    @property
    def tokens(self) -> int:
        """The number of tokens without padding, special ones included."""
        return sum(feature.tokens for feature in self.features)

    def to(self, device: torch.device) -> TaskBatch:
        if device.type == "cpu":
            return self
        tensors = {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}
        moved: dict[str, Any] = {name: tensor.to(device, non_blocking=True) for name, tensor in tensors.items()}
        return replace(self, **moved)


class Task(ABC, Generic[Example, Prediction]):
    """One task of the paper. An instance knows the tokenizer, the labels, and how files are read."""

    name: ClassVar[str]
    model_class: ClassVar[type[TaskModel]]
    windowed: ClassVar[bool] = False  # are long texts seen through several windows, not cut?
    first_token_only: ClassVar[bool] = False  # does the head read only the first token's hidden state?

    loss: ClassLoss = PLAIN

    def __init__(self, data_options: Any, tokenizer: Tokenizer, labels: tuple[str, ...] = ()) -> None:
        self.data_options = data_options
        self.tokenizer = tokenizer
        self.labels = labels

    # ------------------------------------------------------------------ data

    @classmethod
    def found_in(cls, data_options: Any, tokenizer: Tokenizer, examples: Sequence[Example], path: str) -> Self:
        """Return the task with the labels and the tag scheme, if any, that the training file determines.

        Raises InputError, naming file and row, if nothing can be learned from the file.
        """
        return cls(data_options, tokenizer)

    def hold_out(
        self, examples: Sequence[Example], *, share: float, generator: np.random.Generator
    ) -> tuple[list[Example], list[Example]]:
        """Split off a share of the examples to choose the best epoch on: at random, unless some belong together."""
        return hold_out(examples, share=share, generator=generator)

    def checked(self, examples: Sequence[Example], *, training: bool) -> tuple[list[Example], str]:
        """Return the examples that can be trained on or scored, and a phrase for the user, or "".

        Raises InputError, naming file and row, if a label did not occur in training.
        """
        return list(examples), ""

    def misfits(self, examples: Sequence[Example]) -> list[str]:
        """Return for each example why the model cannot process it, and so no features can be made; "" if it can."""
        return [""] * len(examples)

    def fitting(self, examples: Sequence[Example], tally: Tally) -> list[Example]:
        """Return the examples that the model can process. Raises InputError if it can't and the `tally` stops there."""
        reasons = self.misfits(examples)
        for reason in filter(None, reasons):
            tally.refuse(InputError(reason))
        found = [example for example, reason in zip(examples, reasons, strict=True) if not reason]
        tally.check_left(found)
        return found

    def head(self) -> dict[str, Any]:
        """Return the arguments that the model's class takes besides its config."""
        return {}

    def occurrences(self, examples: Sequence[Example]) -> Counter[str]:
        """Return how often each class occurs in labelled examples, if the task has classes."""
        return Counter()

    def support(self, examples: Sequence[Example]) -> Counter[str]:
        """Return how often each class or type occurs in labelled examples, of those in `figures`."""
        return self.occurrences(examples)

    @abstractmethod
    def features(self, examples: Sequence[Example], *, labelled: bool = True) -> list[Feature]:
        """Return the features of examples, in their order; with targets if `labelled`."""

    # ------------------------------------------------------------------ learning

    @abstractmethod
    def targets(self, features: Sequence[Feature], width: int) -> Tensor:
        """Return the targets of a batch whose sequences are padded to `width`."""

    def count(self, targets: Tensor) -> float:
        """Return how many losses a batch sums, or their weights: one per feature, unless a feature has several."""
        return self.loss.divisor(targets)

    @abstractmethod
    def loss_sum(self, logits: Logits, targets: Tensor) -> Tensor:
        """Return the sum of the batch's losses, a scalar in float32."""

    # ------------------------------------------------------------------ answers

    @abstractmethod
    def outputs(self, logits: Logits, features: Sequence[Feature]) -> list[Any]:
        """Return what is kept of the model's logits, for each feature."""

    def predictions(
        self, examples: Sequence[Example], features: Sequence[Feature], outputs: Sequence[Any]
    ) -> list[Prediction]:
        """Return a prediction for each example. Features, each with an output, name their example by its index; if
        every example has one feature, the outputs are the predictions."""
        return list(outputs)

    @abstractmethod
    def metrics(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> dict[str, float]:
        """Return the metrics over labelled examples."""

    def metric(self, name: str | None) -> str:
        """Return the figure that chooses the best epoch, higher being better: `name`, or the task's usual one.

        Raises InputError if the task has no such figure.
        """
        return check_metric(self.name, name)

    @abstractmethod
    def answer(self, example: Example, prediction: Prediction) -> dict[str, Any]:
        """Return what `predict` writes for an example, as a JSON object."""

    def together(self, answers: Iterable[dict[str, Any]]) -> Iterable[dict[str, Any]]:
        """Return answers, and {"error": why} of bad rows, with what depends on the answers to other examples."""
        return answers

    def tuned(self, examples: Sequence[Example], predictions: Sequence[Prediction], metric: str) -> Self:
        """Return the task with what is chosen on dev after training, such as a threshold, by the metric."""
        return self

    def nothing_learned(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> str:
        """Return a sign that nothing was learned, such as the same class for all examples; "" if there is none."""
        return ""

    def figures(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> list[ClassFigures]:
        """Return the figures of each class or type; none if the task has no classes."""
        return []

    def draw(self, path: Path, examples: Sequence[Example], predictions: Sequence[Prediction]) -> bool:
        """Draw which classes are taken for which, if the task has one class per example; return whether it did."""
        return False

    def with_data_options(self, data_options: DataOptions) -> Self:
        """Return the same task with other data options."""
        found = copy(self)
        found.data_options = data_options
        return found

    def with_loss(self, loss: ClassLoss) -> Self:
        """Return the same task with another loss."""
        found = copy(self)
        found.loss = loss
        return found

    def with_words(self, examples: Sequence[Example]) -> Self:
        """Return the same task, knowing the words of the checked training examples if it is scored by them."""
        return self

    def write_beside(self, directory: Path) -> None:
        """Write what the task knows besides its labels and options into the model's directory; by default nothing."""

    def read_beside(self, directory: Path) -> None:
        """Read what `write_beside` wrote, if it is there."""


def outputs_by_example(features: Sequence[Feature], outputs: Sequence[Any]) -> Mapping[int, list[tuple[Feature, Any]]]:
    """Map the index of an example to its features and the model's output for each, in the order of the windows."""
    found: dict[int, list[tuple[Feature, Any]]] = {}
    for feature, output in zip(features, outputs, strict=True):
        found.setdefault(feature.example, []).append((feature, output))
    return found


def to_numpy(tensor: Tensor) -> NDArray[np.float32]:
    """Return the tensor in float32 on the CPU."""
    return tensor.detach().to("cpu", torch.float32).numpy()
