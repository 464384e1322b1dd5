"""A function's GPU kernels, recorded once and from then on started all at once: CUDA graphs.

A step of a small BERT is some 550 kernels of a few microseconds each, and Python takes longer to start one than the GPU
to run it. A recording is started as a whole. On a CPU a function is simply called.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

# Each keeps its inputs, and what it needs while it runs lies in memory that all of a function's recordings share.
MOST_RECORDINGS = 32

Shapes = tuple[tuple[torch.Size, torch.dtype] | None, ...]


class Replayed:
    """`function`, recorded at the second call with inputs of the same shapes; the first sets up libraries and lets
    gradients come to be. Beyond `MOST_RECORDINGS` kinds of inputs it is called as it is.

    It must do the same to any inputs of the same shapes without looking at their values, and find what it writes to
    (gradients, an optimizer's state) where it was before. What it returns is good until the next call.
    """

    def __init__(self, function: Callable[..., tuple[Tensor, ...]], device: torch.device) -> None:
        self.function = function
        self.device = device
        self.records = device.type != "cpu"
        self.seen: set[Shapes] = set()
        self.recordings: dict[Shapes, Recording] = {}

    def __call__(self, *inputs: Tensor | None) -> tuple[Tensor, ...]:
        """Inputs may lie elsewhere than on the device."""
        if not self.records:
            return self.function(*inputs)
        shapes = tuple(None if given is None else (given.shape, given.dtype) for given in inputs)
        if shapes in self.recordings:
            return self.recordings[shapes].replay(inputs)
        moved = [None if given is None else given.to(self.device, non_blocking=True) for given in inputs]
        if shapes not in self.seen or len(self.recordings) == MOST_RECORDINGS:
            self.seen.add(shapes)
            return self.function(*moved)
        pool = next((recording.graph.pool() for recording in self.recordings.values()), None)
        self.recordings[shapes] = Recording(self.function, moved, pool)
        return self.recordings[shapes].replay(inputs)


class Recording:
    """A function's kernels for inputs of certain shapes."""

    def __init__(self, function: Callable[..., tuple[Tensor, ...]], inputs: list[Tensor | None], pool: Any) -> None:
        self.inputs = [None if given is None else given.clone() for given in inputs]
        self.graph = torch.cuda.CUDAGraph()
        # By thread: the one that makes batches may go on asking for memory meanwhile.
        with torch.cuda.graph(self.graph, pool=pool, capture_error_mode="thread_local"):
            self.outputs = function(*self.inputs)

    def replay(self, inputs: tuple[Tensor | None, ...]) -> tuple[Tensor, ...]:
        """Runs the kernels on these inputs. What is returned is overwritten by the next run."""
        for own, given in zip(self.inputs, inputs, strict=True):
            if own is not None and given is not None:
                own.copy_(given, non_blocking=True)
        self.graph.replay()
        return self.outputs
