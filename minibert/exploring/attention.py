"""Which token attends to which: every head's probabilities, and a few figures that tell heads apart.

Vaswani et al. 2017, equation 1. The figures are those by which Clark et al. 2019, "What Does BERT Look At?" (arXiv
1906.04341, section 3), describe heads: how widely a head attends, and how much to neighbours and special tokens.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from minibert.tokenizer import Batch, Tokenizer

Floats = NDArray[np.float64]


def attention_of(record: Mapping[str, Tensor], batch: Batch, tokenizer: Tokenizer, layers: int) -> dict[str, Any]:
    """Return probabilities, (L, N, T, T), row the attending token, column the one attended to; and `head_figures`."""
    probabilities = np.stack(
        [record[f"blocks.{layer}.attention.probabilities"][0].float().cpu().numpy() for layer in range(layers)]
    )
    ids = batch.input_ids[0].cpu().numpy()
    cls, sep = ids == tokenizer.cls_id, ids == tokenizer.sep_id
    texts = batch.sequence_ids[0].cpu().numpy()
    figures = head_figures(probabilities.astype(np.float64), cls=cls, sep=sep, sequence_ids=texts)
    return {"probabilities": probabilities, "figures": figures}


def with_own_rows(record: Mapping[str, Tensor], is_global: Tensor) -> dict[str, Tensor]:
    """Return a trace in which a Longformer's global tokens have the queries, probabilities and contexts that are used:
    their own, and not those that the others' projections give them. is_global: (T,) bool
    """
    merged = dict(record)
    for name, tensor in record.items():
        part = name.replace(".attention.global_", ".attention.")
        if part != name and part.endswith(("query", "probabilities", "context")):
            merged[part] = torch.where(is_global[:, None], tensor, record[part])
    return merged


def opening_of(
    probabilities: NDArray[np.float32], batch: Batch, tokenizer: Tokenizer, pieces: Sequence[str]
) -> dict[str, Any]:
    """Return the head and the two tokens that the page opens with, and why, as a sentence; pieces: T, as shown."""
    ids = batch.input_ids[0].cpu().numpy()
    lettered = np.array([any(letter.isalnum() for letter in piece) for piece in pieces])
    words = lettered & ~batch.special_tokens_mask[0].cpu().numpy()
    masked = ids == tokenizer.mask_id
    asked = int(masked.argmax()) if masked.any() else None
    goes_on = tokenizer.continuation_mask[ids]
    (layer, head, looking, seen), among = strongest(probabilities, words=words, goes_on=goes_on, asked=asked)
    value = float(probabilities[layer, head, looking, seen])
    kind = "word" if among == "words" else "token"
    looks, whom = f"one {kind}", f"another {kind}"
    if asked is not None:
        looks, whom = f"the first {tokenizer.special_tokens.mask}", f"a {kind}"
    if among == "words":
        whom += " that is not its neighbour"
    why = (
        f"The page opens with the largest attention weight in any head, from {looks} to {whom}: "
        f"{value:.4f} in block {layer}, head {head}, from “{pieces[looking]}” (token {looking}) to “{pieces[seen]}” "
        f"(token {seen})."
    )
    return {"layer": layer, "head": head, "from": looking, "to": seen, "value": value, "why": why}


def strongest(
    probabilities: NDArray[np.float32], *, words: NDArray[np.bool_], goes_on: NDArray[np.bool_], asked: int | None
) -> tuple[tuple[int, int, int, int], str]:
    """Return the attention that says most about a text: (layer, head, from, to), and "words" or "all".

    It is the largest from one word to another that is not its neighbour: many heads attend to special tokens,
    punctuation and neighbours whatever the text says (Clark et al. 2019, sections 3.1 and 3.2). Words with only
    punctuation between them, as in didn't, are neighbours; so are a neighbour's pieces and a word's own. If a token is
    asked about, only attention from it counts. If no words are far enough apart, it is the largest to any other token.

    probabilities: (L, N, T, T); words: (T,), True at a word or a piece of one; goes_on: (T,), True at a piece that
    continues the word before it; asked: the position of [MASK].
    """
    tokens = np.arange(len(words))
    looking = words if asked is None else tokens == asked
    number = np.cumsum((words | looking) & ~goes_on)
    pairs = looking[:, None] & words & (abs(number[:, None] - number) > 1)
    among = "words"
    if not pairs.any():
        pairs = (tokens[:, None] != tokens) & (asked is None or tokens[:, None] == asked)
        among = "all"
    layer, head, row, column = np.unravel_index(np.where(pairs, probabilities, -1).argmax(), probabilities.shape)
    return (int(layer), int(head), int(row), int(column)), among


def head_figures(
    probabilities: Floats, *, cls: NDArray[np.bool_], sep: NDArray[np.bool_], sequence_ids: NDArray[np.int64]
) -> dict[str, Floats]:
    """Return figures by name, (L, N) each, as a mean over the tokens that attend.

    probabilities: (L, N, T, T); cls, sep: (T,) True at these tokens; sequence_ids: (T,) as in `Batch`.

    entropy: in bits, 0 for a head that attends to one token, log2 T for one that attends to all alike;
    self, previous, next: the share of the attention on the token itself and its neighbours (over those that have one);
    cls, sep: on all tokens of that kind;
    for a pair also a_to_a, a_to_b, b_to_a, b_to_b: what the tokens of one text give to the tokens of the other; the
    [CLS] and [SEP] put around the texts belong to neither.
    """
    figures = {"entropy": entropy(probabilities).mean(-1)}
    for name, shift in (("self", 0), ("previous", -1), ("next", 1)):
        figures[name] = np.diagonal(probabilities, shift, axis1=-2, axis2=-1).mean(-1)
    for name, kind in (("cls", cls), ("sep", sep)):
        figures[name] = probabilities[..., kind].sum(-1).mean(-1)
    if (sequence_ids == 1).any():
        texts = {"a": sequence_ids == 0, "b": sequence_ids == 1}
        for looking, queries in texts.items():
            for seen, keys in texts.items():
                figures[f"{looking}_to_{seen}"] = probabilities[..., queries, :][..., keys].sum(-1).mean(-1)
    return figures


def entropy(probabilities: Floats) -> Floats:
    """Return Shannon's entropy in bits, (…, T) -> (…,), with 0 log 0 = 0."""
    logarithms = np.log2(probabilities, out=np.zeros_like(probabilities), where=probabilities > 0)
    return -(probabilities * logarithms).sum(-1)
