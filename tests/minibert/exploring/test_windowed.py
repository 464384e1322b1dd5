"""The page's record of a Longformer: its global tokens have queries, attention and contexts of their own."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from minibert.exploring.page import html_page
from minibert.exploring.record import make_record, traced_text
from minibert.exploring.what_if import states_without
from minibert.heads import Model, TaskModel
from minibert.tokenizer import Tokenizer
from tests.helpers import randomize, tiny_model
from tests.minibert.exploring.conftest import SHAPE, A, B


def windowed(architecture: str, tokenizer: Tokenizer) -> Model:
    model = tiny_model(architecture, SHAPE.replace(attention_window=(2, 4), sep_token_id=tokenizer.sep_id))
    randomize(model, seed=4)
    return model


@pytest.fixture
def answers(tokenizer: Tokenizer) -> dict[str, Any]:
    """The record of a question and a passage; [CLS] and the question are global."""
    return make_record(windowed("BertForQuestionAnswering", tokenizer), tokenizer, "the cat", A, name="x")


def test_the_question_attends_to_all_and_others_to_their_window(answers: dict[str, Any]) -> None:
    is_global = np.array([token["global"] for token in answers["tokens"]])
    assert is_global.tolist()[:4] == [True, True, True, False] and not is_global[3:].any()
    probabilities = answers["attention"]["probabilities"][0]  # block 0: one token on each side
    assert_close(probabilities.sum(-1), np.ones(probabilities.shape[:2], np.float32))
    places = np.arange(len(is_global))
    near = (abs(places[:, None] - places) <= 1) | is_global | is_global[:, None]
    assert ((probabilities > 0) == near).all()


def test_the_scores_of_global_tokens_are_of_their_own_queries_and_keys(answers: dict[str, Any]) -> None:
    values = answers["blocks"]["values"]
    query, key = (values[f"attention.{name}"][1].reshape(-1, 3, 8) for name in ("query", "global_key"))
    scores = torch.from_numpy(np.einsum("qnd,knd->nqk", query[:3], key) / 8**0.5)
    found = torch.from_numpy(answers["attention"]["probabilities"][1, :, :3])
    assert_close(found, scores.softmax(-1), rtol=0, atol=1e-6)


def test_the_states_are_those_of_the_models_own_pass(tokenizer: Tokenizer) -> None:
    model = windowed("BertForQuestionAnswering", tokenizer)
    assert isinstance(model, TaskModel)
    batch, traced = traced_text(model, tokenizer, "the cat", A, 128)
    with torch.no_grad():
        own = model.states(tokenizer("the cat", A).input_ids, token_type_ids=batch.token_type_ids)
    assert_close(traced["blocks.1"], own, rtol=0, atol=1e-5)


@torch.no_grad()
def test_a_head_off_is_off_for_global_tokens_too(tokenizer: Tokenizer) -> None:
    model = windowed("BertForQuestionAnswering", tokenizer).double()
    batch, traced = traced_text(model, tokenizer, "the cat", A, 128)
    found = states_without(model.encoder, batch, 0, traced["embeddings"][0])[1]
    changed = copy.deepcopy(model)
    changed.encoder.blocks[0].attention.output.weight[:, 8:16] = 0
    expected = changed.encoder(
        batch.input_ids, token_type_ids=batch.token_type_ids, attention_mask=batch.attention_mask
    )
    assert_close(found, expected[0], rtol=0, atol=1e-12)


def test_the_page_says_what_is_particular(answers: dict[str, Any], tokenizer: Tokenizer) -> None:
    assert answers["left_out"] == [
        "A token attends to 1 to 2 tokens (depending on the block) on each side and to the global tokens. The scores "
        "of all other tokens take no part in the softmax.",
        "Global tokens have queries, keys and values of their own (global_query, global_key, global_value): their "
        "queries and scores are shown, but the values that they average are left out.",
    ]
    assert "attention.global_key" in html_page(answers)
    record = make_record(windowed("BertForPreTraining", tokenizer), tokenizer, A, B, name="x")
    assert len(record["left_out"]) == 1 and "attention.global_key" not in record["blocks"]["values"]
