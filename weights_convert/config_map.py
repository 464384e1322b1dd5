"""Hugging Face's `config.json` and ours: the fields, the class of the model, and the labels of its head."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minibert.config import BertConfig
from minibert.errors import InputError
from minibert.heads import ARCHITECTURES, HEAD_FIELDS, OPTIONAL_HEAD_FIELDS, Model, head_fields
from minibert.vocabulary_files import checked_class

MODEL_TYPE = "bert"
MOST_LABELS = 1_000_000  # of which a file gives the number alone; more would be a damaged file

# Classes of the reference that we do: those with a head are called the same here; BertModel is our encoder, with its
# pooler or without.
ENCODER_CLASS = "BertModel"
HEAD_CLASSES = tuple(name for name in ARCHITECTURES if name.startswith("BertFor"))

# The reference's names of activations -> ours. The tanh approximation goes by several.
ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_new",
    "gelu_accurate": "gelu_new",
    "gelu_pytorch_tanh": "gelu_new",
    "gelu_python_tanh": "gelu_new",
    "relu": "relu",
}

# Fields that change what is computed, with the one value of each that minibert computes.
FIXED: dict[str, Any] = {
    "is_decoder": False,
    "is_encoder_decoder": False,
    "add_cross_attention": False,
    "position_embedding_type": "absolute",
    "pruned_heads": {},
    "quantization_config": None,
}

OURS = {field.name for field in dataclasses.fields(BertConfig)}
HEADS = {
    "id2label", "label2id", "num_labels", "problem_type", "classifier_dropout", "tie_word_embeddings", "trained_on",
}  # fmt: skip
READ = OURS | set(FIXED) | HEADS | {"architectures", "model_type", "tokenizer_class"}


@dataclass(frozen=True)
class Described:
    """What a Hugging Face `config.json` says, in our terms."""

    config: BertConfig
    reference_class: str | None  # ENCODER_CLASS or one of HEAD_CLASSES; None where the file does not say
    labels: tuple[str, ...]
    problem_type: str
    classifier_dropout: float | None
    trained_on: dict[str, Any]  # ours alone: what `to_fields` wrote comes back
    tied: bool  # is the decoder's weight the token embedding?
    left_aside: tuple[str, ...]  # fields without influence on what is computed

    def head(self, architecture: str) -> dict[str, Any]:
        """The arguments that a class of ours takes beside its config."""
        names = (*HEAD_FIELDS.get(architecture, ()), *OPTIONAL_HEAD_FIELDS.get(architecture, ()))
        return {name: getattr(self, name) for name in names}


def read_config(path: Path) -> Described:
    """Reads a Hugging Face `config.json`.

    Raises:
        InputError: missing, unreadable, another kind of model, a field that asks for what minibert does not compute.
    """
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path.parent}: not a Hugging Face directory: it has no {path.name}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: no readable JSON ({error})") from error
    if not isinstance(fields, dict):
        raise InputError(f"{path}: a config is a JSON object, not {type(fields).__name__}")
    if "architecture" in fields:
        raise InputError(f"{path}: a model directory of minibert already: it has the field architecture")
    try:
        return describe(fields)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def describe(fields: Mapping[str, Any]) -> Described:
    """The fields of a Hugging Face config in our terms. Those not given have the reference's defaults.

    Raises:
        InputError: as `read_config`.
    """
    if (model_type := _model_type(fields)) != MODEL_TYPE:
        raise InputError(f"model_type {model_type!r}: minibert does {MODEL_TYPE}")
    for name, value in FIXED.items():
        if fields.get(name) not in (None, value):
            raise InputError(f"{name} {fields[name]!r}: minibert does {value!r} alone")
    checked_class(fields.get("tokenizer_class"), "tokenizer_class")  # its usual place is tokenizer_config.json
    known = {name: fields[name] for name in OURS & fields.keys()}
    if isinstance(activation := known.get("hidden_act"), str):
        if activation not in ACTIVATIONS:
            raise InputError(f"hidden_act {activation!r}: minibert does {', '.join(ACTIVATIONS)}")
        known["hidden_act"] = ACTIVATIONS[activation]
    if known.get("pad_token_id", 0) is None:  # there no row is kept from learning; the numbers are the same
        del known["pad_token_id"]
    labels = _labels(fields)
    usual = "regression" if len(labels) == 1 else "single_label_classification"
    return Described(
        config=BertConfig.from_dict(known),
        reference_class=_reference_class(fields),
        labels=labels,
        problem_type=fields.get("problem_type") or usual,
        classifier_dropout=fields.get("classifier_dropout"),
        trained_on=trained_on if isinstance(trained_on := fields.get("trained_on"), dict) else {},
        tied=fields.get("tie_word_embeddings") in (None, True),
        left_aside=tuple(sorted(fields.keys() - READ)),
    )


def _model_type(fields: Mapping[str, Any]) -> Any:
    """The kind of model. The first published configs don't say; then it is told by what only the others have."""
    if "model_type" in fields:
        return fields["model_type"]
    if "n_layers" in fields:
        return "distilbert"
    if "num_hidden_groups" in fields:
        return "albert"
    # Two positions that no token has, and a single segment.
    if fields.get("max_position_embeddings") == 514 and fields.get("type_vocab_size") == 1:
        return "roberta"
    return MODEL_TYPE


def _reference_class(fields: Mapping[str, Any]) -> str | None:
    classes = fields.get("architectures")
    if classes is None:
        return None
    done = (ENCODER_CLASS, *HEAD_CLASSES)
    if not isinstance(classes, list) or len(classes) != 1 or classes[0] not in done:
        raise InputError(f"architectures {classes!r}: minibert does one of {', '.join(done)}")
    return classes[0]


def _labels(fields: Mapping[str, Any]) -> tuple[str, ...]:
    """`id2label` in the order of its numbers; without one as many LABEL_i as `num_labels` says, or two."""
    count, names = fields.get("num_labels"), fields.get("id2label")
    if count is not None and (type(count) is not int or not 1 <= count <= MOST_LABELS):
        raise InputError(f"num_labels must be a whole number from 1 to {MOST_LABELS:,}, not {count!r}")
    if names is None:
        return tuple(f"LABEL_{i}" for i in range(count or 2))
    if not isinstance(names, dict) or set(names) != {str(i) for i in range(len(names))}:
        raise InputError(f"id2label must be an object with the keys 0, 1, 2 and so on, not {names!r}")
    if count not in (None, len(names)):
        raise InputError(f"num_labels is {count}, but id2label names {len(names)}")
    return tuple(names[str(i)] for i in range(len(names)))


def reference_class_of(model: Model) -> str:
    """The reference's class for a model of ours."""
    name = type(model).__name__
    return name if name in HEAD_CLASSES else ENCODER_CLASS


def to_fields(model: Model) -> dict[str, Any]:
    """The way back: a Hugging Face config for `model`. Our fields have the reference's names."""
    head = head_fields(model)
    fields = {
        "architectures": [reference_class_of(model)],
        "model_type": MODEL_TYPE,
        **model.config.to_dict(),
        "torch_dtype": str(next(model.parameters()).dtype).removeprefix("torch."),
    }
    if "labels" in head:
        labels = head.pop("labels")
        fields["id2label"] = {str(i): label for i, label in enumerate(labels)}
        fields["label2id"] = {label: i for i, label in enumerate(labels)}
    return fields | head
