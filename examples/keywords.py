"""Make a tagging task from a SQuAD file. The answers to a passage's questions are its keywords, so their words are
tagged B-KEY and I-KEY, and all other words O. Two files with CoNLL columns are written: dev.conll has every eighth
article, and train.conll the others.

    .venv/bin/python examples/keywords.py train-v1.1.json.gz DIRECTORY
"""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from minibert.files.text import read_whole


def main(source: str, directory: Path) -> None:
    """Read SQuAD's JSON, plain or .gz, and write both files."""
    articles = json.loads(read_whole(source))["data"]
    write(directory / "train.conll", [article for number, article in enumerate(articles) if number % 8])
    write(directory / "dev.conll", articles[::8])


def write(path: Path, articles: list[dict[str, Any]]) -> None:
    """Write the articles' passages, each as one sentence."""
    with open(path, "w", encoding="utf-8") as file:
        for article in articles:
            for passage in article["paragraphs"]:
                file.writelines(f"{word}\t{tag}\n" for word, tag in tagged(passage))
                file.write("\n")


def tagged(passage: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield a passage's words, including punctuation marks, each with its tag."""
    inside: set[int] = set()  # the characters that belong to an answer
    for answer in (answer for question in passage["qas"] for answer in question["answers"]):
        inside.update(range(answer["answer_start"], answer["answer_start"] + len(answer["text"])))
    tag = "O"
    for word in re.finditer(r"\w+|[^\w\s]", passage["context"]):
        keyword = "B-KEY" if tag == "O" else "I-KEY"  # I- if the word before is a keyword too
        tag = keyword if word.start() in inside else "O"
        yield word.group(), tag


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(sys.argv[1], Path(sys.argv[2]))
