"""A captured function does what the function does: on a GPU bit for bit, on a CPU because it is called."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._pytree import tree_leaves, tree_map_only

from minibert.fast import cuda_graphs
from minibert.fast.cuda_graphs import Graphed, graphed
from minibert.training import optimizer as optimizer_module
from minibert.training.optimizer import OptimizerOptions, Update, build_optimizers, set_learning_rate

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
CPU = torch.device("cpu")


def test_on_a_cpu_the_function_is_called_every_time() -> None:
    calls: list[float] = []

    def function(x: Tensor, y: Tensor | None) -> tuple[Tensor, ...]:
        calls.append(x.item())
        return (x + 1,)

    assert graphed(function, CPU) is function
    run = graphed(function, CPU)
    assert [run(torch.tensor(n), None)[0].item() for n in (1.0, 2.0, 3.0)] == [2.0, 3.0, 4.0]
    assert calls == [1.0, 2.0, 3.0]


pools: list[Any] = []  # that graphs were given


class Pretended:
    """What stands in a graph's place where there is no GPU: it calls the function on inputs of its own."""

    graph = SimpleNamespace(pool=lambda: (0, 1))

    def __init__(self, function: Callable[..., tuple[Tensor, ...]], inputs: Any, pool: Any) -> None:
        pools.append(pool)
        self.function = function
        self.inputs = tree_map_only(Tensor, Tensor.clone, inputs)
        function(*self.inputs)

    def replay(self, inputs: Any) -> tuple[Tensor, ...]:
        for own, given in zip(tree_leaves(self.inputs), tree_leaves(inputs), strict=True):
            if own is not None:
                own.copy_(given)
        return self.function(*self.inputs)


@pytest.fixture(params=["pretended", pytest.param("cuda", marks=needs_gpu)])
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> torch.device:
    """A GPU, or a CPU on which graphs are pretended."""
    if request.param == "cuda":
        return torch.device("cuda")
    monkeypatch.setattr(cuda_graphs, "Graph", Pretended)
    pools.clear()
    return CPU


def test_captured_once_for_each_kind_of_inputs_and_right_for_any_values(device: torch.device) -> None:
    seen: list[tuple[int, bool]] = []

    def function(x: Tensor, y: Tensor | None) -> tuple[Tensor, ...]:
        seen.append((len(x), y is None))
        return (x.sum() if y is None else (x * y).sum(),)

    run = Graphed(function, device)
    found = []
    for number in range(1, 5):
        for length in (2, 3):
            x = torch.full((length,), float(number))
            found += [run(x, None)[0].item(), run(x.to(device), x)[0].item()]
    assert found == [value for n in range(1, 5) for length in (2, 3) for value in (n * length, n * n * length)]
    assert set(seen) == {(length, alone) for length in (2, 3) for alone in (True, False)}
    assert len(run.graphs) == 4
    if device.type == "cpu":
        assert pools == [None, (0, 1), (0, 1), (0, 1)]  # the first one's memory is the others'
    if device.type == "cuda":
        assert len(seen) == 4 * 2  # once as it is, once to be captured


class Pair(NamedTuple):
    """A batch."""

    x: Tensor
    y: Tensor | None


def test_a_tuple_of_tensors_is_taken_whole(device: torch.device) -> None:
    run = Graphed(lambda pair, factor: (factor * (pair.x if pair.y is None else pair.x * pair.y),), device)
    for number in range(1, 4):
        x, factor = torch.tensor(float(number)), torch.tensor(10.0)
        assert run(Pair(x, None), factor)[0].item() == 10 * number
        assert run(Pair(x, x), factor)[0].item() == 10 * number**2
    assert len(run.graphs) == 2


def test_kinds_beyond_the_most_are_computed_without_a_graph(
    device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cuda_graphs, "MOST_GRAPHS", 2)
    run = Graphed(lambda x: (x.sum(),), device)
    for _ in range(3):
        assert [run(torch.ones(length))[0].item() for length in (1, 2, 3)] == [1, 2, 3]
    assert len(run.graphs) == 2


def test_a_function_that_looks_at_values_is_called_every_time(device: torch.device) -> None:
    run = Graphed(lambda x: (x * 2 if x.sum() > 3 else x,), device, at_most=0)
    assert [run(torch.tensor([number]))[0].item() for number in (1.0, 2.0, 4.0, 3.0)] == [1.0, 2.0, 8.0, 3.0]
    assert run.graphs == {}


@needs_gpu
def test_dropout_goes_by_the_seed_that_is_set_before() -> None:
    run = graphed(lambda x: (F.dropout(x, 0.5),), torch.device("cuda"))
    x = torch.ones(64, device="cuda")
    found = []
    for seed in (1, 1, 2, 1):  # as it is, captured, replayed, replayed
        torch.manual_seed(seed)
        found.append(run(x)[0].tolist())
    assert found[0] == found[1] == found[3] != found[2]


def steps(optimizer: str, *, recorded: bool) -> list[Tensor]:
    """Weights after six steps, with a learning rate that changes and a gradient that is clipped now and then."""
    torch.manual_seed(0)
    blocks = nn.ModuleList([nn.Linear(8, 8), nn.Linear(8, 16)])
    model = nn.ModuleDict({"blocks": blocks, "head": nn.Linear(16, 4)}).cuda()
    options = OptimizerOptions(
        optimizer=optimizer,  # type: ignore[arg-type]
        learning_rate=0.01, muon_learning_rate=0.02, betas=(0.9, 0.98), eps=1e-8, weight_decay=0.1,
    )  # fmt: skip
    optimizers = build_optimizers(model, options)
    with pytest.MonkeyPatch.context() as patch:
        if not recorded:
            patch.setattr(optimizer_module, "graphed", lambda function, device: function)
        update = Update(model.parameters(), optimizers, clip_norm=1.0)
        for step in range(6):
            set_learning_rate(optimizers, (step + 1) / 6)
            update.clear()
            x = torch.full((2, 8), float(step), device="cuda")
            model["head"](blocks[1](blocks[0](x).tanh())).square().mean().backward()
            update.apply(update.norm())
    return [parameter.detach().cpu() for parameter in model.parameters()]


@needs_gpu
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_recorded_updates_are_the_updates_bit_for_bit(optimizer: str) -> None:
    for recorded, called in zip(steps(optimizer, recorded=True), steps(optimizer, recorded=False), strict=True):
        assert torch.equal(recorded, called)


@pytest.mark.parametrize("place", ["cpu", pytest.param("cuda", marks=needs_gpu)])
def test_a_gradient_that_comes_later_is_counted(place: str) -> None:
    first, later = (nn.Parameter(torch.zeros(1, device=place)) for _ in range(2))
    adamw = torch.optim.AdamW([first, later], lr=0.1, capturable=place == "cuda")
    update = Update([first, later], [adamw], clip_norm=0.0)
    for step in range(6):
        update.clear()
        (3 * first + (4 * later if step > 2 else 0)).sum().backward()
        norm = update.norm()
        assert norm.item() == (5.0 if step > 2 else 3.0)
        update.apply(norm)
    assert later.item() == pytest.approx(-0.3, abs=1e-3)
