"""Measure how well a model ranks the passages that `examples/ranking.py` wrote: the mean reciprocal rank of the right
passage, and the share of questions for which it comes first.

    .venv/bin/python examples/reciprocal_rank.py rank.csv ranked.jsonl

ranked.jsonl has the answers of `python -m finetune predict` for rank.csv, in the same order.
"""

import csv
import json
import statistics
import sys
from collections import defaultdict


def main(table: str, answers: str) -> None:
    """Print both figures."""
    ranks = [rank_of_right(passages) for passages in passages_by_question(table, answers).values()]
    mean_reciprocal = statistics.fmean(1 / rank for rank in ranks)
    first = statistics.fmean(rank == 1 for rank in ranks)
    print(f"mean reciprocal rank {mean_reciprocal:.3f}, first {first:.3f}")


def passages_by_question(table: str, answers: str) -> dict[str, list[tuple[float, str]]]:
    """Return for each question its passages: the probability that a passage answers the question, and its label."""
    found = defaultdict(list)
    with open(table, encoding="utf-8", newline="") as rows, open(answers, encoding="utf-8") as lines:
        for row, line in zip(csv.DictReader(rows), lines, strict=True):
            probability = json.loads(line)["probabilities"]["answers"]
            found[row["question"]].append((probability, row["label"]))
    return found


def rank_of_right(passages: list[tuple[float, str]]) -> int:
    """Return the rank of the right passage, from 1. In a tie it comes last: "does not" sorts above "answers"."""
    labels = [label for _, label in sorted(passages, reverse=True)]
    return 1 + labels.index("answers")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
