"""What the machine can multiply at best, and how much a forward pass multiplies."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable

import torch

from minibert.config import BertConfig

SIZE = 2048  # of the square matrices
REPEATS = 9


def measured_ceiling(dtype: torch.dtype, device: torch.device) -> float:
    """Floating-point operations a second of one large matrix product, the median of some."""
    left, right = (torch.randn(SIZE, SIZE, device=device).to(dtype) for _ in range(2))
    seconds = []
    for _ in range(1 + REPEATS):
        started = time.perf_counter()
        left @ right
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return 2 * SIZE**3 / statistics.median(seconds[1:])


def encoder_operations(config: BertConfig, lengths: Iterable[int]) -> int:
    """Floating-point operations of the matrix products of one forward pass over sequences of these lengths: a
    multiplication and an addition each. What is padded is not counted, as nobody asked for it.
    """
    hidden, inner, layers = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    dense = 2 * (4 * hidden * hidden + 2 * hidden * inner)  # a token: query, key, value, output; in and out
    return layers * sum(length * dense + 4 * length * length * hidden for length in lengths)


def training_operations(config: BertConfig, lengths: Iterable[int], masked: int) -> int:
    """The same for a training step: the masked-LM head at `masked` positions too, and twice as much on the way back."""
    head = 2 * (config.hidden_size * config.hidden_size + config.hidden_size * config.vocab_size)
    return 3 * (encoder_operations(config, lengths) + masked * head)
