"""Hugging Face's `config.json` and minibert's: the fields, the class of the model, and the labels of its head."""

import dataclasses
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minibert.architectures import HEAD_FIELDS, OPTIONAL_HEAD_FIELDS, head_fields
from minibert.config import MOST_LAYERS, BertConfig
from minibert.errors import InputError, naming, plural
from minibert.files.text import json_type, read_small, reason
from minibert.heads import BertForPreTraining, Model
from minibert.tokenizer.directory import checked_class
from weights_convert.families import (
    ALBERT,
    BERT,
    DISTILBERT,
    FAMILIES,
    LONGFORMER,
    ROBERTA,
    USUAL_WINDOW,
    Family,
    family_of,
)

FIRST_NAME = "bert_config.json"  # the name of config.json in the first releases, BERT's own and those for PyTorch
MOST_LABELS = 1_000_000  # if a file gives only their number; more would be a damaged file
MASKED_LM = ("BertForPreTraining", "BertForMaskedLM")

# The reference's names of activations -> minibert's. The tanh approximation has several.
ACTIVATIONS = {
    **dict.fromkeys(("gelu", "gelu_python"), "gelu"),
    **dict.fromkeys(("gelu_new", "gelu_accurate", "gelu_pytorch_tanh", "gelu_python_tanh"), "gelu_new"),
    "relu": "relu",
}

# Fields that change what is computed, with the only value of each that is supported.
FIXED: dict[str, Any] = {
    "is_decoder": False,
    "is_encoder_decoder": False,
    "add_cross_attention": False,
    "position_embedding_type": "absolute",
    "pruned_heads": {},
    "quantization_config": None,
}

CONFIG_FIELDS = tuple(field.name for field in dataclasses.fields(BertConfig))
HEADS = {
    "id2label", "label2id", "num_labels", "problem_type", "pair_objective", "tie_word_embeddings", "trained_on",
}  # fmt: skip
READ = set(FIXED) | HEADS | {"architectures", "model_type", "tokenizer_class"}


@dataclass(frozen=True)
class Described:
    """What a Hugging Face `config.json` says, in minibert's terms."""

    family: Family
    config: BertConfig
    reference_class: str | None  # one of the family's; None if the file names none
    labels: tuple[str, ...]
    problem_type: str
    pair_objective: str
    trained_on: dict[str, Any]  # a field of minibert alone: `to_fields` writes it, and it is read back
    tied: bool  # whether the decoder's weight is the token embedding
    left_aside: tuple[str, ...]  # fields without effect on the computation

    def head(self, architecture: str) -> dict[str, Any]:
        """Return the arguments that a class of minibert takes besides its config."""
        names = (*HEAD_FIELDS.get(architecture, ()), *OPTIONAL_HEAD_FIELDS.get(architecture, {}))
        return {name: getattr(self, name) for name in names}

    def config_in(self, architecture: str) -> BertConfig:
        """Return the config of a model of this class.

        Raises InputError if the family's class computes something else than minibert's with this config.
        """
        check_masked_lm(self.family, architecture, self.config)
        without_its_own = architecture in self.family.drops_as_hidden
        return self.config.replace(classifier_dropout=None) if without_its_own else self.config


def check_masked_lm(family: Family, architecture: str, config: BertConfig) -> None:
    """Check the masked-LM head. Raises InputError if the family's has another activation than the blocks."""
    if family.masked_lm_act not in (None, config.hidden_act) and architecture in MASKED_LM:
        raise InputError(
            f"hidden_act is {config.hidden_act!r}, but the masked-LM head of {family.model_type} has "
            f"{family.masked_lm_act!r}; minibert supports only one activation for both"
        )


def check_windows(config: BertConfig) -> None:
    """Check a Longformer's windows. Raises InputError if the reference, which pads to the largest, can't run them."""
    windows = config.attention_window
    if windows is not None and any(max(windows) % window for window in windows):
        raise InputError(f"attention_window is {windows}, but in the reference each window must divide the largest")


def read_config(path: Path) -> Described:
    """Read a Hugging Face `config.json`.

    Raises InputError if it is missing or unreadable, is of another kind of model, or asks for what is not supported.
    """
    try:
        fields = json.loads(read_small(path))
    except FileNotFoundError:
        hint = f"; rename {FIRST_NAME} to {path.name}" if path.with_name(FIRST_NAME).is_file() else ""
        raise InputError(f"{path.parent} is not a Hugging Face directory: it has no {path.name}{hint}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not readable as JSON ({reason(error)})") from error
    if not isinstance(fields, dict):
        raise InputError(f"{path}: expected a JSON object, found {json_type(fields)}")
    if "architecture" in fields:
        raise InputError(f"{path}: expected a Hugging Face config, but it is minibert's: it has the field architecture")
    with naming(path):
        return describe(fields)


def describe(fields: Mapping[str, Any]) -> Described:
    """Return a Hugging Face config in minibert's terms. Missing fields have the reference's defaults.

    Raises InputError as `read_config` does.
    """
    family = _family(fields)
    for name, value in (FIXED | dict(family.constants)).items():
        if fields.get(name) not in (None, value):
            raise InputError(f"{name} {fields[name]!r}: only {value!r} is supported")
    checked_class(fields.get("tokenizer_class"), "tokenizer_class")  # its usual place is tokenizer_config.json
    labels = _labels(fields)
    usual = "regression" if len(labels) == 1 else "single_label_classification"
    return Described(
        family=family,
        config=read_fields(fields, family),
        reference_class=_reference_class(fields, family),
        labels=labels,
        problem_type=fields.get("problem_type") or usual,
        pair_objective=fields.get("pair_objective") or family.pair_objective,
        trained_on=trained_on if isinstance(trained_on := fields.get("trained_on"), dict) else {},
        tied=fields.get("tie_word_embeddings") in (None, True),
        left_aside=tuple(sorted(fields.keys() - READ - family.constants.keys() - set(_names(family).values()))),
    )


def read_fields(fields: Mapping[str, Any], family: Family) -> BertConfig:
    """Return minibert's config for a Hugging Face config of this family.

    Raises InputError if a value is impossible or not supported; the message has the family's names.
    """
    known = {name: fields[theirs] for name, theirs in _names(family).items() if theirs in fields}
    activation = known.get("hidden_act")
    if isinstance(activation, str):
        if activation not in ACTIVATIONS:
            name = _names(family)["hidden_act"]
            raise InputError(f"{name} {activation!r} is not supported, expected one of {', '.join(ACTIVATIONS)}")
        known["hidden_act"] = ACTIVATIONS[activation]
    if known.get("pad_token_id", 0) is None:  # then no row is excluded from training; the outputs are the same
        del known["pad_token_id"]
    if family is not DISTILBERT and known.get("type_vocab_size") == 0:
        raise InputError(f"type_vocab_size is 0, but {family.model_type} needs at least 1")
    if "embedding_size" in known and known["embedding_size"] is None:
        raise InputError(f"embedding_size is null, but {family.model_type} needs a number")
    if family is LONGFORMER:
        known["attention_window"] = _windows(fields)
    try:
        return BertConfig.from_dict(family.defaults.to_dict() | known)
    except InputError as error:  # with minibert's names of the fields
        raise InputError(re.sub(r"\w+", lambda word: family.fields.get(word[0], word[0]), str(error))) from None


def _windows(fields: Mapping[str, Any]) -> Any:
    """Return the window of each layer; a single number is that of all.

    Raises InputError if there is none.
    """
    layers = fields.get("num_hidden_layers", LONGFORMER.defaults.num_hidden_layers)
    windows = fields.get("attention_window", USUAL_WINDOW)
    if windows is None:
        raise InputError("attention_window is null, but longformer needs a number, or one for each layer")
    if type(windows) is int and type(layers) is int:
        return min(layers, MOST_LAYERS) * [windows]
    return windows


def described_config(reference_config: Any) -> BertConfig:
    """Return minibert's config for a model of the reference, given its config object."""
    fields = json.loads(reference_config.to_json_string(use_diff=False))
    return read_fields(fields, FAMILIES[fields["model_type"]])


def _names(family: Family) -> dict[str, str]:
    """Return minibert's fields that a config of this family has -> their names there."""
    return {name: family.fields.get(name, name) for name in CONFIG_FIELDS if name not in family.fixed}


def _family(fields: Mapping[str, Any]) -> Family:
    """Return the family; the first published configs don't name it, so a field that only it has decides."""
    if "model_type" not in fields:
        if "n_layers" in fields:
            return DISTILBERT
        if "num_hidden_groups" in fields:
            return ALBERT
        if "attention_window" in fields:
            return LONGFORMER
        # Two positions that no token uses, and a single segment.
        is_roberta = fields.get("max_position_embeddings") == 514 and fields.get("type_vocab_size") == 1
        return ROBERTA if is_roberta else BERT
    model_type = fields["model_type"]
    if model_type not in list(FAMILIES):
        raise InputError(f"model_type {model_type!r} is not supported, expected one of {', '.join(FAMILIES)}")
    return FAMILIES[model_type]


def _reference_class(fields: Mapping[str, Any], family: Family) -> str | None:
    classes = fields.get("architectures")
    if classes is None:
        return None
    done = family.reference_classes
    if not isinstance(classes, list) or len(classes) != 1 or classes[0] not in done:
        raise InputError(f"architectures {classes!r}: expected exactly one of {', '.join(done)}")
    return classes[0]


def _labels(fields: Mapping[str, Any]) -> tuple[str, ...]:
    """Return `id2label` in the order of its numbers; without it, LABEL_i for `num_labels` labels, or for two."""
    count, names = fields.get("num_labels"), fields.get("id2label")
    if count is not None and (type(count) is not int or not 1 <= count <= MOST_LABELS):
        raise InputError(f"num_labels must be a whole number from 1 to {MOST_LABELS:,}, not {count!r}")
    if names is None:
        return tuple(f"LABEL_{i}" for i in range(count or 2))
    if not isinstance(names, dict) or set(names) != {str(i) for i in range(len(names))}:
        raise InputError(f"id2label must be an object with the keys 0, 1, 2 and so on, not {names!r}")
    if count not in (None, len(names)):
        raise InputError(f"num_labels is {count}, but id2label has {plural(len(names), 'name')}")
    return tuple(names[str(i)] for i in range(len(names)))


def to_fields(model: Model) -> dict[str, Any]:
    """Return a Hugging Face config for `model`, which `describe` reads back.

    Raises InputError if no class of the reference computes what `model` does.
    """
    architecture, config, head = type(model).__name__, model.config, head_fields(model)
    family = family_of(config)
    reference_class = family.reference_class(architecture)
    check_masked_lm(family, architecture, config)
    check_windows(config)
    values = config.to_dict()
    if family.defaults.classifier_dropout is not None:  # there it must be a number
        values["classifier_dropout"] = config.dropout_before_classifier
    fields = {
        "architectures": [reference_class],
        "model_type": family.model_type,
        **{theirs: values[name] for name, theirs in _names(family).items()},
        **family.constants,
        "torch_dtype": str(next(model.parameters()).dtype).removeprefix("torch."),
    }
    if "labels" in head:
        labels = head.pop("labels")
        fields["id2label"] = {str(i): label for i, label in enumerate(labels)}
        fields["label2id"] = {label: i for i, label in enumerate(labels)}
    head.pop("pair_objective", None)
    if isinstance(model, BertForPreTraining) and model.pair_objective != family.pair_objective:
        fields["pair_objective"] = model.pair_objective  # the reference has no field for it; the weights are the same
    return fields | head
