"""Low-rank adapters: nothing at first, merged as good as unmerged, and few to train."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from finetune.methods.lora import AdaptedProjections, add_adapters, merge_adapters, projections
from minibert.heads import BertForSequenceClassification
from tests.helpers import TINY, ragged_batch, randomize, seeded, tiny_model

H = TINY.hidden_size


def classifier() -> BertForSequenceClassification:
    model = tiny_model("BertForSequenceClassification")
    assert isinstance(model, BertForSequenceClassification)
    randomize(model, 6)
    return model


def logits(model: BertForSequenceClassification) -> Tensor:
    input_ids, token_type_ids, attention_mask = ragged_batch()
    return model(input_ids, token_type_ids=token_type_ids, attention_mask=attention_mask)


def adapted(*targets: str, rank: int = 3) -> BertForSequenceClassification:
    """With adapters that do something."""
    model = classifier()
    add_adapters(model, rank=rank, alpha=16.0, targets=targets, generator=seeded(4))
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, AdaptedProjections):
                module.up += torch.randn(module.up.shape, generator=seeded(5)) * 0.3
    return model


def test_adapters_change_nothing_before_they_learn() -> None:
    model = classifier()
    before = logits(model)
    add_adapters(model, rank=2, alpha=16.0, targets=("query", "value"), generator=seeded(4))
    assert torch.equal(logits(model), before)


@pytest.mark.parametrize("targets", [("query", "value"), ("key",), ("value", "query", "key")])
def test_merged_answers_as_unmerged_and_is_a_plain_model(targets: tuple[str, ...]) -> None:
    model = adapted(*targets)
    before = logits(model).detach()
    assert not torch.allclose(before, logits(classifier()), atol=1e-3)
    merge_adapters(model)
    torch.testing.assert_close(logits(model), before, rtol=0, atol=1e-5)
    assert [name for name, _ in model.named_parameters()] == [name for name, _ in classifier().named_parameters()]
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize(("name", "part"), [("query", 0), ("key", 1), ("value", 2)])
def test_an_adapter_changes_the_rows_of_its_own_projection_alone(name: str, part: int) -> None:
    model = adapted(name)
    merge_adapters(model)
    for (changed, _), (plain, _) in zip(projections(model), projections(classifier()), strict=True):
        difference = changed.query_key_value.weight - plain.query_key_value.weight
        others = [i for i in range(3) if i != part]
        assert torch.linalg.matrix_rank(difference.chunk(3)[part].detach()) == 3
        assert all(not difference.chunk(3)[i].any() for i in others)


def test_only_adapters_and_what_stands_on_the_encoder_are_trained() -> None:
    model = adapted("query", "value", rank=5)
    trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    inside = [parameter.numel() for name, parameter in trained.items() if name.startswith("encoder.")]
    assert sum(inside) == TINY.num_hidden_layers * 2 * 2 * 5 * H
    assert {name.split(".")[0] for name in trained} == {"encoder", "pooler", "classifier"}
    logits(model).sum().backward()
    assert all(parameter.grad is not None for parameter in trained.values())
    assert all(parameter.grad is None for parameter in model.parameters() if not parameter.requires_grad)
