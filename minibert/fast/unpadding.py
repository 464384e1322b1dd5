"""Leaving out what no head uses: padding in the dense layers, and all but some positions in the last block.

A masked-LM head uses a seventh of the positions, a text classifier the first of each sequence; of all others the last
block needs only key and value. Everything but attention treats each position separately, so a block can work on a list
of positions, (R, H), instead of (B, T, H): R positions go in, W come out. The output at each of them is the same.
"""

from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

# R is rounded up to a multiple of B·T / 16 with padding: on a CPU every new size of a matrix product needs a new kernel
# to be built.
STEPS = 16


@dataclass(frozen=True)
class Unpadded:
    """A block's input and output as lists of positions; each is flat, b·T + t."""

    size: tuple[int, int]  # B, T
    given: Tensor | None  # (R,) positions of the input, each once; None: all B·T
    returned: Tensor | None = None  # (W,) positions of the output, all of them in `given`; None: those of the input

    @classmethod
    def of(cls, size: tuple[int, int], keys: Tensor | None, wanted: Tensor) -> Self:
        """Return a layout whose input has all positions that attention or the result needs.

        keys: (B, T) bool, True for keys that may be attended to, or None; wanted: (W,) positions of the result.
        """
        if keys is None:
            return cls(size, None)
        is_needed = keys.flatten().index_fill(0, wanted, True)
        needed, padding = is_needed.nonzero().flatten(), (~is_needed).nonzero().flatten()
        filling = -len(needed) % max(1, len(is_needed) // STEPS)
        return cls(size, torch.cat([needed, padding[:filling]]) if filling < len(padding) else None)

    def returning(self, wanted: Tensor) -> Self:
        """Return the same layout with the positions `wanted`, (W,), as the output."""
        return replace(self, returned=wanted)

    def pad(self, x: Tensor) -> Tensor:
        """Return x as sequences, for attention: (R, ·) -> (B, T, ·), 0 at positions that are not given."""
        if self.given is not None:
            x = x.new_zeros(self.size[0] * self.size[1], x.size(-1)).index_copy(0, self.given, x)
        return x.unflatten(0, self.size)

    def select(self, x: Tensor) -> Tensor:
        """Select the output's positions from all: (B, T, ·) -> (W, ·)"""
        positions = self.given if self.returned is None else self.returned
        return x.flatten(0, 1) if positions is None else x.flatten(0, 1).index_select(0, positions)

    def residual(self, x: Tensor) -> Tensor:
        """Select the output's positions from the input: (R, ·) -> (W, ·), the residual of a sublayer."""
        if self.returned is None:
            return x
        if self.given is None:
            return x.index_select(0, self.returned)
        place = self.given.new_zeros(self.size[0] * self.size[1])
        place[self.given] = torch.arange(len(self.given), device=place.device)
        return x.index_select(0, place[self.returned])
