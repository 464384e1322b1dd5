"""The results of encoding: `Encoding`, one sequence as the model reads it, and `Batch`, several padded to one length.

torch is imported only when tensors are made: the worker processes of `pretrain prepare` don't need it.
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
    second: int  # the position at which the second segment begins; T if there is no second segment


@dataclass(frozen=True, repr=False)
class Batch:
    """Encoded texts, padded on the right. B texts (or pairs), T tokens in the longest (or `max_length`).

    offsets are the [start, end) characters of each token in its text. `sequence_ids` says which text that is; segment
    ids can't, since some tokenizers use one segment for both texts. [CLS], [SEP] and padding have (0, 0).
    special_tokens_mask is True at [PAD], [CLS], [SEP] and [MASK], even if the text itself spells one of them out, but
    not at [UNK], which stands for a word of the text.
    """

    input_ids: torch.Tensor  # (B, T) int64
    token_type_ids: torch.Tensor  # (B, T) int64: 0 in the first segment and in padding, 1 or 0 in the second
    sequence_ids: torch.Tensor  # (B, T) int64: 0 for a token of the first text, 1 for the second, -1 for neither
    attention_mask: torch.Tensor  # (B, T) bool: True at a real token, False at padding
    special_tokens_mask: torch.Tensor  # (B, T) bool
    offsets: torch.Tensor  # (B, T, 2) int64, characters
    lengths: torch.Tensor  # (B,) int64: real tokens, including [CLS] and [SEP]

    def to(self, device: torch.device | str) -> Batch:
        """Return the batch with every tensor on `device`."""
        return Batch(**{field.name: getattr(self, field.name).to(device) for field in fields(self)})

    def __len__(self) -> int:
        return len(self.input_ids)

    def __repr__(self) -> str:
        return f"Batch(texts={len(self)}, width={self.input_ids.shape[1]}, tokens={int(self.lengths.sum())})"


def pad(rows: Sequence[ArrayLike], value: int, *, length: int | None = None) -> torch.Tensor:
    """Pad integer rows (t, ...) of different t on the right with `value`, into one (B, T, ...) int64 tensor.

    length: T, which no t may exceed; None means the longest t.
    """
    import torch

    arrays = [np.asarray(row) for row in rows]
    longest = max(map(len, arrays)) if length is None else length
    padded = np.full((len(arrays), longest, *arrays[0].shape[1:]), value, dtype=np.int64)
    for row, array in zip(padded, arrays, strict=True):
        row[: len(array)] = array
    return torch.from_numpy(padded)
