"""Where is a difference between two texts decided? Activation patching: each state of one text put into the other.

    original = tokenizer("The capital of France is [MASK].")
    changed = tokenizer("The capital of Norway is [MASK].")
    found = patching_map(model, original, changed, score)
    found.states[3, 4]      # 1: with token 4's state after block 2 from the original, its score is restored; 0: nothing

Meng et al. 2022, "Locating and Editing Factual Associations in GPT" (arXiv 2202.05262), section 2.1, in which states of
the original text are restored one by one while the model reads the changed one.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from minibert.errors import InputError
from minibert.heads import Model
from minibert.intervening import Change, changing, states_of_copies
from minibert.tokenizer import Batch
from minibert.tracing import states_between, trace


@dataclass(frozen=True)
class PatchingMap:
    """How much of the difference between two scores each patch restores: 0 nothing, 1 all, below 0 the contrary."""

    original: float  # the score of the original text
    changed: float  # that of the changed text
    states: NDArray[np.float64]  # (L + 1, T): one token's state, after the embeddings and after each block
    heads: NDArray[np.float64]  # (L, N): one head's context, at all tokens


@torch.no_grad()
def patching_map(
    model: Model, original: Batch, changed: Batch, score: Callable[[Tensor], Tensor], *, progress: bool = False
) -> PatchingMap:
    """Run the model on the changed text again and again, each time with one state or head taken from the original.

    original, changed: batches of one text, with as many tokens; score: the last block's output, (B, T, H) -> (B,), such
    as a logit, or the difference of two; progress: show a bar on standard error if that is a terminal.

    Raises InputError if the model is in training mode, the numbers of tokens differ, or the two scores are the same, so
    that there is nothing to restore.
    """
    encoder, config = model.encoder, model.config
    sizes = [tuple(batch.input_ids.shape) for batch in (original, changed)]
    if sizes[0] != sizes[1] or sizes[0][0] != 1:
        raise InputError(
            f"expected two batches of one text, with as many tokens in both, not {sizes[0]} and {sizes[1]}"
        )
    record, tokens, layers = trace(encoder, original), sizes[0][1], config.num_hidden_layers
    names = states_between(layers)
    best, worst = (score(states_of_copies(encoder, batch, 1)).item() for batch in (original, changed))
    if best == worst:
        raise InputError(f"both texts have the score {best:g}: there is nothing to restore")

    def restored(name: str, rows: int) -> NDArray[np.float64]:
        with changing(encoder, {name: own_in_each_row(record[name])}):
            scores = score(states_of_copies(encoder, changed, rows))  # (rows,)
        bar.update(rows)
        return (scores.double().cpu().numpy() - worst) / (best - worst)

    total = len(names) * tokens + layers * config.num_attention_heads
    with tqdm(desc="patching", total=total, unit="", disable=None if progress else True) as bar:
        states = np.stack([restored(name, tokens) for name in names])
        contexts = [f"{name}.attention.context" for name in names[1:]]
        heads = np.stack([restored(name, config.num_attention_heads) for name in contexts])
    return PatchingMap(best, worst, states, heads)


def own_in_each_row(other: Tensor) -> Change:
    """Return the change that takes, in row n, token n (or head n) from another tensor: (1, T, H) or (1, N, T, D)."""

    def change(value: Tensor) -> Tensor:
        own = torch.eye(len(value), dtype=torch.bool, device=value.device)  # (T, T) or (N, N)
        return torch.where(own[(..., *[None] * (value.ndim - 2))], other, value)

    return change
