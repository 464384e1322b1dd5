"""Helpers that several tests share: tiny configs and models, a ragged batch, token arrays in memory."""

from __future__ import annotations

import contextlib
import math
import resource
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from minibert.architectures import ARCHITECTURES
from minibert.config import BertConfig
from minibert.errors import InputError
from minibert.heads import Model
from pretrain.arrays.shards import TokenArrays

REPOSITORY = Path(__file__).parents[1]

TINY = BertConfig(
    vocab_size=40,
    hidden_size=24,
    num_hidden_layers=2,
    num_attention_heads=3,
    intermediate_size=56,
    max_position_embeddings=16,
)

# A tiny config of each family (docs/family.md). RoBERTa's padding is token 1.
FAMILY: dict[str, BertConfig] = {
    "bert": TINY,
    "roberta": TINY.replace(
        type_vocab_size=1, pad_token_id=1, max_position_embeddings=18, positions_skip_padding=True,
        pooler_input_dropout=True, layer_norm_eps=1e-5,
    ),
    "distilbert": TINY.replace(type_vocab_size=0, pooler_act="relu", span_dropout=0.1, classifier_dropout=0.2),
    "albert": TINY.replace(embedding_size=10, share_layers=True, hidden_act="gelu_new", classifier_dropout=0.1),
    "longformer": TINY.replace(
        pad_token_id=1, max_position_embeddings=18, positions_skip_padding=True, pooler_input_dropout=True,
        attention_window=(4, 8), sep_token_id=2,
    ),
}  # fmt: skip

# What the heads of `tiny_model` are given in addition to the config.
HEADS: dict[str, dict[str, Any]] = {
    "BertForSequenceClassification": {
        "labels": ("bad", "fair", "good"),
        "problem_type": "single_label_classification",
    },
    "BertForTokenClassification": {"labels": ("O", "B", "I", "E")},
}


def tiny_model(architecture: str, config: BertConfig = TINY) -> Model:
    """Return a tiny model of any class, in evaluation mode."""
    return ARCHITECTURES[architecture](config, **HEADS.get(architecture, {}), generator=seeded(1)).eval()


def refusal(call: Callable[[], object]) -> str:
    """Return the message of the InputError that a call raises; it must be one line."""
    with pytest.raises(InputError) as error:
        call()
    message = str(error.value)
    assert "\n" not in message
    return message


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@torch.no_grad()
def randomize(module: nn.Module, seed: int) -> None:
    """Make every parameter matter: in a fresh model, biases are 0 and LayerNorm weights 1, which hides mistakes.

    Matrices are scaled so that tokens stay distinct: with much larger or smaller embeddings and weights, all tokens
    would soon have the same hidden state, which hides mistakes as well.
    """
    generator = seeded(seed)
    for name, parameter in module.named_parameters():
        drawn = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        if parameter.ndim == 1:
            is_layer_norm_weight = "norm" in name.lower() and name.endswith("weight")
            drawn = drawn * 0.3 + (1.0 if is_layer_norm_weight else 0.0)
        else:
            drawn = drawn / math.sqrt(parameter.size(-1))
        parameter.copy_(drawn)


def ragged_batch() -> tuple[Tensor, Tensor, Tensor]:
    """Return input_ids, token_type_ids, attention_mask, (3, 11) each: 11, 7 and 1 tokens, in one or both segments."""
    lengths = torch.tensor([11, 7, 1])
    attention_mask = torch.arange(11) < lengths[:, None]
    input_ids = torch.randint(1, TINY.vocab_size, (3, 11), generator=seeded(7)) * attention_mask
    token_type_ids = (torch.arange(11) >= 5).long() * attention_mask
    return input_ids, token_type_ids, attention_mask


# --- Files -----------------------------------------------------------------------------------------------------------


def contents(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    """Let no file grow beyond 20,000 bytes: enough for the tokenizer, but not for the weights."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


# --- Token arrays ----------------------------------------------------------------------------------------------------


def arrays_of(documents: Sequence[Sequence[Sequence[int]]], scored: Sequence[bool] | None = None) -> TokenArrays:
    """Return token arrays of documents, given as lists of sentences of token ids, as `prepare` lays them out."""
    sentences = [sentence for document in documents for sentence in document]
    return TokenArrays(
        tokens=np.array([token for sentence in sentences for token in sentence], np.uint32),
        sentence_starts=np.cumsum([0, *map(len, sentences)], dtype=np.int64),
        document_starts=np.cumsum([0, *map(len, documents)], dtype=np.int64),
        scored=np.ones(len(sentences), bool) if scored is None else np.array(scored, bool),
    )


def numbered(lengths: Sequence[Sequence[int]]) -> TokenArrays:
    """Return token arrays of documents, given by the lengths of their sentences; token i of the array has the id i."""
    starts = np.cumsum([0, *(length for document in lengths for length in document)], dtype=np.int64)
    return TokenArrays(
        tokens=np.arange(starts[-1], dtype=np.uint32),
        sentence_starts=starts,
        document_starts=np.cumsum([0, *map(len, lengths)], dtype=np.int64),
        scored=np.ones(len(starts) - 1, bool),
    )
