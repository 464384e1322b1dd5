"""Whole runs of each task: what they learn, what they write, and what evaluating and predicting make of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import minibert
from finetune.answering import predictions_of
from finetune.tasks import TASKS as KINDS
from minibert.heads import head_fields
from tests.finetune.running import TASKS, file_name, lines, run_here
from tests.pretrain.running import metrics, summary

pytestmark = pytest.mark.usefixtures("plain")

LEARNING = ("--epochs", 12, "--learning-rate", "5e-3", "--batch-size", 16, "--dtype", "float32")
SHORT = ("--epochs", 2, "--batch-size", 16, "--dtype", "float32")


def arguments(task: str, base: Path, files: Path, out: Path) -> tuple[object, ...]:
    return (
        task, "--model", base, "--train", files / file_name(task, "train"), "--dev", files / file_name(task, "dev"),
        "--out", out,
    )  # fmt: skip


@pytest.mark.parametrize("task", TASKS)
def test_a_run_learns_and_leaves_a_model_that_evaluates_and_predicts_as_it_said(
    task: str, base: Path, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    test = files / file_name(task, "test")
    args = (*arguments(task, base, files, tmp_path / "run"), *LEARNING, "--test", test)
    assert run_here(monkeypatch, *args) == 0
    found = summary(tmp_path / "run")
    assert found["metrics"][found["metric"]] > 0.9
    assert found["test_metrics"][found["metric"]] > 0.9
    assert (found["task"], found["train_examples"], found["dev_examples"], found["seed"]) == (task, 96, 40, 0)
    assert found["seconds"] > 0 and found["examples_per_second"] > 0 and 1 <= found["best_epoch"] <= 12

    model, tokenizer = minibert.load(tmp_path / "run")
    assert type(model) is KINDS[task].model_class
    assert head_fields(model)["trained_on"]["task"] == task
    assert tokenizer.fingerprint == minibert.load(base)[1].fingerprint

    for data, figures in ((test, "test_metrics"), (files / file_name(task, "dev"), "metrics")):
        json_file = tmp_path / "figures.json"
        args = ("evaluate", tmp_path / "run", "--data", data, "--json", json_file, "--dtype", "float32")
        assert run_here(monkeypatch, *args) == 0
        assert json.loads(json_file.read_text())["metrics"] == pytest.approx(found[figures], abs=1e-6)

    args = ("predict", tmp_path / "run", "--input", test, "--output", tmp_path / "answers.jsonl")
    assert run_here(monkeypatch, *args) == 0
    assert len(lines(tmp_path / "answers.jsonl")) == 40


@pytest.mark.parametrize("task", TASKS)
def test_the_best_epoch_is_kept_and_every_epoch_is_logged(
    task: str, base: Path, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    args = (*arguments(task, base, files, tmp_path / "run"), "--epochs", 4, "--batch-size", 16, "--learning-rate", 3e-3)
    assert run_here(monkeypatch, *args, "--log-every", 1) == 0
    found = summary(tmp_path / "run")
    epochs = {line["epoch"]: line for line in metrics(tmp_path / "run") if "epoch" in line}
    assert sorted(epochs) == [1, 2, 3, 4]
    scores = [epochs[epoch][f"dev_{found['metric']}"] for epoch in sorted(epochs)]
    assert found["best_epoch"] == scores.index(max(scores)) + 1
    assert found["metrics"][found["metric"]] == max(scores)
    assert [line["step"] for line in metrics(tmp_path / "run") if "loss" in line] == list(range(1, found["steps"] + 1))


def test_dev_is_answered_once_an_epoch_and_not_again_for_the_pictures(
    base: Path, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def counted(model: object, task: object, examples: list[object], *others: object) -> list[object]:
        asked.append(len(examples))
        return predictions_of(model, task, examples, *others)  # type: ignore[arg-type]

    monkeypatch.setattr("finetune.train.predictions_of", counted)
    args = (*arguments(TASKS[0], base, files, tmp_path / "run"), *SHORT, "--test", files / file_name(TASKS[0], "test"))
    assert run_here(monkeypatch, *args) == 0
    assert asked == [40, 40, 40]  # dev, dev, test


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("method", [("--freeze-encoder",), ("--lora-rank", 4)])
def test_frozen_and_lora_train_little_and_leave_a_plain_model(
    task: str, method: tuple[object, ...], base: Path, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    args = (*arguments(task, base, files, tmp_path / "run"), *SHORT, *method)
    assert run_here(monkeypatch, *args) == 0
    found = summary(tmp_path / "run")
    assert 0 < found["trained_parameters"] < found["parameters"] / 4
    assert found["learning_rate"] == 1e-3
    model, _ = minibert.load(tmp_path / "run")
    before = dict(minibert.load(base)[0].named_parameters())
    changed = {name for name, tensor in model.named_parameters() if name in before and not tensor.equal(before[name])}
    attention = {f"encoder.blocks.{layer}.attention.query_key_value.weight" for layer in range(2)}
    assert {name for name in changed if name.startswith("encoder.")} == (
        attention if method[0] == "--lora-rank" else set()
    )
    args = ("evaluate", tmp_path / "run", "--data", files / file_name(task, "dev"), "--dtype", "float32", "--json",
            tmp_path / "figures.json")  # fmt: skip
    assert run_here(monkeypatch, *args) == 0
    assert json.loads((tmp_path / "figures.json").read_text())["metrics"] == pytest.approx(found["metrics"], abs=1e-6)


@pytest.mark.parametrize("task", TASKS)
def test_without_dev_a_share_of_the_training_file_is_held_out(
    task: str, base: Path, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    args = (task, "--model", base, "--train", files / file_name(task, "train"), "--out", tmp_path / "run", *SHORT)
    assert run_here(monkeypatch, *args, "--dev-share", 0.25) == 0
    found = summary(tmp_path / "run")
    assert found["train_examples"] + found["dev_examples"] == 96 and 15 <= found["dev_examples"] <= 33
    assert "are held out to choose the epoch on" in capsys.readouterr().out


def test_several_seeds_keep_the_lower_median_run(
    base: Path, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    args = (*arguments("text-classification", base, files, tmp_path / "run"), *SHORT, "--seeds", 4, "--seed", 5)
    assert run_here(monkeypatch, *args) == 0
    found = summary(tmp_path / "run")
    scores = [run["metrics"]["accuracy"] for run in found["runs"]]
    assert [run["seed"] for run in found["runs"]] == [5, 6, 7, 8]
    assert found["metrics"]["accuracy"] == sorted(scores)[1]
    assert found["over_seeds"]["metrics"]["accuracy"]["mean"] == pytest.approx(sum(scores) / 4)
    kept = tmp_path / "run" / f"seed-{found['seed']}" / "model.safetensors"
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == kept.read_bytes()
    minibert.load(tmp_path / "run")
    assert run_here(monkeypatch, *args) == 0  # finished


def test_layers_learn_at_rates_that_fall_toward_the_embeddings(
    base: Path, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    args = (*arguments("text-classification", base, files, tmp_path / "run"), "--epochs", 1, "--layer-decay", 0.1)
    assert run_here(monkeypatch, *args, "--dtype", "float32") == 0
    before, after = (dict(minibert.load(path)[0].named_parameters()) for path in (base, tmp_path / "run"))
    names = ["encoder.embeddings.position.weight", *(f"encoder.blocks.{i}.attention.output.weight" for i in (0, 1))]
    moved = [float((after[name] - before[name]).detach().abs().max()) for name in names]
    assert moved[0] < moved[1] / 3 < moved[2] / 9


def test_a_fine_tuned_model_goes_on_with_its_head_and_another_tasks_head_is_refused(
    base: Path, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first = arguments("text-classification", base, files, tmp_path / "first")
    assert run_here(monkeypatch, *first, *SHORT) == 0
    again = arguments("text-classification", tmp_path / "first", files, tmp_path / "again")
    capsys.readouterr()
    assert run_here(monkeypatch, *again, *SHORT) == 0
    assert "fresh" not in capsys.readouterr().out
    other = arguments("multiple-choice", tmp_path / "first", files, tmp_path / "other")
    assert run_here(monkeypatch, *other, *SHORT) == 2
    shown = capsys.readouterr()
    assert len(shown.err.splitlines()) == 1 and "--new-head replaces it" in shown.err
    assert not (tmp_path / "other").exists()
    assert run_here(monkeypatch, *other, *SHORT, "--new-head") == 0
