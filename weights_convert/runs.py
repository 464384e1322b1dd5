"""One forward and backward pass of either implementation, its numbers under our names and in our shapes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from minibert.heads import BertForMaskedLM, BertForPreTraining, BertWithPooler, Model
from minibert.model import Bert
from minibert.tracing import Call, intermediates, watched
from weights_convert.key_map import INTERMEDIATES, TABLE, in_table_spelling, keys_of, parameters_of
from weights_convert.samples import Sample, encoder_loss, loss_of

ReferenceModel = Any  # of transformers: a torch module with a config
HEADED = ("query", "key", "value", "context")  # ours (B, N, T, D), theirs (B, T, H)


@dataclass(frozen=True)
class Run:
    """What one implementation computed on one sample, by our names."""

    values: dict[str, Tensor]  # every intermediate, in the order in which it was computed; last, "loss"
    given: dict[str, Tensor]  # value -> what the dense layer, LayerNorm or table that makes it was given
    parameters: dict[str, Tensor]  # as in a model with heads
    gradients: dict[str, Tensor]  # of the loss; of a parameter that none reached, zeros

    @staticmethod
    def of(
        values: dict[str, Tensor], loss: Tensor, given: dict[str, Tensor], parameters: Mapping[str, list[nn.Parameter]]
    ) -> Run:
        """The run that ended with `loss`; each of our parameters may be several, one under the other."""
        loss.backward()
        return Run(
            values=values | {"loss": loss.detach()},
            given=given,
            parameters={name: _stacked([part.detach() for part in parts]) for name, parts in parameters.items()},
            gradients={name: _stacked([_gradient(part) for part in parts]) for name, parts in parameters.items()},
        )


def _stacked(parts: list[Tensor]) -> Tensor:
    """One under the other; a single one without a copy, which would be large."""
    return torch.cat(parts) if len(parts) > 1 else parts[0]


def _gradient(parameter: nn.Parameter) -> Tensor:
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad


# --- Ours ------------------------------------------------------------------------------------------------------------


def run_ours(model: Model, sample: Sample) -> Run:
    """A forward and a backward pass of our model, which must be in evaluation mode."""
    model.zero_grad()
    with watched(model) as calls:
        loss = our_loss(model, sample)
    given = {}
    for full_name, call in calls.items():
        name = full_name.removeprefix("encoder.")
        inputs = [tensor for tensor in call.inputs if isinstance(tensor, Tensor)]
        for value in values_of(name) if inputs else ():
            given[value] = inputs[0]
    parameters = {name: [parameter] for name, parameter in parameters_of(model).items()}
    return Run.of(intermediates(model, calls), loss, given, parameters)


def our_loss(model: Model, sample: Sample) -> Tensor:
    """The loss of our model on `sample`, to be differentiated."""
    arguments = sample.arguments(model)
    if isinstance(model, BertForPreTraining | BertForMaskedLM):
        arguments["masked_positions"] = sample.real_positions
    return loss_of(model, model(**arguments), sample)


def values_of(module: str) -> tuple[str, ...]:
    """The values that a module of ours makes: three for query, key and value, else the one of its name."""
    owner, _, last = module.rpartition(".")
    return tuple(f"{owner}.{part}" for part in HEADED[:3]) if last == "query_key_value" else (module,)


# --- The reference's -------------------------------------------------------------------------------------------------


def run_reference(reference: ReferenceModel, model: Model, sample: Sample) -> Run:
    """A pass of the reference's model for `model`, which must be in evaluation mode with its attention written out."""
    reference.zero_grad()
    with watched(reference) as calls:
        loss = reference_loss(reference, model, sample)
    values: dict[str, Tensor] = {}
    given: dict[str, Tensor] = {}
    for full_name, call in calls.items():
        module = in_table_spelling(f"{full_name}.").removesuffix(".")
        block = re.search(r"\d+", module)
        for pattern, part in _PLACES.get(re.sub(r"\d+", "{}", module), ()):
            name = pattern.format(block[0] if block else "")
            values[name] = _in_our_shape(name, _part(call, part), model.config.num_attention_heads)
            if part == "output" and call.inputs:
                given[name] = call.inputs[0]
    return Run.of(values, loss, given, _parameters_by_our_names(reference))


def reference_loss(reference: ReferenceModel, model: Model, sample: Sample) -> Tensor:
    """The loss that the reference's class itself computes, where it has one."""
    arguments = sample.arguments(model)
    if isinstance(model, Bert | BertWithPooler):
        output = reference(**arguments)
        return encoder_loss(output.last_hidden_state, output.pooler_output, sample)
    return reference(**arguments, **sample.targets).loss


def _places() -> dict[str, list[tuple[str, str | int]]]:
    """Module of theirs -> what of ours its call has, and where."""
    places: dict[str, list[tuple[str, str | int]]] = {}
    for name, (module, part) in INTERMEDIATES.items():
        places.setdefault(module, []).append((name, part))
    for name, modules in TABLE.items():
        value = name.removeprefix("encoder.")
        if len(modules) == 1 and value not in INTERMEDIATES:
            places.setdefault(modules[0], []).append((value, "output"))
    return places


_PLACES = _places()


def _part(call: Call, part: str | int) -> Tensor:
    if part == "input":
        return call.inputs[0]
    return call.output[part] if isinstance(part, int) else call.output


def _in_our_shape(name: str, tensor: Tensor, heads: int) -> Tensor:
    if name == "embeddings.position":
        return tensor[0]  # (1, T, H)
    if name.rpartition(".")[2] in HEADED:
        return tensor.unflatten(-1, (heads, -1)).transpose(1, 2)
    return tensor


def _parameters_by_our_names(reference: ReferenceModel) -> dict[str, list[nn.Parameter]]:
    theirs = {in_table_spelling(key): parameter for key, parameter in reference.named_parameters()}
    found = {}
    for pattern in TABLE:
        for block in range(reference.config.num_hidden_layers if "{}" in pattern else 1):
            for leaf in ("weight", "bias"):
                name = f"{pattern.format(block)}.{leaf}"
                if all(key in theirs for key in keys_of(name)):
                    found[name] = [theirs[key] for key in keys_of(name)]
    return found
