"""What stands on the encoder: the pooler, the heads, and one model class for each task.

Every model has its encoder as `model.encoder`; losses live with the training code. Shapes: see `minibert.model`;
here also C, the classes or the choices.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from minibert.config import BertConfig
from minibert.errors import InputError
from minibert.model import ACTIVATIONS, Bert, check_positions, initialize


class Pooler(nn.Module):
    """tanh of a dense layer on the first token's state: one vector for the whole sequence (BERT section 3).

    DistilBERT has ReLU in its place. `dropout` is on the state itself, which a classifier of RoBERTa's alone has.
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
    """Scores of every token of the vocabulary (BERT section 3.1, task 1).

    In a model the decoder's weight *is* the token embedding (`tie`); only the bias is the head's own. The dense layer
    goes to the width of the embeddings, E, which is H but in ALBERT.
    """

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.embedding_width)
        self.activation = ACTIVATIONS[config.hidden_act]()
        self.norm = nn.LayerNorm(config.embedding_width, eps=config.layer_norm_eps)
        self.decoder = nn.Linear(config.embedding_width, config.vocab_size)

    def tie(self, token_embedding: nn.Embedding) -> None:
        """Makes the input embeddings the output matrix: one parameter (V, E), two uses."""
        self.decoder.weight = token_embedding.weight

    def forward(self, chosen: Tensor) -> Tensor:
        """Hidden states at the chosen positions alone, (M, H) -> (M, V): the rest of the batch costs nothing here."""
        return self.decoder(self.norm(self.activation(self.dense(chosen))))


class NextSentenceHead(nn.Linear):
    """Scores of "B follows A" (class 0) and, as class 1, "B is from elsewhere" (BERT section 3.1, task 2) or "A follows
    B" (sentence order: Lan et al. 2019, ALBERT section 3.1).
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
    """How well each token begins and ends the answer (BERT section 4.2): (B, T, H) -> (B, T, 2)."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config.hidden_size, 2)


# --- The encoder, and pretraining ------------------------------------------------------------------------------------


class ModelWithHeads(nn.Module):
    """An encoder, and on it the heads that a subclass makes."""

    def __init__(self, config: BertConfig, generator: torch.Generator | None) -> None:
        super().__init__()
        self.config = config
        self.encoder = Bert(config, generator=generator)

    def draw_heads(self, generator: torch.Generator | None) -> None:
        """Draws the weights of what stands on the encoder, in the order in which it was made."""
        for name, head in self.named_children():
            if name != "encoder":
                initialize(head, self.config.initializer_range, generator)


class Pooled(NamedTuple):
    """What `BertWithPooler` answers."""

    hidden: Tensor  # (B, T, H)
    pooled: Tensor  # (B, H)


class BertWithPooler(ModelWithHeads):
    """Encoder and pooler without a task: what published encoders are. Its encoder alone is `model.encoder`."""

    def __init__(self, config: BertConfig, *, generator: torch.Generator | None = None) -> None:
        super().__init__(config, generator)
        self.pooler = Pooler(config)
        self.draw_heads(generator)

    def forward(
        self, input_ids: Tensor, *, token_type_ids: Tensor | None = None, attention_mask: Tensor | None = None
    ) -> Pooled:
        """As `Bert`, and the pooled first token beside the hidden states."""
        hidden = self.encoder(input_ids, token_type_ids=token_type_ids, attention_mask=attention_mask)
        return Pooled(hidden=hidden, pooled=self.pooler(hidden))


def first_tokens(input_ids: Tensor) -> Tensor:
    """The flat positions of [CLS]: (B, T) -> (B,)"""
    return torch.arange(len(input_ids), device=input_ids.device) * input_ids.size(-1)


# What the next-sentence head of a pretraining model tells apart: a B that follows from one from elsewhere, or two
# segments in their order from the same two swapped.
PAIR_OBJECTIVES = ("nsp", "sop")


class PreTrainingLogits(NamedTuple):
    """What `BertForPreTraining` answers."""

    mlm: Tensor  # (M, V)
    nsp: Tensor  # (B, 2)


class BertForPreTraining(ModelWithHeads):
    """Encoder, pooler, masked-LM head and next-sentence head: the model of the paper's section 3.1.

    `pair_objective` says what the last one learns, one of PAIR_OBJECTIVES; for sentence order there is, as in ALBERT,
    a classifier's dropout before it.

    Raises InputError: another pair objective.
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
        """input_ids, token_type_ids, attention_mask: as `Bert`; masked_positions: (M,) flat, b·T + t."""
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
        """As `BertForPreTraining`, but the masked-LM logits (M, V) alone."""
        chosen = self.encoder.states_at(
            input_ids, masked_positions, token_type_ids=token_type_ids, attention_mask=attention_mask
        )
        return self.mlm_head(chosen)


# --- Tasks -----------------------------------------------------------------------------------------------------------


class TaskModel(ModelWithHeads):
    """An encoder with a head that answers: `forward` is `head(states(...))`."""

    first_token_only: ClassVar[bool] = True  # the head looks at the state of [CLS] alone
    trained_on: Mapping[str, Any] = MappingProxyType({})  # see `minibert.architectures`

    def forward(
        self, input_ids: Tensor, *, token_type_ids: Tensor | None = None, attention_mask: Tensor | None = None
    ) -> Any:
        """Input as `Bert`; output as `head`."""
        return self.head(self.states(input_ids, token_type_ids=token_type_ids, attention_mask=attention_mask))

    def states(
        self, input_ids: Tensor, *, token_type_ids: Tensor | None = None, attention_mask: Tensor | None = None
    ) -> Tensor:
        """The encoder's states that the head looks at: (B, T) -> (B, 1, H), the first token's, or all, (B, T, H)."""
        others = {"token_type_ids": token_type_ids, "attention_mask": attention_mask}
        if self.first_token_only:
            return self.encoder.states_at(input_ids, first_tokens(input_ids), **others)[:, None]
        return self.encoder(input_ids, **others)

    def head(self, hidden: Tensor) -> Any:
        """What stands on the encoder."""
        raise NotImplementedError


class BertForNextSentencePrediction(TaskModel):
    """Encoder, pooler and next-sentence head: does B follow A?"""

    def __init__(self, config: BertConfig, *, generator: torch.Generator | None = None) -> None:
        super().__init__(config, generator)
        self.pooler = Pooler(config)
        self.nsp_head = NextSentenceHead(config)
        self.draw_heads(generator)

    def head(self, hidden: Tensor) -> Tensor:
        """(B, 1, H) -> (B, 2): class 0 says that B follows A."""
        return self.nsp_head(self.pooler(hidden))


PROBLEM_TYPES = ("single_label_classification", "multi_label_classification", "regression")


def checked_labels(labels: Sequence[str]) -> tuple[str, ...]:
    """The names of a classifier's outputs, in their order.

    Raises InputError: no label, one that is no string, or one that stands twice.
    """
    if not isinstance(labels, list | tuple) or not labels or not all(isinstance(label, str) for label in labels):
        raise InputError(f"labels must be a list of at least one string, not {labels!r}")
    if len(set(labels)) < len(labels):
        twice = sorted({label for label in labels if labels.count(label) > 1})
        raise InputError(f"labels must differ from one another; more than once: {', '.join(twice)}")
    return tuple(labels)


class BertForSequenceClassification(TaskModel):
    """Encoder, pooler and classifier: one answer for a text or a pair (BERT section 4.1).

    `labels` name the C outputs; `problem_type` tells what they are: scores of which exactly one holds
    (single_label_classification), of which any number hold (multi_label_classification), or numbers (regression,
    usually of one label alone).

    Raises InputError: labels that repeat or are none, another problem type.
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

    def head(self, hidden: Tensor) -> Tensor:
        """(B, 1 or T, H) -> (B, C) logits, or numbers; only the first token's state is looked at."""
        return self.classifier(self.pooler(hidden))


class BertForTokenClassification(TaskModel):
    """Encoder and classifier: one of C labels for every token (BERT section 5.3).

    Raises InputError: labels that repeat or are none.
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
    """What `BertForQuestionAnswering` answers, at every token: padding and question are the caller's to leave out."""

    start: Tensor  # (B, T)
    end: Tensor  # (B, T)


class BertForQuestionAnswering(TaskModel):
    """Encoder and span head: where in the second segment the answer to the first begins and ends (BERT section 4.2)."""

    first_token_only = False

    def __init__(self, config: BertConfig, *, generator: torch.Generator | None = None) -> None:
        super().__init__(config, generator)
        self.dropout = nn.Dropout(config.span_dropout)
        self.span_head = SpanHead(config)
        self.draw_heads(generator)

    def head(self, hidden: Tensor) -> SpanLogits:
        """(B, T, H) -> two of (B, T)"""
        start, end = self.span_head(self.dropout(hidden)).unbind(-1)
        return SpanLogits(start=start, end=end)


class BertForMultipleChoice(TaskModel):
    """Encoder, pooler and one score: which of C endings goes with a text (BERT section 4.4)."""

    def __init__(self, config: BertConfig, *, generator: torch.Generator | None = None) -> None:
        super().__init__(config, generator)
        self.pooler = Pooler(config)
        self.classifier = Classifier(config, 1)
        self.draw_heads(generator)

    def forward(
        self, input_ids: Tensor, *, token_type_ids: Tensor | None = None, attention_mask: Tensor | None = None
    ) -> Tensor:
        """input_ids, token_type_ids, attention_mask: (B, C, T), each choice a sequence of its own. Returns (B, C).

        Raises InputError: input_ids of another rank, or one of the others of another shape.
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

    def head(self, hidden: Tensor) -> Tensor:
        """(B, C, 1 or T, H) -> (B, C), or (S, 1 or T, H) -> (S,); only the first token's state is looked at."""
        return self.classifier(self.pooler(hidden.flatten(0, -3))).view(hidden.shape[:-2])


Model = Bert | ModelWithHeads
