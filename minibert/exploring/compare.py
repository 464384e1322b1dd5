"""Two models of the same shape on one text: where their hidden states and their attention differ."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from minibert.errors import InputError
from minibert.exploring.states import as_array, lengths
from minibert.tracing import states_between


def check_comparable(
    model: Mapping[str, Any], other: Mapping[str, Any], pieces: Sequence[str], other_pieces: Sequence[str]
) -> None:
    """Check that two models can be compared: their `record.facts`, and their tokens of the text, as shown.

    Raises InputError if the numbers of layers, heads or hidden dimensions differ, or the text is split differently.
    """
    name, other_name = model["name"], other["name"]
    for field, fact in (("num_hidden_layers", "layers"), ("num_attention_heads", "heads"), ("hidden_size", "hidden")):
        ours, theirs = model[fact], other[fact]
        if ours != theirs:
            raise InputError(
                f"{field} is {theirs} in {other_name}, but {ours} in {name}: only models of the same shape can be "
                "compared"
            )
    if list(pieces) != list(other_pieces):
        raise InputError(f"{other_name} splits the text into different tokens than {name}, so they cannot be compared")


def differences(
    record: Mapping[str, Tensor], other: Mapping[str, Tensor], probabilities: np.ndarray, others: np.ndarray
) -> dict[str, Any]:
    """Return the differences of two traces on the same tokens; probabilities, others: (L, N, T, T).

    hidden: (L + 1, T), the distance between two states divided by their mean norm, after the embeddings and after each
    block: 0 if they are the same, √2 if they are of the same length and at right angles;
    attention: (L, N, T), the total variation distance of what a token gives to all tokens, Σ|p - p'| / 2, from 0 to 1;
    attention_mean: (L, N), its mean over the tokens.
    """
    hidden = []
    for place in states_between(len(probabilities)):
        ours, theirs = as_array(record[place]), as_array(other[place])
        hidden.append(lengths(ours - theirs) / ((lengths(ours) + lengths(theirs)) / 2))
    attention = np.abs(probabilities - others).sum(-1) / 2
    return {"hidden": np.stack(hidden), "attention": attention, "attention_mean": attention.mean(-1)}
