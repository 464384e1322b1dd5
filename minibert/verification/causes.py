"""The likely cause of a difference, found from the first value that differs.

Everything before that value agrees, so its inputs are known and a cause can be tested: it is named if it *predicts* the
differing numbers. LayerNorm with another eps gives certain numbers; so does the reference's input passed through
minibert's weights, if these are, say, the transpose of the reference's. If no cause fits, none is named.
"""

import re
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from minibert.errors import plural
from minibert.model import position_ids
from minibert.verification.differences import Divergence
from minibert.verification.names import stacked_part
from minibert.verification.weight_causes import gradient_cause, how_weights_differ, is_other
from minibert.verification.window_causes import (
    Predictions,
    global_keys,
    in_window,
    only_padding_differs,
    other_projections,
    softmax_over,
    window_causes,
    window_of,
)


def likely_cause(divergence: Divergence) -> str | None:
    """Return the cause in one phrase; None if none fits."""
    name = divergence.name
    if divergence.kind == "gradient":
        return gradient_cause(divergence)
    values = [run.values.get(name) for run in (divergence.ours, divergence.theirs)]
    if any(value is None for value in values):
        return _not_there(divergence)
    if not all(value.isfinite().all() for value in values if value is not None):
        return _not_finite(divergence)
    for pattern, predictions in CAUSES:
        if re.fullmatch(pattern, name):
            return _first_that_fits(divergence, predictions(divergence))
    return None


def _not_there(divergence: Divergence) -> str:
    ours, theirs = (run.config.num_hidden_layers for run in (divergence.ours, divergence.theirs))
    if divergence.name.startswith("blocks.") and ours != theirs:
        return f"minibert has {plural(ours, 'block')}, but the reference has {theirs}"
    lacks = "minibert" if divergence.name not in divergence.ours.values else "the reference"
    if ".global_" in divergence.name:
        return f"{lacks} has no global token"
    return f"{lacks} has no {divergence.name.partition('.')[0]}"


def _not_finite(divergence: Divergence) -> str | None:
    name = divergence.name
    for side, run in (("the reference's", divergence.theirs), ("minibert's", divergence.ours)):
        if not all(each.isfinite().all() for each in run.weight_and_bias(name) if each is not None):
            return f"{side} weights of {name} are not all finite"
    return None


def _first_that_fits(divergence: Divergence, predictions: Predictions) -> str | None:
    """Return the first cause whose value is at least twenty times nearer to minibert's than the reference's is."""
    used_part = partial(divergence.sample.used_part, divergence.name)
    ours, theirs = (used_part(run.values[divergence.name]) for run in (divergence.ours, divergence.theirs))
    for cause, value in predictions:
        if value is None:
            return cause
        if ours.shape != theirs.shape:
            return None
        predicted = used_part(value)
        if predicted.numel() == ours.numel():
            apart = _distance(ours, predicted.reshape(ours.shape))
            if apart <= 0.05 * _distance(ours, theirs):
                return cause
    return None


def _distance(a: Tensor, b: Tensor) -> float:
    return float((a.double() - b.double()).abs().mean())


def _embedding(divergence: Divergence) -> Predictions:
    """Yield causes for one of the three embeddings: the wrong row of the table, or a table that differs."""
    name, wanted = divergence.name, divergence.theirs.config
    table, _ = divergence.theirs.weight_and_bias(name)
    assert table is not None
    ids, segments = divergence.sample.input_ids, divergence.sample.token_type_ids
    places = torch.arange(ids.size(1), device=ids.device).expand_as(ids)
    positions = position_ids(ids, wanted.padding_without_position).expand_as(ids)
    if name == "embeddings.position":
        if (pad := wanted.padding_without_position) is not None:
            yield "positions count padding, from 0, as BERT's do", table[places]
            yield "padding counts as a position", table[(places + pad + 1) % len(table)]
        for shift in (1, -1, 2, -2):
            yield f"positions are off by {shift:+d}", table[(positions + shift) % len(table)]
        yield "positions are counted from the end", table[places.flip(1)]
    elif name == "embeddings.segment":
        yield "segment ids are ignored: everything is segment A", table[torch.zeros_like(segments)]
        yield "segments are swapped: A has the vector of B", table[(1 - segments) % len(table)]
        yield "there are no segment embeddings", torch.zeros_like(table[segments])
    else:
        for shift in (1, -1):
            yield f"token ids are off by {shift:+d}", table[(ids + shift) % len(table)]
        yield "token embeddings are multiplied by the square root of the hidden size", table[ids] * table.size(1) ** 0.5
    our_table, _ = divergence.ours.weight_and_bias(name)
    rows = {"position": positions, "segment": segments, "token": ids}[name.removeprefix("embeddings.")]
    if our_table is not None and is_other(our_table, table) and int(rows.max()) < len(our_table):
        yield how_weights_differ(divergence), our_table[rows]


def _sum(divergence: Divergence) -> Predictions:
    """Yield causes for a sum: something is left out."""
    values = divergence.theirs.values
    if divergence.name == "embeddings.sum":
        for part in ("token", "position", "segment"):
            if (left_out := values.get(f"embeddings.{part}")) is not None:
                yield f"{part} embeddings are left out of the sum", values["embeddings.sum"] - left_out
    else:
        output = values[divergence.name.removesuffix("sum") + "output"]
        yield "the residual connection is missing", output
        yield "the sublayer's output is left out of the sum", values[divergence.name] - output


def _layer_norm(divergence: Divergence) -> Predictions:
    """Yield causes for a LayerNorm: other weights, another eps, or a missing step."""
    given, wanted = divergence.theirs.given[divergence.name], divergence.theirs.config.layer_norm_eps
    weight, bias = divergence.theirs.weight_and_bias(divergence.name)
    our_weight, our_bias = divergence.ours.weight_and_bias(divergence.name)
    if is_other(our_weight, weight) or is_other(our_bias, bias):
        normal = F.layer_norm(given, given.shape[-1:], our_weight, our_bias, wanted)
        yield how_weights_differ(divergence), normal
    for eps in (1e-12, 1e-8, 1e-7, 1e-6, 1e-5, 1e-3, divergence.ours.config.layer_norm_eps):
        normal = F.layer_norm(given, given.shape[-1:], weight, bias, eps)
        yield f"LayerNorm eps is {eps:g}, but the reference's is {wanted:g}", normal
    yield "there is no LayerNorm", given
    assert weight is not None and bias is not None
    rooted = given * torch.rsqrt(given.square().mean(-1, keepdim=True) + wanted)
    yield "LayerNorm does not subtract the mean", rooted * weight + bias


def _probabilities(divergence: Divergence) -> Predictions:
    """Yield causes for attention probabilities: another mask, another scale, or another softmax."""
    place = divergence.name.removesuffix("probabilities")
    query, key = (divergence.theirs.values[place + part] for part in ("query", "key"))
    scores = query @ key.transpose(-2, -1)  # (B, N, T, T)
    scale = query.size(-1) ** -0.5
    hidden_size = query.size(1) * query.size(-1)
    real = divergence.sample.real[:, None, None, :]
    near = torch.ones_like(scores, dtype=torch.bool)  # what would be attended to if there were no padding
    if (window := window_of(divergence.theirs, divergence.name)) is not None:
        yield from window_causes(divergence, window, scores * scale)
        near = in_window(divergence, window) | global_keys(divergence)
    seen = near & real

    yield "the attention mask is ignored: padding is attended to", softmax_over(scores * scale, near)
    yield "the attention mask is inverted: only padding is attended to", softmax_over(scores * scale, near & ~real)
    yield "attention is causal: no token attends to later ones", softmax_over(scores * scale, seen.tril())
    yield "scores are not divided by the square root of the head's size", softmax_over(scores, seen)
    yield "scores are divided by the square root of the hidden size", softmax_over(scores * hidden_size**-0.5, seen)
    yield "scores are divided by the head's size, not by its square root", softmax_over(scores * scale**2, seen)
    yield "softmax runs over the queries", softmax_over(scores * scale, seen, dim=-2)


KNOWN_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "exact GELU": F.gelu,
    "the tanh approximation of GELU": lambda x: F.gelu(x, approximate="tanh"),
    "the sigmoid approximation of GELU": lambda x: x * torch.sigmoid(1.702 * x),
    "ReLU": F.relu,
    "SiLU": F.silu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "the identity": lambda x: x,
}


def _activation(divergence: Divergence) -> Predictions:
    owner, _, last = divergence.name.rpartition(".")
    before = {"pooler": "pooler.dense", "mlm_head": "mlm_head.dense"}.get(owner or last, f"{owner}.inner")
    given, wanted = divergence.theirs.values[before], divergence.theirs.values[divergence.name]
    reference = min(KNOWN_ACTIVATIONS, key=lambda name: _distance(KNOWN_ACTIVATIONS[name](given), wanted))
    for name, activation in KNOWN_ACTIVATIONS.items():
        yield f"the activation is {name}, but the reference's is {reference}", activation(given)


def _dense(divergence: Divergence) -> Predictions:
    """Yield causes for a dense layer: other weights on the reference's input, then other inputs, minibert's last."""
    name, ours, theirs = divergence.name, divergence.ours, divergence.theirs
    weight, bias = theirs.weight_and_bias(name)
    our_weight, our_bias = ours.weight_and_bias(name)
    assert weight is not None
    if our_weight is not None and our_weight.shape != weight.shape:
        yield how_weights_differ(divergence), None
    heads, wanted_heads = (run.config.num_attention_heads for run in (ours, theirs))
    if heads != wanted_heads and stacked_part(name):
        yield f"minibert has {plural(heads, 'attention head')}, but the reference has {wanted_heads}", None
    if our_weight is not None and (is_other(our_weight, weight) or is_other(our_bias, bias)):
        yield how_weights_differ(divergence), F.linear(theirs.given[name], our_weight, our_bias)
    for what, other in _other_inputs(divergence):
        yield what, F.linear(other, weight, bias)
    yield from other_projections(divergence)
    if name in ours.given:
        from_ours = F.linear(ours.given[name], weight, bias)
        if name == "pooler.dense" and theirs.config.attention_window is not None and only_padding_differs(divergence):
            yield "padding at the first position attends to tokens, but to none in the reference", from_ours
        yield "its input differs, although everything compared before it agrees", from_ours


def _other_inputs(divergence: Divergence) -> Iterator[tuple[str, Tensor]]:
    """Yield what a sublayer or the pooler may have been given instead of its right input."""
    sample, theirs = divergence.sample, divergence.theirs
    if block := re.match(r"blocks\.\d+", divergence.name):
        for norm in ("attention_norm", "feed_forward_norm"):
            weight, bias = theirs.weight_and_bias(f"{block[0]}.{norm}")
            given, eps = theirs.given[divergence.name], theirs.config.layer_norm_eps
            if weight is None or given.shape[-1:] != weight.shape:  # the feed-forward layer's inner states
                continue
            normal = F.layer_norm(given, given.shape[-1:], weight, bias, eps)
            yield "LayerNorm is before the sublayer (pre-norm), but after the sum (post-norm) in the reference", normal
    if divergence.name == "pooler.dense":
        states = theirs.values[f"blocks.{theirs.config.num_hidden_layers - 1}"]  # (B, T, H)
        rows, real = torch.arange(len(states)), sample.real.long()  # (B,), (B, T)
        pooled = {
            "the mean of the real tokens": (states * real[..., None]).sum(1) / real.sum(1, keepdim=True),
            "the mean of all positions": states.mean(1),
            "the first real token": states[rows, real.argmax(1)],
            "the last real token": states[rows, real.cumsum(1).argmax(1)],
            "the last position": states[:, -1],
        }
        for what, state in pooled.items():
            yield f"the pooler reads {what}, but the reference's reads the first position", state


# A pattern of values' names -> their causes. None are known for the others (an attention's context, the loss).
CAUSES: tuple[tuple[str, Callable[[Divergence], Predictions]], ...] = (
    (r"embeddings\.(token|position|segment)", _embedding),
    (r".*\bsum", _sum),
    (r".*norm", _layer_norm),
    (r".*probabilities", _probabilities),
    (r".*activation|pooler", _activation),
    (r".*\.((global_)?(query|key|value)|output|inner|dense|decoder|projection)|nsp_head|span_head", _dense),
)
