"""What stands on the encoder: the pooler, the heads, and one model class for each task.

Every model has its encoder as `model.encoder`; losses live with the training code. Shapes: see `minibert.model`;
here also C, the classes or the choices.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, get_args

import torch
from torch import Tensor, nn

from minibert.config import BertConfig
from minibert.errors import InputError
from minibert.fast.dropout import Dropout
from minibert.model import ACTIVATION_MODULES, Bert, check_positions, initialize


class Pooler(nn.Module):
    """tanh of a dense layer on the first token's state: one vector for the whole sequence (BERT section 3).

    DistilBERT has ReLU in its place. `dropout` is on the state itself, which a classifier of RoBERTa's alone has.
    """

    def __init__(self, config: BertConfig, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = Dropout(dropout)
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
        self.activation = ACTIVATION_MODULES[config.hidden_act]
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
        self.dropout = Dropout(config.dropout_before_classifier)
        self.dense = nn.Linear(config.hidden_size, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H) -> (B, C), or (B, T, H) -> (B, T, C)"""
        return self.dense(self.dropout(x))


class SpanHead(nn.Linear):
    """How well each token begins and ends the answer (BERT section 4.2): (B, T, H) -> (B, T, 2)."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config.hidden_size, 2)


# --- The encoder, and pretraining ------------------------------------------------------------------------------------


class Pooled(NamedTuple):
    """What `BertWithPooler` answers."""

    hidden: Tensor  # (B, T, H)
    pooled: Tensor  # (B, H)


class BertWithPooler(nn.Module):
    """Encoder and pooler without a task: what published encoders are. Its encoder alone is `model.encoder`."""

    def __init__(self, config: BertConfig, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.config = config
        self.encoder = Bert(config, generator=generator)
        self.pooler = Pooler(config)
        initialize(self.pooler, config.initializer_range, generator)

    def forward(
        self, input_ids: Tensor, *, token_type_ids: Tensor | None = None, attention_mask: Tensor | None = None
    ) -> Pooled:
        """As `Bert`, and the pooled first token beside the hidden states."""
        hidden = self.encoder(input_ids, token_type_ids=token_type_ids, attention_mask=attention_mask)
        return Pooled(hidden=hidden, pooled=self.pooler(hidden))


def first_tokens(input_ids: Tensor) -> Tensor:
    """The flat positions of [CLS]: (B, T) -> (B,)"""
    return torch.arange(len(input_ids), device=input_ids.device) * input_ids.size(-1)


def first_states(
    encoder: Bert, input_ids: Tensor, *, token_type_ids: Tensor | None, attention_mask: Tensor | None
) -> Tensor:
    """The encoder's state of [CLS]: (B, T) -> (B, 1, H)"""
    first = first_tokens(input_ids)
    return encoder.states_at(input_ids, first, token_type_ids=token_type_ids, attention_mask=attention_mask)[:, None]


# What the next-sentence head of a pretraining model tells apart: a B that follows from one from elsewhere, or two
# segments in their order from the same two swapped.
PAIR_OBJECTIVES = ("nsp", "sop")


class PreTrainingLogits(NamedTuple):
    """What `BertForPreTraining` answers."""

    mlm: Tensor  # (M, V)
    nsp: Tensor  # (B, 2)


class BertForPreTraining(nn.Module):
    """Encoder, pooler, masked-LM head and next-sentence head: the model of the paper's section 3.1.

    `pair_objective` says what the last one learns, one of PAIR_OBJECTIVES; for sentence order there is, as in ALBERT,
    a classifier's dropout before it.

    Raises:
        InputError: another pair objective.
    """

    def __init__(
        self, config: BertConfig, *, pair_objective: str = "nsp", generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        if pair_objective not in PAIR_OBJECTIVES:
            raise InputError(f"pair_objective must be one of {', '.join(PAIR_OBJECTIVES)}, not {pair_objective!r}")
        self.config = config
        self.pair_objective = pair_objective
        self.encoder = Bert(config, generator=generator)
        self.pooler = Pooler(config)
        self.mlm_head = MaskedLMHead(config)
        self.dropout = Dropout(config.dropout_before_classifier if pair_objective == "sop" else 0.0)
        self.nsp_head = NextSentenceHead(config)
        for head in (self.pooler, self.mlm_head, self.nsp_head):
            initialize(head, config.initializer_range, generator)
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
        wanted = torch.cat([first_tokens(input_ids), masked_positions])
        states = self.encoder.states_at(
            input_ids, wanted, token_type_ids=token_type_ids, attention_mask=attention_mask
        )  # (B + M, H)
        return PreTrainingLogits(
            mlm=self.mlm_head(states[batch_size:]),
            nsp=self.nsp_head(self.dropout(self.pooler(states[:batch_size, None]))),
        )


class BertForMaskedLM(nn.Module):
    """Encoder and masked-LM head: pretraining without next-sentence prediction."""

    def __init__(self, config: BertConfig, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.config = config
        self.encoder = Bert(config, generator=generator)
        self.mlm_head = MaskedLMHead(config)
        initialize(self.mlm_head, config.initializer_range, generator)
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


class BertForNextSentencePrediction(nn.Module):
    """Encoder, pooler and next-sentence head: does B follow A?"""

    def __init__(self, config: BertConfig, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.config = config
        self.encoder = Bert(config, generator=generator)
        self.pooler = Pooler(config)
        self.nsp_head = NextSentenceHead(config)
        for head in (self.pooler, self.nsp_head):
            initialize(head, config.initializer_range, generator)

    def forward(
        self, input_ids: Tensor, *, token_type_ids: Tensor | None = None, attention_mask: Tensor | None = None
    ) -> Tensor:
        """Input as `Bert`; (B, 2) logits: class 0 says that B follows A."""
        first = first_states(self.encoder, input_ids, token_type_ids=token_type_ids, attention_mask=attention_mask)
        return self.nsp_head(self.pooler(first))


# --- Tasks -----------------------------------------------------------------------------------------------------------

PROBLEM_TYPES = ("single_label_classification", "multi_label_classification", "regression")


def checked_labels(labels: Sequence[str]) -> tuple[str, ...]:
    """The names of a classifier's outputs, in their order.

    Raises:
        InputError: no label, one that is no string, or one that stands twice.
    """
    if not isinstance(labels, list | tuple) or not labels or not all(isinstance(label, str) for label in labels):
        raise InputError(f"labels must be a list of at least one string, not {labels!r}")
    if len(set(labels)) < len(labels):
        twice = sorted({label for label in labels if labels.count(label) > 1})
        raise InputError(f"labels must differ from one another; more than once there: {', '.join(twice)}")
    return tuple(labels)


class BertForSequenceClassification(nn.Module):
    """Encoder, pooler and classifier: one answer for a text or a pair (BERT section 4.1).

    `labels` name the C outputs; `problem_type` tells what they are: scores of which exactly one holds
    (single_label_classification), of which any number hold (multi_label_classification), or numbers (regression,
    usually of one label alone).
    `trained_on`, here and below: see `OPTIONAL_HEAD_FIELDS`.

    Raises:
        InputError: labels that repeat or are none, another problem type.
    """

    def __init__(
        self,
        config: BertConfig,
        *,
        labels: Sequence[str],
        problem_type: str = "single_label_classification",
        trained_on: Mapping[str, Any] | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if problem_type not in PROBLEM_TYPES:
            raise InputError(f"problem_type must be one of {', '.join(PROBLEM_TYPES)}, not {problem_type!r}")
        self.config = config
        self.labels = checked_labels(labels)
        self.problem_type = problem_type
        self.trained_on = dict(trained_on or {})
        self.encoder = Bert(config, generator=generator)
        self.pooler = Pooler(config, dropout=config.dropout_before_classifier if config.pooler_input_dropout else 0.0)
        self.classifier = Classifier(config, len(labels))
        for head in (self.pooler, self.classifier):
            initialize(head, config.initializer_range, generator)

    def forward(
        self, input_ids: Tensor, *, token_type_ids: Tensor | None = None, attention_mask: Tensor | None = None
    ) -> Tensor:
        """Input as `Bert`; (B, C) logits, or numbers."""
        return self.head(self.states(input_ids, token_type_ids=token_type_ids, attention_mask=attention_mask))

    def states(
        self, input_ids: Tensor, *, token_type_ids: Tensor | None = None, attention_mask: Tensor | None = None
    ) -> Tensor:
        """The encoder's states that the head looks at, the first token's: (B, T) -> (B, 1, H)."""
        return first_states(self.encoder, input_ids, token_type_ids=token_type_ids, attention_mask=attention_mask)

    def head(self, hidden: Tensor) -> Tensor:
        """What stands on the encoder: (B, 1 or T, H) -> (B, C); only the first token's state is looked at."""
        return self.classifier(self.pooler(hidden))


class BertForTokenClassification(nn.Module):
    """Encoder and classifier: one of C labels for every token (BERT section 5.3).

    Raises:
        InputError: labels that repeat or are none.
    """

    def __init__(
        self,
        config: BertConfig,
        *,
        labels: Sequence[str],
        trained_on: Mapping[str, Any] | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.labels = checked_labels(labels)
        self.trained_on = dict(trained_on or {})
        self.encoder = Bert(config, generator=generator)
        self.classifier = Classifier(config, len(labels))
        initialize(self.classifier, config.initializer_range, generator)

    def forward(
        self, input_ids: Tensor, *, token_type_ids: Tensor | None = None, attention_mask: Tensor | None = None
    ) -> Tensor:
        """Input as `Bert`; (B, T, C) logits."""
        return self.head(self.states(input_ids, token_type_ids=token_type_ids, attention_mask=attention_mask))

    def states(
        self, input_ids: Tensor, *, token_type_ids: Tensor | None = None, attention_mask: Tensor | None = None
    ) -> Tensor:
        """The encoder's states that the head looks at, all of them: (B, T) -> (B, T, H)."""
        return self.encoder(input_ids, token_type_ids=token_type_ids, attention_mask=attention_mask)

    def head(self, hidden: Tensor) -> Tensor:
        """What stands on the encoder: (B, T, H) -> (B, T, C)."""
        return self.classifier(hidden)


class SpanLogits(NamedTuple):
    """What `BertForQuestionAnswering` answers, at every token: padding and question are the caller's to leave out."""

    start: Tensor  # (B, T)
    end: Tensor  # (B, T)


class BertForQuestionAnswering(nn.Module):
    """Encoder and span head: where in the second segment the answer to the first begins and ends (BERT section 4.2)."""

    def __init__(
        self,
        config: BertConfig,
        *,
        trained_on: Mapping[str, Any] | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.trained_on = dict(trained_on or {})
        self.encoder = Bert(config, generator=generator)
        self.dropout = Dropout(config.span_dropout)
        self.span_head = SpanHead(config)
        initialize(self.span_head, config.initializer_range, generator)

    def forward(
        self, input_ids: Tensor, *, token_type_ids: Tensor | None = None, attention_mask: Tensor | None = None
    ) -> SpanLogits:
        """Input as `Bert`."""
        return self.head(self.states(input_ids, token_type_ids=token_type_ids, attention_mask=attention_mask))

    def states(
        self, input_ids: Tensor, *, token_type_ids: Tensor | None = None, attention_mask: Tensor | None = None
    ) -> Tensor:
        """The encoder's states that the head looks at, all of them: (B, T) -> (B, T, H)."""
        return self.encoder(input_ids, token_type_ids=token_type_ids, attention_mask=attention_mask)

    def head(self, hidden: Tensor) -> SpanLogits:
        """What stands on the encoder: (B, T, H) -> two of (B, T)."""
        start, end = self.span_head(self.dropout(hidden)).unbind(-1)
        return SpanLogits(start=start, end=end)


class BertForMultipleChoice(nn.Module):
    """Encoder, pooler and one score: which of C endings goes with a text (BERT section 4.4)."""

    def __init__(
        self,
        config: BertConfig,
        *,
        trained_on: Mapping[str, Any] | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.trained_on = dict(trained_on or {})
        self.encoder = Bert(config, generator=generator)
        self.pooler = Pooler(config)
        self.classifier = Classifier(config, 1)
        for head in (self.pooler, self.classifier):
            initialize(head, config.initializer_range, generator)

    def forward(
        self, input_ids: Tensor, *, token_type_ids: Tensor | None = None, attention_mask: Tensor | None = None
    ) -> Tensor:
        """input_ids, token_type_ids, attention_mask: (B, C, T), each choice a sequence of its own. Returns (B, C).

        Raises:
            InputError: input_ids of another rank, or one of the others of another shape.
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
        )
        return self.head(first.unflatten(0, input_ids.shape[:2]))

    def states(
        self, input_ids: Tensor, *, token_type_ids: Tensor | None = None, attention_mask: Tensor | None = None
    ) -> Tensor:
        """The encoder's states that the head looks at, the first token's: (B·C, T) -> (B·C, 1, H)."""
        return first_states(self.encoder, input_ids, token_type_ids=token_type_ids, attention_mask=attention_mask)

    def head(self, hidden: Tensor) -> Tensor:
        """What stands on the encoder: (B, C, 1 or T, H) -> (B, C); only the first token's state is looked at."""
        return self.classifier(self.pooler(hidden.flatten(0, 1))).view(hidden.shape[:2])


TaskModel = (
    BertForSequenceClassification | BertForTokenClassification | BertForQuestionAnswering | BertForMultipleChoice
)

Model = (
    Bert
    | BertWithPooler
    | BertForPreTraining
    | BertForMaskedLM
    | BertForNextSentencePrediction
    | BertForSequenceClassification
    | BertForTokenClassification
    | BertForQuestionAnswering
    | BertForMultipleChoice
)

# The classes that `config.json` may name as its architecture.
ARCHITECTURES: dict[str, type[Model]] = {cls.__name__: cls for cls in get_args(Model)}

# What `config.json` says of a head beside the encoder's fields: arguments of the class, attributes of the model.
HEAD_FIELDS: dict[str, tuple[str, ...]] = {
    "BertForSequenceClassification": ("labels", "problem_type"),
    "BertForTokenClassification": ("labels",),
}

# The same, but missing where they have the class's own default. `trained_on`: how `finetune` read the data that this
# model was trained on (columns, lengths, tag scheme and so on), an object that JSON can hold; predicting has its
# defaults there.
OPTIONAL_HEAD_FIELDS: dict[str, dict[str, Any]] = {
    "BertForPreTraining": {"pair_objective": "nsp"},
    "BertForSequenceClassification": {"trained_on": {}},
    "BertForTokenClassification": {"trained_on": {}},
    "BertForQuestionAnswering": {"trained_on": {}},
    "BertForMultipleChoice": {"trained_on": {}},
}


def head_fields(model: Model) -> dict[str, Any]:
    """The fields of a model's head by name, as they stand in `config.json`; {} where the class says everything."""
    name = type(model).__name__
    fields = {field: getattr(model, field) for field in HEAD_FIELDS.get(name, ())}
    usual = OPTIONAL_HEAD_FIELDS.get(name, {})
    said = {field: getattr(model, field) for field in usual}
    return fields | {field: value for field, value in said.items() if value != usual[field]}
