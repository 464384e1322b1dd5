"""The classes of model that a `config.json` names as its architecture, and what it says of their heads."""

from collections.abc import Mapping
from typing import Any

from minibert import heads
from minibert.config import BertConfig
from minibert.heads import Model, TaskModel
from minibert.model import Bert

# The classes that may stand there.
ARCHITECTURES: dict[str, type[Model]] = {
    cls.__name__: cls
    for cls in (Bert, heads.BertWithPooler, heads.BertForPreTraining, heads.BertForMaskedLM,
                heads.BertForNextSentencePrediction, heads.BertForSequenceClassification,
                heads.BertForTokenClassification, heads.BertForQuestionAnswering, heads.BertForMultipleChoice)
}  # fmt: skip

# Its fields for a head, beside the encoder's: arguments of the class, attributes of the model.
HEAD_FIELDS: dict[str, tuple[str, ...]] = {
    "BertForSequenceClassification": ("labels", "problem_type"),
    "BertForTokenClassification": ("labels",),
}

# The same, but missing where they have the class's own default. `trained_on`, an attribute alone: how `finetune` read
# the data that this model was trained on (columns, lengths, tag scheme and so on), an object that JSON can hold;
# predicting has its defaults there.
OPTIONAL_HEAD_FIELDS: dict[str, dict[str, Any]] = {
    "BertForPreTraining": {"pair_objective": "nsp"},
    "BertForSequenceClassification": {"trained_on": {}},
    "BertForTokenClassification": {"trained_on": {}},
    "BertForQuestionAnswering": {"trained_on": {}},
    "BertForMultipleChoice": {"trained_on": {}},
}


def new_model(architecture: str, config: BertConfig, head: Mapping[str, Any]) -> Model:
    """A model of the class of that name, with the fields of its head; its weights are still to be filled."""
    arguments = {name: value for name, value in head.items() if name != "trained_on"}
    model = ARCHITECTURES[architecture](config, **arguments)
    if isinstance(model, TaskModel):
        model.trained_on = head.get("trained_on", {})
    return model


def head_fields(model: Model) -> dict[str, Any]:
    """The fields of a model's head by name, as they stand in `config.json`; {} where the class says everything."""
    name = type(model).__name__
    fields = {field: getattr(model, field) for field in HEAD_FIELDS.get(name, ())}
    optional = OPTIONAL_HEAD_FIELDS.get(name, {}).items()
    return fields | {field: value for field, usual in optional if (value := getattr(model, field)) != usual}
