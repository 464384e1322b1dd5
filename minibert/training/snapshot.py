"""A run's weights and optimizer state as named tensors, to save and restore; and the model that a run starts with."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from minibert import checkpoint
from minibert.errors import RunStopped
from minibert.heads import Model
from minibert.tokenizer import Tokenizer
from minibert.training.optimizer import load_optimizer_tensors, named_optimizer_tensors

WEIGHTS = "model/"  # prefix of the weights' names; optimizer tensors have another one


class StartingModel:
    """The model directory that a run starts with: loaded before the data, to refuse a damaged one early."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self._loaded: tuple[Model, Tokenizer] | None = None

    def load(self) -> tuple[Model, Tokenizer]:
        """Load the directory, once until the model is taken. Raises InputError as `checkpoint.load` does."""
        self._loaded = self._loaded or checkpoint.load(self.directory)
        return self._loaded

    def take(self) -> Model:
        """Return and release the model; if it was already taken, load it again, for a run with another seed."""
        (model, _), self._loaded = self.load(), None
        return model


class TakenOver(NamedTuple):
    """The parameters in which the model to train and the one that it starts from differ: sorted names."""

    fresh: list[str]  # only in the model to train
    left: list[str]  # only in the model that it starts from


@torch.no_grad()
def take_over(source: Model, target: nn.Module, *, without_head: bool = False) -> TakenOver:
    """Copy every parameter that both models have into `target`; a bare encoder fills the target's encoder.

    without_head: copy only encoder and pooler.
    """
    known = checkpoint.weights_of(source)
    if source is source.encoder:
        known = {f"encoder.{name}": tensor for name, tensor in known.items()}
    if without_head:
        known = {name: tensor for name, tensor in known.items() if name.startswith(("encoder.", "pooler."))}
    parameters = dict(target.named_parameters())
    for name in parameters.keys() & known.keys():
        parameters[name].copy_(known[name])
    return TakenOver(fresh=sorted(parameters.keys() - known.keys()), left=sorted(known.keys() - parameters.keys()))


def snapshot(model: nn.Module, optimizers: Sequence[torch.optim.Optimizer]) -> dict[str, Tensor]:
    """Return what training changes: trainable parameters (tied ones once) and optimizer state, live, not copied."""
    weights = {f"{WEIGHTS}{name}": tensor for name, tensor in trained(model).items()}
    return weights | named_optimizer_tensors(model, optimizers)


def trained(model: nn.Module) -> dict[str, Tensor]:
    """Return the weights that training changes, by name."""
    return {name: weight.detach().contiguous() for name, weight in model.named_parameters() if weight.requires_grad}


def restore(model: nn.Module, optimizers: Sequence[torch.optim.Optimizer], tensors: Mapping[str, Tensor]) -> None:
    """Restore what `snapshot` returned.

    Raises InputError if the optimizer state does not fit.
    """
    put_back(model, {name.removeprefix(WEIGHTS): t for name, t in tensors.items() if name.startswith(WEIGHTS)})
    load_optimizer_tensors(model, optimizers, tensors)


@torch.no_grad()
def put_back(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Restore what `trained` returned."""
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            parameter.copy_(weights[name])


def check_finite(model: nn.Module, *, step: int, last_good: str) -> None:
    """Check that no parameter holds an infinity or NaN: such a state is not worth saving.

    Raises RunStopped if one does, naming the parameter, the step, and the state that is kept, `last_good`.
    """
    for name, parameter in model.named_parameters():
        if not parameter.isfinite().all():
            raise RunStopped(f"step {step}: {name} is not finite; last good state: {last_good}")
