"""Which tokens an answer depends on: gradient × input.

Simonyan et al. 2013 (arXiv 1312.6034) use the gradient, Denil et al. 2014 (1412.6815) its product with the input.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from minibert.exploring.predictions import Question, ask
from minibert.heads import Model
from minibert.intervening import states_of_copies
from minibert.tokenizer import Batch

QUESTIONS_AT_ONCE = 8  # each is a row of a batch, with all that backpropagation keeps for it


def saliency(model: Model, batch: Batch, questions: Sequence[Question], chosen: Sequence[int]) -> NDArray[np.float32]:
    """Return, (Q, T), each token's embedding times the gradient of the score of each question's chosen answer.

    chosen: for each question, the index of that answer.
    The score is the one before softmax; the embedding is only the token's, without position and segment. Summed
    over H, the product says by how much the score would fall, to first order, if the embedding became zero.
    """
    found = np.zeros((len(questions), batch.input_ids.size(1)), np.float32)
    for start in range(0, len(questions), QUESTIONS_AT_ONCE):
        rows = slice(start, start + QUESTIONS_AT_ONCE)
        found[rows] = gradient_times_input(model, batch, questions[rows], chosen[rows]).float().cpu().numpy()
    return found


def gradient_times_input(model: Model, batch: Batch, questions: Sequence[Question], chosen: Sequence[int]) -> Tensor:
    """Return (Q, T) for a few questions: row q of a batch is asked question q, so that one backward pass is enough."""
    rows = len(questions)
    embedded: list[Tensor] = []

    def keep(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        embedded.append(output.detach().requires_grad_())
        return embedded[0]

    handle = model.encoder.embeddings.token.register_forward_hook(keep)
    try:
        with torch.enable_grad():
            hidden = states_of_copies(model.encoder, batch, rows)
            scores = [
                ask(model, hidden[row : row + 1], question)[0, place]
                for row, (question, place) in enumerate(zip(questions, chosen, strict=True))
            ]
            (gradient,) = torch.autograd.grad(torch.stack(scores).sum(), embedded[0])
    finally:
        handle.remove()
    return (gradient * embedded[0]).sum(-1).detach()
