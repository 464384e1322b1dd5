"""What is computed for each token: the embeddings and their sum, then the output of each part of each block."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from minibert.heads import Model
from minibert.tracing import states_between

Array = NDArray[np.float32]

# Shown value by value, under the names of `minibert.tracing`: (T, H) each, heads side by side.
EMBEDDINGS = ("token", "position", "segment", "sum", "norm", "projection")  # those that the model has
BLOCK_VALUES = ("attention.query", "attention.key", "attention.value", "attention.output", "attention_norm",
                "feed_forward.output", "feed_forward_norm")  # fmt: skip
GLOBAL_KEY = "attention.global_key"  # what the queries of a Longformer's global tokens are multiplied by
# Shown by their norms.
BLOCK_NORMS = (
    *BLOCK_VALUES[:3], "attention.context", "attention.output", "attention.sum", "attention_norm",
    "feed_forward.inner", "feed_forward.activation", "feed_forward.output", "feed_forward.sum", "feed_forward_norm",
)  # fmt: skip


def embedding_states(record: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return each token's embeddings (BERT section 3, figure 2).

    values: name -> (T, E), the projection's (T, H); norms: name -> (T,), the Euclidean length of each.
    """
    there = [name for name in EMBEDDINGS if f"embeddings.{name}" in record]
    values = {name: as_array(record[f"embeddings.{name}"]) for name in there}
    return {"values": values, "norms": {name: lengths(value) for name, value in values.items()}}


def block_states(model: Model, record: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return what each block computes for each token (Vaswani et al. 2017, sections 3.1 to 3.3).

    values: name -> (L, T, H), queries, keys and values with their heads side by side; norms: name -> (L, T);
    stream: (L, T), the norm of each block's input; added: sublayer -> (L, T), the norm of the sublayer's output,
    divided by the norm of what it is added to.
    """
    layers = model.config.num_hidden_layers
    traced = {name: stacked(record, name, layers) for name in BLOCK_NORMS}
    given = np.stack([as_array(record[before]) for before in states_between(layers)[:-1]])
    norms = {name: lengths(value) for name, value in traced.items()}
    added = {
        "attention": norms["attention.output"] / lengths(given),
        "feed_forward": norms["feed_forward.output"] / norms["attention_norm"],
    }
    values = {name: traced[name] for name in BLOCK_VALUES}
    if f"blocks.0.{GLOBAL_KEY}" in record:
        values[GLOBAL_KEY] = stacked(record, GLOBAL_KEY, layers)
    return {"values": values, "norms": norms, "stream": lengths(given), "added": added}


def stacked(record: Mapping[str, Tensor], name: str, layers: int) -> Array:
    """Return one intermediate of all blocks, (L, T, …); one that is computed for each head, as (L, T, H)."""
    parts = [record[f"blocks.{layer}.{name}"] for layer in range(layers)]
    return np.stack([as_array(part.transpose(1, 2).flatten(2) if part.ndim == 4 else part) for part in parts])


def as_array(tensor: Tensor) -> Array:
    """Return an intermediate without the batch of one, (1, T, …) -> (T, …); one without a batch is not changed."""
    tensor = tensor[0] if tensor.ndim > 2 else tensor
    return tensor.detach().float().cpu().numpy()


def lengths(values: Array) -> Array:
    """Return Euclidean norms: (…, H) -> (…,)."""
    return np.linalg.norm(values, axis=-1)
