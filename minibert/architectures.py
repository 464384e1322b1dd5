"""The model classes that `config.json` can name as its architecture, and the fields that it holds for their heads."""

from collections.abc import Mapping
from typing import Any

from minibert import heads
from minibert.config import BertConfig
from minibert.heads import Model, TaskModel
from minibert.model import Bert

# The values of the field `architecture`.
ARCHITECTURES: dict[str, type[Model]] = {
    cls.__name__: cls
    for cls in (Bert, heads.BertWithPooler, heads.BertForPreTraining, heads.BertForMaskedLM,
                heads.BertForNextSentencePrediction, heads.BertForSequenceClassification,
                heads.BertForTokenClassification, heads.BertForQuestionAnswering, heads.BertForMultipleChoice)
}  # fmt: skip

# Fields of `config.json` for a head, beside the encoder's: arguments of the class, attributes of the model.
HEAD_FIELDS: dict[str, tuple[str, ...]] = {
    "BertForSequenceClassification": ("labels", "problem_type"),
    "BertForTokenClassification": ("labels",),
}

# Further fields, written only if they differ from the class's default, given here. `trained_on` is only an attribute:
# how `finetune` read the data that this model was trained on (columns, lengths, tag scheme and so on), as a JSON
# object; prediction takes its defaults from it.
OPTIONAL_HEAD_FIELDS: dict[str, dict[str, Any]] = {
    "BertForPreTraining": {"pair_objective": "nsp"},
    "BertForSequenceClassification": {"trained_on": {}},
    "BertForTokenClassification": {"trained_on": {}},
    "BertForQuestionAnswering": {"trained_on": {}},
    "BertForMultipleChoice": {"trained_on": {}},
}


def new_model(architecture: str, config: BertConfig, head: Mapping[str, Any]) -> Model:
    """Return a new model of the class named `architecture`; head: the fields of its head, as in `config.json`."""
    arguments = {name: value for name, value in head.items() if name != "trained_on"}
    model = ARCHITECTURES[architecture](config, **arguments)
    if isinstance(model, TaskModel):
        model.trained_on = head.get("trained_on", {})
    return model


def head_fields(model: Model) -> dict[str, Any]:
    """Return the fields of a model's head by name, as in `config.json`; {} if its class has none."""
    name = type(model).__name__
    fields = {field: getattr(model, field) for field in HEAD_FIELDS.get(name, ())}
    optional = OPTIONAL_HEAD_FIELDS.get(name, {}).items()
    return fields | {field: value for field, usual in optional if (value := getattr(model, field)) != usual}
