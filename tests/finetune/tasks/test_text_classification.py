"""Single texts and pairs; one class, several, or a number."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest

import finetune
import minibert
from finetune.data.data_options import TextDataOptions
from finetune.tasks.text_classification import TextClassification
from minibert.heads import BertForSequenceClassification
from tests.finetune.running import ANIMALS, COLOURS, SHAPE, lines, run_here, sentence, write_model
from tests.helpers import refusal, seeded
from tests.pretrain.running import summary

pytestmark = pytest.mark.usefixtures("plain")

LEARNING = ("--epochs", 12, "--learning-rate", "5e-3", "--batch-size", 16, "--dtype", "float32")


def test_a_number_is_told_and_not_a_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    base = write_model(tmp_path / "base", SHAPE.replace(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0))
    rng = random.Random(0)
    rows = [[sentence(rng, [ANIMALS[number]]), number] for number in [0, 1, 2, 3] * 30]
    (tmp_path / "train.tsv").write_text("".join(f"x\t{' '.join(words)}\t{n}\n" for words, n in rows))
    args = ("text-classification", "--model", base, "--train", tmp_path / "train.tsv", "--out", tmp_path / "run",
            "--no-header", "--text-column", 2, "--label-column", 3, "--regression", *LEARNING,
            "--epochs", 25)  # fmt: skip
    assert run_here(monkeypatch, *args) == 0
    assert "data     108 examples to train on, 12 to choose the epoch on\n" in capsys.readouterr().out
    found = summary(tmp_path / "run")
    assert found["metric"] == "spearman" and found["metrics"]["pearson"] > 0.9
    assert getattr(minibert.load(tmp_path / "run")[0], "problem_type") == "regression"  # noqa: B009 - of this class
    args = ("predict", tmp_path / "run", "--input", tmp_path / "train.tsv", "--output", tmp_path / "answers.jsonl")
    assert run_here(monkeypatch, *args) == 0
    answers = lines(tmp_path / "answers.jsonl")
    assert sum(abs(answer["score"] - n) for answer, (_, n) in zip(answers, rows, strict=True)) / len(rows) < 0.5


def test_pairs(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the second text is about, which the first one leaves open."""
    rng = random.Random(0)
    rows = []
    for number in range(120):
        words = (ANIMALS, COLOURS)[number % 2]
        first, second = (" ".join(sentence(rng, [rng.choice(words)])) for words in (ANIMALS + COLOURS, words))
        rows.append({"a": first, "b": second, "label": ("animal", "colour")[number % 2]})
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    args = ("text-classification", "--model", base, "--train", tmp_path / "train.jsonl", "--out", tmp_path / "run",
            "--text-column", "a", "--text-pair-column", "b", *LEARNING)  # fmt: skip
    assert run_here(monkeypatch, *args) == 0
    assert summary(tmp_path / "run")["metrics"]["accuracy"] > 0.9


def test_several_labels_at_once(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(0)
    rows = []
    for number in range(160):
        kinds = [(ANIMALS, "animal")] * (number % 2) + [(COLOURS, "colour")] * (number // 2 % 2)
        text = " ".join(sentence(rng, [rng.choice(words) for words, _ in kinds]))
        rows.append({"text": text, "label": [name for _, name in kinds]})
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    args = ("text-classification", "--model", base, "--train", tmp_path / "train.jsonl", "--out", tmp_path / "run",
            "--multi-label", *LEARNING, "--epochs", 25, "--learning-rate", "2e-3")  # fmt: skip
    assert run_here(monkeypatch, *args) == 0
    assert summary(tmp_path / "run")["metrics"]["exact_match"] > 0.8
    args = ("predict", tmp_path / "run", "--input", tmp_path / "train.jsonl", "--output", tmp_path / "answers.jsonl")
    assert run_here(monkeypatch, *args) == 0
    answers = lines(tmp_path / "answers.jsonl")
    right = sum(answer["labels"] == row["label"] for answer, row in zip(answers, rows, strict=True))
    assert right / len(rows) > 0.8


def test_long_texts_are_cut_and_it_is_said(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f"{'the cat ' * count},{('one', 'two')[count % 2]}\n" for count in (1, 2, 3, 4, 5, 50) * 4]
    (tmp_path / "train.csv").write_text("text,label\n" + "".join(rows))
    args = ("text-classification", "--model", base, "--train", tmp_path / "train.csv", "--out", tmp_path / "run",
            "--dev", tmp_path / "train.csv", "--epochs", 1)  # fmt: skip
    assert run_here(monkeypatch, *args) == 0
    assert "train: 4 examples with 64 tokens or more; anything beyond that is cut off" in capsys.readouterr().out


@pytest.fixture(scope="module")
def ranker(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that ranks texts by whether they tell of the animal asked for, with its training file beside it."""
    rng = random.Random(0)
    rows = ["query,candidate,label\n"]
    for number in range(40):
        query = " ".join(sentence(rng, [f"{number}"]))
        words = [*rng.sample(COLOURS, 3), ANIMALS[number % 6]]
        rows += [f"{query},{' '.join(sentence(rng, [word]))},{int(word in ANIMALS)}\n" for word in words]
    directory = tmp_path_factory.mktemp("ranker")
    (directory / "train.csv").write_text("".join(rows))
    args = ("text-classification", "--model", base, "--train", directory / "train.csv", "--out", directory / "run",
            "--text-column", "query", "--text-pair-column", "candidate", "--group-column", "query", *LEARNING,
            "--epochs", 6)  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("finetune.finish.draw_run", lambda *_, **__: None)
        patch.setattr("finetune.tasks.text_classification.draw_confusion", lambda *_, **__: None)
        assert run_here(patch, *args) == 0
    return directory


def test_candidates_are_ranked_and_queries_held_out_whole(ranker: Path) -> None:
    found = summary(ranker / "run")
    assert found["metric"] == "mrr" and found["metrics"]["mrr"] > 0.9
    assert (found["train_examples"], found["dev_examples"]) == (144, 16)  # 36 and 4 queries of four candidates
    assert list(found["metrics"])[-4:] == ["mrr", "ndcg@10", "recall@1", "recall@10"]


def test_predict_ranks_candidates_that_stand_apart(
    ranker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [("one", "the cat"), ("two", "a red"), ("", "the dog"), ("one", "a blue"), ("two", "by cow"), ("one", "red")]
    asked = [{"query": query, "candidate": candidate} for query, candidate in rows]
    (tmp_path / "x.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked))
    args = ("predict", ranker / "run", "--input", tmp_path / "x.jsonl", "--output", tmp_path / "answers.jsonl")
    monkeypatch.setattr("finetune.inference.EXAMPLES_AT_ONCE", 2)
    assert run_here(monkeypatch, *args) == 0
    found = lines(tmp_path / "answers.jsonl")
    assert [one.get("pair") for one in found] == ["the cat", "a red", None, "a blue", "by cow", "red"]
    assert list(found[2]) == ["error"]
    assert (found[0]["rank"], found[1]["rank"], found[4]["rank"]) == (1, 2, 1)
    assert sorted((found[3]["rank"], found[5]["rank"])) == [2, 3]
    assert all(one["score"] == pytest.approx(one["probabilities"]["1"]) for one in found if "error" not in one)
    monkeypatch.undo()
    answers = finetune.predict(ranker / "run", [asked[1], rows[4]])
    assert [(one["group"], one["rank"]) for one in answers] == [("two", 2), ("two", 1)]


def test_evaluate_ranks_as_the_run_did(ranker: Path) -> None:
    found = finetune.evaluate(ranker / "run", ranker / "train.csv")["metrics"]
    assert 0.9 < found["mrr"] <= 1.0 and found["recall@10"] == 1.0


def test_classes_that_are_words_rank_nothing(base: Path) -> None:
    encoder, tokenizer = minibert.load(base)
    model = BertForSequenceClassification(encoder.config, labels=("animal", "colour"), generator=seeded(0))
    said = refusal(lambda: finetune.predict((model, tokenizer), [("a", "b")], group_column="query"))
    assert said.startswith("--group-column: the model has the class 'animal', expected a grade")


def test_a_score_is_the_grade_that_is_expected() -> None:
    data_options = TextDataOptions(group_column="query")
    task = TextClassification(data_options, None, ("0", "1", "3"))  # type: ignore[arg-type]  # it reads no text
    assert task.score(np.log(np.array([0.5, 0.25, 0.25], np.float32))) == pytest.approx(1.0)
    assert task.metric(None) == "mrr" and task.metric("accuracy") == "accuracy"
