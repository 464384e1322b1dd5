"""Dropout whose masks cost little on a CPU (Srivastava et al. 2014; BERT drops a tenth, appendix A.2).

On a CPU PyTorch draws masks number by number on one thread. In attention, with T² numbers per head for T tokens, that
took longer than the matrix products. Here one random 64-bit number decides on four elements.
"""

import contextlib
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

LEVELS = 1 << 16  # 16 random bits per element: the share that is kept is rounded to a multiple of 1 / 65,536


class Dropout(nn.Dropout):
    """`nn.Dropout` with the masks of `keep_mask` on a CPU; here too, torch's seed decides what is dropped."""

    def forward(self, x: Tensor) -> Tensor:
        """In training, set each element to 0 with probability p or divide it by 1 - p; in evaluation, return x."""
        kept = round(LEVELS * (1 - self.p))
        if not self.training or kept == LEVELS or x.device.type != "cpu":
            return super().forward(x)
        return x * scaled(keep_mask(x.shape, kept), LEVELS / max(kept, 1), x.dtype)


@contextlib.contextmanager
def without_dropout(model: nn.Module) -> Iterator[None]:
    """Put every module in evaluation mode within the `with` block, and restore its mode afterwards."""
    # Only modules in training mode are set: `eval()` takes longer than a layer.
    in_training = [module for module in model.modules() if module.training]
    for module in in_training:
        module.training = False
    try:
        yield
    finally:
        for module in in_training:
            module.training = True


def scaled(mask: Tensor, scale: float, dtype: torch.dtype) -> Tensor:
    """Return `scale` for each 1 of an int16 mask, and 0 for each 0, in `dtype`; the mask may be overwritten."""
    if dtype != torch.bfloat16:
        return mask.to(dtype).mul_(scale)
    # A bfloat16 also has 16 bits: 1 times the bits of the scale is the scale, and no second tensor is filled.
    bits = torch.tensor(scale, dtype=dtype).view(torch.int16)
    return mask.mul_(bits).view(dtype)


def keep_mask(shape: torch.Size, kept: int) -> Tensor:
    """Draw an int16 mask: 1 with probability `kept` / 65,536, else 0; kept: 0 to 65,535. Torch's generator seeds it."""
    seed = int(torch.randint(1 << 62, ()))
    count = shape.numel()
    bits = np.random.SFC64(seed).random_raw(-(-count // 4)).view(np.int16)[:count]  # -32,768 to 32,767, uniform
    return torch.from_numpy(bits).lt_(kept - LEVELS // 2).view(shape)
