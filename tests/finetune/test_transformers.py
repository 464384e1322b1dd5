"""A fine-tuned directory through `to-hf`: transformers gives the same answers, and the way back loses nothing.

Once with a tiny model on little files, and once, slowly, with MiniLM's weights on the public data sets.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

import minibert
from benchmarks.data import write_files
from benchmarks.tasks import BENCHMARK_TASKS as PUBLIC
from finetune.data.data_options import from_trained_on
from finetune.data.reading import read_examples
from finetune.forward import logits_of
from finetune.tasks.batches import make_batch
from finetune.tasks.registry import TASKS as KINDS
from finetune.tasks.task import TaskBatch
from minibert.architectures import head_fields
from minibert.files.tally import Tally
from minibert.heads import SpanLogits
from minibert.training.device import Precision
from tests.finetune.files import DATA, needs_data
from tests.finetune.running import TASKS, arguments, file_name, lines, run_here, write_task
from tests.finetune.test_train import LEARNING
from tests.weights_convert.reference_models import real_directory
from weights_convert.convert import from_hf, to_hf

INPUTS = 200

# Task -> a public data set, how many of its examples are learned, and how: enough for answers to differ. Where that
# would take thousands of examples to train all weights, only the head is trained.
PUBLIC_SETS = {
    "text-classification": ("cola", 2000, "--learning-rate 3e-2 --freeze-encoder"),
    "token-classification": ("wnut17", 1200, "--learning-rate 1e-2 --freeze-encoder"),
    "question-answering": ("squad", 160, "--learning-rate 3e-4"),
    "multiple-choice": ("choices", 160, "--learning-rate 1e-4"),
}


@dataclass(frozen=True)
class FineTuned:
    """A run, what `to-hf` made of it, and inputs that it has not seen."""

    run: Path
    exported: Path
    inputs: Path
    tolerances: dict[torch.dtype, float]  # of the logits, in each number format that is tried


@pytest.fixture(scope="module", params=["little", pytest.param("public", marks=[pytest.mark.slow, needs_data])])
def fine_tuned(
    request: pytest.FixtureRequest, base: Path, files: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], FineTuned]:
    """Task -> the model of it, made when first asked for."""
    directory = tmp_path_factory.mktemp(request.param)
    if request.param == "little":
        return functools.cache(lambda task: on_little_files(task, directory, base, files))
    return functools.cache(lambda task: on_public_data(task, directory))


def on_little_files(task: str, directory: Path, base: Path, files: Path) -> FineTuned:
    tolerances = {torch.float32: 1e-5, torch.float64: 1e-10}
    made = FineTuned(
        directory / "run" / task, directory / "exported" / task, directory / file_name(task, "inputs"), tolerances
    )
    train(made, *arguments(task, base, files, made.run), *LEARNING)
    write_task(task, made.inputs, INPUTS, seed=9)
    return made


def on_public_data(task: str, directory: Path) -> FineTuned:
    name, examples, learning = PUBLIC_SETS[task]
    model, data = directory / "minilm", directory / name
    if not model.exists():
        from_hf(real_directory(), model)
    data.mkdir()
    learned, inputs = write_files(
        name, DATA / {"choices": "squad"}.get(name, name), data, train_limit=examples, dev_limit=INPUTS
    )
    data_options = tuple(PUBLIC[name].data_options.split())
    # MiniLM's hidden states are as large as 10, and float32 rounds accordingly.
    tolerances = {torch.float32: 5e-5}
    made = FineTuned(directory / "run" / task, directory / "exported" / task, inputs, tolerances)
    length = min(PUBLIC[name].max_length, 192)  # most passages fit, the others have several windows
    files = ("--model", model, "--train", learned, "--dev", inputs, "--out", made.run, "--max-length", length)
    train(made, task, *files, *data_options, *learning.split(), "--epochs", 1, "--batch-size", 16)
    return made


def train(made: FineTuned, *args: object) -> None:
    with pytest.MonkeyPatch.context() as patch:
        assert run_here(patch, *args) == 0
    made.exported.parent.mkdir(exist_ok=True)
    to_hf(made.run, made.exported)


@pytest.mark.parametrize("task", TASKS)
def test_the_same_logits_and_decoded_answers_on_200_inputs(task: str, fine_tuned: Callable[[str], FineTuned]) -> None:
    made = fine_tuned(task)
    for dtype, tolerance in made.tolerances.items():
        assert_same_answers(made, task, dtype=dtype, tolerance=tolerance)


def assert_same_answers(made: FineTuned, task: str, *, dtype: torch.dtype, tolerance: float) -> None:
    kind = KINDS[task]
    model, tokenizer = minibert.load(made.run)
    model.to(dtype)
    said = head_fields(model)["trained_on"]
    ours = kind(from_trained_on(task, said), tokenizer, tuple(getattr(model, "labels", ())))
    features = ours.features(list(read_examples(str(made.inputs), ours.data_options, Tally())))
    auto = getattr(transformers, "AutoModelFor" + kind.model_class.__name__.removeprefix("BertFor"))
    reference = auto.from_pretrained(made.exported).to(dtype).eval()

    def referred(batch: TaskBatch) -> Any:
        """The reference's answer, as ours has it."""
        inputs = [batch.input_ids, batch.attention_mask, batch.token_type_ids]
        if task == "multiple-choice":
            return reference(*(None if tensor is None else tensor[None] for tensor in inputs)).logits[0]
        found = reference(*inputs)
        if task == "question-answering":
            return SpanLogits(start=found.start_logits, end=found.end_logits)
        return found.logits

    precision = Precision(dtype, "asked for", "cpu")
    assert len(features) >= INPUTS
    for start in range(0, len(features), 16):
        batch = make_batch(features[start : start + 16], ours, labelled=False)
        with torch.no_grad():
            found, expected = logits_of(model, batch, precision), referred(batch)
        torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)
        told, asked = (ours.outputs(logits, batch.features) for logits in (found, expected))
        if task == "question-answering":
            assert [spans[0][:2] for _, spans in told] == [spans[0][:2] for _, spans in asked]
        if task == "multiple-choice":
            assert [scores.argmax() for scores in told] == [scores.argmax() for scores in asked]


def predicted(made: FineTuned, tmp_path: Path) -> list[dict[str, Any]]:
    with pytest.MonkeyPatch.context() as patch:
        args = ("predict", made.run, "--input", made.inputs, "--output", tmp_path / "answers.jsonl")
        assert run_here(patch, *args, "--dtype", "float32") == 0
    return lines(tmp_path / "answers.jsonl")


def test_the_text_pipeline_gives_the_same_labels_and_scores(
    fine_tuned: Callable[[str], FineTuned], tmp_path: Path
) -> None:
    made = fine_tuned("text-classification")
    pipeline = transformers.pipeline("text-classification", str(made.exported))
    answers = predicted(made, tmp_path)
    assert len(answers) == INPUTS
    assert len({answer["label"] for answer in answers}) == 2
    for ours in answers:
        (theirs,) = pipeline(ours["text"])
        assert theirs["label"] == ours["label"]
        assert theirs["score"] == pytest.approx(ours["probabilities"][ours["label"]], abs=1e-5)


def test_the_token_pipeline_gives_the_same_tags(fine_tuned: Callable[[str], FineTuned], tmp_path: Path) -> None:
    made = fine_tuned("token-classification")
    pipeline = transformers.pipeline("token-classification", str(made.exported), ignore_labels=[])
    answers = predicted(made, tmp_path)
    assert len(answers) == INPUTS
    assert len({tag for answer in answers for tag in answer["tags"]}) > 2
    for ours in answers:
        theirs = {piece["start"]: piece["entity"] for piece in reversed(pipeline(ours["text"]))}
        end = -1
        for word, tag in zip(ours["words"], ours["tags"], strict=True):
            start, end = end + 1, end + 1 + len(word)
            first = next((place for place in range(start, end) if place in theirs), None)
            assert tag == ("O" if first is None else theirs[first])


@pytest.mark.parametrize("task", TASKS)
def test_the_way_back_keeps_what_it_was_trained_on(
    task: str, fine_tuned: Callable[[str], FineTuned], tmp_path: Path
) -> None:
    made = fine_tuned(task)
    from_hf(made.exported, tmp_path / "back")
    ours, back = (minibert.load(path)[0] for path in (made.run, tmp_path / "back"))
    assert head_fields(back) == head_fields(ours)
