"""The names of the project that its users don't know: what a refactoring moves is followed here, and only here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from finetune.forward import logits_of
from finetune.tasks.task import TaskBatch
from minibert import BertConfig
from minibert.architectures import ARCHITECTURES
from minibert.fast import accelerate
from minibert.heads import Model
from minibert.training.device import choose_precision
from pretrain.batches.batch import PretrainBatch
from pretrain.passes import backward_pass

CPU = torch.device("cpu")
LABELS = {"BertForSequenceClassification": ("bad", "fair", "good"), "BertForTokenClassification": ("O", "B", "I", "E")}
PRETRAINED = ("BertForPreTraining", "BertForMaskedLM")
FINE_TUNED = (*LABELS, "BertForQuestionAnswering", "BertForMultipleChoice")


def new_model(architecture: str, config: BertConfig) -> Model:
    """A model of any class."""
    labels = {"labels": LABELS[architecture]} if architecture in LABELS else {}
    return accelerate(ARCHITECTURES[architecture](config, **labels))


def asked_in_fine_tuning(model: Any, dtype: str, inputs: Mapping[str, Tensor | None]) -> Any:
    """The model's answer as `python -m finetune` asks for it; (S, T) each."""
    batch = TaskBatch((), **inputs, targets=None)  # type: ignore[arg-type]
    logits = logits_of(model, batch, choose_precision(dtype, CPU))
    return logits[None] if type(model).__name__ == "BertForMultipleChoice" else logits  # (1, S), as in all records


def pretraining_losses(
    model: Any, dtype: str, inputs: Mapping[str, Tensor | None], labels: Tensor, not_next: Tensor
) -> dict[str, Tensor]:
    """The sums of a batch's losses, and the gradient of their means in the parameters, as `python -m pretrain` makes
    them. `labels` are those of the first of the masked positions; the others fill up."""
    precision = choose_precision(dtype, CPU)
    batch = PretrainBatch(**inputs, masked_labels=labels, next_sentence_labels=not_next, lengths=torch.tensor([]))  # type: ignore[arg-type]
    counts = torch.tensor([len(labels), len(not_next)], dtype=precision.parameter_dtype)
    return backward_pass(model, device=CPU, precision=precision)(batch, counts)._asdict()
