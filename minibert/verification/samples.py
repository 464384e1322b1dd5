"""The batches on which two implementations are compared, and each class's loss on them.

Random tokens in sequences of different lengths, with both segments, padded on the right, on the left, or of equal
length without padding; and for each class random targets under their usual names. A Longformer's sequences also have
global tokens, and if the mask marks them and there is padding, one sequence is all padding.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from minibert import heads
from minibert.config import BertConfig
from minibert.heads import Model
from minibert.model import Bert


class Layout(NamedTuple):
    """How the sequences of a batch are padded, and which of a Longformer's tokens are global."""

    padding: str  # right, left or none
    global_tokens: str | None = None  # many, one or none in a row, marked by the mask; None: those of the model's task

    def __str__(self) -> str:
        """Return it for people: "left (one global token)"."""
        marked = {"many": "many global tokens", "one": "one global token", "none": "no global token"}
        return self.padding if self.global_tokens is None else f"{self.padding} ({marked[self.global_tokens]})"


LAYOUTS = tuple(map(Layout, ("right", "left", "none")))
# The first has every value: if no token is global, there is no second attention.
WINDOWED_LAYOUTS = (
    Layout("right", "many"), Layout("left", "one"), Layout("none", "none"), Layout("right"), Layout("left"),
)  # fmt: skip
ROWS, CHOICES = 6, 3  # most sequences in a batch; of a multiple-choice model, the choices of a question
LONGEST = 40  # tokens
IGNORED = -100  # a target that no loss counts
SEPARATED = heads.BertForQuestionAnswering | heads.BertForMultipleChoice  # global tokens are told by separators


@dataclass(frozen=True)
class Sample:
    """One batch, in the shapes of an encoder; `arguments` reshapes it for multiple choice."""

    layout: Layout
    input_ids: Tensor  # (B, T)
    token_type_ids: Tensor  # (B, T)
    real: Tensor  # (B, T) bool, True at real tokens
    targets: dict[str, Tensor]  # labels by their usual names; {"hidden", "pooled"} for an encoder
    global_tokens: Tensor | None = None  # (B, T) bool, in a Longformer

    def arguments(self, model: Model) -> dict[str, Tensor | None]:
        """Return what a model of this class is called with, minibert's or the reference's.

        Without padding there is no mask, unless it marks global tokens: then it is 0 at padding, 1, and 2 at these.
        """
        mask = None if self.layout.padding == "none" else self.real
        if self.layout.global_tokens is not None and self.global_tokens is not None:
            mask = self.real.long() + self.global_tokens
        found = {"input_ids": self.input_ids, "token_type_ids": self.token_type_ids, "attention_mask": mask}
        if isinstance(model, heads.BertForMultipleChoice):
            return {name: each if each is None else each.unflatten(0, (-1, CHOICES)) for name, each in found.items()}
        return found

    def to(self, device: torch.device, dtype: torch.dtype) -> Sample:
        """Return the same batch on a device, with floating-point targets in `dtype`."""

        def moved(tensor: Tensor) -> Tensor:
            return tensor.to(device, dtype if tensor.is_floating_point() else None)

        return replace(
            self,
            input_ids=moved(self.input_ids),
            token_type_ids=moved(self.token_type_ids),
            real=moved(self.real),
            targets={name: moved(target) for name, target in self.targets.items()},
            global_tokens=None if self.global_tokens is None else moved(self.global_tokens),
        )

    def used_part(self, name: str, value: Tensor) -> Tensor:
        """Return an intermediate's part at the tokens for which it is used, (tokens, …): mostly the real ones. A value
        of whole sequences, (B, …), or of all is kept.

        value: (B, N, T, …) for heads, (B, T, …), or anything else; for attention, the rows of these tokens as queries.
        """
        if value.ndim == 4:
            return value.transpose(1, 2)[self.uses(name)]
        return value[self.uses(name)] if value.ndim == 3 else value

    def uses(self, name: str) -> Tensor:
        """Return the tokens for which an intermediate is used, (B, T) bool.

        In a Longformer, global tokens attend with queries of their own, and the others with none of these.
        """
        last = name.rpartition(".")[2]
        if self.global_tokens is not None and last in ("global_query", "global_probabilities", "global_context"):
            return self.global_tokens
        if self.global_tokens is not None and last in ("probabilities", "context"):
            return self.real & ~self.global_tokens
        return self.real

    @property
    def real_positions(self) -> Tensor:
        """The flat positions b·T + t of the real tokens, in order."""
        return self.real.flatten().nonzero().flatten()


def layouts(model: Model, config: BertConfig) -> tuple[Layout, ...]:
    """Return the layouts of a model's batches. If `config` has no separator, a Longformer's mask marks all that is
    told by separators.
    """
    if config.attention_window is None:
        return LAYOUTS
    if isinstance(model, SEPARATED) and config.sep_token_id is None:
        return tuple(layout for layout in WINDOWED_LAYOUTS if layout.global_tokens is not None)
    return WINDOWED_LAYOUTS


def batch_shape(config: BertConfig) -> tuple[int, int]:
    """Return the number of sequences in a batch and the length of the longest, B and T.

    A Longformer's windows must leave tokens out, and T is odd, so that it is not a multiple of them. For wide windows
    half of the sequences have to do: the reference computes them at multiples of the widest.
    """
    if config.attention_window is None:
        return ROWS, min(LONGEST, config.longest)
    aside = max(config.attention_window) // 2
    wide = aside + aside // 8
    return (ROWS if wide <= LONGEST else CHOICES), min(max(LONGEST, wide) | 1, config.longest)


def draw_sample(model: Model, config: BertConfig, layout: Layout, *, seed: int) -> Sample:
    """Draw a batch for models of this class; `config` limits tokens, segments and positions."""
    generator = torch.Generator().manual_seed(seed)

    whole_numbers = partial(torch.randint, generator=generator)
    windows = config.attention_window
    is_separated = windows is not None and isinstance(model, SEPARATED) and layout.global_tokens is None
    rows, longest = batch_shape(config)
    # From a full sequence down to a single token, to none, or to a question, its text and three separators.
    shortest = 1 if windows is None else 4 if is_separated else 0
    has_padding = layout.padding != "none"
    lengths = torch.linspace(longest, shortest, rows).long() if has_padding else torch.full((rows,), longest)
    places = torch.arange(longest) if layout.padding != "left" else torch.arange(longest - 1, -1, -1)
    real = places < lengths[:, None]
    segments = torch.arange(longest) >= whole_numbers(0, longest, (rows, 1))  # A, then the others
    segment_rows = max(1, config.type_vocab_size)
    others = whole_numbers(min(1, segment_rows - 1), segment_rows, (rows, longest))
    input_ids = whole_numbers(0, config.vocab_size, (rows, longest))
    global_tokens = None
    if is_separated:
        input_ids, global_tokens = _separated(model, config, input_ids, real, generator)
    elif windows is not None:
        shares = torch.rand(real.shape, generator=generator) * real
        chosen = {
            "many": shares > 0.7,
            "one": shares == shares.amax(dim=1, keepdim=True),
            "none": torch.zeros_like(real),
            None: isinstance(model, heads.BertForSequenceClassification) & (torch.arange(longest) == 0),
        }
        global_tokens = real & chosen[layout.global_tokens]
    return Sample(
        layout=layout,
        input_ids=torch.where(real, input_ids, config.pad_token_id),
        token_type_ids=segments * others * real,
        real=real,
        targets=_targets(model, input_ids, real, generator),
        global_tokens=global_tokens,
    )


def _separated(
    model: Model, config: BertConfig, input_ids: Tensor, real: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Write separators into sequences as a Longformer's tokenizer does, two after a question and one after the text.

    Returns the ids, and which tokens are global: to answer questions those of the question; to choose among endings,
    which have the question's place, those of the text; both (B, T).
    """
    places, count = torch.arange(real.size(1)), real.sum(dim=1, keepdim=True)  # (T,), (B, 1)
    begin = real.int().argmax(dim=1, keepdim=True)
    after = begin + 1 + (torch.rand(count.shape, generator=generator) * (count - 3)).long()  # the first separator
    is_separator = (places == after) | (places == after + 1) | (places == begin + count - 1)
    separator = config.sep_token_id
    assert separator is not None  # see `layouts`
    others = torch.where(input_ids == separator, (separator + 1) % config.vocab_size, input_ids)
    is_question = isinstance(model, heads.BertForQuestionAnswering)
    return (
        torch.where(is_separator, separator, others),
        real & (places < after if is_question else places > after + 1),
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
