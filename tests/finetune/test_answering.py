"""How much a model is asked at once, and for what."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from finetune.answering import by_length, caller
from finetune.batches import make_batch
from finetune.examples import TextExample
from finetune.readings import TextReading
from finetune.task import Feature, Tokens
from finetune.text_classification import TextClassification
from minibert.tokenizer import Tokenizer
from minibert.training.device import Precision
from tests.helpers import TINY, tiny_model


def feature(number: int, *lengths: int) -> Feature:
    return Feature(number, tuple(Tokens(np.zeros(length, np.int32), length) for length in lengths), None)


@pytest.mark.parametrize(
    ("features", "expected"),
    [
        ([], []),
        ([feature(0, 3), feature(1, 9), feature(2, 3)], [[1, 0, 2]]),
        ([feature(i, *[5] * 30) for i in range(5)], [[0, 1, 2], [3, 4]]),  # those that begin below 64, and so on
        ([feature(0, *[5] * 500), feature(1, 6)], [[1, 0]]),
        ([feature(0, *[5] * 500), feature(1, 4)], [[0], [1]]),
    ],
)
def test_features_come_longest_first_and_some_sequences_at_once(
    features: Sequence[Feature], expected: list[list[int]]
) -> None:
    assert [numbers.tolist() for numbers in by_length(features)] == expected


def test_a_head_that_looks_at_the_first_token_is_given_its_state_alone(tokenizer: Tokenizer) -> None:
    task = TextClassification(TextReading().fitted(TINY.max_position_embeddings), tokenizer, ("no", "yes"))
    model = tiny_model("BertForSequenceClassification", TINY.replace(vocab_size=tokenizer.vocab_size)).double()
    examples = [
        TextExample(text, None, "yes", 1, "x.tsv:1") for text in ("the cat", "he ran home", "the dogs sat on the mat")
    ]
    batch = make_batch(task.features(examples), task, labelled=True)
    precision = Precision(torch.float64, "asked for", "cpu")
    sizes: list[tuple[int, ...]] = []
    model.pooler.register_forward_pre_hook(lambda _module, args: sizes.append(tuple(args[0].shape)))
    answers = [
        task.ask(caller(model, precision, first_token_only=first_token_only, states_known=False), batch)
        for first_token_only in (True, False)
    ]
    assert sizes == [(3, 1, 24), (3, batch.input_ids.size(1), 24)]
    torch.testing.assert_close(answers[0], answers[1], rtol=0, atol=1e-12)
