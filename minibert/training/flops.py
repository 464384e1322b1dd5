"""Model FLOP utilisation: the operations that a model's passes need, over those that the device could do meanwhile.

Chowdhery et al. 2022 (PaLM, arXiv 2204.02311, appendix B). It counts the operations that the model needs, not those
that were done. The device's peak is measured with one large product; it is not the manufacturer's figure.
"""

import statistics
import time
from collections.abc import Iterable

import numpy as np
import torch

from minibert.config import BertConfig

SIZES = {"cpu": 2048, "cuda": 8192}  # width of the square matrices: large enough to keep the device busy
REPEATS = 9


def measured_peak(dtype: torch.dtype, device: torch.device, size: int | None = None) -> float:
    """Measure the floating-point operations per second of a large matrix product: the median of `REPEATS`."""
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
    """Count the floating-point operations (multiplications and additions) in the matrix products of a forward pass
    over sequences of these lengths. Padding is not counted, since the result doesn't need it.
    """
    hidden, inner, layers = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    dense = 2 * (4 * hidden * hidden + 2 * hidden * inner)  # per token: query, key, value, output; in and out
    projection = 2 * config.embedding_width * hidden if config.embedding_size else 0  # per token, in ALBERT
    counts = np.fromiter(lengths, np.int64)
    windows = config.attention_window or (config.longest,) * layers
    attended = sum(np.minimum(counts, window + 1) for window in windows)  # tokens, over all layers
    return int((counts * (projection + layers * dense + 4 * attended * hidden)).sum())


def training_operations(config: BertConfig, lengths: Iterable[int], masked: int) -> int:
    """Count those of a training step: with the masked-LM head at `masked` positions, and twice as many backward."""
    head = 2 * config.embedding_width * (config.hidden_size + config.vocab_size)
    return 3 * (encoder_operations(config, lengths) + masked * head)
