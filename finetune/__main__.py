"""python -m finetune: train a model for a task of the paper, `evaluate` it, `predict` with it."""

from minibert.console import cli

COMMANDS = {
    "text-classification": "train to classify or score texts or pairs: --model DIR --train FILE.csv --out DIR",
    "token-classification": "train to tag each word: --model DIR --train FILE.conll --out DIR",
    "question-answering": "train to find the answer in a passage: --model DIR --train FILE.json --out DIR",
    "multiple-choice": "train to choose one of several answers: --model DIR --train FILE.jsonl --out DIR",
    "evaluate": "score a trained model, or answers in a file: DIR --data FILE, or --predictions FILE --data FILE",
    "predict": "write a trained model's answers as JSON lines: DIR --input FILE --output FILE.jsonl",
}


def command() -> None:
    """Run one of `COMMANDS`."""
    cli.dispatch("python -m finetune", cli.commands_in("finetune.commands:{}", COMMANDS))


def main() -> None:
    """Run the console script `minibert-finetune`."""
    cli.run(command)


if __name__ == "__main__":
    main()
