"""What is likely wrong, told from the first value that differs.

Everything before that value agrees, so what it is made of is known, and a cause can be tried: it is named when it
*predicts* the differing numbers. LayerNorm with another eps gives exactly these; the reference's input through our
weights gives exactly those, and our weights are the transpose of the reference's. Where nothing fits, nothing is named.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from minibert.config import BertConfig
from minibert.heads import BertForMaskedLM, BertForPreTraining, Model
from minibert.model import position_ids
from weights_convert.comparison import Kind
from weights_convert.config_map import described_config
from weights_convert.key_map import QUERY_KEY_VALUE
from weights_convert.runs import ReferenceModel, Run
from weights_convert.samples import Sample

Prediction = tuple[str, Tensor]  # a cause in words, and the value that it would give


@dataclass(frozen=True)
class Divergence:
    """The first row that differs, and all that is known of both sides."""

    kind: Kind
    name: str  # of the value or parameter
    sample: Sample
    ours: Run
    theirs: Run
    model: Model
    reference: ReferenceModel

    @property
    def wanted(self) -> BertConfig:
        """The reference's shape."""
        return described_config(self.reference.config)


def likely_cause(divergence: Divergence) -> str | None:
    """The cause in one phrase, None where none fits."""
    name, ours, theirs = divergence.name, divergence.ours, divergence.theirs
    if divergence.kind == "gradient":
        return _gradient(divergence)
    if name not in ours.values or name not in theirs.values:
        return _not_there(divergence)
    if not (ours.values[name].isfinite().all() and theirs.values[name].isfinite().all()):
        return _not_finite(divergence)
    for pattern, find in CAUSES:
        if re.fullmatch(pattern, divergence.name):
            return find(divergence)
    return None


def _not_there(divergence: Divergence) -> str | None:
    """A value that one side lacks."""
    ours, theirs = divergence.model.config.num_hidden_layers, divergence.wanted.num_hidden_layers
    if divergence.name.startswith("blocks.") and ours != theirs:
        return f"ours has {ours} blocks, the reference {theirs}"
    lacks = "ours" if divergence.name not in divergence.ours.values else "the reference"
    return f"{lacks} has no {divergence.name.partition('.')[0]}"


def _not_finite(divergence: Divergence) -> str | None:
    """A value that is no number: where it comes from."""
    name = divergence.name
    for side, run in (("the reference's", divergence.theirs), ("our", divergence.ours)):
        weights = [each for each in _weight_and_bias(run, name) if each is not None]
        if not all(each.isfinite().all() for each in weights):
            return f"{side} weights of {name} are not all finite"
    return None


def _first_that_fits(divergence: Divergence, predictions: Iterator[Prediction]) -> str | None:
    """The first cause whose value is ours: at least twenty times nearer to it than the reference's value is."""
    real_part = divergence.sample.real_part
    ours, theirs = (real_part(run.values[divergence.name]) for run in (divergence.ours, divergence.theirs))
    if ours.shape != theirs.shape:
        return None
    for cause, predicted in predictions:
        predicted = real_part(predicted)
        if predicted.numel() == ours.numel() and _distance(ours, predicted.reshape(ours.shape)) <= 0.05 * _distance(
            ours, theirs
        ):
            return cause
    return None


def _distance(a: Tensor, b: Tensor) -> float:
    return float((a.double() - b.double()).abs().mean())


# --- Embeddings ------------------------------------------------------------------------------------------------------


def _embedding(divergence: Divergence) -> str | None:
    """A row of one of the three tables: the wrong row, or a table that differs."""
    return _first_that_fits(divergence, _wrong_rows(divergence))


def _wrong_rows(divergence: Divergence) -> Iterator[Prediction]:
    table, wanted = divergence.theirs.parameters[f"encoder.{divergence.name}.weight"], divergence.wanted
    ids, segments = divergence.sample.input_ids, divergence.sample.token_type_ids
    places = torch.arange(ids.size(1), device=ids.device).expand_as(ids)
    positions = position_ids(ids, wanted.padding_without_position).expand_as(ids)
    if divergence.name == "embeddings.position":
        if (pad := wanted.padding_without_position) is not None:
            yield "positions count padding, from 0, as BERT's do", table[places]
            yield "padding counts as a position", table[(places + pad + 1) % len(table)]
        for shift in (1, -1, 2, -2):
            yield f"positions are off by {shift:+d}", table[(positions + shift) % len(table)]
        yield "positions are counted from the end", table[places.flip(1)]
    elif divergence.name == "embeddings.segment":
        yield "segment ids are ignored: all is segment A", table[torch.zeros_like(segments)]
        yield "segments are swapped: A has the vector of B", table[(1 - segments) % len(table)]
        yield "there are no segment embeddings", torch.zeros_like(table[segments])
    else:
        for shift in (1, -1):
            yield f"token ids are off by {shift:+d}", table[(ids + shift) % len(table)]
        yield "token embeddings are multiplied by the root of the hidden size", table[ids] * table.size(1) ** 0.5
    our_table = divergence.ours.parameters.get(f"encoder.{divergence.name}.weight")
    if our_table is not None and (our_table.shape != table.shape or not torch.equal(our_table, table)):
        rows = {"position": positions, "segment": segments, "token": ids}[divergence.name.split(".")[1]]
        if int(rows.max()) < len(our_table):
            yield _how_weights_differ(divergence), our_table[rows]


# --- Sums ------------------------------------------------------------------------------------------------------------


def _sum(divergence: Divergence) -> str | None:
    return _first_that_fits(divergence, _left_out(divergence))


def _left_out(divergence: Divergence) -> Iterator[Prediction]:
    values = divergence.theirs.values
    if divergence.name == "embeddings.sum":
        for part in ("token", "position", "segment"):
            if (left_out := values.get(f"embeddings.{part}")) is not None:
                yield f"{part} embeddings are left out of the sum", values["embeddings.sum"] - left_out
    else:
        output = values[divergence.name.removesuffix("sum") + "output"]
        yield "the residual connection is missing", output
        yield "the sublayer's output is left out of the sum", values[divergence.name] - output


# --- LayerNorm -------------------------------------------------------------------------------------------------------


def _layer_norm(divergence: Divergence) -> str | None:
    return _first_that_fits(divergence, _other_norms(divergence))


def _other_norms(divergence: Divergence) -> Iterator[Prediction]:
    given = divergence.theirs.given[divergence.name]
    weight, bias = _weight_and_bias(divergence.theirs, divergence.name)
    our_weight, our_bias = _weight_and_bias(divergence.ours, divergence.name)
    wanted = divergence.wanted.layer_norm_eps
    if _differ(our_weight, weight) or _differ(our_bias, bias):
        yield _how_weights_differ(divergence), F.layer_norm(given, given.shape[-1:], our_weight, our_bias, wanted)
    for eps in (1e-12, 1e-8, 1e-7, 1e-6, 1e-5, 1e-3, divergence.model.config.layer_norm_eps):
        normal = F.layer_norm(given, given.shape[-1:], weight, bias, eps)
        yield f"LayerNorm eps is {eps:g}, the reference's {wanted:g}", normal
    yield "there is no LayerNorm", given
    assert weight is not None and bias is not None
    rooted = given * torch.rsqrt(given.square().mean(-1, keepdim=True) + wanted)
    yield "LayerNorm does not subtract the mean", rooted * weight + bias


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
    given, wanted = divergence.theirs.values[before], divergence.theirs.values[divergence.name]
    reference = min(ACTIVATIONS, key=lambda name: _distance(ACTIVATIONS[name](given), wanted))
    return _first_that_fits(
        divergence,
        (
            (f"the activation is {name}, the reference's {reference}", activation(given))
            for name, activation in ACTIVATIONS.items()
        ),
    )


# --- Dense layers ----------------------------------------------------------------------------------------------------


def _dense(divergence: Divergence) -> str | None:
    weight, _ = _weight_and_bias(divergence.theirs, divergence.name)
    our_weight, _ = _weight_and_bias(divergence.ours, divergence.name)
    if weight is not None and our_weight is not None and our_weight.shape != weight.shape:
        return _how_weights_differ(divergence)
    return _wrong_heads(divergence) or _first_that_fits(divergence, _other_dense(divergence))


def _wrong_heads(divergence: Divergence) -> str | None:
    ours, theirs = divergence.model.config.num_attention_heads, divergence.wanted.num_attention_heads
    is_headed = divergence.name.rpartition(".")[2] in QUERY_KEY_VALUE
    return f"ours has {ours} attention heads, the reference {theirs}" if is_headed and ours != theirs else None


def _other_dense(divergence: Divergence) -> Iterator[Prediction]:
    """The reference's input through our weights; another input through the reference's weights; at last ours."""
    name = divergence.name
    weight, bias = _weight_and_bias(divergence.theirs, name)
    our_weight, our_bias = _weight_and_bias(divergence.ours, name)
    given = divergence.theirs.given[name]
    assert weight is not None
    if our_weight is not None and (_differ(our_weight, weight) or _differ(our_bias, bias)):
        yield _how_weights_differ(divergence), F.linear(given, our_weight, our_bias)
    for what, other in _other_inputs(divergence):
        yield what, F.linear(other, weight, bias)
    if (ours_given := divergence.ours.given.get(name)) is not None:
        yield "what goes in differs, though all that was compared before agrees", F.linear(ours_given, weight, bias)


def _other_inputs(divergence: Divergence) -> Iterator[Prediction]:
    """What a sublayer or the pooler may have been given in place of the right thing."""
    sample, theirs = divergence.sample, divergence.theirs
    if block := re.match(r"blocks\.\d+", divergence.name):
        for norm in ("attention_norm", "feed_forward_norm"):
            weight, bias = _weight_and_bias(theirs, f"{block[0]}.{norm}")
            given, eps = theirs.given[divergence.name], divergence.wanted.layer_norm_eps
            if weight is None or given.shape[-1:] != weight.shape:  # the feed-forward layer's inner states
                continue
            normal = F.layer_norm(given, given.shape[-1:], weight, bias, eps)
            yield "LayerNorm stands before the sublayer (pre-norm), the reference's after the sum (post-norm)", normal
    if divergence.name == "pooler.dense":
        states = theirs.values[f"blocks.{divergence.wanted.num_hidden_layers - 1}"]  # (B, T, H)
        real = sample.real[..., None]
        pooled = {
            "the mean of the real tokens": (states * real).sum(1) / real.sum(1),
            "the mean of all positions": states.mean(1),
            "the first real token": states[torch.arange(len(states)), sample.real.long().argmax(1)],
            "the last real token": states[torch.arange(len(states)), sample.real.long().cumsum(1).argmax(1)],
            "the last position": states[:, -1],
        }
        for what, state in pooled.items():
            yield f"the pooler takes {what}, the reference's the first position", state


# --- Weights ---------------------------------------------------------------------------------------------------------


def _weight_and_bias(run: Run, name: str) -> tuple[Tensor | None, Tensor | None]:
    """The weights by which a run makes a value: a third of the stacked ones for a query, key or value; None for a value
    that is made of others without weights.
    """
    module, last = run.module_of(name), name.rpartition(".")[2]
    weight, bias = (run.parameters.get(f"{module}.{leaf}") for leaf in ("weight", "bias"))
    if module == "mlm_head.decoder" and weight is None:
        weight = run.parameters["encoder.embeddings.token.weight"]
    if last in QUERY_KEY_VALUE and weight is not None and bias is not None:
        part = QUERY_KEY_VALUE.index(last)
        weight, bias = weight.chunk(3)[part], bias.chunk(3)[part]
    return weight, bias


def _differ(a: Tensor | None, b: Tensor | None) -> bool:
    if a is None or b is None:
        return a is not b
    return not torch.equal(a, b)


def _recognised(a: Tensor | None, b: Tensor | None) -> bool:
    """The same numbers, or once the same."""
    if a is None or b is None:
        return a is b
    return a.shape == b.shape and torch.allclose(a, b, rtol=1e-5, atol=1e-7)


def _how_weights_differ(divergence: Divergence) -> str:
    """What our weights for a value are, seen from the reference's; they are known to differ."""
    name = divergence.name
    weight, bias = _weight_and_bias(divergence.ours, name)
    wanted_weight, wanted_bias = _weight_and_bias(divergence.theirs, name)
    if weight is None or wanted_weight is None or weight.shape != wanted_weight.shape:
        shapes = (None if each is None else tuple(each.shape) for each in (weight, wanted_weight))
        return "{}.weight is {}, the reference's {}".format(name, *shapes)
    if name == "mlm_head.decoder" and (untied := _untied(divergence)):
        return untied
    if _recognised(weight, wanted_weight) and wanted_bias is not None and (bias is None or not bias.any()):
        return f"the bias of {name} is missing"
    if weight.ndim == 2 and _recognised(weight, wanted_weight.T):
        return f"the weight of {name} is transposed"
    for other in divergence.theirs.values:
        if other != name and _makes(divergence.theirs, other, weight, bias):
            return _misplaced(divergence, other)
    if weight.ndim == 1 and bool((weight == 1).all()):
        return f"the weight of {name} is missing"
    apart = [(ours - theirs).abs().max() for ours, theirs in ((weight, wanted_weight), (bias, wanted_bias))
             if ours is not None and theirs is not None]  # fmt: skip
    return f"the weights of {name} are others: by up to {float(torch.stack(apart).max()):.1e}"


def _untied(divergence: Divergence) -> str | None:
    """Which side's decoder is a parameter of its own."""
    model, reference = divergence.model, divergence.theirs
    if isinstance(model, BertForPreTraining | BertForMaskedLM):
        if model.mlm_head.decoder.weight is not model.encoder.embeddings.token.weight:
            return "the decoder is not tied to the token embeddings"
        if "mlm_head.decoder.weight" in reference.parameters:
            return "the reference's decoder is not tied to its token embeddings (tie_word_embeddings is false), ours is"
    return None


def _makes(run: Run, name: str, weight: Tensor, bias: Tensor | None) -> bool:
    """Whether these are the weights by which a run makes the value `name`."""
    if f"{run.module_of(name)}.weight" not in run.parameters:
        return False
    found_weight, found_bias = _weight_and_bias(run, name)
    return _recognised(weight, found_weight) and _recognised(bias, found_bias)


def _misplaced(divergence: Divergence, other: str) -> str:
    """Our module for `divergence.name` has the weights that make the reference's `other`."""
    name = divergence.name
    here, there = (re.match(r"blocks\.(\d+)\.(.*)", value) for value in (name, other))
    if here and there and here[2] == there[2]:
        ours, theirs = divergence.model.config.num_hidden_layers, divergence.wanted.num_hidden_layers
        dropped = f": block {here[1]} was left out" if ours < theirs and int(there[1]) == int(here[1]) + 1 else ""
        return f"block {here[1]} has the weights of the reference's block {there[1]}{dropped}"
    own_weight, own_bias = _weight_and_bias(divergence.theirs, name)
    if own_weight is not None and _makes(divergence.ours, other, own_weight, own_bias):
        return f"{name} and {other.rpartition('.')[2] if here and there else other} are swapped"
    return f"{name} has the weights of {other}"


def weights_not_reached(name: str, weight: Tensor | None, wanted: Tensor | None) -> str | None:
    """What differs in a parameter by which no value of the batches was made otherwise."""
    if weight is None or wanted is None or weight.shape != wanted.shape:
        return None
    rows = (weight != wanted).reshape(len(weight), -1).any(1)
    return (
        f"{int(rows.sum()):,} of {len(rows):,} rows of {name} differ; no token or position of the batches reaches them"
    )


# --- Gradients -------------------------------------------------------------------------------------------------------


def _gradient(divergence: Divergence) -> str | None:
    name, ours = divergence.name, divergence.ours
    if (untied := _untied(divergence)) and name in ("encoder.embeddings.token.weight", "mlm_head.decoder.weight"):
        return untied
    if name not in ours.parameters or name not in divergence.theirs.parameters:
        return f"{'ours' if name not in ours.parameters else 'the reference'} has no {name}"
    shapes = [tuple(run.parameters[name].shape) for run in (ours, divergence.theirs)]
    if shapes[0] != shapes[1]:
        return f"{name} is {shapes[0]}, the reference's {shapes[1]}"
    if name == "encoder.embeddings.token.weight":
        pads = divergence.model.config.pad_token_id, divergence.wanted.pad_token_id
        if pads[0] != pads[1]:
            return f"pad_token_id, whose row does not learn as an input, is {pads[0]}, the reference's {pads[1]}"
    gradient = ours.gradients[name]
    if gradient is None or not gradient.any():
        return f"no gradient reaches {name}: frozen, detached, or not used"
    return None


# Which values -> what may be wrong with them. Of the others (an attention's context, the loss) nothing is known.
CAUSES: tuple[tuple[str, Callable[[Divergence], str | None]], ...] = (
    (r"embeddings\.(token|position|segment)", _embedding),
    (r".*\bsum", _sum),
    (r".*norm", _layer_norm),
    (r".*probabilities", _probabilities),
    (r".*activation|pooler", _activation),
    (r".*\.(query|key|value|output|inner|dense|decoder|projection)|nsp_head|span_head", _dense),
)
