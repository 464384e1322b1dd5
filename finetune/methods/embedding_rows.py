"""Training only those token embeddings whose tokens occur in the training texts.

Of 30,000 tokens a task's texts have a few thousand. The others never get a gradient, and yet gradient, moments and
update of the whole matrix are worked through at every step: of a small model that is half of the time. So the rows in
use become a matrix of their own for as long as training lasts. The rest stay as they were; weight decay, which would
draw them toward 0 by a thousandth over a run, leaves them alone too.
"""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from finetune.tasks.task import Feature
from minibert.heads import TaskModel


class RowsInUse(nn.Module):
    """Takes the place of a token embedding; ids stay what they are."""

    places: Tensor  # (V,) the row of each token here; -1 where it is not in use
    rows: Tensor  # (U,) the row in the whole matrix of each row here

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
        """(B, T) -> (B, T, H); of tokens that are not in use in evaluation mode alone."""
        if not self.training:
            return self.widened()(ids)
        return F.embedding(self.places[ids], self.weight, padding_idx=self.padding_row)

    @torch.no_grad()
    def widened(self) -> nn.Embedding:
        """The whole matrix again, with these rows in it."""
        whole = self.whole[0].to(self.weight.device, self.weight.dtype)
        whole.weight[self.rows] = self.weight
        return whole


def narrow_to(model: TaskModel, features: Iterable[Feature]) -> None:
    """Leaves only the rows of tokens that occur in `features` to be trained; does nothing where none is."""
    whole = model.encoder.embeddings.token
    if not whole.weight.requires_grad:
        return
    used = np.zeros(whole.num_embeddings, bool)
    used[model.config.pad_token_id] = True
    for feature in features:
        for sequence in feature.sequences:
            used[sequence.ids] = True
    model.encoder.embeddings.add_module("token", RowsInUse(whole, torch.from_numpy(np.flatnonzero(used))))


def widen(model: TaskModel) -> None:
    """Makes `model` a plain one again; does nothing where it is."""
    token: nn.Module = model.encoder.embeddings.token
    if isinstance(token, RowsInUse):
        model.encoder.embeddings.token = token.widened()
