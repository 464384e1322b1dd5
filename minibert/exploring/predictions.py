"""What a model's heads answer: the tokens at each [MASK], whether B follows A, and the answer of a task's head.

Every head is asked in the same way, by passing it hidden states. They can also be those of an earlier block
(nostalgebraist 2020 calls that the logit lens), those without one head of attention, or those that need gradients.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from minibert.heads import (
    BertForMaskedLM,
    BertForMultipleChoice,
    BertForNextSentencePrediction,
    BertForPreTraining,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
    Model,
)
from minibert.tokenizer import Batch, Tokenizer

MOST_ANSWERS = 10  # shown for each question
MOST_EARLIER_ANSWERS = 5  # shown for each question at each block

# What the next-sentence head says if B does not follow A, by the objective it was trained on.
OTHERWISE = {"nsp": "B is from elsewhere", "sop": "A follows B"}

# softmax: exactly one answer is right; sigmoid: any number of them; number: the scores are the answer
Scale = Literal["softmax", "sigmoid", "number"]


@dataclass(frozen=True)
class Question:
    """A question that a head is asked about a text, and its possible answers."""

    name: str  # "[MASK] at 6", "next sentence"
    head: str  # the code that answers
    scale: Scale
    answers: Sequence[str]  # C, one per score
    position: int | None = None  # the token asked about; None for the whole text


def questions_about(model: Model, tokenizer: Tokenizer, batch: Batch) -> list[Question]:
    """Return every question that the heads of `model` can be asked about a text or pair; none for a bare encoder."""
    ids = batch.input_ids[0].tolist()
    pieces = [tokenizer.shown(token) for token in ids]
    found: list[Question] = []
    if isinstance(model, BertForPreTraining | BertForMaskedLM):
        vocabulary = [tokenizer.shown(token) for token in range(tokenizer.vocab_size)]
        masks = [position for position, token in enumerate(ids) if token == tokenizer.mask_id]
        mask = tokenizer.special_tokens.mask
        found += [Question(f"{mask} at {at}", "heads.MaskedLMHead", "softmax", vocabulary, at) for at in masks]
    if isinstance(model, BertForPreTraining | BertForNextSentencePrediction) and (batch.sequence_ids == 1).any():
        answers = ("B follows A", OTHERWISE[getattr(model, "pair_objective", "nsp")])
        found.append(Question("next sentence", "heads.NextSentenceHead", "softmax", answers))
    if isinstance(model, BertForSequenceClassification):
        scales: dict[str, Scale] = {"multi_label_classification": "sigmoid", "regression": "number"}
        scale = scales.get(model.problem_type, "softmax")
        found.append(Question("label", "heads.BertForSequenceClassification.head", scale, model.labels))
    if isinstance(model, BertForTokenClassification):
        words = [at for at, token in enumerate(ids) if token not in (tokenizer.cls_id, tokenizer.sep_id)]
        code = "heads.BertForTokenClassification.head"
        found += [Question(f"label of {pieces[at]} at {at}", code, "softmax", model.labels, at) for at in words]
    if isinstance(model, BertForQuestionAnswering):
        places = [f"{piece} at {at}" for at, piece in enumerate(pieces)]
        code = "heads.BertForQuestionAnswering.head"
        found += [Question(f"where the answer {end}", code, "softmax", places) for end in ("begins", "ends")]
    if isinstance(model, BertForMultipleChoice):
        found.append(Question("score", "heads.BertForMultipleChoice.head", "number", ("this choice",)))
    return found


def ask(model: Model, hidden: Tensor, question: Question) -> Tensor:
    """Return the scores before softmax, (B, T, H) -> (B, C), without embedding rows that no token uses."""
    if question.head == "heads.MaskedLMHead":
        assert isinstance(model, BertForPreTraining | BertForMaskedLM)
        return model.mlm_head(hidden[:, question.position])[:, : len(question.answers)]
    if question.head == "heads.NextSentenceHead":
        assert isinstance(model, BertForPreTraining | BertForNextSentencePrediction)
        return model.nsp_head(model.pooler(hidden))
    if isinstance(model, BertForTokenClassification):
        return model.head(hidden)[:, question.position]
    if isinstance(model, BertForQuestionAnswering):
        logits = model.head(hidden)
        return logits.start if question.name.endswith("begins") else logits.end
    if isinstance(model, BertForMultipleChoice):
        return model.head(hidden[:, None])
    assert isinstance(model, BertForSequenceClassification)
    return model.head(hidden)


def values(question: Question, scores: Tensor) -> Tensor:
    """Return probabilities in float32, (…, C) -> (…, C); scores stay scores if they are the answer."""
    scores = scores.float()
    if question.scale == "number":
        return scores
    return scores.softmax(-1) if question.scale == "softmax" else scores.sigmoid()


@torch.inference_mode()
def predictions_of(
    model: Model, states: Tensor, questions: Sequence[Question]
) -> tuple[list[dict[str, Any]], list[int]]:
    """Return an entry for each question: the likeliest answers, also as read off every earlier state. And return the
    index of the best answer to each question, which the other panels follow.

    states: (L + 1, T, H), the embeddings and every block's output; the heads are trained on the last.
    """
    entries, followed = [], []
    for question in questions:
        shares = values(question, ask(model, states, question))  # (L + 1, C)
        chosen = 0 if question.scale == "number" else int(shares[-1].topk(1).indices)
        layers = [
            {
                "answers": best_answers(question, row, MOST_EARLIER_ANSWERS),
                "value": row[chosen].item(),
                "rank": 1 + int((row > row[chosen]).sum()),
            }
            for row in shares
        ]
        entries.append(
            {
                "name": question.name,
                "head": question.head,
                "scale": question.scale,
                "position": question.position,
                "answers": best_answers(question, shares[-1], MOST_ANSWERS),
                "layers": layers,
            }
        )
        followed.append(chosen)
    return entries, followed


def best_answers(question: Question, shares: Tensor, most: int) -> list[dict[str, Any]]:
    """Return the answers with the largest values of (C,), the largest first; if the scores are the answer, all."""
    if question.scale == "number":
        return [{"answer": a, "value": v} for a, v in zip(question.answers, shares.tolist(), strict=True)]
    best = shares.topk(min(most, len(shares)))
    return [
        {"answer": question.answers[place], "value": value}
        for place, value in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]
