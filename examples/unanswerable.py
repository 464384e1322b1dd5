"""Make training questions without an answer from a SQuAD file in which every question has one: a third of the
questions are moved, each to another passage of the same article that contains none of its answers.

    .venv/bin/python examples/unanswerable.py train-v1.1.json.gz train-v2.json
"""

import json
import random
import sys
from typing import Any

from minibert.files.text import read_whole


def main(source: str, target: str) -> None:
    """Read SQuAD v1.1, plain or .gz, and write v2.0. Every run moves the same questions."""
    squad = json.loads(read_whole(source))
    rng = random.Random(0)
    for article in squad["data"]:
        move_questions(article["paragraphs"], rng)
    squad["version"] = "v2.0"
    with open(target, "w", encoding="utf-8") as file:
        json.dump(squad, file)


def move_questions(passages: list[dict[str, Any]], rng: random.Random) -> None:
    """Move a third of an article's questions, not counting those that no other passage could take."""
    moved = []
    for passage in passages:
        for question in passage["qas"]:
            without = without_answer(question, passages)
            question["is_impossible"] = bool(without) and rng.random() < 1 / 3
            if question["is_impossible"]:
                moved.append((rng.choice(without), {**question, "answers": []}))
        passage["qas"] = [question for question in passage["qas"] if not question["is_impossible"]]
    for passage, question in moved:  # only now, so that no question moves twice
        passage["qas"].append(question)


def without_answer(question: dict[str, Any], passages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the passages that contain none of the question's answers, ignoring case."""
    answers = [answer["text"].lower() for answer in question["answers"]]
    return [passage for passage in passages if not any(answer in passage["context"].lower() for answer in answers)]


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
