"""Questions with different numbers of choices in one batch, each compared among its own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from finetune.data.data_options import ChoiceDataOptions
from finetune.data.examples import ChoiceExample
from finetune.forward import logits_of
from finetune.tasks.batches import make_batch
from finetune.tasks.multiple_choice import MultipleChoice
from minibert.heads import BertForMultipleChoice
from minibert.tokenizer import Tokenizer
from minibert.training.device import Precision
from tests.helpers import TINY, randomize

EXAMPLES = [
    ChoiceExample("the cat sat on", ("the mat", "bread"), 0, "x.jsonl:1"),
    ChoiceExample("he bought", ("milk", "the house", "the dogs ran", "home"), 2, "x.jsonl:2"),
    ChoiceExample("she went", ("home running and the cat", "to the mat", "he"), 1, "x.jsonl:3"),
]


@pytest.fixture
def task(tokenizer: Tokenizer) -> MultipleChoice:
    return MultipleChoice(ChoiceDataOptions().fitted(TINY.max_position_embeddings), tokenizer)


@pytest.fixture
def model(tokenizer: Tokenizer) -> BertForMultipleChoice:
    model = BertForMultipleChoice(TINY.replace(vocab_size=tokenizer.vocab_size)).eval()
    randomize(model, 5)
    return model


def test_a_ragged_batch_answers_and_loses_as_each_question_alone(
    task: MultipleChoice, model: BertForMultipleChoice
) -> None:
    features = task.features(EXAMPLES)
    assert [len(feature.sequences) for feature in features] == [2, 4, 3]
    together = make_batch(features, task, labelled=True)
    assert together.targets is not None and together.input_ids.shape[0] == 9
    with torch.no_grad():
        logits = logits_of(model, together, Precision(torch.float32, "asked for", "cpu"))
        loss, outputs = task.loss_sum(logits, together.targets), task.outputs(logits, features)
        alone_loss = torch.zeros(())
        for feature, found in zip(features, outputs, strict=True):
            batch = make_batch([feature], task, labelled=True)
            mask = None if batch.attention_mask is None else batch.attention_mask[None]
            alone = model(batch.input_ids[None], token_type_ids=batch.token_type_ids[None], attention_mask=mask)
            np.testing.assert_allclose(found, alone[0].numpy(), atol=1e-5)
            alone_loss += F.cross_entropy(alone, torch.tensor([feature.target]))
    torch.testing.assert_close(loss, alone_loss, rtol=1e-5, atol=1e-5)


def test_the_answer_names_the_choice_and_every_probability(task: MultipleChoice) -> None:
    scores = [np.array(row, np.float32) for row in ([2, 1], [0, 0, 3, 0], [1, 0, 0])]
    assert task.metrics(EXAMPLES, scores) == {"accuracy": pytest.approx(2 / 3)}
    answer = task.answer(EXAMPLES[1], scores[1])
    assert (answer["answer"], answer["choice"]) == (2, "the dogs ran")
    assert len(answer["probabilities"]) == 4 and sum(answer["probabilities"]) == pytest.approx(1)
