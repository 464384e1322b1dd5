"""Figures against scikit-learn, scipy and seqeval; what is undefined; the same from one process and from two."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
import seqeval.metrics
import sklearn.metrics

from finetune.data.tags import Entity, entities
from finetune.scoring.metrics import (
    METRICS,
    ClassFigures,
    check_metric,
    classification_metrics,
    entity_figures,
    entity_metrics,
    gather_in_order,
    multi_label_metrics,
    regression_metrics,
    text_figures,
    text_metrics,
)
from finetune.scoring.tag_scores import tag_metrics
from minibert.training.processes import Processes
from tests.finetune.data.test_tags import random_tags
from tests.helpers import REPOSITORY, refusal

FIGURES = ("precision", "recall", "f1", "support")


def drawn(seed: int, classes: int, *, size: int = 300, right: float = 0.6) -> tuple[list[int], list[int]]:
    """Targets, the classes of unlike frequency, and predictions of which a share is right."""
    rng = np.random.default_rng(seed)
    targets = rng.choice(classes, size, p=np.arange(1, classes + 1) / sum(range(1, classes + 1)))
    predictions = np.where(rng.random(size) < right, targets, rng.integers(classes, size=size))
    return targets.tolist(), predictions.tolist()


def columns(figures: list[ClassFigures]) -> list[tuple[float, ...]]:
    """As scikit-learn and seqeval give them: all precisions, all recalls, ..."""
    return [tuple(getattr(row, name) for row in figures) for name in FIGURES]


# --- Classification --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [2, 3, 10])
@pytest.mark.parametrize("right", [0.0, 0.6, 1.0])
def test_classes_as_scikit_learn_has_them(classes: int, right: float) -> None:
    targets, predictions = drawn(1, classes, right=right)
    ours = classification_metrics(targets, predictions, classes)
    theirs = {"accuracy": sklearn.metrics.accuracy_score(targets, predictions)}
    theirs["micro_f1"] = sklearn.metrics.f1_score(targets, predictions, average="micro")
    for name in ("precision", "recall", "f1"):
        score = getattr(sklearn.metrics, f"{name}_score")
        theirs[f"macro_{name}"] = score(targets, predictions, average="macro", zero_division=0)
        if classes == 2:
            theirs[name] = score(targets, predictions)
    matthews = ours.pop("mcc")
    assert ours == pytest.approx(theirs, abs=1e-12)
    assert matthews == pytest.approx(sklearn.metrics.matthews_corrcoef(targets, predictions), abs=2e-6)
    labels = [f"label {number}" for number in range(classes)]
    each = text_figures("single_label_classification", targets, predictions, labels)
    assert [row.name for row in each] == labels
    reference = sklearn.metrics.precision_recall_fscore_support(targets, predictions, zero_division=0)
    for column, expected in zip(columns(each), reference, strict=True):
        assert column == pytest.approx(expected.tolist(), abs=1e-12)


def test_the_baselines_that_are_published() -> None:
    """Always "acceptable" on CoLA's dev set: accuracy 0.6913, Matthews 0."""
    metrics = classification_metrics([1] * 721 + [0] * 322, [1] * 1043, 2)
    assert metrics["accuracy"] == pytest.approx(0.6913, abs=5e-5)
    assert metrics["mcc"] == 0.0


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize(
    ("targets", "predictions"), [([0, 1, 1], [1, 1, 1]), ([1, 1, 1], [0, 1, 1]), ([1, 1], [1, 1]), ([0, 0], [1, 1])]
)
def test_matthews_of_something_constant_is_0(targets: list[int], predictions: list[int], classes: int) -> None:
    """torchmetrics says 0.27 of the first, 1 of the third and -1 of the fourth."""
    assert classification_metrics(targets, predictions, classes)["mcc"] == 0.0


def test_one_class_alone() -> None:
    found = classification_metrics([0, 0], [0, 0], 1)
    assert (found["accuracy"], found["macro_f1"], found["mcc"]) == (1.0, 1.0, 0.0)
    assert text_figures("single_label_classification", [0, 0], [0, 0], ["only"]) == [("only", 1.0, 1.0, 1.0, 2)]


def test_what_is_undefined_is_0() -> None:
    metrics = classification_metrics([0, 0, 0], [0, 0, 0], 2)
    assert (metrics["precision"], metrics["recall"], metrics["f1"]) == (0.0, 0.0, 0.0)
    assert text_figures("single_label_classification", [0, 0], [0, 0], ["a", "b"])[1] == ClassFigures(
        "b", 0.0, 0.0, 0.0, 0
    )


def test_classes_that_are_nowhere_are_left_out_of_the_means() -> None:
    assert classification_metrics([0, 1, 1], [0, 1, 0], 5) == classification_metrics([0, 1, 1], [0, 1, 0], 3)
    assert classification_metrics([0, 0], [0, 0], 3)["macro_f1"] == 1.0


# --- Several labels --------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.UndefinedMetricWarning")
def test_several_labels_as_scikit_learn_has_them() -> None:
    rng = np.random.default_rng(2)
    targets = (rng.random((200, 5)) < [0.5, 0.3, 0.1, 0.02, 0.9]).astype(int)
    predictions = np.where(rng.random((200, 5)) < 0.8, targets, 1 - targets)
    theirs = {"exact_match": sklearn.metrics.accuracy_score(targets, predictions)}
    theirs["accuracy"] = 1 - sklearn.metrics.hamming_loss(targets, predictions)
    for average in ("micro", "macro"):
        for name in ("precision", "recall", "f1"):
            score = getattr(sklearn.metrics, f"{name}_score")
            theirs[f"{average}_{name}"] = score(targets, predictions, average=average)
    assert multi_label_metrics(targets.tolist(), predictions.tolist()) == pytest.approx(theirs, abs=1e-12)
    each = text_figures("multi_label_classification", targets.tolist(), predictions.tolist(), list("abcde"))
    assert [row.name for row in each] == list("abcde")
    reference = sklearn.metrics.precision_recall_fscore_support(targets, predictions)
    for column, expected in zip(columns(each), reference, strict=True):
        assert column == pytest.approx(expected.tolist(), abs=1e-12)


def test_no_label_at_all() -> None:
    metrics = multi_label_metrics([[0, 0]], [[0, 0]])
    assert (metrics["exact_match"], metrics["micro_f1"], metrics["macro_f1"]) == (1.0, 0.0, 0.0)


# --- Numbers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_correlations_as_scipy_has_them(seed: int) -> None:
    rng = np.random.default_rng(seed)
    targets = np.round(rng.random(1500) * 5, 1)  # with many ties, as STS-B's
    predictions = np.round(targets + rng.normal(0, 1.5, 1500), 2)
    ours = regression_metrics(targets.tolist(), predictions.tolist())
    assert ours["pearson"] == pytest.approx(scipy.stats.pearsonr(targets, predictions).statistic, abs=1e-6)
    assert ours["spearman"] == pytest.approx(scipy.stats.spearmanr(targets, predictions).statistic, abs=2e-6)


@pytest.mark.parametrize(
    ("targets", "predictions"),
    [([1.0, 2.0, 3.0], [2.5, 2.5, 2.5]), ([2.0, 2.0], [1.0, 2.0]), ([1.0], [2.0]), ([0.0, 0.0], [0.0, 0.0])],
)
@pytest.mark.filterwarnings("error")
def test_correlations_with_something_constant_are_0(targets: list[float], predictions: list[float]) -> None:
    assert regression_metrics(targets, predictions) == {"pearson": 0.0, "spearman": 0.0}


@pytest.mark.filterwarnings("error")
def test_correlations_are_numbers_whatever_is_predicted() -> None:
    for predictions in ([float("nan"), 1.0, 2.0], [1.0, 1.0 + 1e-15, 1.0], [1e30, -1e30, 0.0], [1e-30, 2e-30, 3e-30]):
        for value in regression_metrics([1.0, 2.0, 3.0], predictions).values():
            assert -1 <= value <= 1


# --- Entities --------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_entities_as_seqeval_has_them() -> None:
    rng = random.Random(6)
    golds = [random_tags(rng, "BI") for _ in range(2000)]
    answers = [[tag if rng.random() < 0.8 else rng.choice(["O", "B-per", "I-loc"]) for tag in tags] for tags in golds]
    found = [entities(tags) for tags in golds], [entities(tags) for tags in answers]
    ours = entity_metrics(*found)
    for name in ("precision", "recall", "f1"):
        assert ours[name] == pytest.approx(getattr(seqeval.metrics, f"{name}_score")(golds, answers), abs=1e-12)
    assert 0.3 < ours["f1"] < 0.9
    report = seqeval.metrics.classification_report(golds, answers, output_dict=True)
    for row in entity_figures(*found):
        theirs = report[row.name]
        assert row[1:] == pytest.approx(
            (theirs["precision"], theirs["recall"], theirs["f1-score"], theirs["support"]), abs=1e-12
        )
    assert [row.name for row in entity_figures(*found)] == ["b-b", "loc", "per"]


def test_an_entity_counts_only_when_type_start_and_end_match() -> None:
    gold = [[Entity("per", 0, 2), Entity("loc", 3, 4)]]
    for wrong in (Entity("per", 0, 1), Entity("per", 1, 2), Entity("org", 0, 2)):
        metrics = entity_metrics(gold, [[wrong, Entity("loc", 3, 4)]])
        assert metrics == {"precision": 0.5, "recall": 0.5, "f1": 0.5}


def test_no_entity_at_all() -> None:
    assert entity_metrics([[]], [[]]) == {"precision": 0.0, "recall": 0.0, "f1": 0.0}
    assert entity_metrics([[Entity("per", 0, 1)]], [[]]) == {"precision": 0.0, "recall": 0.0, "f1": 0.0}
    assert entity_figures([[]], [[]]) == text_figures("regression", [0.5], [0.5], ["score"]) == []


# --- Which metric ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "classes", "default"),
    [
        ("single_label_classification", 2, "accuracy"),
        ("multi_label_classification", 5, "micro_f1"),
        ("regression", 1, "spearman"),
        ("tags: entities", 9, "f1"),
        ("tags: words", 4, "f1"),
        ("tags: classes", 17, "accuracy"),
        ("question-answering", 0, "f1"),
        ("multiple-choice", 0, "accuracy"),
    ],
)
def test_each_task_has_one_metric_and_may_have_others(task: str, classes: int, default: str) -> None:
    assert check_metric(task, None, classes=classes) == default
    for name in METRICS[task]:
        assert check_metric(task, name, classes=classes) == name


@pytest.mark.parametrize(
    ("task", "name", "classes", "message"),
    [
        ("single_label_classification", "f1", 3, "--metric: expected one of accuracy, macro_f1, mcc, found 'f1'"),
        (
            "single_label_classification",
            "bleu",
            2,
            "--metric: expected one of accuracy, f1, macro_f1, mcc, found 'bleu'",
        ),
        ("regression", "accuracy", 1, "--metric: expected one of spearman, pearson, found 'accuracy'"),
    ],
)
def test_metrics_that_a_task_does_not_have(task: str, name: str, classes: int, message: str) -> None:
    assert refusal(lambda: check_metric(task, name, classes=classes)).endswith(message)


def test_every_metric_that_can_be_named_is_computed() -> None:
    computed: dict[str, dict[str, Any]] = {
        "single_label_classification": text_metrics("single_label_classification", [0, 1], [0, 1], 2),
        "multi_label_classification": text_metrics("multi_label_classification", [[0, 1]], [[0, 1]], 2),
        "regression": text_metrics("regression", [0.0, 1.0], [0.0, 1.0], 1),
        "tags: entities": entity_metrics([[]], [[]]),
        "tags: classes": tag_metrics("classes", [[Entity("N", 0, 1)]], [[]]),
        "tags: words": tag_metrics("words", [[]], [[]]),
    }
    for task, metrics in computed.items():
        assert set(METRICS[task]) <= set(metrics)


# --- Processes -------------------------------------------------------------------------------------------------------


def test_one_process_has_its_answers_put_in_order() -> None:
    assert gather_in_order(Processes(), [(2, "c"), (0, "a"), (1, "b"), (0, "a")]) == ["a", "b", "c"]
    assert gather_in_order(Processes(), []) == []


# Answers every task's examples, each process its own share, and writes down all figures.
SCRIPT = """
    import json, random, sys
    from pathlib import Path
    from finetune.data.examples import Answer, QuestionExample
    from finetune.scoring.metrics import *
    from finetune.scoring.squad_scores import best_threshold, squad_scores
    from finetune.data.tags import Entity
    from minibert.training.processes import join_processes

    COUNT = 301
    rng = random.Random(8)
    classes = [(rng.randrange(4), rng.randrange(4)) for _ in range(COUNT)]
    numbers = [(round(rng.random() * 5, 1), rng.gauss(0, 1)) for _ in range(COUNT)]
    labels = [[[rng.randrange(2) for _ in range(3)] for _ in range(2)] for _ in range(COUNT)]
    tags = [[[Entity(rng.choice("ab"), 0, rng.randrange(1, 3))] for _ in range(2)] for _ in range(COUNT)]
    words = [rng.choice(["red fox", "fox", "", "the cat"]) for _ in range(COUNT)]
    asked = [QuestionExample(str(n), "?", "", (Answer("red fox", 0),) * (n % 3 > 0), "", "")
             for n in range(COUNT)]
    surer = {str(n): rng.random() for n in range(COUNT)}

    with join_processes("cpu") as processes:
        # Shares of unlike size and in no order; example 0 is answered by every process.
        mine = [n for n in reversed(range(COUNT)) if (n * n) % 3 % processes.world_size == processes.rank or n == 0]
        def all_of(answers):
            return gather_in_order(processes, [(n, answers[n]) for n in mine])
        answers = dict(enumerate(all_of(words)))
        predictions = {str(n): word for n, word in answers.items()}
        figures = [
            classification_metrics([gold for gold, _ in classes], all_of([answer for _, answer in classes]), 4),
            text_figures("single_label_classification", [gold for gold, _ in classes],
                         all_of([answer for _, answer in classes]), list("abcd")),
            regression_metrics([gold for gold, _ in numbers], all_of([answer for _, answer in numbers])),
            multi_label_metrics([gold for gold, _ in labels], all_of([answer for _, answer in labels])),
            entity_metrics([gold for gold, _ in tags], all_of([answer for _, answer in tags])),
            squad_scores(asked, predictions, version_2=True, no_answer_scores=surer, threshold=0.5),
            best_threshold(asked, predictions, surer),
        ]
        shares = [len(mine)]
        Path(sys.argv[1], f"{processes.world_size}-{processes.rank}.json").write_text(json.dumps([figures, shares]))
"""


@pytest.mark.slow
def test_two_processes_have_the_figures_of_one(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(textwrap.dedent(SCRIPT))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
    for processes in ("1", "2"):
        done = subprocess.run(
            [*torchrun, processes, str(tmp_path / "script.py"), str(tmp_path)],
            capture_output=True, text=True, timeout=300, cwd=REPOSITORY,
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    one, first, second = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("1-0", "2-0", "2-1"))
    assert one[0] == first[0] == second[0]  # to the last bit: JSON keeps all of a float
    assert one[1] == [301] and first[1][0] + second[1][0] == 302 and first[1] != second[1]
    assert all(0 < value < 1 for name, value in one[0][0].items() if name != "mcc")
