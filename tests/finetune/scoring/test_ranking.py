"""Figures of ranked candidates, by hand and against scikit-learn; ranks of answers."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from sklearn.metrics import ndcg_score

from finetune.data.examples import TextExample
from finetune.scoring.ranking import mrr_by_chance, queries_in, ranking_metrics, with_ranks


def candidates(*grades: tuple[str, float]) -> list[TextExample]:
    """Candidates of queries with their grades, as labels of classes."""
    return [TextExample("a", None, f"{grade:g}", "x.csv:1", group=query) for query, grade in grades]


def test_figures_are_means_over_queries_wherever_their_candidates_stand() -> None:
    examples = candidates(("p", 1), ("q", 0), ("p", 0), ("q", 1))
    assert ranking_metrics(examples, [0.9, 0.8, 0.1, 0.3]) == {
        "mrr": 0.75,  # of 1 and 1/2
        "ndcg@10": pytest.approx((1 + 1 / np.log2(3)) / 2),
        "recall@1": 0.5,
        "recall@10": 1.0,
    }


def test_ten_are_looked_at_and_all_relevant_ones_are_counted() -> None:
    examples = candidates(("q", 1), *[("q", 0)] * 10, ("q", 1))
    found = ranking_metrics(examples, [1 - place / 100 for place in range(12)])
    assert (found["recall@1"], found["recall@10"], found["mrr"]) == (0.5, 0.5, 1.0)
    assert found["ndcg@10"] == pytest.approx(1 / (1 + 1 / np.log2(3)))


def test_equal_scores_count_against_the_model() -> None:
    found = ranking_metrics(candidates(("q", 2), ("q", 1), ("q", 0), ("q", 0)), [0.5, 0.5, 0.5, 0.5])
    assert found["mrr"] == 1 / 3 and found["recall@1"] == 0.0


def test_queries_without_a_relevant_candidate_are_left_out() -> None:
    examples = candidates(("p", 0), ("q", 1), ("q", 0))
    assert ranking_metrics(examples, [0.1, 0.9, 0.2])["mrr"] == 1.0
    assert queries_in(examples) == (
        "2 queries with 1 to 2 candidates; ranking figures leave out 1 without a relevant candidate"
    )
    assert ranking_metrics(examples[:1], [0.1]) == {"mrr": 0.0, "ndcg@10": 0.0, "recall@1": 0.0, "recall@10": 0.0}
    assert queries_in(examples[1:]) == "1 query with 2 candidates"


def test_chance_is_the_mean_over_all_orders() -> None:
    examples = candidates(*[("p", grade) for grade in (2, 1, 0, 0, 0)], ("q", 1), ("q", 0), ("r", 0))
    orders = [ranking_metrics(examples[:5], order)["mrr"] for order in permutations(range(5))]
    assert mrr_by_chance(examples) == pytest.approx((np.mean(orders) + 0.75) / 2)
    assert mrr_by_chance(examples[:2]) == 1.0 and mrr_by_chance(examples[-1:]) == 0.0


def test_ndcg_and_mrr_as_scikit_learn_and_a_loop_have_them() -> None:
    rng = np.random.default_rng(0)
    grades, scores = rng.integers(0, 4, (50, 25)), rng.random((50, 25))
    examples = candidates(*((str(query), grade) for query, row in enumerate(grades) for grade in row))
    found = ranking_metrics(examples, scores.ravel().tolist())
    assert found["ndcg@10"] == pytest.approx(ndcg_score(grades, scores, k=10), abs=1e-12)
    places = [min(1 + int((row > row[i]).sum()) for i in np.flatnonzero(grades[n])) for n, row in enumerate(scores)]
    assert found["mrr"] == pytest.approx(np.mean(1 / np.array(places)), abs=1e-12)


def test_ranks_are_among_the_candidates_of_a_query_and_shared_by_equals() -> None:
    scored = [("p", 0.1), ("q", 0.5), ("p", 0.9), ("q", 0.5), ("q", 0.2)]
    answers = [{"group": group, "score": score} for group, score in scored]
    found = with_ranks([*answers, {"error": "x.csv:7: column 'text' is empty"}])
    assert [one.get("rank") for one in found] == [2, 1, 1, 1, 3, None]
    assert found[-1] == {"error": "x.csv:7: column 'text' is empty"}
