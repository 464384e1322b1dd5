"""Low-rank adapters (Hu et al. 2021, "LoRA", arXiv 2106.09685): W stays fixed, and W + B·A·(alpha/rank) is used.

Query, key and value are one matrix (3H, H) here, and each adapter changes H rows. Merging puts the sum in W's place,
and the model is a plain one again.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from minibert.heads import TaskModel
from minibert.model import SelfAttention

PROJECTIONS = ("query", "key", "value")  # their order in the rows of `SelfAttention.query_key_value`


class AdaptedProjections(nn.Module):
    """A layer's query, key and value with adapters for some of the three. At first the adapters add nothing."""

    is_position_wise = True  # for `minibert.fast`: the output at a position depends only on that position

    def __init__(
        self, base: nn.Linear, *, rank: int, alpha: float, targets: Sequence[str], generator: torch.Generator
    ) -> None:
        super().__init__()
        hidden = base.in_features
        self.base = base
        self.scale = alpha / rank
        self.targets = [name for name in PROJECTIONS if name in targets]
        # As in the paper: A is random, so that B gets a gradient, and B is zero.
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
        """Merge the adapters into the base, in place, and return the base: a plain matrix that computes the same."""
        for number, name in enumerate(self.targets):
            rows = self.base.weight.chunk(3)[PROJECTIONS.index(name)]
            rows += self.scale * (self.up[number] @ self.down[number])
        return self.base


def add_adapters(
    model: TaskModel, *, rank: int, alpha: float, targets: Sequence[str], generator: torch.Generator
) -> None:
    """Freeze the encoder and give each layer adapters; only they and the head are trained."""
    model.encoder.requires_grad_(False)
    for attention, name in projections(model):
        base = attention.get_submodule(name)
        assert isinstance(base, nn.Linear)
        adapted = AdaptedProjections(base, rank=rank, alpha=alpha, targets=targets, generator=generator)
        attention.add_module(name, adapted)  # in place of the matrix


def merge_adapters(model: TaskModel) -> None:
    """Merge all adapters, which makes `model` a plain one again; do nothing if there are none."""
    for attention, name in projections(model):
        adapted = attention.get_submodule(name)
        if isinstance(adapted, AdaptedProjections):
            attention.add_module(name, adapted.merged())
    model.encoder.requires_grad_(True)


def projections(model: TaskModel) -> list[tuple[SelfAttention, str]]:
    """Return each layer's attention with the name of its query, key and value, a Longformer's also with that of global
    tokens."""
    return [
        (attention, name)
        for attention in model.encoder.modules()
        if isinstance(attention, SelfAttention)
        for name, _ in attention.named_children()
        if name.endswith("query_key_value")
    ]
