"""Training only the token embeddings whose tokens occur in the training texts.

A task's texts use a few thousand of 30,000 tokens. The others never get a gradient, and yet every step computes
gradient, moments and update of the whole matrix: half of the time, with a small model. So the rows in use become a
matrix of their own while training lasts. The rest stay as they were, untouched even by weight decay, which would
shrink them by a thousandth over a run.
"""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from finetune.tasks.task import Feature
from minibert.heads import TaskModel


class RowsInUse(nn.Module):
    """A drop-in replacement for a token embedding; ids stay the same."""

    places: Tensor  # (V,) each token's row in this module; -1 if the token is not in use
    rows: Tensor  # (U,) for each row of this module, its row in the whole matrix

    def __init__(self, whole: nn.Embedding, rows: Tensor) -> None:
        """rows: (U,) ids of the tokens in use."""
        super().__init__()
        self.whole = [whole]  # in a list: its parameters are not this module's
        self.weight = nn.Parameter(whole.weight.detach()[rows].clone())  # (U, H)
        places = torch.full((whole.num_embeddings,), -1)
        places[rows] = torch.arange(len(rows))
        self.register_buffer("places", places, persistent=False)
        self.register_buffer("rows", rows, persistent=False)
        padding = -1 if whole.padding_idx is None else int(places[whole.padding_idx])
        self.padding_row = None if padding < 0 else padding

    def forward(self, ids: Tensor) -> Tensor:
        """(B, T) -> (B, T, H); tokens that are not in use are known only in evaluation mode."""
        if not self.training:
            return self.widened()(ids)
        return F.embedding(self.places[ids], self.weight, padding_idx=self.padding_row)

    @torch.no_grad()
    def widened(self) -> nn.Embedding:
        """Return the whole matrix again, with these rows in it."""
        whole = self.whole[0].to(self.weight.device, self.weight.dtype)
        whole.weight[self.rows] = self.weight
        return whole


def narrow_to(model: TaskModel, features: Iterable[Feature], *, pad_id: int) -> None:
    """Train only the rows of tokens that occur in `features`; do nothing if the token embeddings are not trained.

    pad_id: the token that batches are padded with; in Lawformer it is not the config's `pad_token_id`.
    """
    whole = model.encoder.embeddings.token
    if not whole.weight.requires_grad:
        return
    used = np.zeros(whole.num_embeddings, bool)
    used[pad_id] = True
    for feature in features:
        for sequence in feature.sequences:
            used[sequence.ids] = True
    model.encoder.embeddings.add_module("token", RowsInUse(whole, torch.from_numpy(np.flatnonzero(used))))


def widen(model: TaskModel) -> None:
    """Give `model` its whole token embedding again; do nothing if it has it already."""
    token: nn.Module = model.encoder.embeddings.token
    if isinstance(token, RowsInUse):
        model.encoder.embeddings.token = token.widened()
