"""Turn the files of DREAM (.json) and CODAH (.tsv) into multiple-choice questions, one JSON object per line:

    {"question": "The sky is", "choices": ["red", "loud", "blue"], "answer": 2}

A text that is too long for a model is cut off at its end, so DREAM's questions are put before their dialogues.

    .venv/bin/python examples/as_choices.py train.json train.jsonl
"""

import json
import sys
from collections.abc import Iterator
from typing import Any


def main(published: str, choices: str) -> None:
    """Write the questions of one file to another."""
    questions = codah if published.endswith(".tsv") else dream
    with open(choices, "w", encoding="utf-8") as file:
        file.writelines(f"{json.dumps(question)}\n" for question in questions(published))


def dream(path: str) -> Iterator[dict[str, Any]]:
    """Yield the questions of DREAM, whose dialogues each have turns, questions and an id."""
    with open(path, encoding="utf-8") as file:
        dialogues = json.load(file)
    for turns, questions, id in dialogues:
        for number, one in enumerate(questions):
            asked = " ".join([one["question"], *turns])
            answer = one["choice"].index(one["answer"])
            yield {"id": f"{id}/{number}", "question": asked, "choices": one["choice"], "answer": answer}


def codah(path: str) -> Iterator[dict[str, Any]]:
    """Yield the questions of CODAH.

    Each line has a category, a question, four choices and the index of the right one. Quotation marks are text.
    """
    with open(path, encoding="utf-8") as file:
        for line in file:
            _, question, *choices, answer = line.rstrip("\n").split("\t")
            yield {"question": question, "choices": choices, "answer": int(answer)}


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
