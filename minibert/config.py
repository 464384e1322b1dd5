"""The config of a BERT or a relative: one frozen dataclass, checked when it is made, and the published sizes.
Also how a model is meant to turn texts into vectors.

Field names are Hugging Face's where it has one, so that a `config.json` reads the same in both worlds. A relative of
BERT (docs/family.md) differs from it in the values of a few fields.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minibert.errors import InputError, did_you_mean, naming
from minibert.files.text import json_type, read_small, reason
from minibert.files.typed import check_fields

ACTIVATIONS = ("gelu", "gelu_new", "relu")  # exact (erf) GELU, its tanh approximation, ReLU
POOLER_ACTIVATIONS = ("tanh", "relu")
WIDEST_WINDOW = 1_000_000
MOST_LAYERS = 1_000  # more means a damaged file, which would fill the memory before the weights could show it


@dataclass(frozen=True)
class BertConfig:
    """Everything that decides the parameters and the forward pass. The defaults are those of bert-base-uncased.

    Raises InputError, naming the field, if one has the wrong type or an impossible value.
    """

    vocab_size: int = 30522  # V
    hidden_size: int = 768  # H
    num_hidden_layers: int = 12  # L
    num_attention_heads: int = 12  # N; each head has D = H/N dimensions
    intermediate_size: int = 3072  # width of the feed-forward layer, 4H in the paper
    hidden_act: str = "gelu"  # one of ACTIVATIONS
    hidden_dropout_prob: float = 0.1  # on the embeddings and on each sublayer's output
    attention_probs_dropout_prob: float = 0.1
    max_position_embeddings: int = 512  # rows of the position table; the largest T is `longest`
    type_vocab_size: int = 2  # segments A and B; 1: both texts are segment A; 0: no segments (DistilBERT)
    initializer_range: float = 0.02  # standard deviation of fresh weights
    layer_norm_eps: float = 1e-12
    pad_token_id: int = 0
    positions_skip_padding: bool = False  # True: padding is not counted; positions begin at pad_token_id + 1 (RoBERTa)
    embedding_size: int | None = None  # E, width of the tables, projected to H (ALBERT); None: H, no projection
    share_layers: bool = False  # True: all L layers are the same block (ALBERT)
    classifier_dropout: float | None = None  # before a classifier; None: hidden_dropout_prob
    span_dropout: float = 0.0  # before the span head (DistilBERT)
    pooler_act: str = "tanh"  # one of POOLER_ACTIVATIONS; relu: DistilBERT
    pooler_input_dropout: bool = False  # True: a sequence classifier also has dropout before its pooler (RoBERTa)
    attention_window: tuple[int, ...] | None = None  # of each layer: w/2 tokens on each side (Longformer); None: all
    sep_token_id: int | None = None  # the separator: where a Longformer's heads find the question

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
                     "max_position_embeddings", "embedding_size"):  # fmt: skip
            if (value := getattr(self, name)) is not None and value < 1:
                raise InputError(f"{name} must be at least 1, not {value}")
        if self.num_hidden_layers > MOST_LAYERS:
            raise InputError(f"num_hidden_layers must be at most {MOST_LAYERS}, not {self.num_hidden_layers}")
        if self.type_vocab_size < 0:
            raise InputError(f"type_vocab_size must be at least 0, not {self.type_vocab_size}")
        if self.hidden_size % self.num_attention_heads:
            raise InputError(
                f"hidden_size {self.hidden_size} is not a multiple of num_attention_heads {self.num_attention_heads}"
            )
        for name, known in (("hidden_act", ACTIVATIONS), ("pooler_act", POOLER_ACTIVATIONS)):
            if (value := getattr(self, name)) not in known:
                raise InputError(f"{name} must be one of {', '.join(known)}, not {value!r}")
        for name in ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout", "span_dropout"):
            if (value := getattr(self, name)) is not None and not 0 <= value < 1:
                raise InputError(f"{name} must be at least 0 and below 1, not {value}")
        if self.attention_window is not None:
            object.__setattr__(self, "attention_window", tuple(self.attention_window))  # a list, if read from JSON
            self._check_windows(self.attention_window)
        elif self.sep_token_id is not None:
            raise InputError("sep_token_id has no effect without attention_window")
        if self.sep_token_id is not None and not 0 <= self.sep_token_id < self.vocab_size:
            raise InputError(f"sep_token_id {self.sep_token_id} is outside the vocabulary of {self.vocab_size}")
        for name in ("initializer_range", "layer_norm_eps"):
            if not (0 < getattr(self, name) < math.inf):
                raise InputError(f"{name} must be above 0 and finite, not {getattr(self, name)}")
        if not 0 <= self.pad_token_id < self.vocab_size:
            raise InputError(f"pad_token_id {self.pad_token_id} is outside the vocabulary of {self.vocab_size}")
        if self.longest < 1:
            raise InputError(
                f"max_position_embeddings {self.max_position_embeddings} leaves no position for tokens: they begin "
                f"after pad_token_id {self.pad_token_id}"
            )

    def _check_windows(self, windows: tuple[int, ...]) -> None:
        layers = self.num_hidden_layers
        if len(windows) != layers:
            raise InputError(f"attention_window must have a number for each of the {layers} layers, not {len(windows)}")
        for window in windows:
            if not 2 <= window <= WIDEST_WINDOW or window % 2:
                raise InputError(f"attention_window must be even numbers from 2 to {WIDEST_WINDOW:,}, not {window}")
        if self.share_layers:
            raise InputError("attention_window can't be used with shared layers: share_layers must be false")

    @property
    def embedding_width(self) -> int:
        """E, the width of the embeddings: `embedding_size`, or H if that is None."""
        return self.hidden_size if self.embedding_size is None else self.embedding_size

    @property
    def longest(self) -> int:
        """The maximum number of tokens in a sequence: the rows of the position table that tokens can use."""
        return self.max_position_embeddings - (self.pad_token_id + 1 if self.positions_skip_padding else 0)

    @property
    def padding_without_position(self) -> int | None:
        """The id of the token that positions skip; None if they count every token."""
        return self.pad_token_id if self.positions_skip_padding else None

    @property
    def dropout_before_classifier(self) -> float:
        """`classifier_dropout`, or `hidden_dropout_prob` if that is None."""
        return self.hidden_dropout_prob if self.classifier_dropout is None else self.classifier_dropout

    def with_separator(self, sep_token_id: int) -> BertConfig:
        """Return the config with its tokenizer's separator, if it is a Longformer's; otherwise it has no use for it."""
        return self if self.attention_window is None else self.replace(sep_token_id=sep_token_id)

    def replace(self, **changes: Any) -> BertConfig:
        """Return a copy with some fields changed, checked again."""
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name, as in `config.json`."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> BertConfig:
        """Return a config made from the fields of a `config.json`; those not given have their defaults.

        Raises InputError if fields are unknown (all of them are named) or have impossible values.
        """
        known = {field.name for field in dataclasses.fields(cls)}
        unknown = sorted(set(fields) - known)
        if unknown:
            there = ", ".join(sorted(known)) + did_you_mean(unknown[0], known)
            raise InputError(
                f"unknown config field{'s' if unknown[1:] else ''} {', '.join(unknown)}; the fields are {there}"
            )
        return cls(**fields)

    @classmethod
    def from_json(cls, path: Path, **defaults: Any) -> BertConfig:
        """Return a config read from a JSON file of its fields; `defaults` stand in for those not given.

        Raises InputError, naming the file, if it can't be read, is not a JSON object, or has a wrong field.
        """
        try:
            fields = json.loads(read_small(path))
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(f"{path}: not readable as JSON ({reason(error)})") from error
        if not isinstance(fields, dict):
            raise InputError(f"{path}: expected a JSON object, found {json_type(fields)}")
        with naming(path):
            return cls.from_dict(defaults | fields)


POOLINGS = ("mean", "cls", "max")


@dataclass(frozen=True)
class TextVectors:
    """How the model's authors turn a text into a vector: what `embed` does by default.

    Raises InputError, naming the field, if one has the wrong type or an impossible value.
    """

    pooling: str = "mean"  # of the last block's hidden states, one of POOLINGS
    normalize: bool = False  # to length 1
    max_length: int | None = None  # maximum tokens of a text, including [CLS] and [SEP]; None: the model's positions
    not_done: str | None = None  # steps that are not supported; then `embed` needs an explicit pooling

    def __post_init__(self) -> None:
        check_fields(self)
        if self.pooling not in POOLINGS:
            raise InputError(f"the pooling must be {', '.join(POOLINGS[:-1])} or {POOLINGS[-1]}, not {self.pooling!r}")

    def __str__(self) -> str:
        """Return a summary for people: "cls pooling, at most 256 tokens, scaled to length 1"."""
        said = {
            f"{self.pooling} pooling": True,
            f"at most {self.max_length} tokens": self.max_length is not None,
            "scaled to length 1": self.normalize,
            f"and what minibert does not support: {self.not_done}": self.not_done is not None,
        }
        return ", ".join(part for part, holds in said.items() if holds)

    @classmethod
    def from_dict(cls, fields: object) -> TextVectors:
        """Return the value of the field `text_vectors` of a `config.json`.

        Raises InputError if it is not an object, a field is unknown, or a value is impossible.
        """
        known = {field.name for field in dataclasses.fields(cls)}
        if not isinstance(fields, dict) or not fields.keys() <= known:
            raise InputError(f"text_vectors must be an object with keys {', '.join(sorted(known))}, not {fields!r:.80}")
        return cls(**fields)


def _shape(layers: int, hidden: int) -> BertConfig:
    """Return the config of a published size: heads of 64 dimensions, a feed-forward layer four times as wide as H."""
    return BertConfig(
        num_hidden_layers=layers, hidden_size=hidden, num_attention_heads=hidden // 64, intermediate_size=4 * hidden
    )


# Turc et al. 2019 (tiny to medium), Devlin et al. 2018 (base, large).
PRESETS: dict[str, BertConfig] = {
    "tiny": _shape(2, 128),
    "mini": _shape(4, 256),
    "small": _shape(4, 512),
    "medium": _shape(8, 512),
    "base": _shape(12, 768),
    "large": _shape(24, 1024),
}


def config_named(name: str, **defaults: Any) -> BertConfig:
    """Return the config of a preset, with `defaults` in place of its own values, or of a JSON file, as `from_json`.

    Raises InputError if the name is neither a preset nor a readable config file.
    """
    if name in PRESETS:
        return PRESETS[name].replace(**defaults)
    if Path(name).suffix == ".json":
        return BertConfig.from_json(Path(name), **defaults)
    expected = f"give {', '.join(PRESETS)} or the path of a config .json"
    raise InputError(f"unknown model {name!r}: {expected}{did_you_mean(name, PRESETS)}")
