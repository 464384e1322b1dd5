"""from-hf ∘ to-hf is nothing: a model directory that `to-hf` accepts comes back, byte for byte."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minibert import checkpoint
from minibert.architectures import ARCHITECTURES, OPTIONAL_HEAD_FIELDS
from minibert.config import POOLINGS, BertConfig, TextVectors
from minibert.heads import PROBLEM_TYPES, Model
from minibert.tokenizer import Tokenizer
from minibert.tokenizer.vocabulary import Kind
from tests.conftest import SENTENCES
from tests.helpers import FAMILY, contents, seeded
from weights_convert.convert import from_hf, to_hf
from weights_convert.families import FAMILIES, Family

KINDS: dict[Kind, int] = {"wordpiece": 80, "bpe": 300, "unigram": 60}
TOKENIZERS = [Tokenizer.train(SENTENCES, vocab_size=size, kind=kind) for kind, size in KINDS.items()]

SHARES = st.sampled_from([0, 0.0, 0.1, 0.5])
LABELS = st.lists(st.text(max_size=4), min_size=1, max_size=4, unique=True)
TRAINED_ON = st.dictionaries(st.text(max_size=4), st.none() | st.booleans() | st.integers() | st.text(), max_size=2)


@st.composite
def configs(draw: st.DrawFn, family: Family, architecture: str, tokenizer: Tokenizer) -> BertConfig:
    """A shape that the family's class can have, with rows for all tokens and perhaps more."""
    config = FAMILY[family.model_type]
    heads = draw(st.integers(1, 3))
    takes_its_own_dropout = architecture not in family.drops_as_hidden
    has_a_number = family.defaults.classifier_dropout is not None
    fields = {
        "vocab_size": tokenizer.vocab_size + draw(st.sampled_from([0, 0, 1, 7, 85])),
        "hidden_size": heads * draw(st.integers(1, 5)),
        "num_attention_heads": heads,
        "num_hidden_layers": draw(st.integers(1, 2)),
        "intermediate_size": draw(st.integers(1, 9)),
        "hidden_act": family.masked_lm_act or draw(st.sampled_from(["gelu", "gelu_new", "relu"])),
        "hidden_dropout_prob": draw(SHARES),
        "attention_probs_dropout_prob": draw(SHARES),
        "initializer_range": draw(st.floats(1e-3, 1)),
        "pad_token_id": tokenizer.pad_id,
        "max_position_embeddings": tokenizer.pad_id + draw(st.integers(5, 20)),
        "classifier_dropout": draw(SHARES if has_a_number else SHARES | st.none()) if takes_its_own_dropout else None,
    }
    if "type_vocab_size" not in family.fixed:
        fields |= {"type_vocab_size": draw(st.integers(1, 3)), "layer_norm_eps": draw(st.floats(1e-12, 1e-3))}
    if "span_dropout" not in family.fixed:
        fields["span_dropout"] = draw(SHARES)
    if config.embedding_size is not None:
        fields["embedding_size"] = draw(st.integers(1, 9))
    if config.attention_window is not None:
        windows = st.lists(st.sampled_from([2, 4, 512]), min_size=2, max_size=2)
        fields["attention_window"] = draw(windows)[: fields["num_hidden_layers"]]
        fields["sep_token_id"] = tokenizer.sep_id
        if tokenizer.kind == "wordpiece":  # as in Lawformer, another token than the tokenizer's padding
            fields["pad_token_id"] = draw(st.integers(0, 4))
            fields["max_position_embeddings"] += 4
    return config.replace(**fields)


@st.composite
def models(draw: st.DrawFn, family: Family, architecture: str, tokenizer: Tokenizer) -> Model:
    """A model of one of our classes, in a number format that files have."""
    head = {}
    if architecture in ("BertForSequenceClassification", "BertForTokenClassification"):
        head["labels"] = draw(LABELS)
    if architecture == "BertForSequenceClassification":
        head["problem_type"] = draw(st.sampled_from(PROBLEM_TYPES))
    if architecture == "BertForPreTraining":
        head["pair_objective"] = draw(st.sampled_from(["nsp", "sop"]))
    config = draw(configs(family, architecture, tokenizer))
    model = ARCHITECTURES[architecture](config, **head, generator=seeded(draw(st.integers(0, 9))))
    if "trained_on" in OPTIONAL_HEAD_FIELDS.get(architecture, {}):
        model.trained_on = draw(TRAINED_ON)
    limits = st.integers(3, config.longest - 1) | st.none()
    vectors = st.builds(TextVectors, st.sampled_from(POOLINGS), normalize=st.booleans(), max_length=limits)
    model.encoder.text_vectors = draw(st.none() | vectors)
    return model.to(draw(st.sampled_from([torch.float32, torch.float16, torch.bfloat16])))


@pytest.mark.parametrize("family", FAMILIES.values(), ids=list(FAMILIES))
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_there_and_back_gives_the_same_bytes(
    family: Family, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    place, tokenizer = tmp_path_factory.mktemp("model"), data.draw(st.sampled_from(TOKENIZERS))
    model = data.draw(models(family, data.draw(st.sampled_from(family.classes)), tokenizer))
    checkpoint.save(model, tokenizer, place / "ours")
    to_hf(place / "ours", place / "hf")
    from_hf(place / "hf", place / "back")
    assert contents(place / "back") == contents(place / "ours")
