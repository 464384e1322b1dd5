"""Hugging Face's config in our terms, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import transformers

from minibert.config import PRESETS, BertConfig
from minibert.heads import BertForPreTraining
from tests.helpers import FAMILY, REPOSITORY, TINY, refusal, tiny_model
from weights_convert.config_map import describe, read_config, to_fields

ROBERTA_BASE = PRESETS["base"].replace(
    vocab_size=50265, max_position_embeddings=514, type_vocab_size=1, layer_norm_eps=1e-5, pad_token_id=1,
    positions_skip_padding=True, pooler_input_dropout=True,
)  # fmt: skip
PUBLISHED = REPOSITORY.parent / "shared" / "data" / "configs"


def published(name: str) -> Path:
    path = PUBLISHED / f"{name}.json"
    if not path.is_file():
        pytest.skip(f"{path} is missing (shared data of the project's developers)")
    return path


@pytest.mark.parametrize(
    ("name", "config", "reference_class"),
    [
        ("bert-base-uncased", PRESETS["base"], "BertForMaskedLM"),
        ("bert-base-cased", PRESETS["base"].replace(vocab_size=28996), "BertForSequenceClassification"),
        ("bert-base-chinese", PRESETS["base"].replace(vocab_size=21128), "BertForMaskedLM"),
        ("bert-base-multilingual-cased", PRESETS["base"].replace(vocab_size=119547), None),
        ("bert-large-uncased", PRESETS["large"], "BertForMaskedLM"),
        ("chinese-roberta-wwm-ext", PRESETS["base"].replace(vocab_size=21128), None),
        ("roberta-base", ROBERTA_BASE, None),  # this one and distilbert don't say what they are
        ("roberta-large", ROBERTA_BASE.replace(num_hidden_layers=24, hidden_size=1024, num_attention_heads=16,
                                               intermediate_size=4096), "RobertaForMaskedLM"),
        ("distilroberta-base", ROBERTA_BASE.replace(num_hidden_layers=6), "RobertaForMaskedLM"),
        ("distilbert-base-uncased", PRESETS["base"].replace(
            num_hidden_layers=6, type_vocab_size=0, classifier_dropout=0.2, span_dropout=0.1, pooler_act="relu",
        ), "DistilBertForMaskedLM"),
        ("albert-base-v2", PRESETS["base"].replace(
            vocab_size=30000, embedding_size=128, share_layers=True, hidden_act="gelu_new", hidden_dropout_prob=0,
            attention_probs_dropout_prob=0, classifier_dropout=0.1,
        ), "AlbertModel"),
    ],
)  # fmt: skip
def test_published_configs(name: str, config: BertConfig, reference_class: str | None) -> None:
    described = read_config(published(name))
    assert (described.config, described.reference_class) == (config, reference_class)


@pytest.mark.parametrize("model_type", ["electra", "deberta", "deberta-v2", "xlm-roberta", "modernbert"])
def test_other_relatives_are_refused_by_name(model_type: str, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"model_type": model_type, "architectures": ["ElectraForPreTraining"]}))
    known = "bert, roberta, distilbert, albert, longformer"
    expected = f"{path}: model_type {model_type!r} is not supported, expected one of {known}"
    assert refusal(lambda: read_config(path)) == expected


def test_fields_not_given_have_the_references_defaults() -> None:
    described = describe({})
    assert described.config == BertConfig()
    assert (described.labels, described.problem_type) == (("LABEL_0", "LABEL_1"), "single_label_classification")
    assert (described.config.classifier_dropout, described.tied, described.left_aside) == (None, True, ())


@pytest.mark.parametrize("model_type", ["bert", "roberta", "distilbert", "albert", "longformer"])
def test_the_defaults_are_those_of_the_references_config(model_type: str) -> None:
    given = json.loads(transformers.AutoConfig.for_model(model_type).to_json_string(use_diff=False))
    assert describe({"model_type": model_type}).config == describe(given).config


@pytest.mark.parametrize(
    ("fields", "windows"),
    [
        ({}, (512,) * 12),
        ({"num_hidden_layers": 3}, (512,) * 3),
        ({"num_hidden_layers": 2, "attention_window": 6}, (6, 6)),
        ({"num_hidden_layers": 2, "attention_window": [4, 16]}, (4, 16)),
    ],
)
def test_a_window_is_that_of_each_layer(fields: dict[str, Any], windows: tuple[int, ...]) -> None:
    described = describe({"model_type": "longformer"} | fields)
    assert described.config.attention_window == windows
    assert describe({"attention_window": 6} | fields).family is described.family  # which the field gives away


def test_fields_without_influence_are_listed() -> None:
    fields = {"use_cache": True, "pooler_type": "first_token_transform", "hidden_size": 36, "num_attention_heads": 2}
    assert describe(fields).left_aside == ("pooler_type", "use_cache")


def test_no_padding_token_is_the_first() -> None:
    assert describe({"pad_token_id": None}).config.pad_token_id == 0


@pytest.mark.parametrize(
    ("fields", "labels", "problem_type"),
    [
        ({"id2label": {"1": "good", "0": "bad"}}, ("bad", "good"), "single_label_classification"),
        ({"num_labels": 1}, ("LABEL_0",), "regression"),
        ({"id2label": {"0": "score"}, "num_labels": 1}, ("score",), "regression"),
        ({"num_labels": 3, "problem_type": "multi_label_classification"},
         ("LABEL_0", "LABEL_1", "LABEL_2"), "multi_label_classification"),
        ({"problem_type": None}, ("LABEL_0", "LABEL_1"), "single_label_classification"),
    ],
)  # fmt: skip
def test_labels(fields: dict[str, Any], labels: tuple[str, ...], problem_type: str) -> None:
    described = describe(fields)
    assert (described.labels, described.problem_type) == (labels, problem_type)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"model_type": None},
            "model_type None is not supported, expected one of bert, roberta, distilbert, albert, longformer",
        ),
        (
            {"model_type": ["bert"]},
            "model_type ['bert'] is not supported, expected one of bert, roberta, distilbert, albert, longformer",
        ),
        ({"model_type": "albert", "num_hidden_groups": 4}, "num_hidden_groups 4: only 1 is supported"),
        ({"model_type": "albert", "inner_group_num": 2}, "inner_group_num 2: only 1 is supported"),
        (
            {"model_type": "longformer", "attention_mode": "sliding_chunks"},
            "attention_mode 'sliding_chunks': only 'longformer' is supported",
        ),
        (
            {"model_type": "longformer", "ignore_attention_mask": True},
            "ignore_attention_mask True: only False is supported",
        ),
        (
            {"model_type": "longformer", "attention_window": None},
            "attention_window is null, but longformer needs a number, or one for each layer",
        ),
        (
            {"model_type": "longformer", "attention_window": 7},
            "attention_window must be even numbers from 2 to 1,000,000, not 7",
        ),
        (
            {"model_type": "longformer", "attention_window": [512, 0], "num_hidden_layers": 2},
            "attention_window must be even numbers from 2 to 1,000,000, not 0",
        ),
        (
            {"model_type": "longformer", "attention_window": [512]},
            "attention_window must have a number for each of the 12 layers, not 1",
        ),
        (
            {"model_type": "longformer", "attention_window": "512"},
            "attention_window must be of type tuple[int, ...] | None, not '512'",
        ),
        (
            {"model_type": "longformer", "attention_window": True},
            "attention_window must be of type tuple[int, ...] | None, not True",
        ),
        (
            {"model_type": "longformer", "num_hidden_layers": 10**12},
            "num_hidden_layers must be at most 1000, not 1000000000000",
        ),
        (
            {"model_type": "longformer", "sep_token_id": 40_000},
            "sep_token_id 40000 is outside the vocabulary of 30522",
        ),
        ({"type_vocab_size": 0}, "type_vocab_size is 0, but bert needs at least 1"),
        (
            {"model_type": "distilbert", "activation": "swish"},
            "activation 'swish' is not supported, expected one of gelu, gelu_python, gelu_new, gelu_accurate, "
            "gelu_pytorch_tanh, gelu_python_tanh, relu",
        ),
        (
            {"model_type": "roberta", "architectures": ["BertForMaskedLM"]},
            "architectures ['BertForMaskedLM']: expected exactly one of RobertaModel, RobertaForMaskedLM, "
            "RobertaForSequenceClassification, RobertaForTokenClassification, RobertaForQuestionAnswering, "
            "RobertaForMultipleChoice",
        ),
        (
            {"tokenizer_class": "BertJapaneseTokenizer"},
            "tokenizer_class: expected one of BertTokenizer, DistilBertTokenizer, ElectraTokenizer, "
            "MobileBertTokenizer, RobertaTokenizer, LongformerTokenizer, AlbertTokenizer, "
            "PreTrainedTokenizerFast, TokenizersBackend, found 'BertJapaneseTokenizer'",
        ),
        ({"is_decoder": True}, "is_decoder True: only False is supported"),
        ({"add_cross_attention": True}, "add_cross_attention True: only False is supported"),
        (
            {"position_embedding_type": "relative_key"},
            "position_embedding_type 'relative_key': only 'absolute' is supported",
        ),
        ({"pruned_heads": {"0": [1]}}, "pruned_heads {'0': [1]}: only {} is supported"),
        (
            {"hidden_act": "swish"},
            "hidden_act 'swish' is not supported, expected one of gelu, gelu_python, gelu_new, gelu_accurate, "
            "gelu_pytorch_tanh, gelu_python_tanh, relu",
        ),
        ({"hidden_act": 3}, "hidden_act must be of type str, not 3"),
        ({"hidden_size": 100}, "hidden_size 100 is not a multiple of num_attention_heads 12"),
        ({"num_labels": 0}, "num_labels must be a whole number from 1 to 1,000,000, not 0"),
        ({"num_labels": 3, "id2label": {"0": "a", "1": "b"}}, "num_labels is 3, but id2label has 2 names"),
        (
            {"id2label": {"1": "a", "2": "b"}},
            "id2label must be an object with the keys 0, 1, 2 and so on, not {'1': 'a', '2': 'b'}",
        ),
        ({"id2label": ["a"]}, "id2label must be an object with the keys 0, 1, 2 and so on, not ['a']"),
    ],
)
def test_a_field_that_asks_for_something_else_is_named(fields: dict[str, Any], message: str) -> None:
    assert refusal(lambda: describe(fields)) == message


@pytest.mark.parametrize("classes", [["BertLMHeadModel"], ["BertModel", "BertForMaskedLM"], [], "BertModel", [["x"]]])
def test_another_class_is_refused_with_those_that_we_do(classes: object) -> None:
    assert refusal(lambda: describe({"architectures": classes})) == (
        f"architectures {classes!r}: expected exactly one of BertModel, BertForPreTraining, "
        "BertForMaskedLM, BertForNextSentencePrediction, BertForSequenceClassification, BertForTokenClassification, "
        "BertForQuestionAnswering, BertForMultipleChoice"
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model_type": "distilbert", "dim": "32"}, "dim must be of type int, not '32'"),
        ({"model_type": "distilbert", "n_heads": 5}, "dim 768 is not a multiple of n_heads 5"),
        ({"model_type": "distilbert", "qa_dropout": 2}, "qa_dropout must be at least 0 and below 1, not 2"),
        (
            {"model_type": "albert", "classifier_dropout_prob": 1},
            "classifier_dropout_prob must be at least 0 and below 1, not 1",
        ),
        (
            {"model_type": "albert", "embedding_size": None},
            "embedding_size is null, but albert needs a number",
        ),
    ],
)
def test_a_bad_value_is_named_as_the_file_names_it(fields: dict[str, Any], message: str) -> None:
    assert refusal(lambda: describe(fields)) == message


def test_a_masked_lm_head_with_an_activation_of_its_own_is_refused() -> None:
    described = describe({"model_type": "roberta", "hidden_act": "relu"})
    assert described.config_in("BertForTokenClassification").hidden_act == "relu"
    assert refusal(lambda: described.config_in("BertForMaskedLM")) == (
        "hidden_act is 'relu', but the masked-LM head of roberta has 'gelu'; minibert supports only one activation for "
        "both"
    )


@pytest.mark.parametrize(
    ("model_type", "architecture", "field"),
    [
        ("roberta", "BertForMultipleChoice", "classifier_dropout"),
        ("distilbert", "BertForTokenClassification", "seq_classif_dropout"),
    ],
)
def test_a_class_that_drops_as_the_blocks_do_does_so_here(model_type: str, architecture: str, field: str) -> None:
    described = describe({"model_type": model_type, field: 0.3})
    assert described.config_in("BertForSequenceClassification").classifier_dropout == 0.3
    assert described.config_in(architecture).classifier_dropout is None


def test_a_longformers_classifiers_drop_as_its_blocks_do() -> None:
    described = describe({"model_type": "longformer", "classifier_dropout": 0.3})
    for architecture in ("BertForSequenceClassification", "BertForTokenClassification", "BertForMultipleChoice"):
        assert described.config_in(architecture).classifier_dropout is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "not readable as JSON (Expecting property name"),
        (b'{"model_type": "\xff"}', "not readable as JSON (byte 16 is no"),
        (b"[" * 100_000, "not readable as JSON ("),
        (b"[1]", "expected a JSON object, found an array"),
        (
            b'{"architecture": "Bert"}',
            "expected a Hugging Face config, but it is minibert's: it has the field architecture",
        ),
        (b'{"vocab_size": "x"}', "vocab_size must be of type int, not 'x'"),
    ],
    ids=["cut off", "not utf-8", "nested too deep", "list", "ours", "field"],
)
def test_a_bad_file_is_named(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content)
    assert refusal(lambda: read_config(path)).startswith(f"{path}: {message}")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    expected = f"{tmp_path} is not a Hugging Face directory: it has no config.json"
    assert refusal(lambda: read_config(tmp_path / "config.json")) == expected


def test_the_way_back_by_hand() -> None:
    fields = to_fields(tiny_model("BertForSequenceClassification", TINY.replace(classifier_dropout=0.25)))
    assert fields == {
        "architectures": ["BertForSequenceClassification"],
        "model_type": "bert",
        "vocab_size": 40,
        "hidden_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 3,
        "intermediate_size": 56,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
        "max_position_embeddings": 16,
        "type_vocab_size": 2,
        "initializer_range": 0.02,
        "layer_norm_eps": 1e-12,
        "pad_token_id": 0,
        "classifier_dropout": 0.25,
        "torch_dtype": "float32",
        "id2label": {"0": "bad", "1": "fair", "2": "good"},
        "label2id": {"bad": 0, "fair": 1, "good": 2},
        "problem_type": "single_label_classification",
    }


@pytest.mark.parametrize(
    ("family", "fields"),
    [
        (
            "roberta",
            {"architectures": ["RobertaModel"], "model_type": "roberta", "type_vocab_size": 1, "pad_token_id": 1,
             "classifier_dropout": None, "hidden_size": 24},
        ),
        (
            "distilbert",
            {"architectures": ["DistilBertModel"], "model_type": "distilbert", "dim": 24, "n_layers": 2, "n_heads": 3,
             "hidden_dim": 56, "activation": "gelu", "dropout": 0.1, "attention_dropout": 0.1,
             "seq_classif_dropout": 0.2, "qa_dropout": 0.1},
        ),
        (
            "albert",
            {"architectures": ["AlbertModel"], "model_type": "albert", "embedding_size": 10, "num_hidden_groups": 1,
             "inner_group_num": 1, "classifier_dropout_prob": 0.1, "hidden_act": "gelu_new"},
        ),
        (
            "longformer",
            {"architectures": ["LongformerModel"], "model_type": "longformer", "attention_window": (4, 8),
             "sep_token_id": 2, "pad_token_id": 1, "attention_mode": "longformer", "ignore_attention_mask": False},
        ),
    ],
)  # fmt: skip
def test_the_way_back_of_relatives(family: str, fields: dict[str, Any]) -> None:
    found = to_fields(tiny_model("Bert", FAMILY[family]))
    assert {name: found[name] for name in fields} == fields
    assert not {"positions_skip_padding", "share_layers", "pooler_act", "span_dropout"} & found.keys()
    described = describe(found)
    assert (described.family.model_type, described.config) == (family, FAMILY[family])


def test_what_a_pretraining_model_learned_of_pairs_comes_back() -> None:
    shapes = [("bert", "nsp", None), ("bert", "sop", "sop"), ("albert", "sop", None), ("albert", "nsp", "nsp")]
    for family, objective, said in shapes:
        fields = to_fields(BertForPreTraining(FAMILY[family], pair_objective=objective))
        assert fields.get("pair_objective") == said
        assert describe(fields).head("BertForPreTraining") == {"pair_objective": objective}


@pytest.mark.parametrize(
    ("architecture", "config", "message"),
    [
        (
            "BertForPreTraining",
            FAMILY["roberta"],
            "transformers has no RobertaForPreTraining for a BertForPreTraining; for roberta it has RobertaModel, "
            "RobertaForMaskedLM, RobertaForSequenceClassification, RobertaForTokenClassification, "
            "RobertaForQuestionAnswering, RobertaForMultipleChoice",
        ),
        (
            "BertWithPooler",
            FAMILY["distilbert"],
            "transformers has no DistilBertModel for a BertWithPooler; for distilbert it has DistilBertModel, "
            "DistilBertForMaskedLM, DistilBertForSequenceClassification, DistilBertForTokenClassification, "
            "DistilBertForQuestionAnswering, DistilBertForMultipleChoice",
        ),
        (
            "Bert",
            TINY.replace(share_layers=True),
            "transformers has no such model: the nearest is albert, but there is no embedding_size",
        ),
        (
            "Bert",
            TINY.replace(embedding_size=8),
            "transformers has no such model: the nearest is albert, but share_layers is False, not True",
        ),
        (
            "Bert",
            FAMILY["distilbert"].replace(layer_norm_eps=1e-5, pooler_act="tanh"),
            "transformers has no such model: the nearest is distilbert, but pooler_act is 'tanh', not 'relu'; "
            "layer_norm_eps is 1e-05, not 1e-12",
        ),
        (
            "BertForMaskedLM",
            FAMILY["roberta"].replace(hidden_act="gelu_new"),
            "hidden_act is 'gelu_new', but the masked-LM head of roberta has 'gelu'; minibert supports only one "
            "activation for both",
        ),
        (
            "Bert",
            TINY.replace(attention_window=(4, 4)),
            "transformers has no such model: the nearest is longformer, but positions_skip_padding is False, not "
            "True; pooler_input_dropout is False, not True",
        ),
        (
            "Bert",
            FAMILY["longformer"].replace(num_hidden_layers=2, attention_window=(4, 6)),
            "attention_window is (4, 6), but in the reference each window must divide the largest",
        ),
    ],
    ids=["class", "pooler", "no factors", "no sharing", "constants", "activation", "no skipping", "windows"],
)
def test_what_the_reference_does_not_compute_is_refused(architecture: str, config: BertConfig, message: str) -> None:
    assert refusal(lambda: to_fields(tiny_model(architecture, config))) == message


def test_both_encoders_are_the_references_model() -> None:
    for architecture in ("Bert", "BertWithPooler"):
        assert to_fields(tiny_model(architecture))["architectures"] == ["BertModel"]
