"""What the page says that scores are made of: the numbers of `minibert.contributions`, for every kind of question."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from minibert.contributions import parts_of_state
from minibert.exploring.contributions import contributions
from minibert.exploring.predictions import ask, questions_about
from minibert.exploring.record import traced_text
from minibert.tokenizer import Tokenizer
from tests.minibert.exploring.conftest import A, B, random_model

# The answers that are followed, and the tokens that their scores are computed from.
CASES = {
    "BertForPreTraining": ([5, 6, 1], [3, 9, 0]),  # two [MASK], and [CLS] for the next sentence
    "BertForSequenceClassification": ([2], [0]),
    "BertForQuestionAnswering": ([5, 6], [5, 6]),  # the answers are tokens
    "BertForMultipleChoice": ([0], [0]),
}


@pytest.mark.parametrize("architecture", CASES)
def test_values_and_remainder_sum_to_the_heads_score(architecture: str, tokenizer: Tokenizer) -> None:
    model = random_model(architecture).double()
    batch, traced = traced_text(model, tokenizer, A, B, 128)
    questions, (chosen, positions) = questions_about(model, tokenizer, batch), CASES[architecture]
    found = contributions(model, traced, questions, chosen)
    asked = [ask(model, traced["blocks.1"], question)[0] for question in questions]
    exact = [scores[place].item() for scores, place in zip(asked, chosen, strict=True)]
    assert_allclose(found["scores"], exact, rtol=0, atol=1e-5)
    assert_allclose(found["values"].sum(-1) + found["remainders"], exact, rtol=0, atol=1e-5)
    assert found["positions"] == positions
    assert found["names"] == list(parts_of_state(model, traced, 0))
    assert np.abs(found["values"]).max() > 0.01
