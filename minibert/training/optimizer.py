"""The optimizers: the rule, rate and decay of each parameter; Muon for the matrices; optimizer state by name."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from minibert.errors import InputError
from minibert.fast.cuda_graphs import graphed

# Muon updates the matrices inside the blocks; AdamW updates embeddings and heads, in which a row belongs to a token.
BLOCK_MARK = "blocks."
# A weight (3H, H) that is really three matrices, stacked for speed: Muon treats its parts separately.
STACKED_PARTS = {"query_key_value.weight": 3}
# The most numbers that Newton-Schulz works on at a time, which bounds its memory for large models.
BATCH_NUMBERS = 1 << 25


@dataclass(frozen=True)
class OptimizerOptions:
    """A run's options for optimization, already checked."""

    optimizer: Literal["adamw", "muon"]
    learning_rate: float  # peak rate of AdamW
    muon_learning_rate: float  # peak rate of Muon, for the matrices in the blocks; unused with "adamw"
    betas: tuple[float, float]  # AdamW's decay of the mean gradient and of the mean squared gradient
    eps: float
    weight_decay: float  # on matrices, embeddings included; never on biases and LayerNorm


def decay_groups(model: nn.Module) -> tuple[dict[str, nn.Parameter], dict[str, nn.Parameter]]:
    """Return the trainable parameters that decay, and the others, by name; tied ones once, under their first name.

    Matrices decay, including embeddings. Vectors (biases, LayerNorm) don't. The rule goes by rank, because a rule by
    name excludes nothing once the names differ.
    """
    trainable = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    decay = {name: parameter for name, parameter in trainable.items() if parameter.ndim >= 2}
    no_decay = {name: parameter for name, parameter in trainable.items() if parameter.ndim < 2}
    return decay, no_decay


def build_optimizers(
    model: nn.Module,
    options: OptimizerOptions,
    *,
    muon_dtype: torch.dtype = torch.float32,
    rate_share: Callable[[str], float] = lambda _: 1.0,
) -> list[torch.optim.Optimizer]:
    """Build the optimizers of `model`: one AdamW, or Muon for the matrices in the blocks and AdamW for the rest.

    Each group stores its peak rate as 'peak_lr'.
    muon_dtype: the format of Muon's products, `Precision.dtype`, so bfloat16 only if that is fast.
    rate_share: a parameter's name -> the share of AdamW's learning rate that it is trained with.
    """
    decay, no_decay = decay_groups(model)
    optimizers: list[torch.optim.Optimizer] = []
    if options.optimizer == "muon":
        matrices = {name: decay.pop(name) for name in list(decay) if BLOCK_MARK in name and decay[name].ndim == 2}
        by_parts: dict[int, list[nn.Parameter]] = defaultdict(list)
        for name, matrix in matrices.items():
            by_parts[next((n for end, n in STACKED_PARTS.items() if name.endswith(end)), 1)].append(matrix)
        groups = [{"params": group, "parts": parts} for parts, group in by_parts.items()]
        if groups:
            rate = options.muon_learning_rate
            optimizers.append(Muon(groups, lr=rate, weight_decay=options.weight_decay, dtype=muon_dtype))
    by_rule: dict[tuple[float, float], list[nn.Parameter]] = defaultdict(list)
    for parameters, weight_decay in ((decay, options.weight_decay), (no_decay, 0.0)):
        for name, parameter in parameters.items():
            by_rule[options.learning_rate * rate_share(name), weight_decay].append(parameter)
    on_gpu = next(model.parameters()).is_cuda
    groups = [{"params": group, "lr": rate, "weight_decay": decayed} for (rate, decayed), group in by_rule.items()]
    if groups:
        # Fused: one pass over the memory instead of one for each operation, on CPU and GPU alike.
        adamw = torch.optim.AdamW(groups, betas=options.betas, eps=options.eps, fused=True, capturable=on_gpu)
        optimizers.append(adamw)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak_lr"] = group["lr"]
            if on_gpu:  # a captured step (see `Update`) reads its rate from a tensor; the fused kernel only float32
                group["lr"] = torch.tensor(group["lr"], device=group["params"][0].device)
    return optimizers


def set_learning_rate(optimizers: Sequence[torch.optim.Optimizer], factor: float) -> None:
    """Set each group's rate to its own peak times `factor`."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            rate = group["peak_lr"] * factor
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate


class Update:
    """What is done with the gradient: its norm, clipping, and the optimizers' step; on a GPU captured and replayed."""

    def __init__(
        self, parameters: Iterable[nn.Parameter], optimizers: Sequence[torch.optim.Optimizer], *, clip_norm: float
    ) -> None:
        """clip_norm: the norm that all gradients together are scaled down to if theirs is larger; 0 means no limit."""
        self.parameters = list(parameters)
        self.optimizers = optimizers
        self.clip_norm = clip_norm
        self.device = self.parameters[0].device
        self._capture_anew()

    def _capture_anew(self) -> None:
        self._with_gradient = [parameter for parameter in self.parameters if parameter.grad is not None]
        self._norm = graphed(self._total_norm, self.device)
        self._clip_and_step = graphed(self._clip_then_step, self.device)

    def clear(self) -> None:
        """Clear the gradients. On a GPU they are kept, as zeros, since graphs write to their memory. AdamW would go on
        moving a parameter that has a gradient in some steps only: of ours, at most the projections of a Longformer's
        global tokens, in steps whose texts have none.
        """
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=self.device.type == "cpu")

    def norm(self) -> Tensor:
        """Return the norm of all gradients together, before clipping: ()."""
        if len(self._with_gradient) != sum(parameter.grad is not None for parameter in self.parameters):
            self._capture_anew()  # a graph lacks gradients that were added after its capture
        return self._norm()[0]

    def apply(self, norm: Tensor) -> None:
        """Clip, and take the step. norm: the result of `norm`."""
        self._clip_and_step(norm)

    def _total_norm(self) -> tuple[Tensor]:
        gradients = [parameter.grad for parameter in self._with_gradient if parameter.grad is not None]
        return (nn.utils.get_total_norm(gradients),)

    def _clip_then_step(self, norm: Tensor) -> tuple[()]:
        # On a CPU, gradients within the limit are not read once more only to be multiplied by 1.
        if self.clip_norm and (norm.is_cuda or float(norm) > self.clip_norm - CLIP_EPS):
            nn.utils.clip_grads_with_norm_(self._with_gradient, self.clip_norm, norm)
        for optimizer in self.optimizers:
            optimizer.step()
        return ()


CLIP_EPS = 1e-6  # torch scales by limit / (norm + 1e-6)


class Muon(torch.optim.Muon):
    """torch.optim.Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon) with a different `step`.

    Momentum, Nesterov, coefficients and the scale that matches AdamW's (Liu et al. 2025, arXiv 2502.16982) are torch's.
    The differences: a weight that stacks several matrices is split first (the group's 'parts'); matrices of the same
    shape are orthogonalised together, in one batch; and products are computed in `dtype`, while torch always computes
    them in bfloat16, which takes seconds per step on a processor without instructions for it.
    """

    def __init__(self, groups: list[dict[str, Any]], *, lr: float, weight_decay: float, dtype: torch.dtype) -> None:
        super().__init__(groups, lr=lr, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw")
        self.dtype = dtype

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Take one step, on the matrices that have a gradient."""
        for group in self.param_groups:
            by_shape: dict[tuple[int, ...], list[tuple[Tensor, Tensor]]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if "momentum_buffer" not in state:
                    state["momentum_buffer"] = torch.zeros_like(parameter)
                momentum = state["momentum_buffer"].lerp_(parameter.grad, 1 - group["momentum"])
                update = parameter.grad.lerp(momentum, group["momentum"])  # Nesterov: a look ahead
                parts = group["parts"]
                for matrix, direction in zip(parameter.chunk(parts), update.chunk(parts), strict=True):
                    # Tall matrices are transposed: the Gram matrix is then the smaller one, and both share a batch.
                    tall = matrix.shape[0] > matrix.shape[1]
                    wide = (matrix.T, direction.T) if tall else (matrix, direction)
                    by_shape[tuple(wide[0].shape)].append(wide)
            for shape, pairs in by_shape.items():
                matrices_at_once = max(1, BATCH_NUMBERS // math.prod(shape))
                for start in range(0, len(pairs), matrices_at_once):
                    self._apply(pairs[start : start + matrices_at_once], group)

    def _apply(self, pairs: list[tuple[Tensor, Tensor]], group: dict[str, Any]) -> None:
        """Move matrices of one shape, views of the parameters, along their orthogonalised directions."""
        directions = torch.stack([direction.to(self.dtype) for _, direction in pairs])
        directions = orthogonalize(directions, group["ns_coefficients"], steps=group["ns_steps"], eps=group["eps"])
        # An orthogonal (R, C) matrix has entries of size max(R, C)^-0.5; this scales them to 0.2, the size of AdamW's.
        rate = 0.2 * math.sqrt(max(directions.shape[1:])) * group["lr"]
        kept = 1 - group["lr"] * group["weight_decay"]
        for (matrix, _), direction in zip(pairs, directions, strict=True):
            matrix.mul_(kept).sub_(direction.to(matrix.dtype) * rate)


def orthogonalize(matrices: Tensor, coefficients: tuple[float, float, float], *, steps: int, eps: float) -> Tensor:
    """Bring the singular values of each (R, C) matrix in a batch (B, R, C), R <= C, near 1: quintic Newton-Schulz.

    With the usual coefficients and 5 steps they end between about 0.5 and 1.5, which is as good for training as 1.
    """
    a, b, c = coefficients
    # The Frobenius norm is at least the largest singular value, so they all start at 1 or below.
    x = matrices / matrices.norm(dim=(1, 2), keepdim=True).clamp(min=eps)
    for _ in range(steps):
        gram = x @ x.mT
        polynomial = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        x = torch.baddbmm(x, polynomial, x, beta=a)
    return x


def named_optimizer_tensors(model: nn.Module, optimizers: Sequence[torch.optim.Optimizer]) -> dict[str, Tensor]:
    """Return all optimizer state as 'optimizer/<parameter name>/<key>' -> tensor; live tensors, not copies.

    A parameter that has had no gradient yet gets its initial zeros: names depend only on the model and the options.
    """
    return {
        f"optimizer/{name}/{key}": value
        for name, parameter, optimizer in _optimized(model, optimizers)
        for key, value in _state_of(parameter, optimizer).items()
    }


def load_optimizer_tensors(
    model: nn.Module, optimizers: Sequence[torch.optim.Optimizer], tensors: Mapping[str, Tensor]
) -> None:
    """Load the values of `named_optimizer_tensors`. Names in `tensors` that don't begin with 'optimizer/' are ignored.

    Raises InputError, naming the tensor, if one is missing, is left over, or has another shape or type; don't use the
    optimizers after that.
    """
    surplus = {name for name in tensors if name.startswith("optimizer/")}
    for name, parameter, optimizer in _optimized(model, optimizers):
        state = _state_of(parameter, optimizer)
        for key, value in state.items():
            full_name = f"optimizer/{name}/{key}"
            if full_name not in tensors:
                raise InputError(f"saved state: tensor {full_name} is missing")
            surplus.remove(full_name)
            saved = tensors[full_name]
            if (saved.shape, saved.dtype) != (value.shape, value.dtype):
                raise InputError(
                    f"saved state: tensor {full_name} is {saved.dtype} {tuple(saved.shape)}, "
                    f"expected {value.dtype} {tuple(value.shape)}"
                )
            value.copy_(saved)
        optimizer.state[parameter] = state
    if surplus:
        raise InputError(f"saved state: tensor {min(surplus)} belongs to nothing in this run")


def _optimized(
    model: nn.Module, optimizers: Sequence[torch.optim.Optimizer]
) -> Iterator[tuple[str, nn.Parameter, torch.optim.Optimizer]]:
    owner = {id(p): optimizer for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]}
    for name, parameter in model.named_parameters():
        if id(parameter) in owner:
            yield name, parameter, owner[id(parameter)]


def _state_of(parameter: nn.Parameter, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the optimizer's state for a parameter, or its initial state before the first step."""
    if parameter in optimizer.state:
        return optimizer.state[parameter]
    if isinstance(optimizer, torch.optim.Muon):
        return {"momentum_buffer": torch.zeros_like(parameter)}
    step = torch.zeros((), dtype=torch.float32, device=parameter.device)
    return {"step": step, "exp_avg": torch.zeros_like(parameter), "exp_avg_sq": torch.zeros_like(parameter)}
