"""One forward and backward pass of an implementation, in minibert's names and shapes; and that of minibert itself."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from minibert.config import BertConfig
from minibert.heads import BertForMaskedLM, BertForPreTraining, Model
from minibert.tracing import intermediates, watched
from minibert.verification.names import parameters_of, stacked_part, values_of
from minibert.verification.samples import Sample, loss_of


@dataclass(frozen=True)
class Run:
    """What one implementation computed on one sample."""

    config: BertConfig  # of its model
    values: dict[str, Tensor]  # every intermediate, in the order in which it was computed; last, "loss"
    given: dict[str, Tensor]  # value -> what the dense layer, LayerNorm or table that makes it was given
    parameters: dict[str, Tensor]  # named as in a model with heads; a block that all layers share is block 0
    gradients: dict[str, Tensor | None]  # of the loss; None if none reached the parameter

    def module_of(self, value: str) -> str:
        """Return the module that makes an intermediate, named as in `parameters`."""
        stacked = stacked_part(value)
        module = stacked[0] if stacked else value
        if module.startswith(("embeddings", "blocks")):
            module = f"encoder.{module}"
        if self.config.share_layers and f"{module}.weight" not in self.parameters:
            return re.sub(r"\.blocks\.\d+\.", ".blocks.0.", module)
        return module

    def weight_and_bias(self, value: str) -> tuple[Tensor | None, Tensor | None]:
        """Return the weight and bias that make an intermediate: a third of the stacked ones for a query, key or value;
        None for an intermediate that is made without weights.
        """
        module, stacked = self.module_of(value), stacked_part(value)
        weight, bias = (self.parameters.get(f"{module}.{leaf}") for leaf in ("weight", "bias"))
        if module == "mlm_head.decoder" and weight is None:
            weight = self.parameters["encoder.embeddings.token.weight"]
        if stacked and weight is not None and bias is not None:
            weight, bias = weight.chunk(3)[stacked[1]], bias.chunk(3)[stacked[1]]
        return weight, bias


def finished(
    config: BertConfig,
    values: dict[str, Tensor],
    given: dict[str, Tensor],
    loss: Tensor,
    parameters: Mapping[str, Sequence[nn.Parameter]],
) -> Run:
    """Differentiate `loss`, and return the run that ended with it.

    parameters: minibert's name -> the parameter, or several that minibert stacks into one.
    """
    loss.backward()
    if (positions := values.get("embeddings.position")) is not None:  # (T, E) is the same for all sequences
        values["embeddings.position"] = positions.expand_as(values["embeddings.token"])
    return Run(
        config=config,
        values=values | {"loss": loss.detach()},
        given=given,
        parameters={name: _stacked([part.detach() for part in parts]) for name, parts in parameters.items()},
        gradients={name: _gradient_of(parts) for name, parts in parameters.items()},
    )


def _gradient_of(parts: Sequence[nn.Parameter]) -> Tensor | None:
    """Return the gradient of stacked parameters; None if none of them has one."""
    if all(part.grad is None for part in parts):
        return None
    return _stacked([torch.zeros_like(part) if part.grad is None else part.grad for part in parts])


def _stacked(parts: list[Tensor]) -> Tensor:
    """Return the tensors stacked; a single one is not copied, as it may be large."""
    return torch.cat(parts) if len(parts) > 1 else parts[0]


def run_ours(model: Model, sample: Sample) -> Run:
    """Run minibert's model, which must be in evaluation mode: the values come from a pass that computes all positions,
    loss and gradients from a pass as in use.
    """
    model.zero_grad()
    with torch.no_grad(), watched(model) as calls:
        our_loss(model, sample)
    given = {value: call.inputs[0] for call in calls if call.inputs for value in values_of(call.name)}
    parameters = {name: [parameter] for name, parameter in parameters_of(model).items()}
    return finished(model.config, intermediates(model, calls), given, our_loss(model, sample), parameters)


def our_loss(model: Model, sample: Sample) -> Tensor:
    """Return the loss of minibert's model on `sample`, to be differentiated."""
    arguments = sample.arguments(model)
    if isinstance(model, BertForPreTraining | BertForMaskedLM):
        arguments["masked_positions"] = sample.real_positions
    return loss_of(model, model(**arguments), sample)
