"""One scorer for both sides, from another library if there is one.

minibert scores itself while it trains (`finetune.scoring.metrics`); its answers are scored again here, like the peer's.
"""

from collections.abc import Callable, Sequence
from typing import Any

from finetune.data.examples import ChoiceExample, QuestionExample, TaggedExample, TextExample
from finetune.data.tags import entities
from finetune.scoring.metrics import entity_metrics
from finetune.scoring.squad_scores import squad_scores


def score(task: str, examples: Sequence[Any], answers: Sequence[Any]) -> dict[str, float]:
    """Return metrics from 0 to 1 (correlations from -1). There must be one answer for each example, in their order."""
    assert len(examples) == len(answers)
    return SCORERS[task](examples, answers)


def score_labels(examples: Sequence[TextExample], labels: Sequence[str]) -> dict[str, float]:
    """Return scikit-learn's Matthews correlation and accuracy."""
    from sklearn.metrics import accuracy_score, matthews_corrcoef

    golds = [example.label for example in examples]
    return {"mcc": float(matthews_corrcoef(golds, labels)), "accuracy": float(accuracy_score(golds, labels))}


def score_numbers(examples: Sequence[TextExample], numbers: Sequence[float]) -> dict[str, float]:
    """Return scipy's correlations, or 0 if they are undefined because all numbers are equal."""
    from scipy.stats import pearsonr, spearmanr

    golds = [example.label for example in examples]
    if min(numbers) == max(numbers) or len(set(golds)) == 1:
        return {"pearson": 0.0, "spearman": 0.0}
    return {
        "pearson": float(pearsonr(golds, numbers).statistic),
        "spearman": float(spearmanr(golds, numbers).statistic),
    }


def score_tags(examples: Sequence[TaggedExample], tags: Sequence[Sequence[str]]) -> dict[str, float]:
    """Return seqeval's F1 of whole entities; `finetune_f1` is what our own scorer gives the same tags."""
    from seqeval.metrics import f1_score

    golds = [list(example.tags or ()) for example in examples]
    ours = entity_metrics([entities(gold) for gold in golds], [entities(found) for found in tags])
    return {
        "f1": float(f1_score(golds, [list(found) for found in tags], zero_division=0)),
        "finetune_f1": ours["f1"],
    }


def score_answers(examples: Sequence[QuestionExample], texts: Sequence[str]) -> dict[str, float]:
    """Return our scores for SQuAD v1.1, which `tests/finetune/scoring/test_squad_scores.py` tests on literal cases."""
    by_id = {example.id: text for example, text in zip(examples, texts, strict=True)}
    return squad_scores(examples, by_id, version_2=False)


def score_choices(examples: Sequence[ChoiceExample], chosen: Sequence[int]) -> dict[str, float]:
    """Return the share of correct choices."""
    right = sum(example.answer == choice for example, choice in zip(examples, chosen, strict=True))
    return {"accuracy": right / len(examples)}


SCORERS: dict[str, Callable[[Sequence[Any], Sequence[Any]], dict[str, float]]] = {
    "cola": score_labels,
    "stsb": score_numbers,
    "wnut17": score_tags,
    "squad": score_answers,
    "choices": score_choices,
}
