"""python -m finetune: train a model for a task of the paper, `evaluate` it, `predict` with it."""

from minibert.console import cli

COMMANDS = {
    "text-classification": "classes or a score for texts or pairs: --model DIR --train reviews.csv --out DIR",
    "token-classification": "a tag for each word: --model DIR --train train.conll --out DIR",
    "question-answering": "where in a passage the answer is: --model DIR --train train.json --out DIR",
    "multiple-choice": "the right one of several answers: --model DIR --train train.jsonl --out DIR",
    "evaluate": "score a model, or answers in a file: evaluate DIR|--predictions FILE --data FILE [--json FILE]",
    "predict": "a model's answers, as JSON lines: predict DIR --input FILE|- --output FILE.jsonl|-",
}


def command() -> None:
    """Run one of `COMMANDS`."""
    cli.dispatch("python -m finetune", cli.commands_in("finetune.commands:{}", COMMANDS))


def main() -> None:
    """Run the console script `minibert-finetune`."""
    cli.run(command)


if __name__ == "__main__":
    main()
