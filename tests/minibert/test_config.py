"""BertConfig: the published sizes, and what is refused."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from minibert.config import PRESETS, BertConfig, config_named
from minibert.heads import Pooler
from minibert.model import Bert
from tests.helpers import refusal


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("tiny", 4_385_920),
        ("mini", 11_170_560),
        ("small", 28_763_648),
        ("medium", 41_373_184),
        ("base", 109_482_240),
        ("large", 335_141_888),
    ],
)
def test_preset_has_the_published_number_of_parameters(name: str, published: int) -> None:
    with torch.device("meta"):
        modules = Bert(PRESETS[name]), Pooler(PRESETS[name])
    assert sum(parameter.numel() for module in modules for parameter in module.parameters()) == published


def test_the_presets_are_the_published_ones() -> None:
    shapes = {name: (c.num_hidden_layers, c.hidden_size, c.num_attention_heads) for name, c in PRESETS.items()}
    assert shapes == {
        "tiny": (2, 128, 2),
        "mini": (4, 256, 4),
        "small": (4, 512, 8),
        "medium": (8, 512, 8),
        "base": (12, 768, 12),
        "large": (24, 1024, 16),
    }


def test_the_defaults_are_those_of_bert_base_uncased() -> None:
    assert BertConfig().to_dict() == {
        "vocab_size": 30522,
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "intermediate_size": 3072,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
        "max_position_embeddings": 512,
        "type_vocab_size": 2,
        "initializer_range": 0.02,
        "layer_norm_eps": 1e-12,
        "pad_token_id": 0,
        "positions_skip_padding": False,
        "embedding_size": None,
        "share_layers": False,
        "classifier_dropout": None,
        "span_dropout": 0.0,
        "pooler_act": "tanh",
        "pooler_input_dropout": False,
        "attention_window": None,
        "sep_token_id": None,
    }
    assert BertConfig() == PRESETS["base"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"vocab_size": 0}, "vocab_size must be at least 1, not 0"),
        ({"hidden_size": -768}, "hidden_size must be at least 1, not -768"),
        ({"num_hidden_layers": 0}, "num_hidden_layers must be at least 1, not 0"),
        ({"num_attention_heads": 0}, "num_attention_heads must be at least 1, not 0"),
        ({"intermediate_size": -1}, "intermediate_size must be at least 1, not -1"),
        ({"max_position_embeddings": 0}, "max_position_embeddings must be at least 1, not 0"),
        ({"type_vocab_size": -1}, "type_vocab_size must be at least 0, not -1"),
        ({"embedding_size": 0}, "embedding_size must be at least 1, not 0"),
        ({"embedding_size": True}, "embedding_size must be of type int | None, not True"),
        ({"share_layers": 1}, "share_layers must be of type bool, not 1"),
        ({"positions_skip_padding": None}, "positions_skip_padding must be of type bool, not None"),
        (
            {"positions_skip_padding": True, "max_position_embeddings": 2, "pad_token_id": 1},
            "max_position_embeddings 2 leaves no position for tokens: they begin after pad_token_id 1",
        ),
        ({"classifier_dropout": 1.0}, "classifier_dropout must be at least 0 and below 1, not 1.0"),
        ({"classifier_dropout": "0.1"}, "classifier_dropout must be of type float | None, not '0.1'"),
        ({"span_dropout": -0.1}, "span_dropout must be at least 0 and below 1, not -0.1"),
        ({"pooler_act": "gelu"}, "pooler_act must be one of tanh, relu, not 'gelu'"),
        (
            {"hidden_size": 100, "num_attention_heads": 12},
            "hidden_size 100 is not a multiple of num_attention_heads 12",
        ),
        ({"hidden_act": "swish"}, "hidden_act must be one of gelu, gelu_new, relu, not 'swish'"),
        ({"hidden_dropout_prob": 1.0}, "hidden_dropout_prob must be at least 0 and below 1, not 1.0"),
        ({"hidden_dropout_prob": math.nan}, "hidden_dropout_prob must be at least 0 and below 1, not nan"),
        (
            {"attention_probs_dropout_prob": -0.1},
            "attention_probs_dropout_prob must be at least 0 and below 1, not -0.1",
        ),
        ({"initializer_range": 0.0}, "initializer_range must be above 0 and finite, not 0.0"),
        ({"initializer_range": math.inf}, "initializer_range must be above 0 and finite, not inf"),
        ({"layer_norm_eps": -1e-12}, "layer_norm_eps must be above 0 and finite, not -1e-12"),
        ({"layer_norm_eps": math.nan}, "layer_norm_eps must be above 0 and finite, not nan"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers must be at most 1000, not 1000000000"),
        ({"pad_token_id": -1}, "pad_token_id -1 is outside the vocabulary of 30522"),
        ({"pad_token_id": 30522}, "pad_token_id 30522 is outside the vocabulary of 30522"),
        ({"num_hidden_layers": True}, "num_hidden_layers must be of type int, not True"),
        ({"pad_token_id": False}, "pad_token_id must be of type int, not False"),
        ({"hidden_dropout_prob": False}, "hidden_dropout_prob must be of type float, not False"),
        ({"num_hidden_layers": 4.0}, "num_hidden_layers must be of type int, not 4.0"),
        ({"hidden_size": "768"}, "hidden_size must be of type int, not '768'"),
        ({"layer_norm_eps": None}, "layer_norm_eps must be of type float, not None"),
        ({"hidden_act": 1}, "hidden_act must be of type str, not 1"),
        ({"attention_window": 512}, "attention_window must be of type tuple[int, ...] | None, not 512"),
        ({"attention_window": (512,)}, "attention_window must have a number for each of the 12 layers, not 1"),
        (
            {"attention_window": (4, 3), "num_hidden_layers": 2},
            "attention_window must be even numbers from 2 to 1,000,000, not 3",
        ),
        (
            {"attention_window": (0, 4), "num_hidden_layers": 2},
            "attention_window must be even numbers from 2 to 1,000,000, not 0",
        ),
        (
            {"attention_window": (4, 4), "num_hidden_layers": 2, "share_layers": True},
            "attention_window can't be used with shared layers: share_layers must be false",
        ),
        ({"sep_token_id": 102}, "sep_token_id has no effect without attention_window"),
        (
            {"sep_token_id": 30522, "attention_window": (4,) * 12},
            "sep_token_id 30522 is outside the vocabulary of 30522",
        ),
    ],
)
def test_an_impossible_field_is_refused(fields: dict[str, Any], message: str) -> None:
    assert refusal(lambda: BertConfig(**fields)) == message


def test_positions_that_skip_padding_are_fewer_than_the_table_has_rows() -> None:
    config = BertConfig(max_position_embeddings=514, pad_token_id=1)
    assert (config.longest, config.padding_without_position) == (514, None)
    config = config.replace(positions_skip_padding=True)
    assert (config.longest, config.padding_without_position) == (512, 1)


def test_embeddings_are_as_wide_as_the_blocks_where_nothing_is_said() -> None:
    assert BertConfig(hidden_size=24, num_attention_heads=3).embedding_width == 24
    assert BertConfig(embedding_size=128).embedding_width == 128


def test_a_whole_number_does_for_a_float() -> None:
    assert BertConfig(hidden_dropout_prob=0, layer_norm_eps=1).hidden_dropout_prob == 0


def test_replace_changes_a_copy_and_checks_it() -> None:
    config = BertConfig()
    assert (config.replace(vocab_size=9).vocab_size, config.vocab_size) == (9, 30522)
    assert refusal(lambda: config.replace(num_attention_heads=5)).endswith("not a multiple of num_attention_heads 5")


def test_the_fields_come_back_from_their_dictionary() -> None:
    config = BertConfig(vocab_size=40, hidden_size=24, num_attention_heads=3, hidden_act="relu", pad_token_id=7)
    assert BertConfig.from_dict(config.to_dict()) == config


def test_fields_not_given_keep_their_defaults() -> None:
    assert BertConfig.from_dict({"num_hidden_layers": 3}) == BertConfig(num_hidden_layers=3)


def test_every_unknown_field_is_named() -> None:
    message = refusal(lambda: BertConfig.from_dict({"layers": 4, "vocab_size": 40, "depth": 1}))
    assert message.startswith("unknown config fields depth, layers; the fields are attention_probs_dropout_prob, ")


def test_a_json_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "four.json"
    path.write_text(json.dumps({"num_hidden_layers": 4, "hidden_dropout_prob": 0}))
    assert BertConfig.from_json(path) == BertConfig(num_hidden_layers=4, hidden_dropout_prob=0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"vocab_size": 40', "not readable as JSON (Expecting ',' delimiter: line 1 column 18 (char 17))"),
        (
            b'{"hidden_act": "\xff"}',
            "not readable as JSON (byte 16 is not UTF-8; it is probably WINDOWS-1252: iconv -f ",
        ),
        (b"[1, 2]", "expected a JSON object, found an array"),
        (b'{"layers": 4}', "unknown config field layers; the fields are "),
        (b'{"num_hidden_layers": true}', "num_hidden_layers must be of type int, not True"),
        (b'{"layer_norm_eps": NaN}', "layer_norm_eps must be above 0 and finite, not nan"),
        (b"[" * 100_000, "not readable as JSON ("),
    ],
    ids=["cut off", "not utf-8", "list", "unknown field", "bool", "nan", "nested too deep"],
)
def test_a_bad_json_file_is_named(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.json"
    path.write_bytes(content)
    assert refusal(lambda: BertConfig.from_json(path)).startswith(f"{path}: {message}")


def test_a_missing_json_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "none.json"
    assert refusal(lambda: BertConfig.from_json(path)).startswith(f"{path}: not readable as JSON (No such file")


def test_a_config_is_named_by_preset_or_by_file(tmp_path: Path) -> None:
    path = tmp_path / "own.json"
    path.write_text('{"num_hidden_layers": 5}')
    assert config_named("mini") == PRESETS["mini"]
    assert config_named("mini", vocab_size=9) == PRESETS["mini"].replace(vocab_size=9)
    assert config_named(str(path)) == BertConfig(num_hidden_layers=5)
    assert config_named(str(path), vocab_size=9, num_hidden_layers=2) == BertConfig(vocab_size=9, num_hidden_layers=5)


def test_another_name_is_refused() -> None:
    assert refusal(lambda: config_named("huge")) == (
        "unknown model 'huge': give tiny, mini, small, medium, base, large or the path of a config .json"
    )


def test_a_config_can_not_be_changed() -> None:
    with pytest.raises(AttributeError):
        BertConfig().vocab_size = 3  # type: ignore[misc]
