"""SQuAD's scores: exact match and F1, of v1.1 and of v2.0, where a question may have no answer.

Sources: Rajpurkar et al. 2016 (arXiv 1606.05250), section 6.1; Rajpurkar et al. 2018 (1806.03822), section 5. All are
shares from 0 to 1; the papers print percent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from finetune.examples import QuestionExample


class Score(NamedTuple):
    """Of one prediction."""

    exact: float
    f1: float


class Threshold(NamedTuple):
    """From which no-answer score on a question is better left unanswered."""

    best: float  # the score that is reached with it
    threshold: float  # answered are the questions whose no-answer score is at most this


def normalize_answer(text: str) -> str:
    """What is compared: lower case, no ASCII punctuation, no articles, single spaces."""
    raise NotImplementedError


def score_answer(prediction: str, golds: Sequence[str], *, version_2: bool) -> Score:
    """The best exact match and the best F1 over the gold answers, each for itself."""
    raise NotImplementedError


def squad_scores(
    questions: Sequence[QuestionExample],
    predictions: Mapping[str, str],
    *,
    version_2: bool,
    no_answer_scores: Mapping[str, float] | None = None,
    threshold: float | None = None,
) -> dict[str, float]:
    """Means over all questions: exact, f1; with version_2 also has_ans_exact, has_ans_f1, no_ans_exact, no_ans_f1.

    predictions: question id -> answer, "" for none; a question without one counts 0.
    With `threshold`, a question whose no-answer score is above it is taken as left unanswered.
    With `no_answer_scores`, also best_exact, best_exact_threshold, best_f1, best_f1_threshold.
    """
    raise NotImplementedError


def best_threshold(
    questions: Sequence[QuestionExample],
    predictions: Mapping[str, str],
    no_answer_scores: Mapping[str, float],
    *,
    by: str = "f1",
) -> Threshold:
    """The threshold that scores best, by "f1" or "exact", for predictions that were made without one.

    predictions: the best answer that is not empty, as far as there is one; no_answer_scores: id -> the higher, the surer
    that there is no answer.
    """
    raise NotImplementedError
