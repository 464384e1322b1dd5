"""The commands of `python -m finetune`, each from its options to what it writes and prints."""

from collections.abc import Sequence
from functools import partial

from minibert.console.cli import given_options
from minibert.training.memory import keep_freed_memory


def _train(task: str, args: Sequence[str]) -> None:
    from finetune.options import parse_options

    options = parse_options(task, args)
    keep_freed_memory()
    from finetune.train import finetune

    finetune(options)


text_classification = partial(_train, "text-classification")
token_classification = partial(_train, "token-classification")
question_answering = partial(_train, "question-answering")
multiple_choice = partial(_train, "multiple-choice")


def evaluate(args: Sequence[str]) -> None:
    """Score a model on a labelled file, or score the answers in a predictions file."""
    from finetune.inference_options import EvaluateOptions, given_fields, parse_score, parse_use

    if "--predictions" in given_options(args):
        from finetune.scoring.predictions import score_command

        score_command(parse_score(args))
        return
    options = parse_use(EvaluateOptions, "evaluate", args)
    keep_freed_memory()
    from finetune.inference import evaluate_command

    evaluate_command(options, given_fields(args, options.data_options))


def predict(args: Sequence[str]) -> None:
    """Write a model's answers."""
    from finetune.inference_options import PredictOptions, given_fields, parse_use

    options = parse_use(PredictOptions, "predict", args)
    keep_freed_memory()
    from finetune.inference import predict_command

    predict_command(options, given_fields(args, options.data_options))
