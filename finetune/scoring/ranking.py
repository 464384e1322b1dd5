"""How the candidates of a query are ranked by their scores, and how well.

Candidates have grades, and those with a grade above 0 are relevant. Figures are means over the queries, without those
that have no relevant candidate. Equal scores count against the model: the lower grade comes first, so that it gains
nothing from the order of the file by scoring all candidates alike.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from math import log2
from statistics import fmean
from typing import Any

from finetune.data.examples import Id, TextExample
from minibert.errors import plural

RANKING = ("mrr", "ndcg@10", "recall@1", "recall@10")  # the figures, the default of --metric first


def number_of(example: TextExample) -> float:
    """Return the label of a candidate, its grade, as a number."""
    assert isinstance(example.label, str | float), "`read_texts` checked it"
    return float(example.label)


def ranking_metrics(examples: Sequence[TextExample], scores: Sequence[float]) -> dict[str, float]:
    """Return mrr, ndcg@10, recall@1 and recall@10; 0 if no query has a relevant candidate."""
    candidates: dict[Id | None, list[tuple[float, float]]] = defaultdict(list)
    for example, score in zip(examples, scores, strict=True):
        candidates[example.group].append((-score, number_of(example)))
    ranked = [[grade for _, grade in sorted(some)] for some in candidates.values()]
    found = [_figures(grades) for grades in ranked if any(grades)]
    return {name: fmean(figures[name] for figures in found) if found else 0.0 for name in RANKING}


def mrr_by_chance(examples: Sequence[TextExample]) -> float:
    """Return the mrr to be expected of random scores; 0 if no query has a relevant candidate."""
    candidates: dict[Id | None, list[bool]] = defaultdict(list)
    for example in examples:
        candidates[example.group].append(number_of(example) > 0)
    found = [_first_by_chance(len(some), sum(some)) for some in candidates.values() if any(some)]
    return fmean(found) if found else 0.0


def _first_by_chance(count: int, relevant: int) -> float:
    """Return the expected 1 / place of the first relevant candidate in a random order."""
    expected, none_yet = 0.0, 1.0  # none_yet: the probability that no earlier place has a relevant one
    for place in range(1, count - relevant + 2):
        here = relevant / (count - place + 1)
        expected += none_yet * here / place
        none_yet *= 1 - here
    return expected


def _figures(grades: Sequence[float]) -> dict[str, float]:
    """Return the figures of a query, given its candidates' grades, the best score first."""
    places = [place for place, grade in enumerate(grades, start=1) if grade > 0]
    return {
        "mrr": 1 / places[0],
        "ndcg@10": _gain(grades) / _gain(sorted(grades, reverse=True)),
        **{f"recall@{k}": sum(place <= k for place in places) / len(places) for k in (1, 10)},
    }


def _gain(grades: Sequence[float]) -> float:
    """Return the discounted cumulative gain of the first ten (Järvelin & Kekäläinen 2002, section 2.2); a grade is its
    own gain."""
    return sum(grade / log2(place + 1) for place, grade in enumerate(grades[:10], start=1))


def queries_in(examples: Sequence[TextExample]) -> str:
    """Return a note on the queries, for the user to check."""
    candidates: dict[Id | None, list[float]] = defaultdict(list)
    for example in examples:
        candidates[example.group].append(number_of(example))
    sizes = [len(grades) for grades in candidates.values()]
    without = sum(not any(grades) for grades in candidates.values())
    each = f"{min(sizes):,} to " if min(sizes) < max(sizes) else ""
    told = f"{len(sizes):,} {'query' if len(sizes) == 1 else 'queries'} with {each}{plural(max(sizes), 'candidate')}"
    return told + (f"; ranking figures leave out {without:,} without a relevant candidate" if without else "")


def with_ranks(answers: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return answers with their rank, 1 for the best, by their `score` among those with the same `group`, wherever
    they stand. Equal scores have the same rank; a bad row has none."""
    answers = list(answers)
    scores: dict[Id, list[float]] = defaultdict(list)
    for answer in answers:
        if "error" not in answer:
            scores[answer["group"]].append(answer["score"])
    ranks: dict[Id, dict[float, int]] = defaultdict(dict)
    for group, some in scores.items():
        for rank, score in enumerate(sorted(some, reverse=True), start=1):
            ranks[group].setdefault(score, rank)
    return [one if "error" in one else {**one, "rank": ranks[one["group"]][one["score"]]} for one in answers]
