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
from weights_convert.families import FAMILIES, Family, Names
from weights_convert.key_map import QUERY_KEY_VALUE, keys_of, module_of, parameters_of, values_of
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
    shares_layers: bool  # is one block all layers? Its parameters are those of block 0

    def module_of(self, value: str) -> str:
        """The module that makes an intermediate, as `parameters` has it."""
        module = module_of(value)
        if self.shares_layers and f"{module}.weight" not in self.parameters:
            return re.sub(r"\.blocks\.\d+\.", ".blocks.0.", module)
        return module

    @staticmethod
    def of(
        values: dict[str, Tensor],
        loss: Tensor,
        given: dict[str, Tensor],
        parameters: Parameters,
        *,
        shares_layers: bool,
    ) -> Run:
        """The run that ended with `loss`."""
        loss.backward()
        return Run(
            values=values | {"loss": loss.detach()},
            given=given,
            parameters=weights_of(parameters),
            gradients={name: gradient_of(parts) for name, parts in parameters.items()},
            shares_layers=shares_layers,
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
    """Our model, which must be in evaluation mode: its values, from a pass that computes all positions; loss and
    gradients, from one as it is in use.
    """
    model.zero_grad()
    with torch.no_grad(), watched(model) as calls:
        our_loss(model, sample)
    given: dict[str, Tensor] = {}
    for call in calls:
        if call.inputs:
            given |= dict.fromkeys(values_of(call.name), call.inputs[0])
    values = positions_of_all(intermediates(model, calls))
    loss = our_loss(model, sample)
    return Run.of(values, loss, given, our_parameters(model), shares_layers=model.config.share_layers)


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
    family = family_of_reference(reference)
    places = _places(family.names_in(type(model).__name__))
    values: dict[str, Tensor] = {}
    given: dict[str, Tensor] = {}
    for call in calls:
        module = family.in_table_spelling(f"{call.name}.").removesuffix(".")
        block: str | int = call.number  # of a block that all layers share
        if module not in places and (number := re.search(r"(?<=\.)\d+\b", module)):
            module, block = module[: number.start()] + "{}" + module[number.end() :], number[0]
        for pattern, part in places.get(module, ()):
            name = pattern.format(block)
            values[name] = _in_our_shape(name, _part(call, part), reference.config.num_attention_heads)
            if part == "output" and call.inputs:
                given[name] = call.inputs[0]
    parameters, shared = reference_parameters(reference, model), family.defaults.share_layers
    return Run.of(positions_of_all(probabilities_first(values)), loss, given, parameters, shares_layers=shared)


def probabilities_first(values: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same, each attention's probabilities before its context: DistilBERT and ALBERT answer them at the end."""
    ordered: dict[str, Tensor] = {}
    for name in values:
        owner, _, last = name.rpartition(".")
        if last == "context" and f"{owner}.probabilities" in values:
            ordered[f"{owner}.probabilities"] = values[f"{owner}.probabilities"]
        ordered[name] = values[name]
    return ordered


def positions_of_all(values: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same, the position embeddings as RoBERTa has them, (B, T, E): BERT has one row for all sequences."""
    if (positions := values.get("embeddings.position")) is not None:
        values["embeddings.position"] = positions.expand_as(values["embeddings.token"])
    return values


def family_of_reference(reference: ReferenceModel) -> Family:
    """The family of a model of the reference's."""
    return FAMILIES[reference.config.model_type]


def reference_loss(reference: ReferenceModel, model: Model, sample: Sample) -> Tensor:
    """The loss that the reference's class itself computes, where it has one."""
    arguments, targets = sample.arguments(model), dict(sample.targets)
    family = family_of_reference(reference)
    if "encoder.embeddings.segment" not in family.names.table:
        del arguments["token_type_ids"]
    if family.pair_objective == "sop" and "next_sentence_label" in targets:
        targets["sentence_order_label"] = targets.pop("next_sentence_label")
    if isinstance(model, Bert | BertWithPooler):
        output = reference(**arguments)
        pooled = output.pooler_output if isinstance(model, BertWithPooler) else None
        return encoder_loss(output.last_hidden_state, pooled, sample)
    return reference(**arguments, **targets).loss


def _places(names: Names) -> dict[str, list[tuple[str, str | int]]]:
    """Module of theirs -> what of ours its call has, and where."""
    answers: dict[str, tuple[str, str | int]] = {
        name.removeprefix("encoder."): (modules[0], "output")
        for name, modules in names.table.items()
        if not modules[1:]
    }
    answers |= names.places
    places: dict[str, list[tuple[str, str | int]]] = {}
    for name in sorted(answers, key=lambda name: answers[name][1] != "input"):  # what is given comes first
        module, part = answers[name]
        places.setdefault(module, []).append((name, part))
    return places


def _part(call: Call, part: str | int) -> Tensor:
    if part == "input":
        return call.inputs[0]
    return call.output[part] if isinstance(part, int) else call.output


def _in_our_shape(name: str, tensor: Tensor, heads: int) -> Tensor:
    if name.rpartition(".")[2] in HEADED:
        return tensor.unflatten(-1, (heads, -1)).transpose(1, 2)
    return tensor


def reference_parameters(reference: ReferenceModel, model: Model) -> Parameters:
    """Every parameter of the reference's model for `model`, by our names.

    A decoder's weight is among them only where it is not tied to the token embeddings.
    """
    family = family_of_reference(reference)
    table = family.names_in(type(model).__name__).table
    theirs = {family.in_table_spelling(key): parameter for key, parameter in reference.named_parameters()}
    found = {}
    for pattern in table:
        for block in range(reference.config.num_hidden_layers if "{}" in table[pattern][0] else 1):
            for leaf in ("weight", "bias"):
                name = f"{pattern.format(block)}.{leaf}"
                keys = keys_of(name, table)
                if all(key in theirs for key in keys):
                    found[name] = [theirs[key] for key in keys]
    for key in family.tied.keys() & theirs.keys():
        found["mlm_head.decoder.weight"] = [theirs[key]]
    return found
