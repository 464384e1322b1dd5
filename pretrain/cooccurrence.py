"""Vectors in which tokens with like neighbours point the same way, computed from the text before anything is trained.

A token is described by the tokens that stand one and two places before and after it, each place on its own: by the
positive pointwise mutual information of the two, max(0, log P(token, neighbour) / (P(token) P(neighbour))). The largest
singular directions of that matrix are what a table of embeddings has room for. Levy & Goldberg 2014, "Neural Word
Embedding as Implicit Matrix Factorization", and Levy, Goldberg & Dagan 2015 (TACL 3) for the exponents; the singular
vectors by random projection: Halko, Martinsson & Tropp 2011 (arXiv 0909.4061), algorithm 4.4.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

DISTANCES = (-2, -1, 1, 2)  # of the neighbours, in tokens
MOST_NEIGHBOURS = 1024  # the most frequent tokens are the ones that describe: it bounds the matrix to V x 4096
MOST_TOKENS = 5_000_000  # of a larger text, a sample
RARE = 20  # a token seen so often has its row halved: what so few neighbours say is half chance
SMOOTHING = 0.75  # exponent of the neighbours' frequencies: rare neighbours count for less than their surprise


def cooccurrence_vectors(tokens: NDArray, vocab_size: int, size: int, *, generator: torch.Generator) -> Tensor:
    """(V, size) float32: a row of length 1 for each token, of length 0 for those of which the text says nothing.

    tokens: (n,) the training text.
    """
    surprise = neighbour_surprise(sample(tokens), vocab_size)
    directions, strengths = largest_directions(surprise, min(size, *surprise.shape), generator=generator)
    vectors = directions * strengths.sqrt()
    vectors -= vectors.mean(0)  # what all tokens share tells none apart
    vectors[~surprise.any(1)] = 0
    return F.pad(F.normalize(vectors), (0, size - vectors.size(1)))


def sample(tokens: NDArray) -> NDArray[np.int64]:
    """The whole text, or stretches spread evenly over it, `MOST_TOKENS` in all."""
    stretches = 100
    if len(tokens) <= MOST_TOKENS:
        return np.asarray(tokens, np.int64)
    starts = np.linspace(0, len(tokens) - MOST_TOKENS // stretches, stretches).astype(np.int64)
    return np.concatenate([tokens[start : start + MOST_TOKENS // stretches] for start in starts]).astype(np.int64)


def neighbour_surprise(tokens: NDArray[np.int64], vocab_size: int) -> Tensor:
    """Positive pointwise mutual information of tokens and their neighbours, (V, C·4) for the C most frequent tokens."""
    counts = np.bincount(tokens, minlength=vocab_size)
    describing = np.argsort(-counts, kind="stable")[:MOST_NEIGHBOURS]
    column = np.full(vocab_size, -1)
    column[describing] = np.arange(len(describing))
    pairs = torch.empty(vocab_size, len(DISTANCES), len(describing))
    for place, distance in enumerate(DISTANCES):
        token, neighbour = shifted(tokens, distance)
        known = column[neighbour] >= 0
        cells = token[known] * len(describing) + column[neighbour[known]]
        counted = np.bincount(cells, minlength=vocab_size * len(describing))
        pairs[:, place] = torch.from_numpy(counted).view(vocab_size, len(describing))
    pairs = pairs.flatten(1)
    of_token = pairs.sum(1, keepdim=True)
    of_neighbour = pairs.sum(0).pow(SMOOTHING)
    expected = of_neighbour / of_neighbour.sum().clamp(min=1)
    information = pairs.div_(of_token.clamp(min=1)).div_(expected.clamp(min=1e-30)).log_().clamp_(min=0)
    return information.mul_(of_token / (of_token + RARE))


def shifted(tokens: NDArray[np.int64], distance: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Each token, and beside it the one that stands `distance` further on; negative: further back."""
    if distance < 0:
        return tokens[-distance:], tokens[:distance]
    return tokens[: len(tokens) - distance], tokens[distance:]


def largest_directions(matrix: Tensor, count: int, *, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The `count` largest left singular vectors (rows, count) and singular values (count,) of a matrix, nearly."""
    probe = torch.randn(matrix.size(1), count, generator=generator)
    basis = torch.linalg.qr(matrix @ probe).Q
    for _ in range(2):
        basis = torch.linalg.qr(matrix.T @ basis).Q
        basis = torch.linalg.qr(matrix @ basis).Q
    inside, values, _ = torch.linalg.svd(basis.T @ matrix, full_matrices=False)
    return basis @ inside, values
