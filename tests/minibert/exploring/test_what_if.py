"""Heads and blocks switched off, against models changed by hand; saliency against autograd by hand."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

import minibert
from minibert.exploring.predictions import questions_about
from minibert.exploring.record import make_record
from minibert.exploring.saliency import QUESTIONS_AT_ONCE, saliency
from minibert.exploring.what_if import states_without, what_if
from minibert.heads import BertForPreTraining, Model
from minibert.tokenizer import Batch, Tokenizer
from minibert.tracing import states_between
from tests.minibert.exploring.conftest import A, B, random_model
from tests.minibert.test_tracing import held


def hidden_of(model: Model, batch: Batch) -> Tensor:
    with torch.no_grad():
        return model.encoder(batch.input_ids, token_type_ids=batch.token_type_ids, attention_mask=batch.attention_mask)


def given_to(layer: int, model: Model, batch: Batch) -> Tensor:
    return minibert.trace(model, batch)[states_between(layer)[-1]][0]


@pytest.mark.parametrize("layer", [0, 1])
@pytest.mark.parametrize("head", [0, 1, 2])
def test_a_head_off_is_a_model_without_its_output_columns(layer: int, head: int, tokenizer: Tokenizer) -> None:
    model, batch = random_model("BertForPreTraining").double(), tokenizer(A, B)
    with torch.no_grad():
        found = states_without(model.encoder, batch, layer, given_to(layer, model, batch))[head]
    changed = copy.deepcopy(model)
    with torch.no_grad():
        changed.encoder.blocks[layer].attention.output.weight[:, head * 8 : (head + 1) * 8] = 0
    assert_close(found, hidden_of(changed, batch)[0], rtol=0, atol=1e-12)
    assert not torch.allclose(found, hidden_of(model, batch)[0], atol=1e-3)


def test_a_block_off_is_a_model_without_it(tokenizer: Tokenizer) -> None:
    model, batch = random_model("BertForPreTraining").double(), tokenizer(A, B)
    with torch.no_grad():
        found = states_without(model.encoder, batch, 1, given_to(1, model, batch))[-1]
    changed = copy.deepcopy(model)
    changed.encoder.blocks = changed.encoder.blocks[:1]
    assert_close(found, hidden_of(changed, batch)[0], rtol=0, atol=1e-12)


def test_answers_are_those_of_the_model_without_the_head(tokenizer: Tokenizer) -> None:
    model = random_model("BertForPreTraining")
    assert isinstance(model, BertForPreTraining)
    record = make_record(model, tokenizer, A, B, name="x")
    changed = copy.deepcopy(model)
    with torch.no_grad():
        changed.encoder.blocks[1].attention.output.weight[:, 8:16] = 0
    expected = make_record(changed, tokenizer, A, B, name="x")
    for number, prediction in enumerate(record["predictions"]):
        after = {answer["answer"]: answer["value"] for answer in expected["predictions"][number]["answers"]}
        now = record["what_if"]["answers"][number][1][1]
        assert [answer["answer"] for answer in now] == list(after)[: len(now)]
        assert [answer["value"] for answer in now] == pytest.approx(list(after.values())[: len(now)], abs=1e-5)
        followed = prediction["answers"][0]["answer"]
        if followed in after:
            assert record["what_if"]["values"][number, 1, 1] == pytest.approx(after[followed], abs=1e-5)
    hidden, other = hidden_of(model, tokenizer(A, B))[0], hidden_of(changed, tokenizer(A, B))[0]
    moved = ((hidden - other).norm(dim=-1) / hidden.norm(dim=-1)).mean().item()
    assert record["what_if"]["moved"][1, 1] == pytest.approx(moved, abs=1e-5)


def test_nothing_stays_on_the_model(tokenizer: Tokenizer) -> None:
    model = random_model("BertForPreTraining")
    before, weights = held(model), copy.deepcopy(model.state_dict())
    make_record(model, tokenizer, A, B, name="x")
    assert held(model) == before
    assert all(parameter.grad is None for parameter in model.parameters())
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, weights[name])


def test_nothing_stays_on_the_model_after_an_error(tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch = random_model("BertForPreTraining"), tokenizer(A, B)
    before = held(model)
    monkeypatch.setattr(type(model.encoder.blocks[1].feed_forward), "forward", lambda self, x: x / ())
    with pytest.raises(TypeError):
        what_if(model, batch, torch.zeros(3, 12, 24), [], [], progress=False)
    with pytest.raises(TypeError):
        saliency(model, batch, questions_about(model, tokenizer, batch), [0, 0, 0])
    assert held(model) == before


def test_saliency_is_embedding_times_gradient(tokenizer: Tokenizer) -> None:
    model, batch = random_model("BertForPreTraining").double(), tokenizer(A, B)
    questions = questions_about(model, tokenizer, batch)
    cat, dog = map(tokenizer.token_to_id, ("cat", "dog"))
    found = saliency(model, batch, questions, [cat, dog, 1])
    embeddings = model.encoder.embeddings
    for row in range(3):
        token = embeddings.token(batch.input_ids).detach().requires_grad_()
        places = embeddings.position.weight[:12] + embeddings.segment(batch.token_type_ids)
        hidden = embeddings.norm(token + places)
        for block in model.encoder.blocks:
            hidden = block(hidden, None)
        scores = (
            model.mlm_head(hidden[0, 3:4])[0, cat],
            model.mlm_head(hidden[0, 9:10])[0, dog],
            model.nsp_head(model.pooler(hidden))[0, 1],
        )
        scores[row].backward()
        assert token.grad is not None
        expected = (token * token.grad).sum(-1)[0].detach()
        assert_close(torch.from_numpy(found[row]).double(), expected, rtol=0, atol=1e-5)
        assert expected.abs().max() > 0.01


def test_more_questions_than_are_asked_at_once_have_the_same_saliency(tokenizer: Tokenizer) -> None:
    model, batch = random_model("BertForMaskedLM"), tokenizer("[MASK] " * 20)
    questions = questions_about(model, tokenizer, batch)
    assert len(questions) == 20 > 2 * QUESTIONS_AT_ONCE
    together = saliency(model, batch, questions, [7] * 20)
    alone = saliency(model, batch, questions[17:18], [7])
    assert_close(torch.from_numpy(together[17]), torch.from_numpy(alone[0]), rtol=0, atol=1e-6)
