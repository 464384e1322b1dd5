"""The encoder: each module against the reference's, masks, dropout, and fresh weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn
from torch.testing import assert_close
from transformers.models.bert import modeling_bert as reference_modules

from minibert.config import BertConfig
from minibert.fast import accelerate
from minibert.model import (
    Bert,
    Block,
    DotProductAttention,
    Embeddings,
    FeedForward,
    SelfAttention,
    visible_keys,
)
from tests.helpers import TINY, ragged_batch, randomize, refusal, seeded
from tests.reference import copy_encoder, copy_layer, reference_config

EXACT: Any = {"rtol": 0, "atol": 1e-10}  # in float64: far below any difference in the method, far above rounding


def hidden_states(seed: int = 5) -> Tensor:
    return torch.randn(3, 11, TINY.hidden_size, generator=seeded(seed), dtype=torch.float64)


def reference_layer(config: BertConfig) -> reference_modules.BertLayer:
    layer = reference_modules.BertLayer(reference_config(config)).double()
    randomize(layer, seed=11)
    return layer


def reference_mask(attention_mask: Tensor) -> Tensor:
    """What the reference adds to the scores: (B, 1, 1, T)."""
    return torch.zeros(attention_mask.shape, dtype=torch.float64).masked_fill(~attention_mask, -1e300)[:, None, None]


# --- Each module against the reference's -----------------------------------------------------------------------------


def test_embeddings_are_the_references() -> None:
    reference = reference_modules.BertEmbeddings(reference_config(TINY)).double().eval()
    randomize(reference, seed=11)
    ours = Embeddings(TINY).double().eval()
    ours.token.weight = reference.word_embeddings.weight
    ours.position.weight = reference.position_embeddings.weight
    ours.segment.weight = reference.token_type_embeddings.weight
    ours.norm.load_state_dict(reference.LayerNorm.state_dict())
    input_ids, token_type_ids, _ = ragged_batch()
    assert_close(
        ours(input_ids, token_type_ids=token_type_ids),
        reference(input_ids=input_ids, token_type_ids=token_type_ids),
        **EXACT,
    )


def test_self_attention_is_the_references() -> None:
    reference = reference_layer(TINY).eval()
    block = Block(TINY).double().eval()
    copy_layer(reference, block)
    x, (_, _, attention_mask) = hidden_states(), ragged_batch()
    context, _ = reference.attention.self(x, reference_mask(attention_mask))
    expected = reference.attention.output.dense(context)
    assert_close(block.attention(x, visible_keys(attention_mask)), expected, **EXACT)


@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "relu"])
def test_feed_forward_is_the_references(activation: str) -> None:
    config = TINY.replace(hidden_act=activation)
    reference = reference_layer(config).eval()
    ours = FeedForward(config).double().eval()
    ours.inner.load_state_dict(reference.intermediate.dense.state_dict())
    ours.output.load_state_dict(reference.output.dense.state_dict())
    x = hidden_states()
    assert_close(ours(x), reference.output.dense(reference.intermediate(x)), **EXACT)


def test_a_block_is_the_references_layer() -> None:
    reference = reference_layer(TINY).eval()
    ours = Block(TINY).double().eval()
    copy_layer(reference, ours)
    x, (_, _, attention_mask) = hidden_states(), ragged_batch()
    assert_close(ours(x, visible_keys(attention_mask)), reference(x, reference_mask(attention_mask)), **EXACT)


def test_every_hidden_state_is_the_references_at_every_real_token() -> None:
    reference = transformers.BertModel(reference_config(TINY), add_pooling_layer=False).double().eval()
    randomize(reference, seed=11)
    ours = Bert(TINY).double().eval()
    copy_encoder(reference, ours)
    input_ids, token_type_ids, attention_mask = ragged_batch()
    seen: list[Tensor] = []
    for module in (ours.embeddings, *ours.blocks):
        module.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    last = ours(input_ids, token_type_ids=token_type_ids, attention_mask=attention_mask)
    expected = reference(
        input_ids, token_type_ids=token_type_ids, attention_mask=attention_mask.long(), output_hidden_states=True
    ).hidden_states
    assert len(seen) == len(expected) == 3
    for layer, (state, wanted) in enumerate(zip(seen, expected, strict=True)):
        assert_close(
            state[attention_mask], wanted[attention_mask], **EXACT, msg=lambda m, n=layer: f"after layer {n}: {m}"
        )
    assert_close(last, seen[-1], rtol=0, atol=0)


def test_without_token_types_all_is_segment_a() -> None:
    model = Bert(TINY, generator=seeded(1)).eval()
    input_ids, _, _ = ragged_batch()
    zeros = torch.zeros_like(input_ids)
    assert_close(model(input_ids), model(input_ids, token_type_ids=zeros), rtol=0, atol=0)


def test_the_layer_norms_use_the_configs_eps() -> None:
    norms = [m for m in Bert(TINY.replace(layer_norm_eps=0.5)).modules() if isinstance(m, nn.LayerNorm)]
    assert [norm.eps for norm in norms] == [0.5] * 5


# --- Attention -------------------------------------------------------------------------------------------------------


def test_attention_by_hand() -> None:
    query = torch.tensor([[[[2.0, 0.0, 0.0, 0.0]]]])  # one head of D = 4, so scores are halved
    key = torch.tensor([[[[0.0, 1.0, 0.0, 0.0], [1.0986123, 0.0, 0.0, 0.0], [9.0, 9.0, 9.0, 9.0]]]])  # ln 3
    value = torch.tensor([[[[4.0], [8.0], [100.0]]]])
    mask = torch.tensor([True, True, False])[None, None, None]
    attention = DotProductAttention(dropout_prob=0.0)
    assert_close(attention.probabilities(query, key, mask), torch.tensor([[[[0.25, 0.75, 0.0]]]]))
    assert_close(attention(query, key, value, mask), torch.tensor([[[[7.0]]]]))


def weighed(attention: SelfAttention, mask: Tensor | None) -> Tensor:
    """Its probabilities on `hidden_states`."""
    query, key, _ = map(attention.split_heads, attention.query_key_value(hidden_states()).chunk(3, -1))
    return attention.dot_product.probabilities(query, key, mask)


def test_probabilities_sum_to_one_and_are_zero_at_padding() -> None:
    attention = SelfAttention(TINY).double().eval()
    randomize(attention, seed=2)
    attention_mask = ragged_batch()[2]
    probabilities = weighed(attention, visible_keys(attention_mask))
    assert probabilities.shape == (3, 3, 11, 11)
    assert_close(probabilities.sum(-1), torch.ones(3, 3, 11, dtype=torch.float64), rtol=0, atol=1e-12)
    at_padding = probabilities.masked_select(~attention_mask[:, None, None, :])
    assert_close(at_padding, torch.zeros(3 * 11 * (4 + 10), dtype=torch.float64), rtol=0, atol=0)


def test_heads_attend_on_their_own() -> None:
    attention = SelfAttention(TINY).double().eval()
    randomize(attention, seed=2)
    before = weighed(attention, None)
    with torch.no_grad():
        attention.query_key_value.weight[8:16] += 1.0  # the queries of the second of three heads, D = 8
    after = weighed(attention, None)
    changed = [not torch.equal(before[:, head], after[:, head]) for head in range(3)]
    assert changed == [False, True, False]


# --- Masks and padding -----------------------------------------------------------------------------------------------


def test_a_row_that_is_all_padding_looks_at_its_padding() -> None:
    mask = torch.tensor([[True, False, True], [False, False, False]])
    assert visible_keys(mask).tolist() == [[[[True, False, True]]], [[[True, True, True]]]]


@pytest.mark.parametrize("fused", [False, True], ids=["written out", "fused"])
def test_a_row_that_is_all_padding_gives_no_nan(fused: bool) -> None:
    model = Bert(TINY.replace(attention_probs_dropout_prob=0.0, hidden_dropout_prob=0.0), generator=seeded(1))
    if fused:
        accelerate(model)
    input_ids, token_type_ids, attention_mask = ragged_batch()
    attention_mask = attention_mask.clone()
    attention_mask[1] = False
    hidden = model(input_ids, token_type_ids=token_type_ids, attention_mask=attention_mask)
    hidden.square().sum().backward()
    assert int(hidden.isnan().sum()) == 0
    bad = [
        name for name, parameter in model.named_parameters() if parameter.grad is None or parameter.grad.isnan().any()
    ]
    assert bad == []


def test_padding_does_not_change_the_states_of_real_tokens() -> None:
    model = Bert(TINY, generator=seeded(1)).double().eval()
    input_ids, token_type_ids, attention_mask = ragged_batch()
    padded = model(input_ids, token_type_ids=token_type_ids, attention_mask=attention_mask)
    alone = model(input_ids[1:2, :7], token_type_ids=token_type_ids[1:2, :7])
    assert_close(padded[1:2, :7], alone, rtol=0, atol=1e-12)


def test_what_stands_in_the_padding_does_not_matter() -> None:
    model = Bert(TINY, generator=seeded(1)).double().eval()
    input_ids, token_type_ids, attention_mask = ragged_batch()
    other = torch.where(attention_mask, input_ids, 9)
    one, two = (model(ids, token_type_ids=token_type_ids, attention_mask=attention_mask) for ids in (input_ids, other))
    assert_close(one[attention_mask], two[attention_mask], rtol=0, atol=0)


IDS = torch.ones(2, 4, dtype=torch.long)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"input_ids": IDS[0]}, "input_ids must have the shape (B, T), not (4,)"),
        ({"input_ids": IDS.repeat(1, 5)}, "20 tokens, but the model has 16 positions"),
        (
            {"input_ids": IDS, "token_type_ids": IDS[:1]},
            "token_type_ids have the shape (1, 4), input_ids (2, 4)",
        ),
        (
            {"input_ids": IDS, "attention_mask": IDS},
            "attention_mask must be bool, True at real tokens, not torch.int64",
        ),
        (
            {"input_ids": IDS, "attention_mask": IDS.float()},
            "attention_mask must be bool, True at real tokens, not torch.float32",
        ),
        (
            {"input_ids": IDS, "attention_mask": IDS[:, :3].bool()},
            "attention_mask has the shape (2, 3), input_ids (2, 4)",
        ),
        (
            {"input_ids": IDS, "attention_mask": IDS[:, None, None].bool()},
            "attention_mask has the shape (2, 1, 1, 4), input_ids (2, 4)",
        ),
    ],
)
def test_inputs_that_do_not_fit_are_refused(inputs: dict[str, Tensor], message: str) -> None:
    model = Bert(TINY, generator=seeded(1))
    assert refusal(lambda: model(**inputs)) == message


@pytest.mark.parametrize("name", ["input_ids", "token_type_ids"])
def test_ids_that_are_no_integers_are_refused(name: str) -> None:
    model = Bert(TINY, generator=seeded(1))
    inputs = {"input_ids": IDS, "token_type_ids": IDS, name: IDS.float()}
    assert refusal(lambda: model(**inputs)).startswith(f"{name} must be ")


def test_as_many_tokens_as_positions_are_taken() -> None:
    assert Bert(TINY, generator=seeded(1))(IDS.repeat(1, 4)).shape == (2, 16, 24)


# --- Dropout ---------------------------------------------------------------------------------------------------------


def test_embeddings_are_dropped_as_often_as_configured_and_scaled() -> None:
    config = TINY.replace(hidden_size=240, hidden_dropout_prob=0.25)
    embeddings = Embeddings(config)
    input_ids = torch.randint(1, 40, (32, 16), generator=seeded(1))
    torch.manual_seed(4)
    dropped = embeddings.train()(input_ids, token_type_ids=torch.zeros_like(input_ids))
    kept = dropped != 0
    assert float((~kept).double().mean()) == pytest.approx(0.25, abs=0.01)
    whole = embeddings.eval()(input_ids, token_type_ids=torch.zeros_like(input_ids))
    assert_close(dropped[kept], whole[kept] / 0.75)


def test_a_block_drops_where_the_reference_does() -> None:
    config = TINY.replace(hidden_dropout_prob=0.3, attention_probs_dropout_prob=0.0)
    reference = reference_layer(config).train()
    ours = Block(config).double().train()
    copy_layer(reference, ours)
    x = hidden_states()
    torch.manual_seed(8)
    expected = reference(x)
    torch.manual_seed(8)
    assert_close(ours(x, None), expected, **EXACT)


def test_the_written_out_attention_drops_where_the_reference_does() -> None:
    config = TINY.replace(attention_probs_dropout_prob=0.3)
    reference = reference_layer(config).train()
    ours = Block(config).double().train()
    copy_layer(reference, ours)
    x = hidden_states()
    torch.manual_seed(8)
    context, _ = reference.attention.self(x)
    torch.manual_seed(8)
    assert_close(ours.attention(x, None), reference.attention.output.dense(context), **EXACT)


def test_the_attention_drops_as_often_as_configured() -> None:
    uniform = torch.zeros(1, 1, 200, 200)  # all keys look alike: every probability is 1/200
    torch.manual_seed(8)
    got = DotProductAttention(dropout_prob=0.3).train()(uniform, uniform, torch.eye(200)[None, None] * 200, None)
    assert float((got == 0).double().mean()) == pytest.approx(0.3, abs=0.01)
    assert_close(got[got != 0], torch.full((int((got != 0).sum()),), 1 / 0.7))


@pytest.mark.parametrize("field", ["hidden_dropout_prob", "attention_probs_dropout_prob"])
def test_each_dropout_changes_results_in_training_and_not_in_evaluation(field: str) -> None:
    config = TINY.replace(**{"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, field: 0.5})
    model = Bert(config, generator=seeded(1)).train()
    input_ids, _, _ = ragged_batch()
    torch.manual_seed(3)
    with torch.no_grad():
        assert float((model(input_ids) - model(input_ids)).abs().max()) > 1e-3
    model.eval()
    assert_close(model(input_ids), model(input_ids), rtol=0, atol=0)


def test_with_no_dropout_training_is_as_evaluation() -> None:
    config = TINY.replace(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    model = Bert(config, generator=seeded(1))
    input_ids, _, _ = ragged_batch()
    assert_close(model.train()(input_ids), model.eval()(input_ids), rtol=0, atol=0)


# --- Fresh weights ---------------------------------------------------------------------------------------------------

WIDE = BertConfig(
    vocab_size=500,
    hidden_size=256,
    num_hidden_layers=1,
    num_attention_heads=4,
    intermediate_size=512,
    max_position_embeddings=256,
    type_vocab_size=128,
    pad_token_id=3,
)


def test_fresh_matrices_have_the_papers_deviation() -> None:
    model = Bert(WIDE, generator=seeded(1))
    matrices = {name: p for name, p in model.named_parameters() if p.ndim == 2}
    assert len(matrices) == 3 + 4
    for name, matrix in matrices.items():
        drawn = matrix[torch.arange(len(matrix)) != 3] if name == "embeddings.token.weight" else matrix
        assert drawn.std().item() == pytest.approx(0.02, rel=0.02), name
        assert float(drawn.mean()) == pytest.approx(0, abs=0.0005), name


def test_the_deviation_is_the_configs() -> None:
    model = Bert(WIDE.replace(initializer_range=0.5), generator=seeded(1))
    assert float(model.embeddings.position.weight.std()) == pytest.approx(0.5, rel=0.02)


def test_fresh_biases_are_0_and_layer_norms_1_and_0() -> None:
    model = Bert(WIDE, generator=seeded(1))
    vectors = {name: p for name, p in model.named_parameters() if p.ndim == 1}
    assert len(vectors) == 2 * 3 + 4
    for name, vector in vectors.items():
        expected = float(name.endswith("norm.weight"))
        assert_close(vector.detach(), torch.full_like(vector, expected), rtol=0, atol=0, msg=name)


def test_the_padding_token_has_a_row_of_0() -> None:
    weight = Bert(WIDE, generator=seeded(1)).embeddings.token.weight.detach()
    assert (weight == 0).all(dim=1).nonzero().flatten().tolist() == [3]


def test_the_generator_alone_decides_the_weights() -> None:
    torch.manual_seed(1)
    one = Bert(TINY, generator=seeded(5)).state_dict()
    torch.manual_seed(2)
    two = Bert(TINY, generator=seeded(5)).state_dict()
    other = Bert(TINY, generator=seeded(6)).state_dict()
    assert_close(one, two, rtol=0, atol=0)
    assert not torch.equal(one["blocks.1.feed_forward.inner.weight"], other["blocks.1.feed_forward.inner.weight"])


def test_the_padding_row_gets_no_gradient_from_being_read() -> None:
    model = Bert(TINY, generator=seeded(1)).eval()
    input_ids, _, attention_mask = ragged_batch()
    model(input_ids, attention_mask=attention_mask).square().sum().backward()
    gradient = model.embeddings.token.weight.grad
    assert gradient is not None
    assert float(gradient[0].abs().max()) == 0
    assert float(gradient[input_ids[0, 0]].abs().max()) > 0


def test_the_encoder_of_an_encoder_is_itself() -> None:
    model = Bert(TINY)
    assert model.encoder is model
