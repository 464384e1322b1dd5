"""What a device can multiply at best, and how much of that a model's passes need: model FLOP utilisation.

Chowdhery et al. 2022 (PaLM, arXiv 2204.02311, appendix B): what the model has to multiply, not what was multiplied,
over what the device multiplies at best. Here that best is measured, by one large product: not the maker's figure.
"""

import statistics
import time
from collections.abc import Iterable

import numpy as np
import torch

from minibert.config import BertConfig

SIZES = {"cpu": 2048, "cuda": 8192}  # of the square matrices: large enough to keep the device busy
REPEATS = 9


def measured_peak(dtype: torch.dtype, device: torch.device, size: int | None = None) -> float:
    """Floating-point operations a second of one large matrix product, the median of some."""
    size = size or SIZES[device.type]
    left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    seconds = []
    for _ in range(1 + REPEATS):
        started = time.perf_counter()
        left @ right
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return 2 * size**3 / statistics.median(seconds[1:])


def encoder_operations(config: BertConfig, lengths: Iterable[int]) -> int:
    """Floating-point operations of the matrix products of one forward pass over sequences of these lengths: a
    multiplication and an addition each. What is padded is not counted, as nobody asked for it.
    """
    hidden, inner, layers = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    dense = 2 * (4 * hidden * hidden + 2 * hidden * inner)  # a token: query, key, value, output; in and out
    projection = 2 * config.embedding_width * hidden if config.embedding_size else 0  # ALBERT's, a token
    counts = np.fromiter(lengths, np.int64)
    return int((counts * (projection + layers * (dense + 4 * counts * hidden))).sum())


def training_operations(config: BertConfig, lengths: Iterable[int], masked: int) -> int:
    """The same for a training step: the masked-LM head at `masked` positions too, and twice as much on the way back."""
    head = 2 * config.embedding_width * (config.hidden_size + config.vocab_size)
    return 3 * (encoder_operations(config, lengths) + masked * head)
