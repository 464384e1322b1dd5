"""The commands of `python -m finetune`, each from its options to what it writes and prints."""

from __future__ import annotations

from collections.abc import Sequence

from minibert.console.cli import given_options
from minibert.training.memory import keep_freed_memory


def text_classification(args: Sequence[str]) -> None:
    """Trains a classifier of texts."""
    _train("text-classification", args)


def token_classification(args: Sequence[str]) -> None:
    """Trains a tagger of words."""
    _train("token-classification", args)


def question_answering(args: Sequence[str]) -> None:
    """Trains a finder of answers."""
    _train("question-answering", args)


def multiple_choice(args: Sequence[str]) -> None:
    """Trains a chooser among answers."""
    _train("multiple-choice", args)


def _train(task: str, args: Sequence[str]) -> None:
    from finetune.options import parse_options

    options = parse_options(task, args)
    keep_freed_memory()
    from finetune.train import finetune

    finetune(options)


def evaluate(args: Sequence[str]) -> None:
    """Gives a model's figures on a file, or those of answers that stand in another."""
    from finetune.inference_options import EvaluateOptions, parse_score, parse_use

    if "--predictions" in given_options(args):
        given, task, data_options = parse_score(args)
        from finetune.scoring.predictions import score_command

        score_command(given, task, data_options)
        return
    options, task, data_options = parse_use(EvaluateOptions, "evaluate", args)
    keep_freed_memory()
    from finetune.inference import evaluate_command

    evaluate_command(options, task, data_options)


def predict(args: Sequence[str]) -> None:
    """Gives a model's answers."""
    from finetune.inference_options import PredictOptions, parse_use

    options, task, data_options = parse_use(PredictOptions, "predict", args)
    keep_freed_memory()
    from finetune.inference import predict_command

    predict_command(options, task, data_options)
