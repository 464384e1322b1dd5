"""Training only the embeddings in use gives what training all of them gives, and leaves a plain model."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from finetune.methods.embedding_rows import RowsInUse, narrow_to, widen
from finetune.tasks.task import Feature
from minibert.heads import BertForSequenceClassification
from minibert.tokenizer.batch import Encoding
from tests.helpers import TINY, ragged_batch, tiny_model


def features(input_ids: Tensor) -> list[Feature]:
    return [Feature(n, (Encoding(row.numpy().astype(np.int32), len(row)),)) for n, row in enumerate(input_ids)]


def train(model: BertForSequenceClassification) -> list[Tensor]:
    """A few steps of Adam; the logits after each."""
    input_ids, token_type_ids, attention_mask = ragged_batch()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    seen = []
    for _ in range(4):
        logits = model(input_ids, token_type_ids=token_type_ids, attention_mask=attention_mask)
        torch.nn.functional.cross_entropy(logits, torch.tensor([0, 2, 1])).backward()
        optimizer.step()
        optimizer.zero_grad()
        seen.append(logits.detach())
    return seen


def test_the_same_logits_and_weights_as_with_the_whole_matrix() -> None:
    whole, narrow = (tiny_model("BertForSequenceClassification") for _ in range(2))
    assert isinstance(whole, BertForSequenceClassification) and isinstance(narrow, BertForSequenceClassification)
    input_ids = ragged_batch()[0]
    narrow_to(narrow, features(input_ids), pad_id=0)
    token = narrow.encoder.embeddings.get_submodule("token")
    assert isinstance(token, RowsInUse)
    assert len(token.weight) == len({*input_ids.flatten().tolist(), TINY.pad_token_id}) < TINY.vocab_size
    assert {name for name, _ in narrow.named_parameters()} == {name for name, _ in whole.named_parameters()}
    for ours, theirs in zip(train(narrow), train(whole), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)
    widen(narrow)
    for name, parameter in whole.named_parameters():
        torch.testing.assert_close(narrow.get_parameter(name), parameter, rtol=0, atol=1e-6)


def test_a_frozen_embedding_is_left_alone() -> None:
    model = tiny_model("BertForSequenceClassification")
    assert isinstance(model, BertForSequenceClassification)
    model.encoder.requires_grad_(False)
    before = model.encoder.embeddings.token
    narrow_to(model, features(ragged_batch()[0]), pad_id=0)
    assert model.encoder.embeddings.token is before


def test_a_token_that_was_not_in_use_is_an_error_in_training_and_its_old_row_in_evaluation() -> None:
    model = tiny_model("BertForSequenceClassification")
    assert isinstance(model, BertForSequenceClassification)
    before = model.encoder.embeddings.token.weight.detach().clone()
    narrow_to(model, features(torch.tensor([[2, 3]])), pad_id=0)
    token = model.encoder.embeddings.token
    with pytest.raises(IndexError):
        token.train()(torch.tensor([[5]]))
    with torch.no_grad():
        token.weight += 1
    with torch.inference_mode():
        seen = token.eval()(torch.tensor([[5, 2]]))
    assert torch.equal(seen[0], torch.stack([before[5], before[2] + 1]))
