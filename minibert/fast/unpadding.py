"""Leaving out what no head looks at: padding in the dense layers, and in the last block all but some positions.

A masked-LM head looks at a seventh of the positions, a text classifier at the first of each sequence; in the last block
no other needs more than its key and value. Everything but attention treats each position alone, so a block can work on
a list of them, (R, H), in place of (B, T, H): R positions go in, W come out. What comes out at one is the same.
"""

from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

# R is a multiple of a sixteenth of B·T, filled up with padding: on a CPU every new size of a matrix product has its
# kernel built anew.
STEPS = 16


@dataclass(frozen=True)
class Unpadded:
    """A block's input and output as lists of positions; each is flat, b·T + t."""

    size: tuple[int, int]  # B, T
    given: Tensor | None  # (R,) positions of the input, each once; None: all B·T
    returned: Tensor | None = None  # (W,) of the output, all of them given; None: as the input

    @classmethod
    def of(cls, size: tuple[int, int], keys: Tensor | None, wanted: Tensor) -> Self:
        """Gives whatever attention looks at, and what is wanted in the end.

        keys: (B, T) bool, True where a key may be looked at, or None; wanted: (W,).
        """
        if keys is None:
            return cls(size, None)
        is_needed = keys.flatten().index_fill(0, wanted, True)
        needed, padding = is_needed.nonzero().flatten(), (~is_needed).nonzero().flatten()
        filling = -len(needed) % max(1, len(is_needed) // STEPS)
        return cls(size, torch.cat([needed, padding[:filling]]) if filling < len(padding) else None)

    def returning(self, wanted: Tensor) -> Self:
        """The same input, with `wanted`, (W,), as the output."""
        return replace(self, returned=wanted)

    def pad(self, x: Tensor) -> Tensor:
        """By sequences, as attention takes it: (R, ·) -> (B, T, ·), 0 at what is not given."""
        if self.given is not None:
            x = x.new_zeros(self.size[0] * self.size[1], x.size(-1)).index_copy(0, self.given, x)
        return x.unflatten(0, self.size)

    def select(self, x: Tensor) -> Tensor:
        """The output's positions out of all: (B, T, ·) -> (W, ·)"""
        positions = self.given if self.returned is None else self.returned
        return x.flatten(0, 1) if positions is None else x.flatten(0, 1).index_select(0, positions)

    def residual(self, x: Tensor) -> Tensor:
        """The output's positions out of the input: (R, ·) -> (W, ·), what is added to a sublayer's output."""
        if self.returned is None:
            return x
        if self.given is None:
            return x.index_select(0, self.returned)
        place = self.given.new_zeros(self.size[0] * self.size[1])
        place[self.given] = torch.arange(len(self.given), device=place.device)
        return x.index_select(0, place[self.returned])
