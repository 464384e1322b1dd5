"""SQuAD's scores: literal cases of both versions, thresholds counted by hand, and torchmetrics on the whole dev set."""

from __future__ import annotations

import random
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.data.examples import Answer, QuestionExample
from finetune.data.squad import read_squad
from finetune.scoring.squad_scores import Score, best_threshold, normalize_answer, score_answer, squad_scores
from tests.finetune.files import DATA, needs_data


def questions(golds: dict[str, list[str]]) -> list[QuestionExample]:
    return [
        QuestionExample(id, "?", "context", tuple(Answer(gold, 0) for gold in texts), "title", f"q {id}")
        for id, texts in golds.items()
    ]


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("The  Eiffel\tTower!", "eiffel tower"),
        ("a man, an ox and the theatre", "man ox and theatre"),
        ("U.S.", "us"),
        ("Catch-22", "catch22"),
        ("the-end", "theend"),  # punctuation goes first
        ("don’t — “so”", "don’t — “so”"),  # not ASCII
        (string.punctuation, ""),
        ("An A the", ""),
        ("Ünder\u00a0the\u3000sea", "ünder sea"),
        ("", ""),
    ],
)
def test_what_is_compared(text: str, normal: str) -> None:
    assert normalize_answer(text) == normal


@pytest.mark.parametrize(
    ("prediction", "golds", "version_1", "version_2"),
    [
        ("in 1990", ["1990"], (0, 2 / 3), (0, 2 / 3)),
        ("a", ["the"], (1, 0), (1, 1)),  # nothing is left of both
        ("", ["the"], (1, 0), (1, 1)),
        ("cat", ["the"], (0, 0), (0, 0)),
        ("the", ["cat", "a"], (1, 0), (0, 0)),  # in v2.0 "a" is no gold answer beside "cat"
        ("", ["cat"], (0, 0), (0, 0)),
        ("The Cat!", ["cat"], (1, 1), (1, 1)),
        ("cat cat", ["cat"], (0, 2 / 3), (0, 2 / 3)),
        ("a b c", ["b c d"], (0, 0.8), (0, 0.8)),  # "a" is an article
        ("big red dog", ["red dog", "dog"], (0, 0.8), (0, 0.8)),  # the best of the golds
    ],
)
def test_literal_cases(
    prediction: str, golds: list[str], version_1: tuple[float, float], version_2: tuple[float, float]
) -> None:
    assert score_answer(prediction, golds, version_2=False) == pytest.approx(version_1)
    assert score_answer(prediction, golds, version_2=True) == pytest.approx(version_2)


def test_exact_match_and_f1_may_come_from_different_golds() -> None:
    # The gold "the" matches exactly, but has no word in common; v1.1 takes F1 from another.
    assert score_answer("a", ["the", "a cat"], version_2=False) == Score(1, 0)
    assert score_answer("cat dog", ["cat", "dog cat"], version_2=False) == Score(0, 1)


@pytest.mark.parametrize(("prediction", "score"), [("", 1), ("the", 1), ("cat", 0)])
def test_a_question_of_version_2_without_answers_has_the_empty_one(prediction: str, score: float) -> None:
    assert score_answer(prediction, [], version_2=True) == Score(score, score)


def test_means_over_all_questions_and_by_kind() -> None:
    asked = questions({"a": ["cat"], "b": ["red dog", "dog"], "c": [], "d": []})
    predictions = {"a": "The cat.", "b": "a big dog", "c": "", "d": "cat"}
    assert squad_scores(asked, predictions, version_2=True) == pytest.approx(
        {
            "exact": 2 / 4, "f1": (1 + 2 / 3 + 1 + 0) / 4, "has_ans_exact": 1 / 2, "has_ans_f1": (1 + 2 / 3) / 2,
            "no_ans_exact": 1 / 2, "no_ans_f1": 1 / 2,
        }
    )  # fmt: skip
    assert squad_scores(asked[:2], predictions, version_2=False) == pytest.approx({"exact": 0.5, "f1": 5 / 6})
    assert set(squad_scores(asked[:2], predictions, version_2=True)) == {"exact", "f1", "has_ans_exact", "has_ans_f1"}


def test_a_prediction_that_is_missing_is_wrong_also_where_there_is_no_answer() -> None:
    asked = questions({"a": ["cat"], "b": ["dog"], "c": [], "d": []})
    figures = squad_scores(asked, {"b": "dog", "d": ""}, version_2=True)
    assert (figures["exact"], figures["has_ans_f1"], figures["no_ans_exact"]) == (0.5, 0.5, 0.5)
    surer = {"b": 0.0, "d": 1.0}
    assert (
        squad_scores(asked, {"b": "x", "d": "y"}, version_2=True, no_answer_scores=surer, threshold=0.5)["f1"] == 0.25
    )


# --- Thresholds ------------------------------------------------------------------------------------------------------

ASKED = questions({"a": ["cat"], "b": ["dog"], "c": [], "d": ["red fox"], "e": []})
ANSWERED = {"a": "cat", "b": "cow", "c": "cat", "d": "fox", "e": "fox"}
NO_ANSWER = {"a": 0.1, "b": 0.2, "c": 0.9, "d": 0.4, "e": 0.3}


def test_above_the_threshold_a_question_is_left_unanswered() -> None:
    scores = squad_scores(ASKED, ANSWERED, version_2=True, no_answer_scores=NO_ANSWER, threshold=0.3)
    # a is right, b wrong, c left, d left though it has an answer, e answered though it has none
    assert scores == pytest.approx(
        {"exact": 2 / 5, "f1": 2 / 5, "has_ans_exact": 1 / 3, "has_ans_f1": 1 / 3, "no_ans_exact": 1 / 2,
         "no_ans_f1": 1 / 2}
    )  # fmt: skip


def test_the_best_threshold_counted_by_hand() -> None:
    """None answered: 2. Answering a (0.1): 3; b: 3; e: 2; d: 2 2/3; c: 1 2/3."""
    assert best_threshold(ASKED, ANSWERED, NO_ANSWER) == (pytest.approx(3 / 5), 0.1)
    surer = NO_ANSWER | {"e": 0.95}
    best = best_threshold(ASKED, ANSWERED, surer)
    assert best == (pytest.approx((3 + 2 / 3) / 5), 0.4)
    scores = squad_scores(ASKED, ANSWERED, version_2=True, no_answer_scores=surer, threshold=best.threshold)
    assert scores["f1"] == pytest.approx(best.best)


def test_empty_answers_cost_nothing() -> None:
    assert best_threshold(ASKED, ANSWERED | {"e": ""}, NO_ANSWER) == (pytest.approx((3 + 2 / 3) / 5), 0.4)


def test_a_question_without_any_span_gives_no_threshold() -> None:
    """Its score is infinite, which JSON cannot spell; of its golds nothing is left ("the"), so that "" is right."""
    asked = questions({"a": ["cat"], "b": ["the"], "c": []})
    answers, scores = {"a": "cat", "b": "", "c": ""}, {"a": 0.5, "b": float("inf"), "c": float("inf")}
    assert best_threshold(asked, answers, scores) == (pytest.approx(2 / 3), 0.5)


@pytest.mark.parametrize(("shift", "threshold"), [(0.0, 0.0), (-5.0, -5.9)])
def test_where_it_is_best_to_answer_none_the_threshold_is_below_all(shift: float, threshold: float) -> None:
    wrong = dict.fromkeys(ANSWERED, "owl")
    scores = {id: score + shift for id, score in NO_ANSWER.items()}
    assert best_threshold(ASKED, wrong, scores) == (pytest.approx(2 / 5), pytest.approx(threshold))
    assert squad_scores(ASKED, wrong, version_2=True, no_answer_scores=scores, threshold=threshold)["f1"] == 2 / 5


@given(st.lists(st.tuples(st.sampled_from(["", "cat", "red cat"]), st.sampled_from(["cat", "owl", ""]),
                          st.floats(-3, 3)), min_size=1, max_size=12, unique_by=lambda case: case[2]))  # fmt: skip
def test_no_threshold_is_better(cases: list[tuple[str, str, float]]) -> None:
    asked = questions({str(n): [gold] if gold else [] for n, (gold, _, _) in enumerate(cases)})
    predictions = {str(n): answer for n, (_, answer, _) in enumerate(cases)}
    scores = {str(n): score for n, (_, _, score) in enumerate(cases)}

    def reached(threshold: float) -> float:
        return squad_scores(asked, predictions, version_2=True, no_answer_scores=scores, threshold=threshold)["f1"]

    best = best_threshold(asked, predictions, scores)
    assert best.best == pytest.approx(reached(best.threshold))
    assert best.best == pytest.approx(max(reached(threshold) for threshold in (-9.0, *scores.values())))


# --- Real files ------------------------------------------------------------------------------------------------------


def damaged(text: str, rng: random.Random) -> str:
    """A word less, a word more, or nothing."""
    words = text.split()
    return rng.choice([text, " ".join(words[1:]), f"in {text}", f"the {text}!", "", " ".join(words[:-1])])


@needs_data
@pytest.mark.slow
def test_version_1_is_what_torchmetrics_says() -> None:
    """Except where nothing is left of an answer ("a"): there torchmetrics counts F1 as v2.0 does."""
    from torchmetrics.functional.text import squad

    rng = random.Random(5)
    asked = [
        x
        for x in read_squad(str(DATA / "squad" / "dev-v1.1.json.gz")).examples
        if all(normalize_answer(answer.text) for answer in x.answers)
    ]
    assert len(asked) > 10_500
    predictions = {x.id: damaged(rng.choice(x.answers).text, rng) for x in asked}
    theirs = squad(
        [{"id": x.id, "prediction_text": predictions[x.id]} for x in asked],
        [
            {"id": x.id, "answers": {"text": [a.text for a in x.answers], "answer_start": [0] * len(x.answers)}}
            for x in asked
        ],
    )
    ours = squad_scores(asked, predictions, version_2=False)
    assert 0.3 < ours["exact"] < ours["f1"] < 0.8
    assert ours["exact"] == pytest.approx(float(theirs["exact_match"]) / 100, abs=1e-4)
    assert ours["f1"] == pytest.approx(float(theirs["f1"]) / 100, abs=1e-4)  # summed in float32
