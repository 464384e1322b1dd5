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
from weights_convert.key_map import (
    DECODER,
    INTERMEDIATES,
    QUERY_KEY_VALUE,
    TABLE,
    in_table_spelling,
    keys_of,
    parameters_of,
    values_of,
)
from weights_convert.samples import Sample, encoder_loss, loss_of

ReferenceModel = Any  # of transformers: a torch module with a config
Parameters = Mapping[str, list[nn.Parameter]]  # ours -> the parameter, or several, one under the other
HEADED = (*QUERY_KEY_VALUE, "context")  # ours (B, N, T, D), theirs (B, T, H)


@dataclass(frozen=True)
class Run:
    """What one implementation computed on one sample, by our names."""

    values: dict[str, Tensor]  # every intermediate, in the order in which it was computed; last, "loss"
    given: dict[str, Tensor]  # value -> what the dense layer, LayerNorm or table that makes it was given
    parameters: dict[str, Tensor]  # as in a model with heads
    gradients: dict[str, Tensor | None]  # of the loss; None where none arrived

    @staticmethod
    def of(values: dict[str, Tensor], loss: Tensor, given: dict[str, Tensor], parameters: Parameters) -> Run:
        """The run that ended with `loss`."""
        loss.backward()
        return Run(
            values=values | {"loss": loss.detach()},
            given=given,
            parameters=weights_of(parameters),
            gradients={name: gradient_of(parts) for name, parts in parameters.items()},
        )


def weights_of(parameters: Parameters) -> dict[str, Tensor]:
    """The numbers of parameters, each in one tensor."""
    return {name: stacked([part.detach() for part in parts]) for name, parts in parameters.items()}


def gradient_of(parts: list[nn.Parameter]) -> Tensor | None:
    """The gradient of parameters, one under the other; None where none of them has one."""
    if all(part.grad is None for part in parts):
        return None
    return stacked([torch.zeros_like(part) if part.grad is None else part.grad for part in parts])


def stacked(parts: list[Tensor]) -> Tensor:
    """One under the other; a single one without a copy, which would be large."""
    return torch.cat(parts) if len(parts) > 1 else parts[0]


# --- Ours ------------------------------------------------------------------------------------------------------------


def run_ours(model: Model, sample: Sample) -> Run:
    """A forward and a backward pass of our model, which must be in evaluation mode."""
    model.zero_grad()
    with watched(model) as calls:
        loss = our_loss(model, sample)
    given: dict[str, Tensor] = {}
    for full_name, call in calls.items():
        if call.inputs:
            given |= dict.fromkeys(values_of(full_name), call.inputs[0])
    return Run.of(intermediates(model, calls), loss, given, our_parameters(model))


def our_parameters(model: Model) -> Parameters:
    """Every parameter of our model, by its name in a model with heads."""
    return {name: [parameter] for name, parameter in parameters_of(model).items()}


def our_loss(model: Model, sample: Sample) -> Tensor:
    """The loss of our model on `sample`, to be differentiated."""
    arguments = sample.arguments(model)
    if isinstance(model, BertForPreTraining | BertForMaskedLM):
        arguments["masked_positions"] = sample.real_positions
    return loss_of(model, model(**arguments), sample)


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
            values[name] = _in_our_shape(name, _part(call, part), reference.config.num_attention_heads)
            if part == "output" and call.inputs:
                given[name] = call.inputs[0]
    return Run.of(values, loss, given, reference_parameters(reference))


def reference_loss(reference: ReferenceModel, model: Model, sample: Sample) -> Tensor:
    """The loss that the reference's class itself computes, where it has one."""
    arguments = sample.arguments(model)
    if isinstance(model, Bert | BertWithPooler):
        output = reference(**arguments)
        pooled = output.pooler_output if isinstance(model, BertWithPooler) else None
        return encoder_loss(output.last_hidden_state, pooled, sample)
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


def reference_parameters(reference: ReferenceModel) -> Parameters:
    """Every parameter of the reference's, by our names.

    A decoder's weight is among them only where it is not tied to the token embeddings.
    """
    theirs = {in_table_spelling(key): parameter for key, parameter in reference.named_parameters()}
    found = {}
    for pattern in TABLE:
        for block in range(reference.config.num_hidden_layers if "{}" in pattern else 1):
            for leaf in ("weight", "bias"):
                name = f"{pattern.format(block)}.{leaf}"
                if all(key in theirs for key in keys_of(name)):
                    found[name] = [theirs[key] for key in keys_of(name)]
    if DECODER in theirs:
        found["mlm_head.decoder.weight"] = [theirs[DECODER]]
    return found
