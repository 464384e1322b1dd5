"""python -m finetune: train a model for a task of the paper, `evaluate` it, let it `predict`."""

from __future__ import annotations

from minibert.console import cli

COMMANDS = {
    "text-classification": (
        "finetune.commands:text_classification",
        "classes or a score for texts or pairs: --model DIR --train reviews.csv --out DIR",
    ),
    "token-classification": (
        "finetune.commands:token_classification",
        "a tag for each word: --model DIR --train train.conll --out DIR",
    ),
    "question-answering": (
        "finetune.commands:question_answering",
        "where in a passage the answer stands: --model DIR --train train.json --out DIR",
    ),
    "multiple-choice": (
        "finetune.commands:multiple_choice",
        "one of several answers: --model DIR --train train.jsonl --out DIR",
    ),
    "evaluate": (
        "finetune.commands:evaluate",
        "figures of a model, or of answers in a file: evaluate DIR|--predictions FILE --data FILE [--json FILE]",
    ),
    "predict": (
        "finetune.commands:predict",
        "its answers, as JSON lines: predict DIR --input FILE|- --output FILE.jsonl|-",
    ),
}


def command() -> None:
    """Runs one of `COMMANDS`."""
    cli.dispatch("python -m finetune", COMMANDS)


def main() -> None:
    """The console script `minibert-finetune`."""
    cli.run(command)


if __name__ == "__main__":
    main()
