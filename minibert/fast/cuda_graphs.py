"""CUDA graphs: a function's GPU kernels, captured once and then launched all together.

A step of a small BERT is some 550 kernels of a few microseconds each, and Python takes longer to launch one than the
GPU to run it. A graph is launched as a whole. On a CPU the function is simply called.
"""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map_only

# Each graph keeps its own inputs; its working memory is shared by all graphs of a function.
MOST_GRAPHS = 32

Outputs = TypeVar("Outputs", bound=tuple[Tensor, ...])
Shapes = tuple[tuple[torch.Size, torch.dtype] | None, ...]


def graphed(
    function: Callable[..., Outputs], device: torch.device, *, at_most: int | None = None
) -> Callable[..., Outputs]:
    """Return `function` itself on a CPU, or a version with captured kernels on a GPU.

    at_most: how many graphs, `MOST_GRAPHS` if None; 0 for a function that looks at values, which can't be captured.
    """
    return function if device.type == "cpu" else Graphed(function, device, at_most=at_most)


class Graphed(Generic[Outputs]):
    """`function`, captured at the second call with inputs of the same shapes; the first call sets up libraries and
    allocates gradients. Beyond `at_most` different shapes it is called without a graph.

    It must do the same for all inputs of the same shapes, whatever their values, and write only to tensors that stay
    at the same address (gradients, an optimizer's state). The outputs are valid until the next call.
    """

    def __init__(self, function: Callable[..., Outputs], device: torch.device, *, at_most: int | None = None) -> None:
        self.function = function
        self.device = device
        self.at_most = MOST_GRAPHS if at_most is None else at_most
        self.seen: set[Shapes] = set()
        self.graphs: dict[Shapes, Graph[Outputs]] = {}

    def __call__(self, *inputs: Any) -> Outputs:
        """inputs: tensors, on any device, None, and tuples of these."""
        shapes = tuple(None if leaf is None else (leaf.shape, leaf.dtype) for leaf in tree_leaves(inputs))
        if shapes in self.graphs:
            return self.graphs[shapes].replay(inputs)
        moved = tree_map_only(Tensor, lambda tensor: tensor.to(self.device, non_blocking=True), inputs)
        if shapes not in self.seen or len(self.graphs) == self.at_most:
            self.seen.add(shapes)
            return self.function(*moved)
        pool = next((known.graph.pool() for known in self.graphs.values()), None)
        self.graphs[shapes] = Graph(self.function, moved, pool)
        return self.graphs[shapes].replay(inputs)


class Graph(Generic[Outputs]):
    """A function's kernels for inputs of fixed shapes."""

    def __init__(self, function: Callable[..., Outputs], inputs: Any, pool: Any) -> None:
        self.inputs = tree_map_only(Tensor, Tensor.clone, inputs)
        self.graph = torch.cuda.CUDAGraph()
        # Per thread: the one that makes batches may allocate memory meanwhile.
        with torch.cuda.graph(self.graph, pool=pool, capture_error_mode="thread_local"):
            self.outputs = function(*self.inputs)

    def replay(self, inputs: Any) -> Outputs:
        """Run the kernels on these inputs. The outputs are overwritten by the next run."""
        for own, given in zip(tree_leaves(self.inputs), tree_leaves(inputs), strict=True):
            if own is not None:
                own.copy_(given, non_blocking=True)
        self.graph.replay()
        return self.outputs
