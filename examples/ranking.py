"""Make pairs of a question and a passage from a SQuAD file, to train and test a model that ranks passages.

Every eighth article goes into rank.csv, and the others into train.csv. In both, each question is paired with its own
passage (label 1) and with other passages of the same article (label 0): one in train.csv, up to 19 in rank.csv.

    .venv/bin/python examples/ranking.py train-v1.1.json.gz DIRECTORY
"""

import csv
import json
import random
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from minibert.files.text import read_whole

Row = tuple[str, str, str]  # question, passage, label


def main(source: str, directory: Path) -> None:
    """Read SQuAD's JSON, plain or .gz, and write both tables. Every run draws the same passages."""
    articles = json.loads(read_whole(source))["data"]
    rng = random.Random(0)
    to_train = [article for number, article in enumerate(articles) if number % 8]
    write(directory / "train.csv", (row for article in to_train for row in pairs(article, 1, rng)))
    write(directory / "rank.csv", (row for article in articles[::8] for row in pairs(article, 19, rng)))


def pairs(article: dict[str, Any], wrong: int, rng: random.Random) -> Iterator[Row]:
    """Yield each question of an article with its own passage, and with up to `wrong` other passages."""
    passages = [passage["context"] for passage in article["paragraphs"]]
    for passage in article["paragraphs"]:
        others = [other for other in passages if other != passage["context"]]
        for question in passage["qas"]:
            yield question["question"], passage["context"], "1"
            for other in rng.sample(others, min(wrong, len(others))):
                yield question["question"], other, "0"


def write(path: Path, rows: Iterable[Row]) -> None:
    """Write a table with a header."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("question", "passage", "label"), *rows])


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(sys.argv[1], Path(sys.argv[2]))
