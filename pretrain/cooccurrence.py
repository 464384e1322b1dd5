"""Token vectors computed from the text before training: tokens with similar neighbours point the same way.

A token is described by the tokens one and two places before and after it, each place on its own, by their positive
pointwise mutual information: max(0, log P(token, neighbour) / (P(token) P(neighbour))). The largest singular directions
of that matrix are kept. Levy & Goldberg 2014, "Neural Word Embedding as Implicit Matrix Factorization", and
Levy, Goldberg & Dagan 2015 (TACL 3) for the exponents; the singular vectors by random projection: Halko, Martinsson &
Tropp 2011 (arXiv 0909.4061), algorithm 4.4.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

DISTANCES = (-2, -1, 1, 2)  # of the neighbours, in tokens
FEWEST = 20  # neighbours that a token must have been seen with: fewer are mostly chance
MOST_NEIGHBOURS = 1024  # the most frequent tokens, which serve as neighbours ...
MOST_CELLS = 2**24  # ... and fewer of them if the vocabulary is large: the matrix takes 256 MB at most
MOST_TOKENS = 5_000_000  # a larger text is sampled
SMOOTHING = 0.75  # exponent of the neighbours' frequencies: it makes rare neighbours less surprising


def cooccurrence_vectors(tokens: NDArray, vocab_size: int, size: int, *, generator: torch.Generator) -> Tensor:
    """Return a vector for each token, (V, size) float32: of length 1, or 0 if the text says too little about the token.

    tokens: (n,) the training text.
    """
    surprise = neighbour_surprise(sample(tokens), vocab_size)
    directions, strengths = largest_directions(surprise, min(size, *surprise.shape), generator=generator)
    vectors = directions * strengths.sqrt()
    known = surprise.any(1)
    vectors[known] -= vectors[known].mean(0)  # what all tokens share distinguishes none of them
    vectors[~known] = 0
    return F.pad(F.normalize(vectors), (0, size - vectors.size(1)))


def sample(tokens: NDArray) -> NDArray[np.int64]:
    """Return the whole text, or `MOST_TOKENS` of it in stretches that are spread evenly."""
    stretches = 100
    if len(tokens) <= MOST_TOKENS:
        return np.asarray(tokens, np.int64)
    starts = np.linspace(0, len(tokens) - MOST_TOKENS // stretches, stretches).astype(np.int64)
    return np.concatenate([tokens[start : start + MOST_TOKENS // stretches] for start in starts]).astype(np.int64)


def neighbour_surprise(tokens: NDArray[np.int64], vocab_size: int) -> Tensor:
    """Return the positive pointwise mutual information of tokens with the C most frequent tokens nearby, (V, 4 C).

    The row of a token that was seen with fewer than `FEWEST` neighbours is zero.
    """
    frequent = np.argsort(-np.bincount(tokens, minlength=vocab_size), kind="stable")
    frequent = frequent[: min(MOST_NEIGHBOURS, MOST_CELLS // vocab_size)]
    column = np.full(vocab_size, -1)
    column[frequent] = np.arange(len(frequent))
    counts = torch.empty(vocab_size, len(DISTANCES), len(frequent))
    for place, distance in enumerate(DISTANCES):
        token, neighbour = shifted(tokens, distance)
        columns = column[neighbour]
        cells = (token * len(frequent) + columns)[columns >= 0]
        counted = np.bincount(cells, minlength=vocab_size * len(frequent))
        counts[:, place] = torch.from_numpy(counted).view(vocab_size, len(frequent))
    counts = counts.flatten(1)
    of_token = counts.sum(1, keepdim=True)
    of_neighbour = counts.sum(0).pow(SMOOTHING)
    expected = of_token.clamp(min=FEWEST) * of_neighbour.div(of_neighbour.sum().clamp(min=1)).clamp(min=1e-30)
    return counts.div_(expected).log_().clamp_(min=0).mul_(of_token >= FEWEST)


def shifted(tokens: NDArray[np.int64], distance: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pair each token with the one `distance` places after it, or before it if `distance` is negative."""
    return (tokens[:-distance], tokens[distance:]) if distance > 0 else (tokens[-distance:], tokens[:distance])


def largest_directions(matrix: Tensor, count: int, *, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Approximate a matrix's `count` largest left singular vectors (rows, count) and singular values (count,)."""
    probe = torch.randn(matrix.size(1), count, generator=generator)
    basis = torch.linalg.qr(matrix @ probe).Q
    for _ in range(2):
        basis = torch.linalg.qr(matrix.T @ basis).Q
        basis = torch.linalg.qr(matrix @ basis).Q
    inside, values, _ = torch.linalg.svd(basis.T @ matrix, full_matrices=False)
    return basis @ inside, values
