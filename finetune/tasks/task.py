"""What every task does in its own way, and what the loop, evaluating and predicting need to know of it.

An example (a row of data) becomes a feature (token sequences and a target), features become a batch, the model answers,
and the answers of an example's features become its prediction. Shapes: S sequences in a batch, padded to T tokens.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from finetune.data.data_options import DataOptions
from finetune.data.splits import hold_out
from finetune.data.tally import Tally
from finetune.scoring.metrics import ClassFigures, check_metric
from minibert.errors import InputError
from minibert.heads import TaskModel
from minibert.tokenizer import Tokenizer
from minibert.tokenizer.batch import Encoding

Example = TypeVar("Example")
Prediction = TypeVar("Prediction")
Logits = Any  # what the task's model answers: a tensor, or a tuple of tensors


@dataclass(frozen=True, slots=True)
class Feature:
    """An example, or one window of it."""

    example: int  # the number of the example that it belongs to
    sequences: tuple[Encoding, ...]  # one; of a choice among answers, one an answer
    target: Any = None  # what the task's `targets` makes a tensor of
    place: Any = None  # what the task needs to put the answer together
    hidden: Tensor | None = None  # (S, T or 1, H): the encoder's output, where that is known already

    @property
    def length(self) -> int:
        """The tokens of the longest sequence."""
        return max(len(sequence.ids) for sequence in self.sequences)

    @property
    def tokens(self) -> int:
        """The tokens of all sequences."""
        return sum(len(sequence.ids) for sequence in self.sequences)


@dataclass(frozen=True)
class TaskBatch:
    """What one forward and backward pass needs: S sequences, padded to T tokens."""

    features: Sequence[Feature]
    input_ids: Tensor  # (S, T) int64
    token_type_ids: Tensor  # (S, T) int64
    attention_mask: Tensor | None  # (S, T) bool, True at real tokens; None when nothing is padded
    targets: Tensor | None  # the task's own; None where there is nothing to learn
    hidden: Tensor | None = None  # (S, T or 1, H): the encoder's output, where that is known already

    @property
    def tokens(self) -> int:
        """Real tokens, special ones included."""
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
    windowed: ClassVar[bool] = False  # is what is too long seen through several windows, or cut?
    first_token_only: ClassVar[bool] = False  # does the head look at the first token's state alone?

    def __init__(self, data_options: Any, tokenizer: Tokenizer, labels: tuple[str, ...] = ()) -> None:
        self.data_options = data_options
        self.tokenizer = tokenizer
        self.labels = labels

    # ------------------------------------------------------------------ data

    @classmethod
    def found_in(cls, data_options: Any, tokenizer: Tokenizer, examples: Sequence[Example], path: str) -> Self:
        """The task as the training file decides it: its labels, its tag scheme, where it has such.

        Raises InputError: naming file and row, where nothing can be learned from it.
        """
        return cls(data_options, tokenizer)

    def hold_out(
        self, examples: Sequence[Example], *, share: float, generator: np.random.Generator
    ) -> tuple[list[Example], list[Example]]:
        """Examples to train on, and a share of them to choose the best epoch on: any, unless they belong together."""
        return hold_out(examples, share=share, generator=generator)

    def checked(self, examples: Sequence[Example], *, training: bool) -> tuple[list[Example], str]:
        """The examples that can be trained on or scored, and a phrase for the user where some cannot.

        Raises InputError: naming file and row: a label that training never had.
        """
        return list(examples), ""

    def misfits(self, examples: Sequence[Example]) -> list[str]:
        """For each example why the model cannot be asked it at all; "" where it can. The others have no features."""
        return [""] * len(examples)

    def fitting(self, examples: Sequence[Example], tally: Tally) -> list[Example]:
        """Those that the model can be asked. Raises InputError: one cannot, as the `tally` has it."""
        reasons = self.misfits(examples)
        for reason in filter(None, reasons):
            tally.refuse(InputError(reason))
        found = [example for example, reason in zip(examples, reasons, strict=True) if not reason]
        tally.check_left(found)
        return found

    def head(self) -> dict[str, Any]:
        """The arguments that the model's class takes beside its config."""
        return {}

    @abstractmethod
    def features(self, examples: Sequence[Example], *, labelled: bool = True) -> list[Feature]:
        """The features of examples, in their order. Without `labelled` they have no targets."""

    # ------------------------------------------------------------------ learning

    @abstractmethod
    def targets(self, features: Sequence[Feature], width: int) -> Tensor:
        """The targets of a batch, whose sequences are padded to `width`."""

    def count(self, targets: Tensor) -> int:
        """How many losses a batch sums up: one a feature, unless a feature has several."""
        return len(targets)

    @abstractmethod
    def loss_sum(self, logits: Logits, targets: Tensor) -> Tensor:
        """The sum of the batch's losses, a scalar in float32."""

    # ------------------------------------------------------------------ answers

    @abstractmethod
    def outputs(self, logits: Logits, features: Sequence[Feature]) -> list[Any]:
        """What is kept of the model's answer, for each feature."""

    def predictions(
        self, examples: Sequence[Example], features: Sequence[Feature], outputs: Sequence[Any]
    ) -> list[Prediction]:
        """One for each example; features and outputs belong together, and name their example by its number. Where an
        example has one feature, it is the output."""
        return list(outputs)

    @abstractmethod
    def metrics(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> dict[str, float]:
        """Figures of merit, of labelled examples."""

    def metric(self, name: str | None) -> str:
        """The figure that the best epoch is chosen by, higher is better: `name`, or the usual one.

        Raises InputError: the task has no such figure.
        """
        return check_metric(self.name, name)

    @abstractmethod
    def answer(self, example: Example, prediction: Prediction) -> dict[str, Any]:
        """What `predict` writes of an example, as JSON."""

    def tuned(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> Self:
        """The task with what is chosen on dev after training: a threshold."""
        return self

    def nothing_learned(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> str:
        """What looks as if nothing had been learned, such as one class for all; "" where nothing does."""
        return ""

    def figures(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> list[ClassFigures]:
        """Each class or type for itself, where there are some."""
        return []

    def draw(self, path: Path, examples: Sequence[Example], predictions: Sequence[Prediction]) -> bool:
        """Draws a picture of what is taken for what, where that makes sense; returns whether it did."""
        return False

    def with_data_options(self, data_options: DataOptions) -> Self:
        """The same task, reading otherwise."""
        return type(self)(data_options, self.tokenizer, self.labels)


def outputs_by_example(features: Sequence[Feature], outputs: Sequence[Any]) -> Mapping[int, list[tuple[Feature, Any]]]:
    """Example's number -> its features and what the model answered to each, in the order of the windows."""
    found: dict[int, list[tuple[Feature, Any]]] = {}
    for feature, output in zip(features, outputs, strict=True):
        found.setdefault(feature.example, []).append((feature, output))
    return found


def to_numpy(tensor: Tensor) -> NDArray[np.float32]:
    """What the model answered, in float32 on the CPU."""
    return tensor.detach().to("cpu", torch.float32).numpy()
