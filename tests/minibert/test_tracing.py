"""A trace: which names there are, that the numbers are the forward pass's own, and that nothing stays behind."""

from __future__ import annotations

import re

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

import minibert
from minibert import tracing
from minibert.architectures import ARCHITECTURES
from minibert.config import PRESETS
from minibert.fast import accelerate
from minibert.heads import BertForPreTraining, Model
from minibert.model import Bert
from minibert.tokenizer import Batch, Tokenizer
from minibert.tracing import intermediates, trace, watched
from tests.helpers import TINY, ragged_batch, randomize, refusal, seeded, tiny_model

BLOCK = (
    "attention.query", "attention.key", "attention.value", "attention.probabilities", "attention.context",
    "attention.output", "attention.sum", "attention_norm", "feed_forward.inner", "feed_forward.activation",
    "feed_forward.output", "feed_forward.sum", "feed_forward_norm",
)  # fmt: skip
DOTTED = tuple(f".{part}" for part in BLOCK)
EMBEDDINGS = ("token", "position", "segment", "sum", "norm")
ENCODER = [
    *(f"embeddings.{part}" for part in EMBEDDINGS),
    "embeddings",
    *(f"blocks.0.{part}" for part in BLOCK),
    "blocks.0",
    *(f"blocks.1.{part}" for part in BLOCK),
    "blocks.1",
]
POOLER = ["pooler.dense", "pooler"]
MASKED = [f"mlm_head{part}" for part in (".dense", ".activation", ".norm", ".decoder", "")]
CLASSIFIER = ["classifier.dense", "classifier"]
HEADS = {
    "Bert": [],
    "BertWithPooler": POOLER,
    "BertForPreTraining": [*MASKED, *POOLER, "nsp_head"],
    "BertForMaskedLM": MASKED,
    "BertForNextSentencePrediction": [*POOLER, "nsp_head"],
    "BertForSequenceClassification": [*POOLER, *CLASSIFIER],
    "BertForTokenClassification": CLASSIFIER,
    "BertForQuestionAnswering": ["span_head"],
    "BertForMultipleChoice": [*POOLER, *CLASSIFIER],
}


def batch() -> Batch:
    """The ragged batch of 3 sequences of up to 11 tokens, 19 in all, as a tokenizer would give it."""
    input_ids, token_type_ids, attention_mask = ragged_batch()
    return Batch(
        input_ids=input_ids,
        token_type_ids=token_type_ids,
        sequence_ids=token_type_ids.where(attention_mask, -1),
        attention_mask=attention_mask,
        special_tokens_mask=~attention_mask,
        offsets=torch.zeros(3, 11, 2, dtype=torch.long),
        lengths=attention_mask.sum(1),
    )


def random_model(architecture: str) -> Model:
    model = tiny_model(architecture).double()
    randomize(model, seed=4)
    return model


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_intermediate_has_its_name_in_the_order_of_the_computation(architecture: str) -> None:
    assert list(trace(random_model(architecture), batch())) == ENCODER + HEADS[architecture]


def documented_names() -> set[str]:
    """Those that the module's docstring lists; ".key" there has the owner of the first name of its line."""
    assert tracing.__doc__ is not None
    names = set()
    for listed in re.findall(r"^ {4}([a-z][\w.{}]*(?:, [\w.{}]+)*) +\(", tracing.__doc__, re.MULTILINE):
        first, *others = listed.split(", ")
        names |= {first, *(first.rpartition(".")[0] * other.startswith(".") + other for other in others)}
    return names


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_name_is_documented(architecture: str) -> None:
    found = trace(random_model(architecture), batch())
    assert {re.sub(r"^blocks\.\d+", "blocks.{}", name) for name in found} <= documented_names()


def test_shapes() -> None:
    record = trace(random_model("BertForPreTraining"), batch())
    expected = {
        "embeddings.token": (3, 11, 24),
        "embeddings.position": (11, 24),
        "blocks.1.attention.query": (3, 3, 11, 8),
        "blocks.1.attention.probabilities": (3, 3, 11, 11),
        "blocks.1.attention.context": (3, 3, 11, 8),
        "blocks.1.feed_forward.activation": (3, 11, 56),
        "blocks.1": (3, 11, 24),
        "mlm_head": (19, 40),  # at every real token
        "pooler": (3, 24),
        "nsp_head": (3, 2),
    }
    assert {name: tuple(record[name].shape) for name in expected} == expected


def test_values_are_those_of_the_forward_pass() -> None:
    model, given = random_model("BertForPreTraining"), batch()
    record = trace(model, given, masked_positions=torch.tensor([3, 12]))
    with torch.no_grad():
        answer = model(
            given.input_ids,
            token_type_ids=given.token_type_ids,
            attention_mask=given.attention_mask,
            masked_positions=torch.tensor([3, 12]),
        )
    assert_close(record["mlm_head"], answer.mlm, rtol=0, atol=0)
    assert_close(record["nsp_head"], answer.nsp, rtol=0, atol=0)


@pytest.mark.parametrize("architecture", ["BertForPreTraining", "BertForMaskedLM", "BertForSequenceClassification"])
def test_the_last_block_is_shown_whole_though_its_head_looks_at_some_positions(architecture: str) -> None:
    model, given = accelerate(random_model(architecture)), batch()
    asked = {"masked_positions": torch.tensor([3])} if "mlm_head" in dict(model.named_children()) else {}
    record = trace(model, given, **asked)
    with torch.no_grad():
        hidden = model.encoder(
            given.input_ids, token_type_ids=given.token_type_ids, attention_mask=given.attention_mask
        )
    last = model.config.num_hidden_layers - 1
    assert_close(record[f"blocks.{last}"], hidden, rtol=0, atol=0)


def test_values_follow_from_one_another() -> None:
    model = random_model("Bert")
    assert isinstance(model, Bert)
    record = trace(model, batch())

    def same(name: str, expected: Tensor) -> None:
        assert_close(record[name], expected, rtol=0, atol=1e-12, msg=lambda message: f"{name}: {message}")

    same("embeddings.sum", sum(record[f"embeddings.{part}"] for part in EMBEDDINGS[:3]))  # type: ignore[arg-type]
    same("embeddings", model.embeddings.norm(record["embeddings.sum"]))
    block = "blocks.0."
    same(block + "attention.context", record[block + "attention.probabilities"] @ record[block + "attention.value"])
    same(block + "attention.sum", record["embeddings"] + record[block + "attention.output"])
    same(block + "feed_forward.activation", torch.nn.functional.gelu(record[block + "feed_forward.inner"]))
    same(block + "feed_forward.sum", record[block + "attention_norm"] + record[block + "feed_forward.output"])
    same("blocks.0", record[block + "feed_forward_norm"])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_probabilities_are_those_of_the_written_out_attention(dtype: torch.dtype) -> None:
    model, given = random_model("Bert").to(dtype), batch()
    record = trace(model, given)
    place = "blocks.1.attention."
    expected = model.encoder.blocks[1].attention.dot_product.probabilities(
        record[place + "query"], record[place + "key"], given.attention_mask[:, None, None]
    )
    assert_close(record[place + "probabilities"], expected, rtol=0, atol=1e-6 if dtype == torch.float32 else 1e-12)
    assert (record[place + "probabilities"][1, :, :, 7:] == 0).all()  # padding


def held(model: Model) -> list[tuple[list[str], int]]:
    """What each module holds, and how many hooks."""
    return [
        (sorted(vars(module)), len(module._forward_hooks) + len(module._forward_pre_hooks))
        for module in model.modules()
    ]


def test_nothing_stays_on_the_modules() -> None:
    model = random_model("BertForPreTraining")
    before = held(model)
    trace(model, batch())
    with pytest.raises(IndexError):
        trace(model, batch(), masked_positions=torch.tensor([99]))
    assert held(model) == before


def test_gradients_flow_through_a_watched_pass() -> None:
    model, given = random_model("Bert"), batch()
    with watched(model) as calls:
        model(given.input_ids, attention_mask=given.attention_mask).square().sum().backward()
    record = intermediates(model, calls)
    assert not any(value.requires_grad for value in record.values())
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize(
    "preset",
    [name if name in ("tiny", "mini") else pytest.param(name, marks=pytest.mark.slow) for name in PRESETS],
)
def test_every_preset_is_traced_by_documented_names_with_the_values_of_a_plain_pass(preset: str) -> None:
    config = PRESETS[preset].replace(vocab_size=TINY.vocab_size)
    model, given = BertForPreTraining(config, generator=seeded(0)).eval(), batch()
    before = held(model)
    record = trace(model, given)
    assert held(model) == before
    blocks = [f"blocks.{layer}{end}" for layer in range(config.num_hidden_layers) for end in ("", *DOTTED)]
    assert {name for name in record if name.startswith("blocks.")} == set(blocks)
    assert {re.sub(r"^blocks\.\d+", "blocks.{}", name) for name in record} <= documented_names()
    with torch.no_grad():
        hidden = model.encoder(
            given.input_ids, token_type_ids=given.token_type_ids, attention_mask=given.attention_mask
        )
    assert_close(record[f"blocks.{config.num_hidden_layers - 1}"], hidden, rtol=0, atol=0)


def test_choices_are_traced_as_one_question() -> None:
    record = trace(random_model("BertForMultipleChoice"), batch())
    assert tuple(record["classifier"].shape) == (3, 1)
    assert tuple(record["blocks.1"].shape) == (3, 11, 24)


def test_a_model_in_training_is_refused() -> None:
    model = random_model("Bert").train()
    assert refusal(lambda: trace(model, batch())) == ("trace: the model is in training mode; call model.eval() first")


def test_from_text(model: BertForPreTraining, tokenizer: Tokenizer) -> None:
    record = minibert.trace(model, tokenizer("the cat sat", "the dog ran"))
    rows = record["blocks.0.attention.probabilities"].sum(-1)
    assert_close(rows, torch.ones_like(rows))
