"""What stands on the encoder: the pooler, the two pretraining heads, and one model class for each task.

Every model has its encoder as `model.encoder`; losses live with the training code. Shapes: see `minibert.model`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from minibert.config import BertConfig
from minibert.model import ACTIVATION_MODULES, Bert, initialize


class Pooler(nn.Module):
    """tanh of a dense layer on the first token's state: one vector for the whole sequence (BERT section 3)."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, hidden: Tensor) -> Tensor:
        """(B, T, H) -> (B, H)"""
        return torch.tanh(self.dense(hidden[:, 0]))


class MaskedLMHead(nn.Module):
    """Scores of every token of the vocabulary (BERT section 3.1, task 1).

    In a model the decoder's weight *is* the token embedding (`tie`); only the bias is the head's own.
    """

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.activation = ACTIVATION_MODULES[config.hidden_act]
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.decoder = nn.Linear(config.hidden_size, config.vocab_size)

    def tie(self, token_embedding: nn.Embedding) -> None:
        """Makes the input embeddings the output matrix: one parameter (V, H), two uses."""
        self.decoder.weight = token_embedding.weight

    def forward(self, chosen: Tensor) -> Tensor:
        """Hidden states at the chosen positions alone, (M, H) -> (M, V): the rest of the batch costs nothing here."""
        return self.decoder(self.norm(self.activation(self.dense(chosen))))


class NextSentenceHead(nn.Linear):
    """Scores of "B follows A" (class 0) and "B is from elsewhere" (class 1) (BERT section 3.1, task 2)."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config.hidden_size, 2)


def choose(hidden: Tensor, positions: Tensor) -> Tensor:
    """The states at flat positions b·T + t: (B, T, H), (M,) -> (M, H)."""
    return hidden.flatten(0, 1).index_select(0, positions)


class PreTrainingLogits(NamedTuple):
    """What `BertForPreTraining` answers."""

    mlm: Tensor  # (M, V)
    nsp: Tensor  # (B, 2)


class BertForPreTraining(nn.Module):
    """Encoder, pooler, masked-LM head and next-sentence head: the model of the paper's section 3.1."""

    def __init__(self, config: BertConfig, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.config = config
        self.encoder = Bert(config, generator=generator)
        self.pooler = Pooler(config)
        self.mlm_head = MaskedLMHead(config)
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
        """input_ids, token_type_ids, attention_mask: as `Bert`; masked_positions: (M,) flat, see `choose`."""
        hidden = self.encoder(input_ids, token_type_ids=token_type_ids, attention_mask=attention_mask)
        return PreTrainingLogits(
            mlm=self.mlm_head(choose(hidden, masked_positions)), nsp=self.nsp_head(self.pooler(hidden))
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
        hidden = self.encoder(input_ids, token_type_ids=token_type_ids, attention_mask=attention_mask)
        return self.mlm_head(choose(hidden, masked_positions))


Model = Bert | BertForPreTraining | BertForMaskedLM

# The classes that `config.json` may name as its architecture.
ARCHITECTURES: dict[str, type[Model]] = {cls.__name__: cls for cls in (Bert, BertForPreTraining, BertForMaskedLM)}
