"""Hugging Face's config in our terms, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from minibert.config import PRESETS, BertConfig
from tests.helpers import REPOSITORY, TINY, refusal, tiny_model
from weights_convert.config_map import describe, read_config, to_fields

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
    ],
)
def test_published_configs(name: str, config: BertConfig, reference_class: str | None) -> None:
    described = read_config(published(name))
    assert (described.config, described.reference_class) == (config, reference_class)


@pytest.mark.parametrize(
    ("name", "model_type"),
    [
        ("albert-base-v2", "albert"),
        ("distilbert-base-uncased", "distilbert"),  # this one and roberta-base don't say it
        ("distilroberta-base", "roberta"),
        ("roberta-base", "roberta"),
        ("roberta-large", "roberta"),
    ],
)
def test_other_models_are_refused(name: str, model_type: str) -> None:
    path = published(name)
    assert refusal(lambda: read_config(path)) == f"{path}: model_type '{model_type}': minibert does bert"


def test_fields_not_given_have_the_references_defaults() -> None:
    described = describe({})
    assert described.config == BertConfig()
    assert (described.labels, described.problem_type) == (("LABEL_0", "LABEL_1"), "single_label_classification")
    assert (described.classifier_dropout, described.tied, described.left_aside) == (None, True, ())


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
        ({"model_type": "roberta"}, "model_type 'roberta': minibert does bert"),
        ({"model_type": None}, "model_type None: minibert does bert"),
        ({"n_layers": 6}, "model_type 'distilbert': minibert does bert"),
        ({"num_hidden_groups": 1}, "model_type 'albert': minibert does bert"),
        ({"max_position_embeddings": 514, "type_vocab_size": 1}, "model_type 'roberta': minibert does bert"),
        (
            {"tokenizer_class": "BertJapaneseTokenizer"},
            "tokenizer_class: expected one of BertTokenizer, DistilBertTokenizer, ElectraTokenizer, "
            "MobileBertTokenizer, RobertaTokenizer, AlbertTokenizer, "
            "PreTrainedTokenizerFast, TokenizersBackend, found 'BertJapaneseTokenizer'",
        ),
        ({"is_decoder": True}, "is_decoder True: minibert does False alone"),
        ({"add_cross_attention": True}, "add_cross_attention True: minibert does False alone"),
        (
            {"position_embedding_type": "relative_key"},
            "position_embedding_type 'relative_key': minibert does 'absolute' alone",
        ),
        ({"pruned_heads": {"0": [1]}}, "pruned_heads {'0': [1]}: minibert does {} alone"),
        (
            {"hidden_act": "swish"},
            "hidden_act 'swish': minibert does gelu, gelu_python, gelu_new, gelu_accurate, gelu_pytorch_tanh, "
            "gelu_python_tanh, relu",
        ),
        ({"hidden_act": 3}, "hidden_act must be of type str, not 3"),
        ({"hidden_size": 100}, "hidden_size 100 is not a multiple of num_attention_heads 12"),
        ({"num_labels": 0}, "num_labels must be a whole number from 1 to 1,000,000, not 0"),
        ({"num_labels": 3, "id2label": {"0": "a", "1": "b"}}, "num_labels is 3, but id2label names 2"),
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
        f"architectures {classes!r}: minibert does one of BertModel, BertForPreTraining, BertForMaskedLM, "
        "BertForNextSentencePrediction, BertForSequenceClassification, BertForTokenClassification, "
        "BertForQuestionAnswering, BertForMultipleChoice"
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "no readable JSON (Expecting property name"),
        (b'{"model_type": "\xff"}', "no readable JSON ('utf-8' codec can't decode byte 0xff"),
        (b"[" * 100_000, "no readable JSON ("),
        (b"[1]", "a config is a JSON object, not list"),
        (b'{"architecture": "Bert"}', "a model directory of minibert already: it has the field architecture"),
        (b'{"vocab_size": "x"}', "vocab_size must be of type int, not 'x'"),
    ],
    ids=["cut off", "not utf-8", "nested too deep", "list", "ours", "field"],
)
def test_a_bad_file_is_named(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content)
    assert refusal(lambda: read_config(path)).startswith(f"{path}: {message}")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    expected = f"{tmp_path}: not a Hugging Face directory: it has no config.json"
    assert refusal(lambda: read_config(tmp_path / "config.json")) == expected


def test_the_way_back_by_hand() -> None:
    fields = to_fields(tiny_model("BertForSequenceClassification"))
    assert {name: fields[name] for name in fields if name not in TINY.to_dict()} == {
        "architectures": ["BertForSequenceClassification"],
        "model_type": "bert",
        "torch_dtype": "float32",
        "id2label": {"0": "bad", "1": "fair", "2": "good"},
        "label2id": {"bad": 0, "fair": 1, "good": 2},
        "problem_type": "single_label_classification",
        "classifier_dropout": 0.25,
    }
    assert {name: fields[name] for name in TINY.to_dict()} == TINY.to_dict()


def test_both_encoders_are_the_references_model() -> None:
    for architecture in ("Bert", "BertWithPooler"):
        assert to_fields(tiny_model(architecture))["architectures"] == ["BertModel"]
