"""What is likely wrong with a Longformer's attention over windows and global tokens (`minibert.windowed`)."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from minibert.verification.differences import Divergence
from minibert.verification.names import stacked_part
from minibert.verification.runs import Run

# A cause in words, and the value that it would give; None if no value needs to be tested.
Predictions = Iterator[tuple[str, Tensor | None]]


def window_causes(divergence: Divergence, window: int, scores: Tensor) -> Predictions:
    """Yield causes for the probabilities in a window: another window, or something wrong with global tokens.

    scores: (B, N, T, T), before softmax.
    """
    real, is_global = divergence.sample.real[:, None, None], global_keys(divergence)
    near = in_window(divergence, window)
    ours = window_of(divergence.ours, divergence.name)
    windows = {
        f"attention_window is {ours}, but the reference's is {window}": ours,
        "the window is a token wider on each side": window + 2,
        "the window is a token narrower on each side": window - 2,
        "the window is twice as wide: attention_window tokens on each side, not half as many": 2 * window,
    }
    yield "every token attends to all, not only to those in its window", softmax_over(scores, real)
    for cause, other in windows.items():
        if other not in (None, window):
            yield cause, softmax_over(scores, (in_window(divergence, other) | is_global) & real)
    if is_global.any():
        twice = scores + math.log(2) * (near & is_global)
        yield "global tokens in the window are attended to twice", softmax_over(twice, (near | is_global) & real)
        yield "global tokens outside the window are not attended to", softmax_over(scores, near & real)


def softmax_over(scores: Tensor, seen: Tensor, dim: int = -1) -> Tensor:
    """Return softmax of the scores that are seen, 0 for the others."""
    return scores.masked_fill(~seen, torch.finfo(scores.dtype).min).softmax(dim)


def window_of(run: Run, probabilities: str) -> int | None:
    """Return the window of the attention that has these probabilities; None if it is over all tokens."""
    windows = run.config.attention_window
    return None if windows is None or "global_" in probabilities else windows[int(probabilities.split(".")[1])]


def in_window(divergence: Divergence, window: int) -> Tensor:
    """Return which keys are in each token's window, (T, T) bool."""
    places = torch.arange(divergence.sample.real.size(1), device=divergence.sample.real.device)
    return (places[:, None] - places).abs() <= window // 2


def global_keys(divergence: Divergence) -> Tensor:
    """Return which keys are global tokens, (B, 1, 1, T) bool."""
    tokens = divergence.sample.global_tokens
    assert tokens is not None  # a Longformer's
    return tokens[:, None, None]


def other_projections(divergence: Divergence) -> Predictions:
    """Yield causes for a query, key or value: it is made with the projection for the other kind of attention."""
    name, theirs, tokens = divergence.name, divergence.theirs, divergence.sample.global_tokens
    owner, _, last = name.rpartition(".")
    other = last.removeprefix("global_") if last.startswith("global_") else f"global_{last}"
    if stacked_part(name) is None or tokens is None or f"{owner}.{other}" not in theirs.values:
        return
    made = []
    for each in (name, f"{owner}.{other}"):
        weight, bias = theirs.weight_and_bias(each)
        assert weight is not None
        made.append(F.linear(theirs.given[name], weight, bias))
    own, others = made
    yield f"{name} is computed with the projection of {other}", others
    mixed = torch.where(tokens[..., None], others, own)
    yield f"{name} is computed with the projection of {other} at global tokens", mixed


def only_padding_differs(divergence: Divergence) -> bool:
    """Return whether the pooler was given other states only where the first position is padding."""
    is_real = divergence.sample.real[:, 0]
    ours, theirs = (run.given[divergence.name][is_real] for run in (divergence.ours, divergence.theirs))
    return torch.allclose(ours, theirs)
