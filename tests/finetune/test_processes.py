"""Several processes make the steps of one, and come to the same figures."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.finetune.running import TASKS, arguments, file_name, start
from tests.pretrain.running import finished, summary

# No dropout would be drawn alike by other numbers of processes, so there is none; float64 leaves rounding alone.
RUN = ("--epochs", 2, "--batch-size", 16, "--learning-rate", "3e-3", "--dtype", "float64")


@pytest.fixture(scope="module")
def no_dropout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model without dropout."""
    from tests.finetune.running import SHAPE, write_model

    shape = SHAPE.replace(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    return write_model(tmp_path_factory.mktemp("no-dropout") / "model", shape)


@pytest.mark.parametrize(
    ("task", "more"),
    [
        ("text-classification", ("--accumulate", 2, "--class-weights", "weights.json", "--label-smoothing", 0.1)),
        pytest.param("text-classification", ("--epochs", 9, "--early-stop", 1), marks=pytest.mark.slow),
        *(pytest.param(task, (), marks=pytest.mark.slow) for task in TASKS[1:]),
        pytest.param("text-classification", ("--freeze-encoder",), marks=pytest.mark.slow),
        pytest.param("question-answering", ("--lora-rank", 2), marks=pytest.mark.slow),
    ],
)
def test_two_processes_come_to_the_weights_and_figures_of_one(
    task: str, more: tuple[object, ...], no_dropout: Path, files: Path, tmp_path: Path
) -> None:
    (tmp_path / "weights.json").write_text('{"animal": 0.2, "colour": 2}')
    more = tuple(tmp_path / word if word == "weights.json" else word for word in more)
    for processes, name in ((1, "one"), (2, "two")):
        args = (*arguments(task, no_dropout, files, tmp_path / name), "--test", files / file_name(task, "test"))
        out, _ = finished(start(*args, *RUN, *more, processes=processes))
        assert out.count("epoch 1:") == 1  # the first process alone speaks
    one, two = (summary(tmp_path / name) for name in ("one", "two"))
    assert two["processes"] == 2
    for part in ("metrics", "test_metrics"):
        assert two[part] == pytest.approx(one[part], abs=1e-9)
    assert (two["best_epoch"], two["epochs"]) == (one["best_epoch"], one["epochs"])
    ours, theirs = (load_file(tmp_path / name / "model.safetensors") for name in ("two", "one"))
    for name, tensor in theirs.items():
        torch.testing.assert_close(ours[name], tensor, rtol=0, atol=1e-10)


def test_bad_input_is_one_line_in_all(no_dropout: Path, files: Path, tmp_path: Path) -> None:
    args = (*arguments("text-classification", no_dropout, files, tmp_path / "run"), "--label-column", "lable")
    _, err = finished(start(*args, processes=2), 1)
    found = [line for line in err.splitlines() if line.startswith("error:")]
    assert len(found) == 1 and "column 'lable' is missing" in found[0]
    assert not (tmp_path / "run").exists()
