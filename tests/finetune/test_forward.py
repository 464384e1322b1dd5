"""How much a model is asked at once, and for what."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from finetune.data.data_options import ChoiceDataOptions, TextDataOptions
from finetune.data.examples import ChoiceExample, TextExample
from finetune.forward import Runtime, by_length, outputs_of, with_states
from finetune.tasks.multiple_choice import MultipleChoice
from finetune.tasks.task import Feature, Task
from finetune.tasks.text_classification import TextClassification
from minibert.fast import accelerate, encoder
from minibert.heads import TaskModel
from minibert.tokenizer import Tokenizer
from minibert.tokenizer.batch import Encoding
from minibert.training.device import Precision
from minibert.training.processes import Processes
from tests.helpers import TINY, tiny_model


def feature(number: int, *lengths: int) -> Feature:
    return Feature(number, tuple(Encoding(np.zeros(length, np.int32), length) for length in lengths), None)


@pytest.mark.parametrize(
    ("features", "expected"),
    [
        ([], []),
        ([feature(0, 3), feature(1, 9), feature(2, 3)], [[1, 0, 2]]),
        ([feature(i, *[5] * 30) for i in range(5)], [[0, 1, 2], [3, 4]]),  # those that begin below 64, and so on
        ([feature(0, *[5] * 500), feature(1, 6)], [[1, 0]]),
        ([feature(0, *[5] * 500), feature(1, 4)], [[0], [1]]),
        ([feature(i, 4096) for i in range(10)], [[*range(8)], [8, 9]]),  # eight times 512 tokens: an eighth of 64
    ],
)
def test_features_come_longest_first_and_some_sequences_at_once(
    features: Sequence[Feature], expected: list[list[int]]
) -> None:
    assert [numbers.tolist() for numbers in by_length(features)] == expected


def model_for(architecture: str, tokenizer: Tokenizer) -> TaskModel:
    model = tiny_model(architecture, TINY.replace(vocab_size=tokenizer.vocab_size)).double()
    assert isinstance(model, TaskModel)
    return model


def task_of(architecture: str, tokenizer: Tokenizer) -> tuple[Task, list[Feature]]:
    texts = ("the cat", "he ran home", "the dogs sat on the mat")
    if architecture == "BertForMultipleChoice":
        choices = MultipleChoice(ChoiceDataOptions().fitted(TINY.max_position_embeddings), tokenizer)
        return choices, choices.features([ChoiceExample("he", texts, 1, "x.jsonl:1")])
    task = TextClassification(TextDataOptions().fitted(TINY.max_position_embeddings), tokenizer, ("no", "yes"))
    return task, task.features([TextExample(text, None, "yes", "x.tsv:1") for text in texts])


@pytest.mark.parametrize("architecture", ["BertForSequenceClassification", "BertForMultipleChoice"])
def test_of_the_last_block_the_first_token_alone_is_computed(
    architecture: str, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    (task, features), model = task_of(architecture, tokenizer), accelerate(model_for(architecture, tokenizer))
    runtime = Runtime(torch.device("cpu"), Precision(torch.float64, "asked for", "cpu"), Processes())
    rows: list[int] = []
    block_at = encoder.block_at

    def counted(*given: Any) -> torch.Tensor:
        rows.append(len(found := block_at(*given)))
        return found

    monkeypatch.setattr(encoder, "block_at", counted)
    answers = outputs_of(model, task, features, runtime)
    known = outputs_of(model, task, with_states(model, task, features, runtime), runtime)
    assert rows[1::2] == [3, 3]  # a sequence each; where its state is known, nothing is computed
    whole = outputs_of(model_for(architecture, tokenizer), task, features, runtime)
    for found in (answers, known):
        np.testing.assert_allclose(np.stack(found), np.stack(whole), rtol=0, atol=1e-6)
