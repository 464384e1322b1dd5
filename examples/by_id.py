"""Collect the answers of `python -m finetune predict` in one JSON object that maps ids to answers. Predictions for
SQuAD are usually exchanged in this form, which `python -m finetune evaluate --predictions` reads.

    .venv/bin/python examples/by_id.py answers.jsonl predictions.json
"""

import json
import sys


def main(answers: str, predictions: str) -> None:
    """Write the answers of those lines of `answers` that have an id."""
    with open(answers, encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    with open(predictions, "w", encoding="utf-8") as file:
        json.dump({line["id"]: line["answer"] for line in lines if "id" in line}, file)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
