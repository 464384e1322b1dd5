"""A training under way as named tensors, and back: its weights and the state of its optimizers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from minibert.errors import RunStopped
from minibert.training.optimizer import load_optimizer_tensors, named_optimizer_tensors

WEIGHTS = "model/"  # before the names of weights; those of the optimizers' tensors begin otherwise


def snapshot(model: nn.Module, optimizers: Sequence[torch.optim.Optimizer]) -> dict[str, Tensor]:
    """What training changes: trainable parameters, a tied one once, and optimizer state; live tensors, not copies."""
    return {f"{WEIGHTS}{name}": tensor for name, tensor in trained(model).items()} | named_optimizer_tensors(
        model, optimizers
    )


def trained(model: nn.Module) -> dict[str, Tensor]:
    """The weights that training changes, by name."""
    return {
        name: parameter.detach().contiguous() for name, parameter in model.named_parameters() if parameter.requires_grad
    }


@torch.no_grad()
def restore(model: nn.Module, optimizers: Sequence[torch.optim.Optimizer], tensors: Mapping[str, Tensor]) -> None:
    """Puts back what `snapshot` took.

    Raises:
        InputError: optimizer state that does not fit.
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

    Raises:
        RunStopped: one does; the message names it, the step, and the state that is kept, `last_good`.
    """
    for name, parameter in model.named_parameters():
        if not parameter.isfinite().all():
            raise RunStopped(f"step {step}: {name} is not finite; last good state: {last_good}")
