"""The tasks by name, and which of them a model directory is for."""

from typing import Any

from finetune.data.data_options import DATA_OPTIONS, DataOptions, TextDataOptions, from_trained_on
from finetune.tasks.multiple_choice import MultipleChoice
from finetune.tasks.question_answering import QuestionAnswering
from finetune.tasks.task import Task
from finetune.tasks.text_classification import TextClassification
from finetune.tasks.token_classification import TokenClassification
from minibert.checkpoint import Description
from minibert.errors import InputError, naming

TASKS: dict[str, type[Task[Any, Any]]] = {
    task.name: task for task in (TextClassification, TokenClassification, QuestionAnswering, MultipleChoice)
}


def data_options_of(description: Description, directory: str) -> DataOptions:
    """Return how the task of a model directory reads its files.

    A model that was fine-tuned elsewhere doesn't record that; its class determines the task, and the defaults apply.

    Raises InputError if the model has no task head, or records options that are not known here.
    """
    by_class = {kind.model_class.__name__: name for name, kind in TASKS.items()}
    if description.architecture not in by_class:
        raise InputError(f"{directory} is a {description.architecture}, expected a model for {', '.join(TASKS)}")
    task = by_class[description.architecture]
    said = description.head.get("trained_on") or {}
    with naming(f"{directory}/config.json"):
        data_options = from_trained_on(task, said) if said else DATA_OPTIONS[task]()
    if isinstance(data_options, TextDataOptions) and not said:
        kind = description.head["problem_type"]
        return TextDataOptions(regression=kind == "regression", multi_label=kind == "multi_label_classification")
    return data_options
