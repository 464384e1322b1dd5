"""The batches on which two implementations are compared, and each class's loss on them.

Random tokens in sequences of different lengths, with both segments, padded on the right, on the left, or of equal
length without padding; and for each class random targets under their usual names.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from minibert import heads
from minibert.config import BertConfig
from minibert.heads import Model
from minibert.model import Bert

PADDINGS = ("right", "left", "none")
ROWS, CHOICES = 6, 3  # sequences in a batch; of a multiple-choice model, the choices of a question
LONGEST = 40  # tokens
IGNORED = -100  # a target that no loss counts


@dataclass(frozen=True)
class Sample:
    """One batch, in the shapes of an encoder; `arguments` reshapes it for multiple choice."""

    padding: str  # one of PADDINGS
    input_ids: Tensor  # (B, T)
    token_type_ids: Tensor  # (B, T)
    real: Tensor  # (B, T) bool, True at real tokens
    targets: dict[str, Tensor]  # labels by their usual names; {"hidden", "pooled"} for an encoder

    def arguments(self, model: Model) -> dict[str, Tensor | None]:
        """Return what a model of this class is called with, minibert's or the reference's; no mask without padding."""
        ids, segments, real = self.input_ids, self.token_type_ids, self.real
        if isinstance(model, heads.BertForMultipleChoice):
            ids, segments, real = (each.unflatten(0, (-1, CHOICES)) for each in (ids, segments, real))
        mask = None if self.padding == "none" else real
        return {"input_ids": ids, "token_type_ids": segments, "attention_mask": mask}

    def to(self, device: torch.device, dtype: torch.dtype) -> Sample:
        """Return the same batch on a device, with floating-point targets in `dtype`."""

        def moved(tensor: Tensor) -> Tensor:
            return tensor.to(device, dtype if tensor.is_floating_point() else None)

        targets = {name: moved(target) for name, target in self.targets.items()}
        return Sample(self.padding, moved(self.input_ids), moved(self.token_type_ids), moved(self.real), targets)

    def real_part(self, value: Tensor) -> Tensor:
        """Return a value's part at real tokens, (tokens, …); a value of whole sequences, (B, …), or of all is kept.

        value: (B, N, T, …) for heads, (B, T, …), or anything else; for attention, the rows of real queries.
        """
        if value.ndim == 4:
            return value.transpose(1, 2)[self.real]
        return value[self.real] if value.ndim == 3 else value

    @property
    def real_positions(self) -> Tensor:
        """The flat positions b·T + t of the real tokens, in order."""
        return self.real.flatten().nonzero().flatten()


def draw_sample(model: Model, config: BertConfig, padding: str, *, seed: int) -> Sample:
    """Draw a batch for models of this class; `config` limits tokens, segments and positions."""
    generator = torch.Generator().manual_seed(seed)

    whole_numbers = partial(torch.randint, generator=generator)
    longest = min(LONGEST, config.longest)
    # From a full sequence down to a single token.
    lengths = torch.linspace(longest, 1, ROWS).long() if padding != "none" else torch.full((ROWS,), longest)
    places = torch.arange(longest) if padding != "left" else torch.arange(longest - 1, -1, -1)
    real = places < lengths[:, None]
    segments = torch.arange(longest) >= whole_numbers(0, longest, (ROWS, 1))  # A, then the others
    segment_rows = max(1, config.type_vocab_size)
    others = whole_numbers(min(1, segment_rows - 1), segment_rows, (ROWS, longest))
    input_ids = whole_numbers(0, config.vocab_size, (ROWS, longest))
    return Sample(
        padding=padding,
        input_ids=torch.where(real, input_ids, config.pad_token_id),
        token_type_ids=segments * others * real,
        real=real,
        targets=_targets(model, input_ids, real, generator),
    )


def _targets(model: Model, input_ids: Tensor, real: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
    """Draw random targets for a model of this class; floating-point ones are in float64."""
    rows, longest = real.shape
    numbers = partial(torch.randn, generator=generator, dtype=torch.float64)

    def classes(count: int, *shape: int) -> Tensor:
        return torch.randint(0, count, shape, generator=generator)

    def at(places: Tensor, targets: Tensor) -> Tensor:
        return torch.where(places, targets, IGNORED)

    shares = torch.rand((2, rows, longest), generator=generator) * real
    chosen = shares[0] > 0.7 * shares[0].amax(dim=1, keepdim=True)  # at least one token of every sequence
    match model:
        case heads.BertForPreTraining():
            return {"labels": at(chosen, input_ids), "next_sentence_label": classes(2, rows)}
        case heads.BertForMaskedLM():
            return {"labels": at(chosen, input_ids)}
        case heads.BertForNextSentencePrediction():
            return {"labels": classes(2, rows)}
        case heads.BertForSequenceClassification(problem_type="multi_label_classification", labels=labels):
            return {"labels": classes(2, rows, len(labels)).double()}
        case heads.BertForSequenceClassification(problem_type="regression", labels=labels):
            return {"labels": numbers(rows, len(labels)) if len(labels) > 1 else numbers(rows)}
        case heads.BertForSequenceClassification(labels=labels):
            return {"labels": classes(len(labels), rows)}
        case heads.BertForTokenClassification(labels=labels):
            return {"labels": at(real, classes(len(labels), rows, longest))}
        case heads.BertForQuestionAnswering():
            start, end = shares.argmax(dim=-1)
            return {"start_positions": start, "end_positions": end}
        case heads.BertForMultipleChoice():
            return {"labels": classes(CHOICES, rows // CHOICES)}
        case _:  # an encoder, which has no task: random numbers as targets of its hidden states
            hidden_size = model.config.hidden_size
            return {"hidden": numbers(rows, longest, hidden_size), "pooled": numbers(rows, hidden_size)}


def loss_of(model: Model, answer: Any, sample: Sample) -> Tensor:
    """Return the loss of a minibert model's output for `sample`; a masked-LM head's output is at every real token.

    The formulas are those of the papers' tasks, as the reference's classes compute them; an encoder, which has no loss
    there, uses `encoder_loss`.
    """
    targets = sample.targets
    match model:
        case heads.BertForPreTraining():
            mlm = F.cross_entropy(answer.mlm, targets["labels"][sample.real], ignore_index=IGNORED)
            return mlm + F.cross_entropy(answer.nsp, targets["next_sentence_label"])
        case heads.BertForMaskedLM():
            return F.cross_entropy(answer, targets["labels"][sample.real], ignore_index=IGNORED)
        case heads.BertForSequenceClassification(problem_type="multi_label_classification"):
            return F.binary_cross_entropy_with_logits(answer, targets["labels"])
        case heads.BertForSequenceClassification(problem_type="regression"):
            return F.mse_loss(answer.squeeze(-1) if answer.size(-1) == 1 else answer, targets["labels"])
        case heads.BertForTokenClassification():
            return F.cross_entropy(answer.flatten(0, 1), targets["labels"].flatten(), ignore_index=IGNORED)
        case heads.BertForQuestionAnswering():
            start = F.cross_entropy(answer.start, targets["start_positions"])
            return (start + F.cross_entropy(answer.end, targets["end_positions"])) / 2
        case Bert():
            return encoder_loss(answer, None, sample)
        case heads.BertWithPooler():
            return encoder_loss(answer.hidden, answer.pooled, sample)
        case _:  # one right class of several: next sentence, a single label, a choice
            return F.cross_entropy(answer, targets["labels"])


def encoder_loss(hidden: Tensor, pooled: Tensor | None, sample: Sample) -> Tensor:
    """Return the mean squared distance of hidden states at real tokens, and of pooled ones, from random targets."""
    loss = F.mse_loss(hidden[sample.real], sample.targets["hidden"][sample.real])
    return loss if pooled is None else loss + F.mse_loss(pooled, sample.targets["pooled"])
