"""Dropout whose masks cost little on a CPU (Srivastava et al. 2014; BERT drops a tenth, section A.2).

PyTorch draws a CPU's masks number by number on one thread. In attention, where a sequence of T tokens has T² numbers a
head, that took longer than the matrix products. Here one random number of 64 bits decides on four elements.
"""

import contextlib
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

LEVELS = 1 << 16  # 16 random bits an element: the share that is kept is rounded to 1 / 65,536


class Dropout(nn.Dropout):
    """`nn.Dropout`, with the masks of `keep_mask` on a CPU. As there, torch's seed decides what is dropped."""

    def forward(self, x: Tensor) -> Tensor:
        """In training each element is 0 with probability p, else divided by 1 - p; in evaluation x comes back."""
        kept = round(LEVELS * (1 - self.p))
        if not self.training or kept == LEVELS or x.device.type != "cpu":
            return super().forward(x)
        return x * scaled(keep_mask(x.shape, kept), LEVELS / max(kept, 1), x.dtype)


@contextlib.contextmanager
def without_dropout(model: nn.Module) -> Iterator[None]:
    """Has every module be in evaluation mode for the block, and then again as it was."""
    # Setting only what has to be: `eval()` takes longer than a layer.
    in_training = [module for module in model.modules() if module.training]
    for module in in_training:
        module.training = False
    try:
        yield
    finally:
        for module in in_training:
            module.training = True


def scaled(mask: Tensor, scale: float, dtype: torch.dtype) -> Tensor:
    """int16 of 1 and 0 -> `scale` and 0 in `dtype`; the mask is used up."""
    if dtype != torch.bfloat16:
        return mask.to(dtype).mul_(scale)
    # A bfloat16 has 16 bits as well: times those of the scale, a 1 is the scale, and no second tensor is filled.
    bits = torch.tensor(scale, dtype=dtype).view(torch.int16)
    return mask.mul_(bits).view(dtype)


def keep_mask(shape: torch.Size, kept: int) -> Tensor:
    """int16 of `shape`: 1 with probability `kept` / 65,536, else 0; kept: 0 to 65,535. Seeded by torch's generator."""
    seed = int(torch.randint(1 << 62, ()))
    count = shape.numel()
    bits = np.random.SFC64(seed).random_raw(-(-count // 4)).view(np.int16)[:count]  # each of -32,768 to 32,767 alike
    return torch.from_numpy(bits).lt_(kept - LEVELS // 2).view(shape)
