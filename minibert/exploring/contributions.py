"""What each answer's score is the sum of: every head, feed-forward sublayer, embedding and bias, and a remainder."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from torch import Tensor

from minibert.contributions import parts_of_score, parts_of_state
from minibert.exploring.predictions import Question, ask
from minibert.heads import Model
from minibert.tracing import states_between


def contributions(
    model: Model, traced: Mapping[str, Tensor], questions: Sequence[Question], chosen: Sequence[int]
) -> dict[str, Any]:
    """Return the parts of the score, before softmax, of each question's chosen answer (`minibert.contributions`).

    traced: of a batch of one; chosen: for each question, the index of that answer.

    Returns names: of P parts; positions: [Q], of the token whose last state the score is computed from; values: (Q, P),
    what each part adds; scores, remainders: (Q,). A score is the sum of its values and its remainder.
    """
    names: list[str] = []
    positions, values, scores, remainders = [], [], [], []
    last = traced[states_between(model.config.num_hidden_layers)[-1]]  # (1, T, H)
    for question, place in zip(questions, chosen, strict=True):
        position = token_of(question, place)
        score = partial(score_with, model, last, question, place, position)
        found, remainder = parts_of_score(parts_of_state(model, traced, position), score)
        names = list(found)
        positions.append(position)
        values.append(list(found.values()))
        scores.append(sum(found.values()) + remainder)
        remainders.append(remainder)
    return {
        "names": names,
        "positions": positions,
        "values": np.array(values, np.float32),
        "scores": np.array(scores, np.float32),
        "remainders": np.array(remainders, np.float32),
    }


def score_with(model: Model, last: Tensor, question: Question, place: int, position: int, state: Tensor) -> Tensor:
    """Return the score of an answer if one token's last state, (H,), were another; last: (1, T, H)"""
    hidden = last.clone()
    hidden[0, position] = state
    return ask(model, hidden, question)[0, place]


def token_of(question: Question, place: int) -> int:
    """Return the token whose last state a head computes the score of an answer from: [CLS] if it asks about a text."""
    if question.head == "heads.BertForQuestionAnswering.head":  # the answers are tokens
        return place
    return question.position or 0
