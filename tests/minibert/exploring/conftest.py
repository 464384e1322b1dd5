"""Random models of the reference, the same models in minibert, and the texts that they read."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import transformers

import minibert
from minibert import checkpoint
from minibert.exploring.record import make_record
from minibert.heads import Model
from minibert.tokenizer import Tokenizer
from tests.helpers import TINY, randomize, tiny_model
from tests.weights_convert.reference_models import KINDS, reference_model
from weights_convert.convert import from_hf

A, B = "The cat [MASK] on the mat", "the [MASK] ran"
SHAPE = TINY.replace(vocab_size=80, max_position_embeddings=64)


class Twins(NamedTuple):
    """The same random weights in both implementations, in float64."""

    reference: transformers.PreTrainedModel
    model: Model


@pytest.fixture
def twins(request: pytest.FixtureRequest, tokenizer: Tokenizer, tmp_path: Path) -> Twins:
    """Twins of the kind that a test names by `indirect`, or else of "pretraining"."""
    kind = getattr(request, "param", "pretraining")
    reference = reference_model(kind, SHAPE)
    source = tmp_path / "reference"
    reference.save_pretrained(source)
    tokenizer.save(source)
    from_hf(source, tmp_path / "ours")
    model, _ = minibert.load(tmp_path / "ours")
    assert type(model).__name__ == KINDS[kind][2]
    return Twins(reference, model.double())


@torch.no_grad()
def reference_output(twins: Twins, tokenizer: Tokenizer, *texts: str) -> Any:
    """Return the reference's output for a text or pair, with hidden states and attention."""
    batch = tokenizer(*texts)
    return twins.reference(
        input_ids=batch.input_ids,
        token_type_ids=batch.token_type_ids,
        attention_mask=batch.attention_mask,
        output_hidden_states=True,
        output_attentions=True,
    )


def random_model(architecture: str) -> Model:
    model = tiny_model(architecture, SHAPE)
    randomize(model, seed=4)
    return model


@pytest.fixture
def record(tokenizer: Tokenizer) -> dict[str, Any]:
    """The record of a pair with two [MASK], by a random pretraining model."""
    return make_record(random_model("BertForPreTraining"), tokenizer, A, B, name="random")


@pytest.fixture
def directory(tokenizer: Tokenizer, tmp_path: Path) -> Path:
    checkpoint.save(random_model("BertForPreTraining"), tokenizer, tmp_path / "model")
    return tmp_path / "model"
