"""What is on top of the encoder: the pooler, the heads, and one model class for each task.

Every model has its encoder as `model.encoder`; losses live with the training code. Shapes: see `minibert.model`;
here also C, the classes of a classifier or the choices of a question.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from minibert import windowed
from minibert.config import BertConfig
from minibert.errors import InputError
from minibert.model import ACTIVATIONS, Bert, check_positions, initialize


class Pooler(nn.Module):
    """tanh of a dense layer on the first token's state: one vector for the whole sequence (BERT section 3).

    DistilBERT has ReLU instead of tanh. `dropout` is applied to that state first, in RoBERTa's sequence classifiers.
    """

    def __init__(self, config: BertConfig, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.activation = {"tanh": torch.tanh, "relu": torch.relu}[config.pooler_act]

    def forward(self, hidden: Tensor) -> Tensor:
        """(B, T, H) -> (B, H)"""
        return self.activation(self.dense(self.dropout(hidden[:, 0])))


class MaskedLMHead(nn.Module):
    """A score for every token of the vocabulary (BERT section 3.1, task 1).

    In a model the decoder's weight *is* the token embedding (`tie`); only the bias is the head's own. The dense layer's
    output has the width of the embeddings, E, which is H except in ALBERT.
    """

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.embedding_width)
        self.activation = ACTIVATIONS[config.hidden_act]()
        self.norm = nn.LayerNorm(config.embedding_width, eps=config.layer_norm_eps)
        self.decoder = nn.Linear(config.embedding_width, config.vocab_size)

    def tie(self, token_embedding: nn.Embedding) -> None:
        """Use the token embedding as the decoder's weight too: one parameter (V, E), two uses."""
        self.decoder.weight = token_embedding.weight

    def forward(self, chosen: Tensor) -> Tensor:
        """(M, H) -> (M, V), from the hidden states at masked positions only: the rest of the batch costs nothing."""
        return self.decoder(self.norm(self.activation(self.dense(chosen))))


class NextSentenceHead(nn.Linear):
    """Scores of "B follows A" (class 0) and, as class 1, "B is from elsewhere" (BERT section 3.1, task 2) or, for
    sentence order, "A follows B" (Lan et al. 2019, ALBERT, section 3.1).
    """

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config.hidden_size, 2)


class Classifier(nn.Module):
    """Dropout, then a score for each of C classes (BERT section 4.1)."""

    def __init__(self, config: BertConfig, classes: int) -> None:
        super().__init__()
        self.dropout = nn.Dropout(config.dropout_before_classifier)
        self.dense = nn.Linear(config.hidden_size, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H) -> (B, C), or (B, T, H) -> (B, T, C)"""
        return self.dense(self.dropout(x))


class SpanHead(nn.Linear):
    """Scores of each token as the start and the end of the answer (BERT section 4.2): (B, T, H) -> (B, T, 2)."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config.hidden_size, 2)


# --- The encoder, and pretraining ------------------------------------------------------------------------------------


class ModelWithHeads(nn.Module):
    """An encoder; subclasses add the heads."""

    def __init__(self, config: BertConfig, generator: torch.Generator | None) -> None:
        super().__init__()
        self.config = config
        self.encoder = Bert(config, generator=generator)

    def draw_heads(self, generator: torch.Generator | None) -> None:
        """Draw the weights of all modules except the encoder, in the order in which they were added."""
        for name, head in self.named_children():
            if name != "encoder":
                initialize(head, self.config.initializer_range, generator)


class Pooled(NamedTuple):
    """The output of `BertWithPooler`."""

    hidden: Tensor  # (B, T, H)
    pooled: Tensor  # (B, H)


class BertWithPooler(ModelWithHeads):
    """Encoder and pooler without a task, as encoders are published. `model.encoder` is the encoder alone."""

    def __init__(self, config: BertConfig, *, generator: torch.Generator | None = None) -> None:
        super().__init__(config, generator)
        self.pooler = Pooler(config)
        self.draw_heads(generator)

    def forward(
        self, input_ids: Tensor, *, token_type_ids: Tensor | None = None, attention_mask: Tensor | None = None
    ) -> Pooled:
        """As `Bert.forward`, with the pooled first token as a second output."""
        hidden = self.encoder(input_ids, token_type_ids=token_type_ids, attention_mask=attention_mask)
        return Pooled(hidden=hidden, pooled=self.pooler(hidden))


def first_tokens(input_ids: Tensor) -> Tensor:
    """The flat positions of [CLS]: (B, T) -> (B,)"""
    return torch.arange(len(input_ids), device=input_ids.device) * input_ids.size(-1)


# What the next-sentence head of a pretraining model tells apart: nsp, a B that follows A from one from elsewhere; sop,
# two segments in their order from the same two swapped.
PAIR_OBJECTIVES = ("nsp", "sop")


class PreTrainingLogits(NamedTuple):
    """The output of `BertForPreTraining`."""

    mlm: Tensor  # (M, V)
    nsp: Tensor  # (B, 2)


class BertForPreTraining(ModelWithHeads):
    """Encoder, pooler, masked-LM head and next-sentence head: the model of the paper's section 3.1.

    `pair_objective`, one of PAIR_OBJECTIVES, is what the next-sentence head is trained for; with sentence order ("sop")
    there is, as in ALBERT, a classifier's dropout before that head.

    Raises InputError if the pair objective is unknown.
    """

    def __init__(
        self, config: BertConfig, *, pair_objective: str = "nsp", generator: torch.Generator | None = None
    ) -> None:
        if pair_objective not in PAIR_OBJECTIVES:
            raise InputError(f"pair_objective must be one of {', '.join(PAIR_OBJECTIVES)}, not {pair_objective!r}")
        super().__init__(config, generator)
        self.pair_objective = pair_objective
        self.pooler = Pooler(config)
        self.mlm_head = MaskedLMHead(config)
        self.dropout = nn.Dropout(config.dropout_before_classifier if pair_objective == "sop" else 0.0)
        self.nsp_head = NextSentenceHead(config)
        self.draw_heads(generator)
        self.mlm_head.tie(self.encoder.embeddings.token)

    def forward(
        self,
        input_ids: Tensor,
        *,
        token_type_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        masked_positions: Tensor,
    ) -> PreTrainingLogits:
        """input_ids, token_type_ids, attention_mask: as in `Bert.forward`; masked_positions: (M,) flat, b·T + t."""
        check_positions(masked_positions)
        batch_size = len(input_ids)
        states = self.encoder.states_at(
            input_ids,
            torch.cat([first_tokens(input_ids), masked_positions]),
            token_type_ids=token_type_ids,
            attention_mask=attention_mask,
        )  # (B + M, H)
        return PreTrainingLogits(
            mlm=self.mlm_head(states[batch_size:]),
            nsp=self.nsp_head(self.dropout(self.pooler(states[:batch_size, None]))),
        )


class BertForMaskedLM(ModelWithHeads):
    """Encoder and masked-LM head: pretraining without next-sentence prediction."""

    def __init__(self, config: BertConfig, *, generator: torch.Generator | None = None) -> None:
        super().__init__(config, generator)
        self.mlm_head = MaskedLMHead(config)
        self.draw_heads(generator)
        self.mlm_head.tie(self.encoder.embeddings.token)

    def forward(
        self,
        input_ids: Tensor,
        *,
        token_type_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        masked_positions: Tensor,
    ) -> Tensor:
        """As `BertForPreTraining.forward`, but returns only the masked-LM logits (M, V)."""
        chosen = self.encoder.states_at(
            input_ids, masked_positions, token_type_ids=token_type_ids, attention_mask=attention_mask
        )
        return self.mlm_head(chosen)


# --- Tasks -----------------------------------------------------------------------------------------------------------


class TaskModel(ModelWithHeads):
    """An encoder with a task head: `forward` is `head(states(...))`."""

    first_token_only: ClassVar[bool] = True  # the head uses only the hidden state of [CLS]
    trained_on: Mapping[str, Any] = MappingProxyType({})  # see `minibert.architectures`

    def forward(
        self, input_ids: Tensor, *, token_type_ids: Tensor | None = None, attention_mask: Tensor | None = None
    ) -> Any:
        """Input as in `Bert.forward`; output as `head`."""
        return self.head(self.states(input_ids, token_type_ids=token_type_ids, attention_mask=attention_mask))

    def states(
        self, input_ids: Tensor, *, token_type_ids: Tensor | None = None, attention_mask: Tensor | None = None
    ) -> Tensor:
        """Return the hidden states that the head uses: (B, T) -> (B, 1, H), the first token's, or all, (B, T, H)."""
        mask = self.with_global_tokens(input_ids, attention_mask)
        others = {"token_type_ids": token_type_ids, "attention_mask": mask}
        if self.first_token_only:
            return self.encoder.states_at(input_ids, first_tokens(input_ids), **others)[:, None]
        return self.encoder(input_ids, **others)

    def with_global_tokens(self, input_ids: Tensor, attention_mask: Tensor | None) -> Tensor | None:
        """Mark the task's global tokens, if the model is a Longformer and the mask is bool or None; (B, T).

        Whoever gives integers decides which tokens are global: without a 2 none is.
        """
        is_open = attention_mask is None or (
            attention_mask.dtype == torch.bool and attention_mask.shape == input_ids.shape
        )
        if self.config.attention_window is None or input_ids.ndim != 2 or not is_open:
            return attention_mask  # which the encoder checks
        found = self.global_tokens(input_ids)
        return attention_mask if found is None else windowed.with_global(attention_mask, found)

    def global_tokens(self, input_ids: Tensor) -> Tensor | None:
        """Return which tokens a Longformer makes global (Beltagy et al. 2020, section 3.1): (B, T) bool, or None."""
        return None

    def head(self, hidden: Tensor) -> Any:
        """Apply all modules after the encoder."""
        raise NotImplementedError


class BertForNextSentencePrediction(TaskModel):
    """Encoder, pooler and next-sentence head: does B follow A?"""

    def __init__(self, config: BertConfig, *, generator: torch.Generator | None = None) -> None:
        super().__init__(config, generator)
        self.pooler = Pooler(config)
        self.nsp_head = NextSentenceHead(config)
        self.draw_heads(generator)

    def head(self, hidden: Tensor) -> Tensor:
        """(B, 1, H) -> (B, 2) logits; class 0 is "B follows A"."""
        return self.nsp_head(self.pooler(hidden))


PROBLEM_TYPES = ("single_label_classification", "multi_label_classification", "regression")


def checked_labels(labels: Sequence[str]) -> tuple[str, ...]:
    """Return the names of a classifier's outputs as a tuple, in their order.

    Raises InputError if there is no label, one is not a string, or one is repeated.
    """
    if not isinstance(labels, list | tuple) or not labels or not all(isinstance(label, str) for label in labels):
        raise InputError(f"labels must be a list of at least one string, not {labels!r}")
    if len(set(labels)) < len(labels):
        twice = sorted({label for label in labels if labels.count(label) > 1})
        raise InputError(f"labels must differ from one another; repeated: {', '.join(twice)}")
    return tuple(labels)


class BertForSequenceClassification(TaskModel):
    """Encoder, pooler and classifier: one answer for a text or a pair (BERT section 4.1).

    `labels` are the names of the C outputs; `problem_type` says what these are: scores of labels of which exactly one
    applies (single_label_classification) or any number apply (multi_label_classification), or numbers (regression,
    usually with a single label).

    Raises InputError if there are no labels, one is repeated, or the problem type is unknown.
    """

    def __init__(
        self,
        config: BertConfig,
        *,
        labels: Sequence[str],
        problem_type: str = "single_label_classification",
        generator: torch.Generator | None = None,
    ) -> None:
        if problem_type not in PROBLEM_TYPES:
            raise InputError(f"problem_type must be one of {', '.join(PROBLEM_TYPES)}, not {problem_type!r}")
        labels = checked_labels(labels)
        super().__init__(config, generator)
        self.labels = labels
        self.problem_type = problem_type
        self.pooler = Pooler(config, dropout=config.dropout_before_classifier if config.pooler_input_dropout else 0.0)
        self.classifier = Classifier(config, len(labels))
        self.draw_heads(generator)

    def global_tokens(self, input_ids: Tensor) -> Tensor:
        """[CLS]: (B, T) -> (B, T)"""
        return windowed.is_first(input_ids)

    def head(self, hidden: Tensor) -> Tensor:
        """(B, 1 or T, H) -> (B, C) logits, or numbers; only the first token's state is used."""
        return self.classifier(self.pooler(hidden))


class BertForTokenClassification(TaskModel):
    """Encoder and classifier: one of C labels for every token (BERT section 5.3).

    Raises InputError if there are no labels or one is repeated.
    """

    first_token_only = False

    def __init__(self, config: BertConfig, *, labels: Sequence[str], generator: torch.Generator | None = None) -> None:
        labels = checked_labels(labels)
        super().__init__(config, generator)
        self.labels = labels
        self.classifier = Classifier(config, len(labels))
        self.draw_heads(generator)

    def head(self, hidden: Tensor) -> Tensor:
        """(B, T, H) -> (B, T, C) logits"""
        return self.classifier(hidden)


class SpanLogits(NamedTuple):
    """The output of `BertForQuestionAnswering`, for every token: the caller leaves out padding and the question."""

    start: Tensor  # (B, T)
    end: Tensor  # (B, T)


class BertForQuestionAnswering(TaskModel):
    """Encoder and span head: where the answer to segment A begins and ends in segment B (BERT section 4.2)."""

    first_token_only = False

    def __init__(self, config: BertConfig, *, generator: torch.Generator | None = None) -> None:
        super().__init__(config, generator)
        self.dropout = nn.Dropout(config.span_dropout)
        self.span_head = SpanHead(config)
        self.draw_heads(generator)

    def global_tokens(self, input_ids: Tensor) -> Tensor | None:
        """The question: (B, T) -> (B, T)"""
        separator = self.config.sep_token_id
        return None if separator is None else windowed.question(input_ids, separator)

    def head(self, hidden: Tensor) -> SpanLogits:
        """(B, T, H) -> twice (B, T)"""
        start, end = self.span_head(self.dropout(hidden)).unbind(-1)
        return SpanLogits(start=start, end=end)


class BertForMultipleChoice(TaskModel):
    """Encoder, pooler and one score per choice: which of C endings continues a text (BERT section 4.4)."""

    def __init__(self, config: BertConfig, *, generator: torch.Generator | None = None) -> None:
        super().__init__(config, generator)
        self.pooler = Pooler(config)
        self.classifier = Classifier(config, 1)
        self.draw_heads(generator)

    def forward(
        self, input_ids: Tensor, *, token_type_ids: Tensor | None = None, attention_mask: Tensor | None = None
    ) -> Tensor:
        """input_ids, token_type_ids, attention_mask: (B, C, T), each choice a sequence of its own. Returns (B, C).

        Raises InputError if input_ids do not have three dimensions or one of the others has another shape.
        """
        if input_ids.ndim != 3:
            raise InputError(f"input_ids must have the shape (B, C, T), not {tuple(input_ids.shape)}")
        for name, given in (("token_type_ids", token_type_ids), ("attention_mask", attention_mask)):
            if given is not None and given.shape != input_ids.shape:
                raise InputError(f"{name} has the shape {tuple(given.shape)}, input_ids {tuple(input_ids.shape)}")
        first = self.states(
            input_ids.flatten(0, 1),
            token_type_ids=None if token_type_ids is None else token_type_ids.flatten(0, 1),
            attention_mask=None if attention_mask is None else attention_mask.flatten(0, 1),
        )  # (B·C, 1, H)
        return self.head(first.unflatten(0, input_ids.shape[:2]))

    def global_tokens(self, input_ids: Tensor) -> Tensor | None:
        """The choice: (B·C, T) -> (B·C, T)"""
        separator = self.config.sep_token_id
        return None if separator is None else windowed.after_question(input_ids, separator)

    def head(self, hidden: Tensor) -> Tensor:
        """(B, C, 1 or T, H) -> (B, C), or (S, 1 or T, H) -> (S,); only the first token's state is used."""
        return self.classifier(self.pooler(hidden.flatten(0, -3))).view(hidden.shape[:-2])


Model = Bert | ModelWithHeads
