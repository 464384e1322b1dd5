"""Turn flat records, the form in which other libraries store SQuAD, into SQuAD's JSON. Each line has one record:

    {"id": "1", "context": "Ada lives in Leeds.", "question": "Where does Ada live?",
     "answers": {"text": ["Leeds"], "answer_start": [13]}}

If a record has a title, it is copied. The file's version is v2.0 if any question has no answer, and otherwise 1.1.

    .venv/bin/python examples/as_squad.py flat.jsonl train.json
"""

import json
import sys
from typing import Any


def main(records: str, squad: str) -> None:
    """Write the file, with one article for each record."""
    with open(records, encoding="utf-8") as file:
        articles = [article_of(json.loads(line)) for line in file]
    all_answered = all(question["answers"] for article in articles for question in article["paragraphs"][0]["qas"])
    with open(squad, "w", encoding="utf-8") as file:
        json.dump({"version": "1.1" if all_answered else "v2.0", "data": articles}, file)


def article_of(record: dict[str, Any]) -> dict[str, Any]:
    """Return an article with one passage and one question."""
    spans = zip(record["answers"]["text"], record["answers"]["answer_start"], strict=True)
    answers = [{"text": text, "answer_start": start} for text, start in spans]
    question = {"id": record["id"], "question": record["question"], "answers": answers}
    passage = {"context": record["context"], "qas": [question]}
    return {"title": record.get("title", ""), "paragraphs": [passage]}


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
