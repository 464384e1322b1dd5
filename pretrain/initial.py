"""The first weights of the `fast` recipe, with which a short run gets further; the model remains a plain BERT.

With random weights, a small BERT spends its first millions of tokens on what is known beforehand: how often each token
occurs, that a word is best predicted from its neighbours, and which tokens have similar neighbours. Until then the loss
stays near the unigram baseline. All three can be written into the first weights, which are then trained as usual.

- The decoder's bias starts as the log frequency of each token.
- Token embeddings start as vectors computed from the tokens' neighbours (`cooccurrence.py`); tokens that the text
  lacks, [MASK] among them, or hardly has keep their random vectors.
- Position embeddings start as sinusoids with random frequencies, so that no two distances look alike; a projection of
  the embeddings starts as the identity. In the first half of the blocks each head starts by attending to one neighbour:
  its query rotates the sinusoids of its own position by the distance to that neighbour, its key leaves them unrotated,
  and their product is largest where the two agree. A block that is shared by all layers counts as the first.
- The matrices of the blocks start with standard deviation 1/√(inputs), which preserves the scale of their input; 0.02
  suits the paper's H = 768 and is three times too small for mini. The output of a sublayer is scaled by a further
  1/√(2L), so that 2L random sublayers together add as much as their input (Radford et al. 2019, "Language Models are
  Unsupervised Multitask Learners").

Sinusoids and rotations: Vaswani et al. 2017, section 3.5; structured instead of random first weights: Trockman & Kolter
2023, "Mimetic initialization" (arXiv 2305.09828).
"""

import math

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from minibert.heads import BertForMaskedLM, BertForPreTraining
from minibert.model import Block, SelfAttention
from minibert.windowed import WindowedSelfAttention
from pretrain.cooccurrence import cooccurrence_vectors

# How sharply a head attends to its neighbour at first: with D = 64 a score of about 6, against 0 elsewhere.
SHARPNESS = 1.5


@torch.no_grad()
def begin_at_neighbours(
    model: BertForPreTraining | BertForMaskedLM, tokens: NDArray, token_counts: NDArray, *, generator: torch.Generator
) -> None:
    """Rewrite the fresh weights of a model as this module's docstring describes.

    tokens: (n,) the training text; token_counts: (V',) occurrences in it, V' <= V; tokens from V' on were never seen.
    """
    config = model.config
    counts = torch.ones(config.vocab_size, dtype=torch.float64)  # 1 is added to each, so that none is impossible
    counts[: len(token_counts)] += torch.tensor(token_counts.tolist())
    model.mlm_head.decoder.bias.copy_((counts / counts.sum()).log())

    embeddings, width = model.encoder.embeddings, config.embedding_width
    vectors = cooccurrence_vectors(tokens, config.vocab_size, width, generator=generator)
    known = vectors.any(1)
    embeddings.token.weight[known] = vectors[known] * config.initializer_range * math.sqrt(width)  # as long as before

    frequencies = math.pi * torch.rand(width // 2, generator=generator)  # radians per position
    positions = embeddings.position.weight
    table = sinusoids(len(positions), frequencies) * math.sqrt(2) * config.initializer_range
    positions[:, : table.size(1)] = table  # if the width is odd, the last number stays random
    if embeddings.projection is not None:
        embeddings.projection.weight.copy_(torch.eye(config.hidden_size, width))  # the heads find the sinusoids there

    distinct = list(dict.fromkeys(model.encoder.blocks))  # one if all layers share it
    for number, block in enumerate(distinct):
        assert isinstance(block, Block)
        for linear in (module for module in block.modules() if isinstance(module, nn.Linear)):
            linear.weight.mul_(linear.in_features**-0.5 / config.initializer_range)
        for added in (block.attention.output, block.feed_forward.output):
            added.weight.mul_((2 * config.num_hidden_layers) ** -0.5)
        if number < (len(distinct) + 1) // 2:
            look_at_neighbours(block.attention, frequencies, generator)


@torch.no_grad()
def begin_global_projections(model: BertForPreTraining | BertForMaskedLM) -> None:
    """Give a Longformer's global tokens, of which pretraining has none, the projections of the others to begin with
    (Beltagy et al. 2020, arXiv 2004.05150, section 3.1, "Linear Projections for Global Attention").
    """
    for block in model.encoder.blocks:
        assert isinstance(block, Block)
        if isinstance(block.attention, WindowedSelfAttention):
            own, others = block.attention.global_query_key_value, block.attention.query_key_value
            own.load_state_dict(others.state_dict())


def sinusoids(positions: int, frequencies: Tensor) -> Tensor:
    """Return (P, 2F): sin and cos, alternating, of position x frequency, for F frequencies in radians per position."""
    angles = torch.arange(positions)[:, None] * frequencies
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)


def look_at_neighbours(attention: SelfAttention, frequencies: Tensor, generator: torch.Generator) -> None:
    """Make head 0 attend one token back, head 1 one ahead, head 2 two back, and so on.

    Each head picks D/2 of the sinusoids at random. Its key at position j is their (sin fj, cos fj); its query at i is
    (sin f(i+Δ), cos f(i+Δ)): the sum of the products, Σ cos f(i + Δ - j), is D/2 at j = i + Δ and near 0 elsewhere.
    """
    hidden_size = attention.output.in_features
    head_size = hidden_size // attention.num_heads
    query, key, _ = attention.query_key_value.weight.unflatten(0, (3, attention.num_heads, head_size))  # (N, D, H)
    for head in range(attention.num_heads):
        distance = (head // 2 + 1) * (1 if head % 2 else -1)
        picked = torch.randperm(len(frequencies), generator=generator)[: head_size // 2]
        query[head, : 2 * len(picked)], key[head, : 2 * len(picked)] = 0.0, 0.0
        for pair, wave in enumerate(picked.tolist()):
            turn = float(frequencies[wave]) * distance
            sine, cosine = 2 * wave, 2 * wave + 1  # where the embedding holds them
            key[head, 2 * pair, sine] = key[head, 2 * pair + 1, cosine] = SHARPNESS
            query[head, 2 * pair, sine] = query[head, 2 * pair + 1, cosine] = SHARPNESS * math.cos(turn)
            query[head, 2 * pair, cosine] = SHARPNESS * math.sin(turn)
            query[head, 2 * pair + 1, sine] = -SHARPNESS * math.sin(turn)
