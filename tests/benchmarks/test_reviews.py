"""What pretraining gives: the splits, the baseline, and the table."""

from __future__ import annotations

import csv
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.options import ReviewsOptions
from benchmarks.reviews import Study, compare, read_table, report
from benchmarks.runner import Run
from minibert.errors import RunStopped
from tests.helpers import refusal

GOOD, BAD = ["很好吃", "味道好", "快 好", "好"], ["太慢", "不好吃", "凉了", "难吃"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    rng = random.Random(5)
    rows = [("1", rng.choice(GOOD) + str(n)) for n in range(60)] + [("0", f"{rng.choice(BAD)},{n}") for n in range(30)]
    path = tmp_path / "reviews.csv"
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("label", "review"), *rows])
    return path


def test_a_split_has_the_classes_shares_and_its_corpus_is_the_training_texts(data: Path, tmp_path: Path) -> None:
    split = Study(ReviewsOptions(data=str(data)), tmp_path, threads=1).split(0)
    (train, train_labels), (test, test_labels) = read_table(split.train), read_table(split.test)
    assert (Counter(train_labels), Counter(test_labels)) == (Counter({"1": 48, "0": 24}), Counter({"1": 12, "0": 6}))
    assert not set(train) & set(test)
    assert split.texts.read_text(encoding="utf-8").rstrip("\n").split("\n\n") == train


def test_the_baseline_learns_and_splits_differ(data: Path, tmp_path: Path) -> None:
    study = Study(ReviewsOptions(data=str(data)), tmp_path, threads=1)
    runs = [study.baseline(0), study.baseline(1)]
    assert [run.work for run in runs] == [{"train": 72, "test": 18}] * 2
    assert all(run.metrics["accuracy"] > 0.8 for run in runs)
    assert read_table(study.split(0).test) != read_table(study.split(1).test)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("1,好\n1,快\n", "reviews.csv: expected two classes or more, found '1' alone"),
        ("1,好\n0,慢\n1,快\n", "reviews.csv: too small to be split: "),
    ],
)
def test_what_cannot_be_split_is_refused(rows: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "reviews.csv").write_text("label,review\n" + rows, encoding="utf-8")
    study = Study(ReviewsOptions(data=str(tmp_path / "reviews.csv")), tmp_path, threads=1)
    assert message in refusal(lambda: study.split(0))


def test_fewer_splits_than_a_stopped_comparison_had(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, side in (("baseline", "TF-IDF"), ("untrained", "not pretrained"), ("frozen", "frozen")):
        monkeypatch.setattr(
            Study, name, lambda _, seed, side=side: Run(side, seed, {}, {"accuracy": 0.8}, {"seconds": 1})
        )

    def pretrained(_: Study, seed: int) -> Run:
        if seed == 2:
            raise RunStopped("the disk is full")
        return Run("pretrained", seed, {}, {"accuracy": 0.9}, {"seconds": 1})

    monkeypatch.setattr(Study, "pretrained", pretrained)
    options = ReviewsOptions(data=str(data), threads=1, json=str(tmp_path / "results.json"))
    with pytest.raises(RunStopped):
        compare(options)  # after the other sides of the third split
    compare(replace(options, splits=2))
    assert "test accuracy      split 0   split 1      mean" in capsys.readouterr().out.splitlines()


def runs(**accuracies: tuple[float, float]) -> dict[str, list[Run]]:
    names = {"baseline": "TF-IDF", "untrained": "not pretrained", "frozen": "frozen", "pretrained": "pretrained"}
    return {
        names[side]: [Run(names[side], seed, {}, {"accuracy": value}, {}) for seed, value in enumerate(values)]
        for side, values in accuracies.items()
    }


def test_the_table_has_each_split_the_mean_and_what_was_hoped_for() -> None:
    sides = runs(baseline=(0.9, 0.88), untrained=(0.8, 0.7), frozen=(0.85, 0.85), pretrained=(0.895, 0.907))
    assert report(sides) == [
        "",
        "test accuracy      split 0   split 1      mean",
        "TF-IDF              0.9000    0.8800    0.8900",
        "not pretrained      0.8000    0.7000    0.7500",
        "frozen              0.8500    0.8500    0.8500",
        "pretrained          0.8950    0.9070    0.9010",
        "",
        "pretrained: mean 0.9010, 0.900 asked for: holds",
        "pretrained against TF-IDF: -0.0050 at the least, -0.0100 allowed: holds",
    ]


def test_a_split_below_the_baseline_is_said() -> None:
    sides = runs(baseline=(0.9, 0.9), untrained=(0.8, 0.7), frozen=(0.85, 0.85), pretrained=(0.92, 0.875))
    assert report(sides)[-2:] == [
        "pretrained: mean 0.8975, 0.900 asked for: DOES NOT HOLD",
        "pretrained against TF-IDF: -0.0250 at the least, -0.0100 allowed: DOES NOT HOLD",
    ]


@pytest.mark.slow
def test_all_sides_are_run_and_kept(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ReviewsOptions(
        data=str(data), splits=1, pretraining="--model tiny --seq-len 32 --steps 3 --vocab-size 300",
        finetuning="--epochs 1", frozen="--freeze-encoder --epochs 1", threads=1, device="cpu",
        json=str(tmp_path / "results.json"),
    )  # fmt: skip
    compare(options)
    first = capsys.readouterr().out
    assert [line.split(",")[0] for line in first.splitlines()[2:6]] == [
        "TF-IDF", "not pretrained", "frozen", "pretrained",
    ]  # fmt: skip
    compare(options)
    assert capsys.readouterr().out.splitlines()[-8:] == first.splitlines()[-8:]
