"""SQuAD's scores: exact match and F1, for v1.1 and for v2.0, in which a question may have no answer.

Sources: Rajpurkar et al. 2016 (arXiv 1606.05250), section 6.1; Rajpurkar et al. 2018 (1806.03822), section 5; and the
authors' scoring scripts, whose results these equal. All are shares from 0 to 1, not percent.
"""

import math
import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

from finetune.data.examples import Id, QuestionExample

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")


class Score(NamedTuple):
    """The scores of one prediction, or means over many."""

    exact: float
    f1: float


_NOTHING_RIGHT, _ALL_RIGHT = Score(0.0, 0.0), Score(1.0, 1.0)


class Threshold(NamedTuple):
    """The no-answer score above which a question is better left unanswered."""

    best: float  # the mean score with it
    threshold: float


def normalize_answer(text: str) -> str:
    """Return the text as it is compared: lower case, no ASCII punctuation, no articles, single spaces."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def score_answer(prediction: str, golds: Sequence[str], *, version_2: bool) -> Score:
    """Return the best exact match and the best F1 over the gold answers, each taken separately.

    In v2.0, golds that normalize to nothing ("the") don't count, and without any other the gold is "", no answer. If
    prediction and gold both normalize to nothing, F1 is 1 in v2.0, and 0 in v1.1, since they share no word.
    """
    predicted = normalize_answer(prediction)
    expected = [normalize_answer(gold) for gold in golds]
    if version_2:
        expected = [gold for gold in expected if gold] or [""]
    return Score(
        exact=max(float(predicted == gold) for gold in expected),
        f1=max(_f1(predicted.split(), gold.split(), both_empty=float(version_2)) for gold in expected),
    )


def _f1(predicted: Sequence[str], gold: Sequence[str], *, both_empty: float) -> float:
    """Return the F1 of two bags of words."""
    if not predicted and not gold:
        return both_empty
    common = (Counter(predicted) & Counter(gold)).total()
    return 2 * common / (len(predicted) + len(gold))


def squad_scores(
    questions: Sequence[QuestionExample],
    predictions: Mapping[Id, str],
    *,
    version_2: bool,
    no_answer_scores: Mapping[Id, float] | None = None,
    threshold: float | None = None,
) -> dict[str, float]:
    """Return means over all questions: exact and f1; with version_2 also has_ans_exact, has_ans_f1, no_ans_exact and
    no_ans_f1, over the questions with and without an answer, if there are any.

    predictions: id -> answer, "" for none; a question without a prediction counts as wrong, even if it has no answer.
    With `no_answer_scores` (id -> number; higher means that no answer is more likely) and a `threshold`, questions
    above it count as left unanswered.
    """
    no_answer = no_answer_scores or {}
    scores = []
    for question in questions:
        if question.id not in predictions:
            scores.append(_NOTHING_RIGHT)
        elif threshold is not None and no_answer[question.id] > threshold:
            scores.append(_NOTHING_RIGHT if question.answers else _ALL_RIGHT)
        else:
            golds = [answer.text for answer in question.answers]
            scores.append(score_answer(predictions[question.id], golds, version_2=version_2))
    figures = _means("", scores)
    if version_2:
        for prefix, wanted in (("has_ans_", True), ("no_ans_", False)):
            pairs = zip(scores, questions, strict=True)
            figures |= _means(prefix, [score for score, question in pairs if bool(question.answers) == wanted])
    return figures


def _means(prefix: str, scores: Sequence[Score]) -> dict[str, float]:
    if not scores:
        return {}
    return {f"{prefix}{name}": fmean(getattr(score, name) for score in scores) for name in Score._fields}


def best_threshold(
    questions: Sequence[QuestionExample],
    predictions: Mapping[Id, str],
    no_answer_scores: Mapping[Id, float],
    metric: str = "f1",
) -> Threshold:
    """Return the threshold with the best F1 or exact match on questions of v2.0, chosen as the authors' script does.

    metric: a field of `Score`.
    predictions: id -> the answer if one is given, preferably not ""; no_answer_scores: as in `squad_scores`.

    Begin with every question unanswered and answer them one by one, the lowest no-answer score first; the threshold is
    the score of the question at which the mean was highest, the first of equals. If it is best to answer none, the
    threshold is 0 if all scores are above 0, otherwise a number below all scores.
    """
    assert questions, "expected at least one question"
    by_score = sorted(questions, key=lambda question: no_answer_scores[question.id])
    lowest = no_answer_scores[by_score[0].id]
    reached = float(sum(not question.answers for question in questions))  # with every question unanswered
    best = Threshold(reached, 0.0 if lowest > 0 else lowest - 1)
    for question in by_score:
        if question.answers:
            golds = [answer.text for answer in question.answers]
            reached += getattr(score_answer(predictions[question.id], golds, version_2=True), metric)
        elif predictions[question.id]:
            reached -= 1
        # Without any span to choose, the score is infinite: the answer is "" whatever the threshold.
        if reached > best.best and math.isfinite(no_answer_scores[question.id]):
            best = Threshold(reached, no_answer_scores[question.id])
    return best._replace(best=best.best / len(questions))
