"""What is likely wrong, told from the first value that differs.

Everything before that value agrees, so what it is made of is known: a cause is named when it predicts the differing
numbers (LayerNorm with another eps gives exactly these), or when the weights show it (this matrix is that one's
transpose). Where nothing fits, nothing is named.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from minibert.heads import BertForMaskedLM, BertForPreTraining, Model
from weights_convert.runs import ReferenceModel, Run
from weights_convert.samples import Sample

Prediction = tuple[str, Tensor]  # a cause in words, and the value that it would give


@dataclass(frozen=True)
class Divergence:
    """The first value that differs, and all that is known of both sides."""

    name: str  # of the value; "gradient of …" for a parameter's gradient
    sample: Sample
    ours: Run
    theirs: Run
    model: Model
    reference: ReferenceModel

    def value(self, run: Run, name: str | None = None) -> Tensor:
        """A value at real tokens."""
        name = self.name if name is None else name
        return at_real_tokens(name, run.values[name], self.sample)


def at_real_tokens(name: str, value: Tensor, sample: Sample) -> Tensor:
    """A value's part at real tokens, (tokens, …); what stands for a whole sequence, (B, …), stays whole.

    value: (B, N, T, …) for heads, (B, T, …), or anything else; of attention probabilities the real queries' rows.
    """
    if value.ndim == 4:
        return value.transpose(1, 2)[sample.real]
    return value[sample.real] if value.ndim == 3 else value


def likely_cause(divergence: Divergence) -> str | None:
    """The cause in one phrase, None where none fits."""
    if divergence.name in divergence.theirs.values and divergence.name not in divergence.ours.values:
        return _not_there(divergence)
    for pattern, find in CAUSES:
        if re.fullmatch(pattern, divergence.name):
            return find(divergence)
    return None


def _not_there(divergence: Divergence) -> str | None:
    ours, theirs = divergence.model.config.num_hidden_layers, divergence.reference.config.num_hidden_layers
    if divergence.name.startswith("blocks.") and ours != theirs:
        return f"ours has {ours} blocks, the reference {theirs}"
    return None


def _first_that_fits(divergence: Divergence, predictions: Iterator[Prediction]) -> str | None:
    """The first cause whose value is ours: at least a hundred times nearer to it than the reference's value is."""
    ours = divergence.value(divergence.ours)
    observed = _distance(ours, divergence.value(divergence.theirs))
    for cause, predicted in predictions:
        predicted = at_real_tokens(divergence.name, predicted, divergence.sample)
        if predicted.shape == ours.shape and _distance(ours, predicted) <= 0.01 * observed:
            return cause
    return None


def _distance(a: Tensor, b: Tensor) -> float:
    return float((a.double() - b.double()).abs().mean())


def _near(a: Tensor, b: Tensor) -> bool:
    """Equal but for what rounding, of bfloat16 too, adds up to."""
    return a.shape == b.shape and _distance(a, b) <= 0.05 * float(b.double().abs().mean())


def _same(a: Tensor | None, b: Tensor | None) -> bool:
    """Equal but for the rounding of a number format."""
    if a is None or b is None:
        return a is b
    return a.shape == b.shape and torch.allclose(a, b, rtol=1e-5, atol=1e-7)


# --- Embeddings ------------------------------------------------------------------------------------------------------


def _embedding(divergence: Divergence) -> str | None:
    """A row of one of the three tables: the wrong row, or a table that differs."""
    return _first_that_fits(divergence, _wrong_rows(divergence)) or _weights_differ(divergence)


def _wrong_rows(divergence: Divergence) -> Iterator[Prediction]:
    table = divergence.theirs.parameters[f"encoder.{divergence.name}.weight"]
    sample = divergence.sample
    longest = sample.input_ids.size(1)
    if divergence.name == "embeddings.position":
        for shift in (1, -1, 2, -2):
            yield f"positions are off by {shift:+d}", table[(torch.arange(longest) + shift) % len(table)]
        yield "positions are counted from the end", table[:longest].flip(0)
    elif divergence.name == "embeddings.segment":
        yield "segment ids are ignored: all is segment A", table[torch.zeros_like(sample.token_type_ids)]
        yield "segments are swapped: A has the vector of B", table[(1 - sample.token_type_ids) % len(table)]
        yield "there are no segment embeddings", torch.zeros_like(table[sample.token_type_ids])
    else:
        for shift in (1, -1):
            yield f"token ids are off by {shift:+d}", table[(sample.input_ids + shift) % len(table)]
        yield (
            "token embeddings are multiplied by the root of the hidden size",
            table[sample.input_ids] * table.size(1) ** 0.5,
        )


# --- Sums ------------------------------------------------------------------------------------------------------------


def _sum(divergence: Divergence) -> str | None:
    return _first_that_fits(divergence, _left_out(divergence))


def _left_out(divergence: Divergence) -> Iterator[Prediction]:
    values = divergence.theirs.values
    if divergence.name == "embeddings.sum":
        parts = {part: values[f"embeddings.{part}"] for part in ("token", "position", "segment")}
        for part in parts:
            rest = [tensor for name, tensor in parts.items() if name != part]
            yield f"{part} embeddings are left out of the sum", rest[0] + rest[1]
    else:
        output = values[divergence.name.removesuffix("sum") + "output"]
        yield "the residual connection is missing", output
        yield "the sublayer's output is left out of the sum", values[divergence.name] - output


# --- LayerNorm -------------------------------------------------------------------------------------------------------


def _layer_norm(divergence: Divergence) -> str | None:
    return _weights_differ(divergence) or _first_that_fits(divergence, _other_norms(divergence))


def _other_norms(divergence: Divergence) -> Iterator[Prediction]:
    module, given = _parameter_owner(divergence.name), divergence.theirs.given[divergence.name]
    weight, bias = (divergence.theirs.parameters[f"{module}.{leaf}"] for leaf in ("weight", "bias"))
    wanted = divergence.reference.config.layer_norm_eps
    for eps in (1e-12, 1e-8, 1e-7, 1e-6, 1e-5, 1e-3, divergence.model.config.layer_norm_eps):
        normal = F.layer_norm(given, given.shape[-1:], weight, bias, eps)
        yield f"LayerNorm eps is {eps:g}, the reference's {wanted:g}", normal
    yield "there is no LayerNorm", given
    centred = given * torch.rsqrt(given.square().mean(-1, keepdim=True) + wanted)
    yield "LayerNorm does not subtract the mean", centred * weight + bias


# --- Attention -------------------------------------------------------------------------------------------------------


def _probabilities(divergence: Divergence) -> str | None:
    return _first_that_fits(divergence, _other_attention(divergence))


def _other_attention(divergence: Divergence) -> Iterator[Prediction]:
    place = divergence.name.removesuffix("probabilities")
    query, key = (divergence.theirs.values[place + part] for part in ("query", "key"))
    scores = query @ key.transpose(-2, -1)  # (B, N, T, T)
    scale = query.size(-1) ** -0.5
    hidden_size = query.size(1) * query.size(-1)
    real = divergence.sample.real[:, None, None, :]
    causal = torch.ones_like(scores, dtype=torch.bool).tril()

    def softmax(scores: Tensor, seen: Tensor, dim: int = -1) -> Tensor:
        return scores.masked_fill(~seen, torch.finfo(scores.dtype).min).softmax(dim)

    yield "the attention mask is ignored: padding is looked at", (scores * scale).softmax(-1)
    yield "the attention mask is turned round: only padding is looked at", softmax(scores * scale, ~real)
    yield "attention is causal: no token looks ahead", softmax(scores * scale, real & causal)
    yield "scores are not divided by the root of the head's size", softmax(scores, real)
    yield "scores are divided by the root of the hidden size", softmax(scores * hidden_size**-0.5, real)
    yield "scores are divided by the head's size, not by its root", softmax(scores * scale**2, real)
    yield "softmax runs over the queries", softmax(scores * scale, real, dim=-2)


# --- Activations -----------------------------------------------------------------------------------------------------

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "exact GELU": F.gelu,
    "the tanh approximation of GELU": lambda x: F.gelu(x, approximate="tanh"),
    "the sigmoid approximation of GELU": lambda x: x * torch.sigmoid(1.702 * x),
    "ReLU": F.relu,
    "SiLU": F.silu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "nothing": lambda x: x,
}


def _activation(divergence: Divergence) -> str | None:
    owner, _, last = divergence.name.rpartition(".")
    before = {"pooler": "pooler.dense", "mlm_head": "mlm_head.dense"}.get(owner or last, f"{owner}.inner")
    given = divergence.theirs.values[before]
    wanted = divergence.value(divergence.theirs)
    predictions = [(name, activation(given)) for name, activation in ACTIVATIONS.items()]
    at_tokens = ((name, at_real_tokens(before, value, divergence.sample)) for name, value in predictions)
    reference = min(at_tokens, key=lambda prediction: _distance(prediction[1], wanted))[0]
    return _first_that_fits(
        divergence, ((f"the activation is {name}, the reference's {reference}", value) for name, value in predictions)
    )


# --- Dense layers ----------------------------------------------------------------------------------------------------

QUERY_KEY_VALUE = ("query", "key", "value")


def _dense(divergence: Divergence) -> str | None:
    """The weights tell; where they agree, what goes in differs, or the code."""
    return (
        _weights_differ(divergence)
        or _another_input(divergence)
        or f"{divergence.name} has the reference's input and weights, so what is done with them differs"
    )


def _another_input(divergence: Divergence) -> str | None:
    ours, theirs = divergence.ours.given.get(divergence.name), divergence.theirs.given[divergence.name]
    if ours is None:
        return None
    sample = divergence.sample
    at_ours, at_theirs = (at_real_tokens(divergence.name, given, sample) for given in (ours, theirs))
    if _near(at_ours, at_theirs):
        return None
    parameters, eps = divergence.theirs.parameters, divergence.model.config.layer_norm_eps
    for norm in ("attention_norm", "feed_forward_norm"):
        block = re.match(r"blocks\.\d+|", divergence.name)[0]  # type: ignore[index]  # the empty one always matches
        weight, bias = (parameters.get(f"encoder.{block}.{norm}.{leaf}") for leaf in ("weight", "bias"))
        if weight is not None and _near(at_ours, F.layer_norm(at_theirs, weight.shape, weight, bias, eps)):
            return "LayerNorm stands before the sublayer (pre-norm), the reference's after the sum (post-norm)"
    if divergence.name == "pooler.dense":
        states = divergence.theirs.values[f"blocks.{divergence.reference.config.num_hidden_layers - 1}"]
        last = sample.real.long().cumsum(1).argmax(1)
        pooled = {
            "the mean of the real tokens": (states * sample.real[..., None]).sum(1) / sample.real.sum(1, keepdim=True),
            "the mean of all positions": states.mean(1),
            "the last real token": states[torch.arange(len(states)), last],
            "the last position": states[:, -1],
            "the second position": states[:, min(1, states.size(1) - 1)],
        }
        for what, state in pooled.items():
            if _near(at_ours, state):
                return f"the pooler takes {what}, the reference's the first"
    return "what goes in differs, though all that was computed before agrees"


def _parameter_owner(name: str) -> str:
    """The module of ours that makes a value, by its name in a model with heads."""
    owner, _, last = name.rpartition(".")
    module = f"{owner}.query_key_value" if last in QUERY_KEY_VALUE else name
    return f"encoder.{module}" if module.startswith(("embeddings", "blocks")) else module


def _weight_and_bias(run: Run, name: str) -> tuple[Tensor | None, Tensor | None]:
    """The weights by which a run makes a value: a third of the stacked ones for a query, key or value."""
    module, last = _parameter_owner(name), name.rpartition(".")[2]
    found = [run.parameters.get(f"{module}.{leaf}") for leaf in ("weight", "bias")]
    if module == "mlm_head.decoder" and found[0] is None:
        found[0] = run.parameters["encoder.embeddings.token.weight"]
    if last in QUERY_KEY_VALUE:
        found = [None if both is None else both.chunk(3)[QUERY_KEY_VALUE.index(last)] for both in found]
    return found[0], found[1]


def _weights_differ(divergence: Divergence) -> str | None:
    """What the weights of the module that makes the value show, None where they agree."""
    name = divergence.name
    weight, bias = _weight_and_bias(divergence.ours, name)
    wanted_weight, wanted_bias = _weight_and_bias(divergence.theirs, name)
    if weight is None or wanted_weight is None or (_same(weight, wanted_weight) and _same(bias, wanted_bias)):
        return None
    if weight.shape != wanted_weight.shape:
        return f"{name}.weight is {tuple(weight.shape)}, the reference's {tuple(wanted_weight.shape)}"
    if name == "mlm_head.decoder" and _is_untied(divergence.model):
        return "the decoder is not tied to the token embeddings"
    if _same(weight, wanted_weight) and wanted_bias is not None and (bias is None or not bias.any()):
        return f"the bias of {name} is missing"
    if weight.ndim == 2 and _same(weight, wanted_weight.T):
        return f"the weight of {name} is transposed"
    for other in divergence.theirs.values:
        if other != name and _makes(divergence.theirs, other, weight, bias):
            return _misplaced(divergence, other)
    if weight.ndim == 1 and bool((weight == 1).all()):
        return f"the weight of {name} is missing"
    apart = float((weight - wanted_weight).abs().max())
    if bias is not None and wanted_bias is not None:
        apart = max(apart, float((bias - wanted_bias).abs().max()))
    return f"the weights of {name} are others: by up to {apart:.1e}"


def _is_untied(model: Model) -> bool:
    if not isinstance(model, BertForPreTraining | BertForMaskedLM):
        return False
    return model.mlm_head.decoder.weight is not model.encoder.embeddings.token.weight


def _makes(run: Run, name: str, weight: Tensor, bias: Tensor | None) -> bool:
    """Whether these are the weights by which a run makes the value `name`."""
    if f"{_parameter_owner(name)}.weight" not in run.parameters:
        return False
    found_weight, found_bias = _weight_and_bias(run, name)
    return _same(weight, found_weight) and _same(bias, found_bias)


def _misplaced(divergence: Divergence, other: str) -> str:
    """Our module `divergence.name` has the weights that make the reference's `other`."""
    name = divergence.name
    here, there = (re.match(r"blocks\.(\d+)\.(.*)", value) for value in (name, other))
    if here and there and here[2] == there[2]:
        ours, theirs = divergence.model.config.num_hidden_layers, divergence.reference.config.num_hidden_layers
        dropped = f": block {here[1]} was left out" if ours < theirs and int(there[1]) == int(here[1]) + 1 else ""
        return f"block {here[1]} has the weights of the reference's block {there[1]}{dropped}"
    own_weight, own_bias = _weight_and_bias(divergence.theirs, name)
    if own_weight is not None and _makes(divergence.ours, other, own_weight, own_bias):
        return f"{name} and {other.rpartition('.')[2] if here and there else other} are swapped"
    return f"{name} has the weights of {other}"


# --- Gradients -------------------------------------------------------------------------------------------------------


def _gradient(divergence: Divergence) -> str | None:
    name = divergence.name.removeprefix("gradient of ")
    if name == "encoder.embeddings.token.weight" and _is_untied(divergence.model):
        return "the decoder is not tied to the token embeddings: it holds a copy, which gets a gradient of its own"
    if name == "encoder.embeddings.token.weight" and not divergence.reference.config.tie_word_embeddings:
        return "the reference's decoder has a gradient of its own (tie_word_embeddings is false); ours is tied"
    if name == "encoder.embeddings.token.weight" and not divergence.reference.config.tie_word_embeddings:
        return "the reference's decoder has a gradient of its own (tie_word_embeddings is false); ours is tied"
    if name not in divergence.ours.gradients:
        return f"ours has no {name}"
    if not divergence.ours.gradients[name].any():
        return f"no gradient reaches {name}: frozen, detached, or not used"
    return None


# Which values -> what may be wrong with them.
CAUSES: tuple[tuple[str, Callable[[Divergence], str | None]], ...] = (
    (r"embeddings\.(token|position|segment)", _embedding),
    (r".*\bsum", _sum),
    (r".*norm", _layer_norm),
    (r".*probabilities", _probabilities),
    (r".*activation|pooler", _activation),
    (r".*\.(query|key|value|output|inner|dense|decoder)|nsp_head|span_head", _dense),
    (r"gradient of .*", _gradient),
)
