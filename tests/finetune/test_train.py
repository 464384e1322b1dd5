"""Whole runs of each task: what they learn, what they write, and what evaluating and predicting make of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import minibert
from finetune.forward import predictions_of
from finetune.tasks.registry import TASKS as KINDS
from finetune.train import FinetuneSums
from minibert.architectures import head_fields
from tests.finetune.running import SHORT, TASKS, arguments, file_name, lines, run_here
from tests.pretrain.running import metrics, summary

pytestmark = pytest.mark.usefixtures("plain")

LEARNING = ("--epochs", 12, "--learning-rate", "5e-3", "--batch-size", 16, "--dtype", "float32")


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


# A row that is bad in each task's file; and why.
BAD_ROWS = {
    "text-classification": ("the cat,\n", ":98: label is empty, expected text"),
    "token-classification": ("cat\n\n", ": the row has 1 column, expected 2, as in the first row"),
    "question-answering": (None, ": question long: the question has 80 tokens, which leaves no room for the passage"),
    "multiple-choice": ('{"question": ""}\n', ":97: field 'choices' is missing; the object has 'question'"),
}


@pytest.mark.parametrize("task", TASKS)
def test_bad_rows_end_a_run_or_are_left_out_and_listed(
    task: str, base: Path, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    train = tmp_path / file_name(task, "train")
    content = (files / train.name).read_text(encoding="utf-8")
    row, why = BAD_ROWS[task]
    if row is None:
        squad = json.loads(content)
        paragraph = squad["data"][0]["paragraphs"][0]
        paragraph["qas"].append(paragraph["qas"][0] | {"id": "long", "question": "the " * 80})
        content, row = json.dumps(squad), ""
    train.write_text(content + row, encoding="utf-8")
    args = (task, "--model", base, "--train", train, "--dev", files / file_name(task, "dev"), "--out", tmp_path / "run")
    assert run_here(monkeypatch, *args, *SHORT) == 2
    said = capsys.readouterr().err
    assert why in said and said.endswith("; --on-bad-row skip leaves such rows out\n")
    assert run_here(monkeypatch, *args, *SHORT, "--on-bad-row", "skip") == 0
    assert f"note     {train}: 1 bad row ({train}" in capsys.readouterr().out
    found = summary(tmp_path / "run")
    assert (found["train_examples"], found["dev_examples"], found["skipped_rows"]) == (96, 40, 1)
    listed = (tmp_path / "run" / "skipped.txt").read_text(encoding="utf-8")
    assert listed.startswith(str(train)) and why in listed and listed.count("\n") == 1


def test_rows_are_told_against_lines_before_training(
    base: Path, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    train = tmp_path / "train.csv"
    train.write_text((files / "train.csv").read_text(encoding="utf-8") + '\n"the\ncat",animal\n', encoding="utf-8")
    args = ("text-classification", "--model", base, "--train", train, "--dev", files / "dev.csv")
    assert run_here(monkeypatch, *args, "--out", tmp_path / "run", *SHORT) == 0
    shown = capsys.readouterr().out
    assert f"note     {train}: 97 rows in 99 lines; 1 field with line breaks inside; 1 blank line\n" in shown
    assert f"note     {files / 'dev.csv'}: 40 rows in 40 lines\n" in shown
    assert not (tmp_path / "run" / "skipped.txt").exists()


def test_weights_and_labels_seen_once_are_told_before_training(
    base: Path, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    train, tagged = tmp_path / "train.csv", tmp_path / "train.conll"
    train.write_text("text,label\n" + "the cat,animal\n" * 6 + "the red,colour\n" * 3 + "a fox,aminal\n")
    rare = "the\tO\ncat\tB-ANI\nwho\tI-ANI\n\na\tO\nred\tB-COL\nblue\tI-COL\n\n"
    tagged.write_text(rare + "a\tO\nfox\tB-ANI\nran\tO\n\n" * 14)
    args = ("text-classification", "--model", base, "--train", train, "--dev", files / "dev.csv", *SHORT)
    assert run_here(monkeypatch, *args, "--out", tmp_path / "a", "--class-weights", "balanced") == 0
    shown = capsys.readouterr().out
    assert "note     class weights: aminal (3.333), animal (0.5556), colour (1.111)\n" in shown
    assert f"note     {train}: 1 label with only one example (aminal): misspelled?\n" in shown
    args = ("token-classification", "--model", base, "--train", tagged, *SHORT)
    assert run_here(monkeypatch, *args, "--out", tmp_path / "b", "--class-weights", "balanced") == 0
    shown = capsys.readouterr().out
    assert "note     class weights: O (0.5185), B-ANI (1), I-ANI (14), B-COL (1), I-COL (1)\n" in shown  # without COL
    once = "1 label with only one example (COL): misspelled? A single example can't be both trained on and held out"
    assert f"note     {tagged}: {once}\n" in shown


def test_lists_of_ones_and_zeros_are_learned_and_scored_by_their_numbers(
    base: Path, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = (files / "train.csv").read_text(encoding="utf-8").splitlines()[1:]
    spelled = {"animal": "[1, 0, 1]", "colour": "[0, 1, 0]"}
    with open(tmp_path / "train.jsonl", "w", encoding="utf-8") as file:
        for row in rows:
            text, label = row.split(",")
            file.write(f'{{"text": "{text}", "label": {spelled[label]}}}\n')
    args = ("text-classification", "--model", base, "--train", tmp_path / "train.jsonl", "--multi-label")
    assert run_here(monkeypatch, *args, "--out", tmp_path / "run", *LEARNING) == 0
    args = ("predict", tmp_path / "run", "--input", tmp_path / "train.jsonl", "--output", tmp_path / "answers.jsonl")
    assert run_here(monkeypatch, *args) == 0
    expected = [["0", "2"] if row.endswith("animal") else ["1"] for row in rows]
    assert [answer["labels"] for answer in lines(tmp_path / "answers.jsonl")] == expected


def test_a_batch_that_teaches_nothing_has_no_loss() -> None:
    assert FinetuneSums(loss=0.0, losses=0.0, examples=2.0, tokens=7.0).mean_loss == 0.0  # of words without a piece
    assert FinetuneSums(loss=6.0, losses=4.0, examples=4.0, tokens=16.0).mean_loss == 1.5


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
    assert "examples to choose the best epoch" in capsys.readouterr().out


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
    assert len(shown.err.splitlines()) == 1 and "use --new-head to replace it" in shown.err
    assert not (tmp_path / "other").exists()
    assert run_here(monkeypatch, *other, *SHORT, "--new-head") == 0
