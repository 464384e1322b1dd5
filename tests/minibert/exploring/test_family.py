"""The page's record of BERT's relatives: one with fewer embeddings, and one whose layers are one block."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from minibert.exploring.page import html_page
from minibert.exploring.record import make_record
from minibert.exploring.what_if import states_without
from minibert.heads import BertForPreTraining
from minibert.tokenizer import Tokenizer
from tests.helpers import FAMILY, randomize, seeded, tiny_model
from tests.minibert.exploring.conftest import A, B

STEPS = {
    "roberta": {"token", "position", "segment", "sum", "norm"},
    "distilbert": {"token", "position", "sum", "norm"},
    "albert": {"token", "position", "segment", "sum", "norm", "projection"},
}


@pytest.mark.parametrize("family", STEPS)
def test_a_relatives_record_has_what_it_computes(family: str, tokenizer: Tokenizer) -> None:
    config = FAMILY[family].replace(vocab_size=80, max_position_embeddings=66, pad_token_id=tokenizer.pad_id)
    model = tiny_model("BertForMaskedLM", config)
    randomize(model, seed=4)
    record = make_record(model, tokenizer, A, B, name=family)
    tokens = len(record["tokens"])
    assert {token["segment"] for token in record["tokens"]} == {0, 1}
    assert set(record["embeddings"]["values"]) == STEPS[family]
    shapes = {name: values.shape for name, values in record["embeddings"]["values"].items()}
    projected = shapes.pop("projection", None)
    assert set(shapes.values()) == {(tokens, config.embedding_width)}
    assert projected == ((tokens, 24) if family == "albert" else None)
    assert record["attention"]["probabilities"].shape == (2, 3, tokens, tokens)
    assert record["what_if"]["moved"].shape == (2, 4)
    assert (record["what_if"]["moved"] > 0).all()
    assert family in html_page(record)


@torch.no_grad()
def test_one_layer_of_those_that_share_a_block_is_switched_off(tokenizer: Tokenizer) -> None:
    config = FAMILY["albert"].replace(vocab_size=80, num_hidden_layers=3)
    model = tiny_model("Bert", config).double()
    randomize(model, seed=4)
    batch = tokenizer("the cat sat")
    encoder = model.encoder
    embedded = encoder.embeddings(batch.input_ids, token_type_ids=batch.token_type_ids)
    for layer in range(3):
        given = expected = embedded
        for number in range(3):
            given = expected if number == layer else given
            expected = expected if number == layer else encoder.blocks[0](expected, None)
        without = states_without(encoder, batch, layer, given[0])
        assert_close(without[-1:], expected, rtol=0, atol=1e-12)
        distances = (without - encoder(batch.input_ids)).flatten(1).abs().amax(1)
        assert float(distances.min()) > 1e-4  # every head and the block, at this layer alone
    first, second = (states_without(encoder, batch, layer, embedded[0])[0] for layer in (0, 1))
    assert not torch.equal(first, second)


def test_a_model_of_sentence_order_answers_in_its_words(tokenizer: Tokenizer) -> None:
    config = FAMILY["albert"].replace(vocab_size=80, max_position_embeddings=64)
    model = BertForPreTraining(config, pair_objective="sop", generator=seeded(1)).eval()
    record = make_record(model, tokenizer, "the cat", "sat", name="albert")
    (question,) = record["predictions"]
    assert {answer["answer"] for answer in question["answers"]} == {"B follows A", "A follows B"}
