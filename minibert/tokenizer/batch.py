"""What encoding gives: `Encoding`, one sequence as the model reads it, and `Batch`, several padded to one length.

torch is imported only where tensors are made: the worker processes of `pretrain prepare` have no use for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    import torch


class Encoding(NamedTuple):
    """A text as [CLS] A [SEP], or a pair as [CLS] A [SEP] B [SEP]: T tokens, without padding."""

    ids: NDArray[np.int32]  # (T,)
    second: int  # where the second segment begins; T where there is none


@dataclass(frozen=True, repr=False)
class Batch:
    """Encoded texts, padded on the right. B texts (or pairs), T tokens in the longest (or `max_length`).

    offsets hold the [start, end) characters of a token in its own text, which `sequence_ids` tells: segments don't,
    where a tokenizer has one for both texts. [CLS], [SEP] and padding have (0, 0).
    special_tokens_mask is True at [PAD], [CLS], [SEP] and [MASK], also where the text itself spelled one of them;
    not at [UNK], which stands for a word of the text.
    """

    input_ids: torch.Tensor  # (B, T) int64
    token_type_ids: torch.Tensor  # (B, T) int64: 0 in the first segment and in padding, in the second 1 or 0
    sequence_ids: torch.Tensor  # (B, T) int64: 0 at a token of the first text, 1 of the second, -1 where of none
    attention_mask: torch.Tensor  # (B, T) bool: True at a real token, False at padding
    special_tokens_mask: torch.Tensor  # (B, T) bool
    offsets: torch.Tensor  # (B, T, 2) int64, characters
    lengths: torch.Tensor  # (B,) int64: real tokens, [CLS] and [SEP] counted

    def to(self, device: torch.device | str) -> Batch:
        """The same batch with every tensor on `device`."""
        return Batch(**{field.name: getattr(self, field.name).to(device) for field in fields(self)})

    def __len__(self) -> int:
        return len(self.input_ids)

    def __repr__(self) -> str:
        return f"Batch(texts={len(self)}, width={self.input_ids.shape[1]}, tokens={int(self.lengths.sum())})"


def pad(rows: Sequence[ArrayLike], value: int, *, length: int | None = None) -> torch.Tensor:
    """Rows (t, ...) of whole numbers, of unequal t, as one (B, T, ...) int64, filled up with `value` on the right.

    length: T, which no t may exceed; None: the longest.
    """
    import torch

    arrays = [np.asarray(row) for row in rows]
    longest = max(map(len, arrays)) if length is None else length
    padded = np.full((len(arrays), longest, *arrays[0].shape[1:]), value, dtype=np.int64)
    for row, array in zip(padded, arrays, strict=True):
        row[: len(array)] = array
    return torch.from_numpy(padded)
