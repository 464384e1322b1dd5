"""What if a head or block were missing? Each is switched off in turn, and the model is asked again.

A head is switched off by setting its context to zero, so that it adds nothing to its sublayer's output (Michel et al.
2019, "Are Sixteen Heads Really Better than One?", arXiv 1905.10650, section 2.3); a block by passing on its input. The
model is watched from outside while it runs; nothing stays on its modules.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from minibert.exploring.predictions import Question, ask, best_answers, values
from minibert.heads import Model
from minibert.intervening import changing, patched, states_of_copies
from minibert.model import Bert
from minibert.tokenizer import Batch
from minibert.windowed import GLOBAL

MOST_ANSWERS = 3  # for each question, with each head or block switched off


def without_own_head(context: Tensor) -> Tensor:
    """Switch off head n in row n: (N, N, T, D), rows first, then heads"""
    off = torch.eye(len(context), dtype=torch.bool, device=context.device)
    return context.masked_fill(off[:, :, None, None], 0.0)


def states_without(encoder: Bert, batch: Batch, layer: int, given: Tensor) -> Tensor:
    """Return the last block's output, (N + 1, T, H): in row n without head n, in the last without the layer.

    given: (T, H), the layer's input.
    """
    parts = ("context", "global_context") if (batch.attention_mask == GLOBAL).any() else ("context",)
    with changing(encoder, {f"blocks.{layer}.attention.{part}": without_own_head for part in parts}):
        without_heads = states_of_copies(encoder, batch, encoder.config.num_attention_heads)
    with changing(encoder, {f"blocks.{layer}": patched(given)}):
        without_block = states_of_copies(encoder, batch, 1)
    return torch.cat([without_heads, without_block])


@torch.inference_mode()
def what_if(
    model: Model, batch: Batch, states: Tensor, questions: Sequence[Question], chosen: Sequence[int], *, progress: bool
) -> dict[str, Any]:
    """Ask every question again with each head, and each block, switched off.

    states: (L + 1, T, H), with everything on: the embeddings, then each block's output; chosen: for each question, the
    answer to follow.

    Returns moved: (L, N + 1), the distance of the last block's output from the one with everything on, divided by the
    norm of that, as a mean over tokens; values: (Q, L, N + 1), of the chosen answer; answers: [Q][L][N + 1], the best
    ones then. In the last column the whole block is off.
    """
    encoder = model.encoder
    layers, columns = encoder.config.num_hidden_layers, encoder.config.num_attention_heads + 1
    moved = np.zeros((layers, columns), np.float32)
    followed = np.zeros((len(questions), layers, columns), np.float32)
    answers: list[list[list[list[dict[str, Any]]]]] = [[] for _ in questions]
    with tqdm(desc="switching heads off", total=layers * columns, unit="", disable=None if progress else True) as bar:
        for layer in range(layers):
            without = states_without(encoder, batch, layer, states[layer])
            away = (without - states[-1]).norm(dim=-1) / states[-1].norm(dim=-1)  # (N + 1, T)
            moved[layer] = away.mean(-1).float().cpu().numpy()
            for number, (question, place) in enumerate(zip(questions, chosen, strict=True)):
                shares = values(question, ask(model, without, question))  # (N + 1, C)
                followed[number, layer] = shares[:, place].cpu().numpy()
                answers[number].append([best_answers(question, row, MOST_ANSWERS) for row in shares])
            bar.update(columns)
    return {"moved": moved, "values": followed, "answers": answers}
