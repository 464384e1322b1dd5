"""Leaving out what nobody asks for: padding in the dense layers, and all but some positions in the last block.

A masked-LM head looks at a seventh of the positions, a classifier at the first of each sequence; in the last block no
other needs more than its key and value. Everything but attention treats each position alone, so a block can work on a
list of rows, (R, H), in place of (B, T, H). What comes out at a position is the same.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

# The rows are filled up, with padding, to a multiple of a sixteenth of all: on a processor every new size of a matrix
# product has its kernel built anew.
STEPS = 16


class Rows:
    """What a block is given and gives: here all positions, as they stand, so that nothing has to be moved."""

    def side_by_side(self, x: Tensor) -> Tensor:
        """A block's input by sequences, as attention takes it: -> (B, T, ·)"""
        return x

    def chosen(self, x: Tensor) -> Tensor:
        """What is to come out, of all positions: (B, T, ·) ->"""
        return x

    def kept(self, x: Tensor) -> Tensor:
        """What is to come out, of a block's input."""
        return x


ALL = Rows()


@dataclass(frozen=True)
class ListedRows(Rows):
    """Some positions, one under the other; each is flat, b·T + t."""

    size: tuple[int, int]  # B, T
    inside: Tensor | None  # (R,), each once; None: all B·T
    outside: Tensor | None = None  # (W,), each among `inside`; None: the same as inside

    @classmethod
    def needed(cls, size: tuple[int, int], mask: Tensor | None, wanted: Tensor) -> Self:
        """All keys that are looked at, and what is wanted. mask: (B, 1, 1, T), True at keys; wanted: (W,)"""
        if mask is None or mask.device.type != "cpu":  # a GPU would be waited for, to count the rows
            return cls(size, None)
        is_needed = mask.flatten().index_fill(0, wanted, True)
        needed, padding = is_needed.nonzero().flatten(), (~is_needed).nonzero().flatten()
        filling = -len(needed) % max(1, len(is_needed) // STEPS)
        return cls(size, torch.cat([needed, padding[:filling]]) if filling < len(padding) else None)

    def giving(self, wanted: Tensor) -> Self:
        """The same input, but only `wanted`, (W,), comes out."""
        return replace(self, outside=wanted)

    def side_by_side(self, x: Tensor) -> Tensor:
        """(R, ·) -> (B, T, ·), 0 at what is not inside."""
        if self.inside is not None:
            x = x.new_zeros(self.size[0] * self.size[1], x.size(-1)).index_copy(0, self.inside, x)
        return x.unflatten(0, self.size)

    def chosen(self, x: Tensor) -> Tensor:
        """(B, T, ·) -> (R, ·) or (W, ·)"""
        positions = self.inside if self.outside is None else self.outside
        return x.flatten(0, 1) if positions is None else x.flatten(0, 1).index_select(0, positions)

    def kept(self, x: Tensor) -> Tensor:
        """(R, ·) -> (R, ·) or (W, ·)"""
        if self.outside is None:
            return x
        if self.inside is None:
            return x.index_select(0, self.outside)
        place = self.inside.new_zeros(self.size[0] * self.size[1])
        place[self.inside] = torch.arange(len(self.inside), device=place.device)
        return x.index_select(0, place[self.outside])
