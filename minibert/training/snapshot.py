"""A training under way as named tensors, and back: its weights and the state of its optimizers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from minibert.training.optimizer import load_optimizer_tensors, named_optimizer_tensors

WEIGHTS = "model/"  # before the names of weights; those of the optimizers' tensors begin otherwise


def snapshot(model: nn.Module, optimizers: Sequence[torch.optim.Optimizer]) -> dict[str, Tensor]:
    """Every parameter, a tied one once, and every optimizer's state; the live tensors, not copies."""
    weights = {f"{WEIGHTS}{name}": parameter.detach().contiguous() for name, parameter in model.named_parameters()}
    return weights | named_optimizer_tensors(model, optimizers)


@torch.no_grad()
def restore(model: nn.Module, optimizers: Sequence[torch.optim.Optimizer], tensors: Mapping[str, Tensor]) -> None:
    """Puts back what `snapshot` took.

    Raises:
        InputError: optimizer state that does not fit.
    """
    for name, parameter in model.named_parameters():
        parameter.copy_(tensors[WEIGHTS + name])
    load_optimizer_tensors(model, optimizers, tensors)


def first_not_finite(model: nn.Module) -> str | None:
    """The name of a parameter that holds an infinity or NaN: such a state is not worth keeping."""
    return next((name for name, parameter in model.named_parameters() if not parameter.isfinite().all()), None)
