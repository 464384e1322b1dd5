"""BERT's relatives through the one encoder: what differs, by hand. That the numbers are the reference's is tested in
tests/weights_convert.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

import minibert
from minibert import checkpoint
from minibert.heads import BertForPreTraining, BertForQuestionAnswering, BertForSequenceClassification, Pooler
from minibert.model import Bert, position_ids
from minibert.tokenizer import Tokenizer
from minibert.tracing import trace
from tests.helpers import FAMILY, TINY, ragged_batch, randomize, refusal, seeded, tiny_model
from tests.minibert.test_checkpoint import edit_config
from tests.minibert.test_tracing import BLOCK, batch

# --- RoBERTa ---------------------------------------------------------------------------------------------------------


def test_positions_by_hand() -> None:
    ids = torch.tensor([[1, 1, 7, 8, 9], [7, 8, 9, 1, 1], [7, 8, 9, 5, 6]])  # padded left, right, and not at all
    assert position_ids(ids, None).tolist() == [0, 1, 2, 3, 4]
    assert position_ids(ids, 1).tolist() == [[1, 1, 2, 3, 4], [2, 3, 4, 1, 1], [2, 3, 4, 5, 6]]
    assert position_ids(ids + 3, 4).tolist() == [[4, 4, 5, 6, 7], [5, 6, 7, 4, 4], [5, 6, 7, 8, 9]]


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_on_either_side_leaves_the_states_of_real_tokens(side: str) -> None:
    model = Bert(FAMILY["roberta"], generator=seeded(1)).double().eval()
    randomize(model, seed=4)
    ids, padding = torch.tensor([[5, 6, 7, 8]]), torch.ones(1, 3, dtype=torch.long)
    parts = [padding, ids] if side == "left" else [ids, padding]
    padded = torch.cat(parts, dim=1)
    hidden = model(padded, attention_mask=padded != 1)
    assert_close(hidden[padded != 1], model(ids)[0], rtol=0, atol=1e-12)


def test_sequences_may_be_as_long_as_there_are_positions_for_tokens() -> None:
    model = Bert(FAMILY["roberta"], generator=seeded(1)).eval()
    assert model(torch.full((1, 16), 5)).shape == (1, 16, 24)
    assert refusal(lambda: model(torch.full((1, 17), 5))) == "17 tokens, but the model has 16 positions"


def test_padding_has_no_position_that_learns() -> None:
    model = Bert(FAMILY["roberta"], generator=seeded(1))
    assert not model.embeddings.position.weight[1].any()
    model(torch.tensor([[1, 5, 6]])).square().sum().backward()
    gradient = model.embeddings.position.weight.grad
    assert gradient is not None
    assert gradient.any(dim=1).nonzero().flatten().tolist() == [2, 3]


def test_a_classifier_drops_before_its_pooler_too() -> None:
    def share(name: str) -> float:
        return BertForSequenceClassification(FAMILY[name], labels=["a", "b"]).pooler.dropout.p

    assert [share(name) for name in FAMILY] == [0.0, 0.1, 0.0, 0.0, 0.1]
    pooler, ones = Pooler(TINY, dropout=0.5), torch.ones(1, 1, 24)
    assert not torch.equal(pooler(ones), pooler(ones))


@pytest.mark.parametrize("name", ["roberta", "distilbert"])
def test_with_fewer_than_two_segments_all_is_a(name: str) -> None:
    model = Bert(FAMILY[name], generator=seeded(1)).eval()
    input_ids, token_type_ids, attention_mask = ragged_batch()
    assert token_type_ids.any()
    found = model(input_ids, token_type_ids=token_type_ids, attention_mask=attention_mask)
    assert_close(found, model(input_ids, attention_mask=attention_mask), rtol=0, atol=0)


# --- DistilBERT ------------------------------------------------------------------------------------------------------


def test_without_segments_there_is_no_table_and_no_intermediate() -> None:
    model = tiny_model("Bert", FAMILY["distilbert"])
    assert [name for name, _ in model.named_parameters() if "segment" in name] == []
    record = trace(model, batch())
    assert list(record)[:5] == [f"embeddings.{part}" for part in ("token", "position", "sum", "norm")] + ["embeddings"]


def test_its_pooler_is_a_rectifier() -> None:
    pooler, hidden = Pooler(FAMILY["distilbert"]), torch.randn(5, 3, 24, generator=seeded(1))
    assert_close(pooler(hidden), pooler.dense(hidden[:, 0]).clamp(min=0), rtol=0, atol=0)


def test_it_drops_before_the_span_head() -> None:
    shares = [BertForQuestionAnswering(config).dropout.p for config in FAMILY.values()]
    assert shares == [0.0, 0.0, 0.1, 0.0, 0.0]
    model = BertForQuestionAnswering(FAMILY["distilbert"].replace(span_dropout=0.5), generator=seeded(1))
    hidden = torch.ones(1, 2, 24)
    assert not torch.equal(model.head(hidden).start, model.head(hidden).start)


# --- ALBERT ----------------------------------------------------------------------------------------------------------


def test_embeddings_are_narrow_and_projected() -> None:
    model = tiny_model("BertForMaskedLM", FAMILY["albert"])
    shapes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    assert shapes["encoder.embeddings.token.weight"] == (40, 10)
    assert shapes["encoder.embeddings.projection.weight"] == (24, 10)
    assert shapes["mlm_head.dense.weight"] == (10, 24)
    assert shapes["mlm_head.norm.weight"] == (10,)
    record = trace(model, batch())
    assert tuple(record["embeddings.norm"].shape) == (3, 11, 10)
    assert tuple(record["embeddings"].shape) == (3, 11, 24)
    assert_close(record["embeddings"], record["embeddings.projection"], rtol=0, atol=0)


def test_all_layers_are_one_block_and_are_traced_each() -> None:
    model = tiny_model("Bert", FAMILY["albert"].replace(num_hidden_layers=3)).double()
    randomize(model, seed=4)
    one = tiny_model("Bert", FAMILY["albert"].replace(num_hidden_layers=1))
    assert sum(p.numel() for p in model.parameters()) == sum(p.numel() for p in one.parameters())
    record = trace(model, batch())
    for layer in range(3):
        assert all(f"blocks.{layer}.{part}" in record for part in BLOCK)
    states = [record["embeddings"], *(record[f"blocks.{layer}"] for layer in range(3))]
    mask = batch().attention_mask[:, None, None]
    for given, answered in itertools.pairwise(states):
        assert_close(model.encoder.blocks[0](given, mask), answered, rtol=0, atol=1e-12)
    assert not torch.equal(states[1], states[2])


def test_the_gradient_of_the_shared_block_is_the_sum_over_layers() -> None:
    shared = Bert(FAMILY["albert"], generator=seeded(1)).double()
    apart = Bert(FAMILY["albert"].replace(share_layers=False)).double()
    apart.load_state_dict(shared.state_dict())
    input_ids, _, attention_mask = ragged_batch()
    for model in (shared, apart):
        model.eval()(input_ids, attention_mask=attention_mask)[attention_mask].pow(3).sum().backward()
    for (name, parameter), *others in zip(
        shared.blocks[0].named_parameters(), *(block.parameters() for block in apart.blocks), strict=True
    ):
        total = sum(other.grad for other in others if other.grad is not None)
        assert parameter.grad is not None
        assert_close(parameter.grad, total, rtol=0, atol=1e-10, msg=lambda text, name=name: f"{name}: {text}")


def test_sentence_order_is_told_behind_a_classifiers_dropout() -> None:
    def share(objective: str) -> float:
        return BertForPreTraining(FAMILY["albert"], pair_objective=objective).dropout.p

    assert [share(objective) for objective in ("nsp", "sop")] == [0.0, 0.1]
    message = refusal(lambda: BertForPreTraining(TINY, pair_objective="mlm"))
    assert message == "pair_objective must be one of nsp, sop, not 'mlm'"


# --- All -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FAMILY)
def test_texts_are_embedded_alike_alone_and_beside_longer_ones(name: str, tokenizer: Tokenizer) -> None:
    model = tiny_model("Bert", FAMILY[name].replace(vocab_size=80, pad_token_id=tokenizer.pad_id))
    texts = ["the cat", "a dog ran to the house and the cats sat"]
    together = minibert.embed(model, tokenizer, texts)
    alone = [minibert.embed(model, tokenizer, text)[0] for text in texts]
    assert together.shape == (2, 24)
    assert_close(torch.from_numpy(together), torch.tensor([row.tolist() for row in alone]), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", FAMILY)
def test_a_word_is_added(name: str) -> None:
    model = tiny_model("BertForMaskedLM", FAMILY[name].replace(vocab_size=80))
    grown = Tokenizer.train(["the cat sat"], vocab_size=40)
    for init in ("mean", "random"):
        minibert.grow_vocabulary(model, grown, [f"house{init}"], init=init, generator=seeded(1))
    assert model.encoder.embeddings.token.weight.shape[1] == FAMILY[name].embedding_width
    assert model.mlm_head.decoder.weight is model.encoder.embeddings.token.weight


@pytest.mark.parametrize("name", FAMILY)
def test_every_relative_is_saved_and_loaded(name: str, tokenizer: Tokenizer, tmp_path: Path) -> None:
    config = FAMILY[name].replace(vocab_size=80, pad_token_id=tokenizer.pad_id).with_separator(tokenizer.sep_id)
    model = tiny_model("BertForMaskedLM", config)
    checkpoint.save(model, tokenizer, tmp_path / "model")
    loaded, _ = checkpoint.load(tmp_path / "model")
    assert loaded.config == model.config
    assert_close(dict(loaded.named_parameters()), dict(model.named_parameters()), rtol=0, atol=0)


def test_another_separator_than_the_tokenizers_is_refused(tokenizer: Tokenizer, tmp_path: Path) -> None:
    config = FAMILY["longformer"].replace(vocab_size=80)
    message = "sep_token_id, which shows where a question ends, is 2, but the tokenizer's [SEP] is 3"
    assert refusal(lambda: checkpoint.save(Bert(config), tokenizer, tmp_path / "model")) == message
    checkpoint.save(Bert(config.with_separator(3)), tokenizer, tmp_path / "model")
    edit_config(tmp_path / "model", sep_token_id=2)
    assert refusal(lambda: checkpoint.load(tmp_path / "model")) == f"{tmp_path / 'model' / 'config.json'}: {message}"


def test_positions_are_counted_by_the_tokenizers_padding(tokenizer: Tokenizer, tmp_path: Path) -> None:
    config = FAMILY["roberta"].replace(vocab_size=80)
    message = "pad_token_id, after which positions begin, is 1, but the tokenizer's [PAD] is 0"
    assert refusal(lambda: checkpoint.save(Bert(config), tokenizer, tmp_path / "model")) == message
    checkpoint.save(Bert(config.replace(pad_token_id=0)), tokenizer, tmp_path / "model")
    edit_config(tmp_path / "model", pad_token_id=1)
    assert refusal(lambda: checkpoint.load(tmp_path / "model")) == f"{tmp_path / 'model' / 'config.json'}: {message}"
    # Of BERT, whose positions count every place, padding is any token.
    checkpoint.save(Bert(FAMILY["bert"].replace(vocab_size=80, pad_token_id=1)), tokenizer, tmp_path / "bert")
    assert checkpoint.load(tmp_path / "bert")[0].config.pad_token_id == 1
