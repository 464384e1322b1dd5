"""A fine-tuned directory through `to-hf`: transformers gives the same answers, and the way back loses nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

import minibert
from finetune.batches import make_batch
from finetune.readings import from_trained_on
from finetune.tasks import TASKS as KINDS
from minibert.heads import head_fields
from tests.finetune.running import TASKS, file_name, lines, run_here, write_task
from tests.finetune.test_train import arguments
from weights_convert.convert import from_hf, to_hf


@pytest.fixture(scope="module")
def runs(base: Path, files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of each task, ours and exported."""
    directory = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        for task in TASKS:
            args = (*arguments(task, base, files, directory / task), "--epochs", 4, "--learning-rate", "5e-3")
            assert run_here(patch, *args, "--dtype", "float32") == 0
            to_hf(directory / task, directory / f"{task}-hf")
    return directory


@pytest.mark.parametrize("task", TASKS)
def test_the_same_logits_on_200_inputs(task: str, runs: Path, tmp_path: Path) -> None:
    model, tokenizer = minibert.load(runs / task)
    kind, path = KINDS[task], write_task(task, tmp_path / file_name(task, "more"), 200, seed=9)
    said = head_fields(model)["trained_on"]
    ours = kind(from_trained_on(task, said), tokenizer, tuple(getattr(model, "labels", ())))
    features = ours.features(list(kind.read(ours.reading, str(path))))
    auto = getattr(transformers, "AutoModelFor" + kind.model_class.__name__.removeprefix("BertFor"))
    reference = auto.from_pretrained(runs / f"{task}-hf").eval()

    class Reference(torch.nn.Module):
        """The reference's model, called as ours is."""

        def forward(self, input_ids: torch.Tensor, *, token_type_ids: Any, attention_mask: Any) -> Any:
            found = reference(input_ids, token_type_ids=token_type_ids, attention_mask=attention_mask)
            if task == "question-answering":
                return type(model(input_ids))(start=found.start_logits, end=found.end_logits)
            return found.logits

    assert len(features) >= 200
    for start in range(0, len(features), 16):
        batch = make_batch(features[start : start + 16], ours, labelled=False)
        with torch.no_grad():
            found, expected = ours.ask(model, batch), ours.ask(Reference(), batch)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
        if task == "question-answering":  # the same decoded answers
            decoded = [
                [spans[0][:2] for _, spans in ours.outputs(logits, batch.features)] for logits in (found, expected)
            ]
            assert decoded[0] == decoded[1]


def predicted(task: str, runs: Path, data: Path, tmp_path: Path) -> list[dict[str, Any]]:
    with pytest.MonkeyPatch.context() as patch:
        args = ("predict", runs / task, "--input", data, "--output", tmp_path / "answers.jsonl", "--dtype", "float32")
        assert run_here(patch, *args) == 0
    return lines(tmp_path / "answers.jsonl")


def test_the_text_pipeline_gives_the_same_labels_and_scores(runs: Path, tmp_path: Path) -> None:
    data = write_task("text-classification", tmp_path / "x.csv", 200, seed=9)
    pipeline = transformers.pipeline("text-classification", str(runs / "text-classification-hf"))
    for ours in predicted("text-classification", runs, data, tmp_path):
        (theirs,) = pipeline(ours["text"])
        assert theirs["label"] == ours["label"]
        assert theirs["score"] == pytest.approx(ours["probabilities"][ours["label"]], abs=1e-5)


def test_the_token_pipeline_gives_the_same_tags(runs: Path, tmp_path: Path) -> None:
    data = write_task("token-classification", tmp_path / "x.conll", 200, seed=9)
    pipeline = transformers.pipeline("token-classification", str(runs / "token-classification-hf"), ignore_labels=[])
    for ours in predicted("token-classification", runs, data, tmp_path):
        theirs = {piece["start"]: piece["entity"] for piece in pipeline(ours["text"])}
        starts = np.cumsum([0, *(len(word) + 1 for word in ours["words"])])[:-1]
        assert [theirs[start] for start in starts.tolist()] == ours["tags"]


@pytest.mark.parametrize("task", TASKS)
def test_the_way_back_keeps_what_it_was_trained_on(task: str, runs: Path, tmp_path: Path) -> None:
    from_hf(runs / f"{task}-hf", tmp_path / "back")
    ours, back = (minibert.load(path)[0] for path in (runs / task, tmp_path / "back"))
    assert head_fields(back) == head_fields(ours)
