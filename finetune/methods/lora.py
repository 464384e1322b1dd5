"""Low-rank adapters (Hu et al. 2021, "LoRA", arXiv 2106.09685): W stays as it is, and W + B·A·(alpha/rank) is used.

Our query, key and value are one matrix (3H, H), of which each adapter changes H rows. Merged, the sum takes W's place
and the model is a plain one again.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from minibert.heads import TaskModel
from minibert.model import SelfAttention

PROJECTIONS = ("query", "key", "value")  # as they lie in `SelfAttention.query_key_value`, from top to bottom


class AdaptedProjections(nn.Module):
    """Query, key and value of a layer, with adapters for some of the three. At first the adapters add nothing."""

    is_position_wise = True  # for `minibert.fast`: what it answers at a position depends on that one alone

    def __init__(
        self, base: nn.Linear, *, rank: int, alpha: float, targets: Sequence[str], generator: torch.Generator
    ) -> None:
        super().__init__()
        hidden = base.in_features
        self.base = base
        self.scale = alpha / rank
        self.targets = [name for name in PROJECTIONS if name in targets]
        # As the authors have it: A random, so that it has a gradient's direction to pick from, and B zero.
        bound = 1 / math.sqrt(hidden)
        down = torch.rand(len(self.targets), rank, hidden, generator=generator) * 2 * bound - bound
        self.down = nn.Parameter(down)  # A: (targets, rank, H)
        self.up = nn.Parameter(torch.zeros(len(self.targets), hidden, rank))  # B: (targets, H, rank)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, H) -> (B, T, 3H)"""
        parts = list(self.base(x).chunk(3, dim=-1))
        for number, name in enumerate(self.targets):
            added = (x @ self.down[number].T) @ self.up[number].T
            parts[PROJECTIONS.index(name)] = parts[PROJECTIONS.index(name)] + self.scale * added
        return torch.cat(parts, dim=-1)

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """The plain matrix that does the same; it is the base's own, changed."""
        for number, name in enumerate(self.targets):
            rows = self.base.weight.chunk(3)[PROJECTIONS.index(name)]
            rows += self.scale * (self.up[number] @ self.down[number])
        return self.base


def add_adapters(
    model: TaskModel, *, rank: int, alpha: float, targets: Sequence[str], generator: torch.Generator
) -> None:
    """Freezes the encoder and gives each layer adapters; they and what stands on the encoder are trained."""
    model.encoder.requires_grad_(False)
    for attention in attentions(model):
        base = attention.query_key_value
        adapted = AdaptedProjections(base, rank=rank, alpha=alpha, targets=targets, generator=generator)
        attention.add_module("query_key_value", adapted)  # in place of the matrix


def merge_adapters(model: TaskModel) -> None:
    """Makes `model` a plain one again; does nothing where there are no adapters."""
    for attention in attentions(model):
        adapted: nn.Module = attention.query_key_value
        if isinstance(adapted, AdaptedProjections):
            attention.query_key_value = adapted.merged()
    model.encoder.requires_grad_(True)


def attentions(model: TaskModel) -> list[SelfAttention]:
    """Each layer's attention."""
    return [module for module in model.encoder.modules() if isinstance(module, SelfAttention)]
