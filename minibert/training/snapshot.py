"""A training under way as named tensors, and back: its weights and the state of its optimizers; and where it begins."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from minibert import checkpoint
from minibert.errors import RunStopped
from minibert.heads import Model
from minibert.tokenizer import Tokenizer
from minibert.training.optimizer import load_optimizer_tensors, named_optimizer_tensors

WEIGHTS = "model/"  # before the names of weights; those of the optimizers' tensors begin otherwise


class StartingModel:
    """The directory that a run begins with: loaded before its data is read, to be refused where it is damaged, and its
    model let go once it is taken."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self._loaded: tuple[Model, Tokenizer] | None = None

    def load(self) -> tuple[Model, Tokenizer]:
        """Once, until the model is taken. Raises InputError: as `checkpoint.load`."""
        self._loaded = self._loaded or checkpoint.load(self.directory)
        return self._loaded

    def take(self) -> Model:
        """The model; loaded anew where it was taken before, for a run from another seed."""
        (model, _), self._loaded = self.load(), None
        return model


class TakenOver(NamedTuple):
    """Where the model to train and the one that it begins with differ: names of parameters, sorted."""

    fresh: list[str]  # of the model to train alone
    left: list[str]  # of the other alone


@torch.no_grad()
def take_over(source: Model, target: nn.Module, *, without_head: bool = False) -> TakenOver:
    """Takes over every parameter that both have; a bare encoder fills the target's encoder.

    without_head: encoder and pooler alone.
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
    """What training changes: trainable parameters, a tied one once, and optimizer state; live tensors, not copies."""
    weights = {f"{WEIGHTS}{name}": tensor for name, tensor in trained(model).items()}
    return weights | named_optimizer_tensors(model, optimizers)


def trained(model: nn.Module) -> dict[str, Tensor]:
    """The weights that training changes, by name."""
    return {name: weight.detach().contiguous() for name, weight in model.named_parameters() if weight.requires_grad}


def restore(model: nn.Module, optimizers: Sequence[torch.optim.Optimizer], tensors: Mapping[str, Tensor]) -> None:
    """Puts back what `snapshot` took.

    Raises InputError: optimizer state that does not fit.
    """
    put_back(model, {name.removeprefix(WEIGHTS): t for name, t in tensors.items() if name.startswith(WEIGHTS)})
    load_optimizer_tensors(model, optimizers, tensors)


@torch.no_grad()
def put_back(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Puts back what `trained` gave."""
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            parameter.copy_(weights[name])


def check_finite(model: nn.Module, *, step: int, last_good: str) -> None:
    """That no parameter holds an infinity or NaN: such a state is not worth keeping.

    Raises RunStopped: one does; the message names it, the step, and the state that is kept, `last_good`.
    """
    for name, parameter in model.named_parameters():
        if not parameter.isfinite().all():
            raise RunStopped(f"step {step}: {name} is not finite; last good state: {last_good}")
