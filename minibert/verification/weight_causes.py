"""What is likely wrong with minibert's weights, or with their gradients, compared with the reference's."""

import re

import torch
from torch import Tensor

from minibert.verification.differences import Divergence
from minibert.verification.runs import Run

TOKENS, DECODER = "encoder.embeddings.token.weight", "mlm_head.decoder.weight"


def is_other(a: Tensor | None, b: Tensor | None) -> bool:
    """Return whether two weights, each of which may be missing, differ in their numbers."""
    if a is None or b is None:
        return a is not b
    return not torch.equal(a, b)


def how_weights_differ(divergence: Divergence) -> str:
    """Return how minibert's weights for a value, which are known to differ, differ from the reference's."""
    name, theirs = divergence.name, divergence.theirs
    weight, bias = divergence.ours.weight_and_bias(name)
    wanted_weight, wanted_bias = theirs.weight_and_bias(name)
    if weight is None or wanted_weight is None or weight.shape != wanted_weight.shape:
        shapes = (None if each is None else tuple(each.shape) for each in (weight, wanted_weight))
        return "{}.weight has shape {}, but the reference's has {}".format(name, *shapes)
    if name == "mlm_head.decoder" and (untied := _untied(divergence)):
        return untied
    if _recognised(weight, wanted_weight) and wanted_bias is not None and (bias is None or not bias.any()):
        return f"the bias of {name} is missing"
    if weight.ndim == 2 and _recognised(weight, wanted_weight.T):
        return f"the weight of {name} is transposed"
    for other in theirs.values:
        if other != name and _makes(theirs, other, weight, bias):
            return _misplaced(divergence, other)
    if weight.ndim == 1 and bool((weight == 1).all()):
        return f"the weight of {name} is missing"
    apart = [(ours - theirs).abs().max() for ours, theirs in ((weight, wanted_weight), (bias, wanted_bias))
             if ours is not None and theirs is not None]  # fmt: skip
    return f"the weights of {name} differ by up to {float(torch.stack(apart).max()):.1e}"


def _recognised(a: Tensor | None, b: Tensor | None) -> bool:
    """Return whether two weights are equal, or were before rounding."""
    if a is None or b is None:
        return a is b
    return a.shape == b.shape and torch.allclose(a, b, rtol=1e-5, atol=1e-7)


def _untied(divergence: Divergence) -> str | None:
    """Return which side's decoder is a parameter of its own; None if neither is."""
    if DECODER in divergence.ours.parameters:
        return "the decoder is not tied to the token embeddings"
    if DECODER in divergence.theirs.parameters:
        return "the reference's decoder is not tied to its embeddings (tie_word_embeddings is false), but minibert's is"
    return None


def _makes(run: Run, name: str, weight: Tensor, bias: Tensor | None) -> bool:
    """Return whether these are the weights with which a run computes the value `name`."""
    if f"{run.module_of(name)}.weight" not in run.parameters:
        return False
    found_weight, found_bias = run.weight_and_bias(name)
    return _recognised(weight, found_weight) and _recognised(bias, found_bias)


def _misplaced(divergence: Divergence, other: str) -> str:
    """Return how minibert's module for `divergence.name` may have got the weights of the reference's `other`."""
    name = divergence.name
    here, there = (re.match(r"blocks\.(\d+)\.(.*)", value) for value in (name, other))
    if here and there and here[2] == there[2]:
        ours, theirs = (run.config.num_hidden_layers for run in (divergence.ours, divergence.theirs))
        dropped = f": block {here[1]} was left out" if ours < theirs and int(there[1]) == int(here[1]) + 1 else ""
        return f"block {here[1]} has the weights of the reference's block {there[1]}{dropped}"
    own_weight, own_bias = divergence.theirs.weight_and_bias(name)
    if own_weight is not None and _makes(divergence.ours, other, own_weight, own_bias):
        return f"{name} and {other.rpartition('.')[2] if here and there else other} are swapped"
    return f"{name} has the weights of the reference's {other}"


def gradient_cause(divergence: Divergence) -> str | None:
    """Return why the gradient of a parameter differs; None if no cause fits."""
    name, ours, theirs = divergence.name, divergence.ours, divergence.theirs
    if (untied := _untied(divergence)) and name in (TOKENS, DECODER):
        return untied
    if name not in ours.parameters or name not in theirs.parameters:
        return f"{'minibert' if name not in ours.parameters else 'the reference'} has no {name}"
    shapes = [tuple(run.parameters[name].shape) for run in (ours, theirs)]
    if shapes[0] != shapes[1]:
        return f"{name} has shape {shapes[0]}, but the reference's has {shapes[1]}"
    pads = [run.config.pad_token_id for run in (ours, theirs)]
    if name == TOKENS and pads[0] != pads[1]:
        return f"pad_token_id, whose row is not trained as an input, is {pads[0]}, but the reference's is {pads[1]}"
    gradient = ours.gradients[name]
    if gradient is None or not gradient.any():
        return f"no gradient reaches {name}: it is frozen, detached, or not used"
    return None


def weights_not_reached(name: str, weight: Tensor | None, wanted: Tensor | None) -> str | None:
    """Return what differs in a parameter although no value of the batches does; None if its shape differs."""
    if weight is None or wanted is None or weight.shape != wanted.shape:
        return None
    rows = (weight != wanted).reshape(len(weight), -1).any(1)
    differing = f"{int(rows.sum()):,} of {len(rows):,} rows"
    return f"{name} differs in {differing}, which no token or position of the batches uses"
