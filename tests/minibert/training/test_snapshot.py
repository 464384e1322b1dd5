"""What is taken of a model and its optimizers, and put back."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from minibert.errors import RunStopped
from minibert.training.optimizer import OptimizerOptions, build_optimizers
from minibert.training.snapshot import StartingModel, check_finite, put_back, restore, snapshot, trained

OPTIONS = OptimizerOptions("adamw", 0.1, 0.1, (0.9, 0.999), 1e-8, 0.0)


def stepped(seed: int) -> tuple[nn.Module, list[torch.optim.Optimizer]]:
    """A model of which one half is frozen, after a step."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    model[0].requires_grad_(False)
    optimizers = build_optimizers(model, OPTIONS)
    model(torch.randn(5, 3)).square().sum().backward()
    optimizers[0].step()
    return model, optimizers


def test_what_is_trained_goes_there_and_back_and_what_is_frozen_stays() -> None:
    model, optimizers = stepped(1)
    taken = {name: tensor.clone() for name, tensor in snapshot(model, optimizers).items()}
    assert {name for name in taken if name.startswith("model/")} == {"model/1.weight", "model/1.bias"}
    other, others = stepped(2)
    frozen = other[0].weight.clone()  # type: ignore[index]  # it is a Sequential
    restore(other, others, taken | {"best/1.weight": torch.zeros(2, 4)})
    back = snapshot(other, others)
    assert back.keys() == taken.keys() and all(torch.equal(back[name], taken[name]) for name in taken)
    assert torch.equal(other[0].weight, frozen)  # type: ignore[index]


def test_putting_weights_back() -> None:
    model, _ = stepped(1)
    kept = {name: tensor.clone() for name, tensor in trained(model).items()}
    with torch.no_grad():
        model[1].weight.add_(1)  # type: ignore[index]
    put_back(model, kept)
    assert all(torch.equal(tensor, kept[name]) for name, tensor in trained(model).items())


def test_the_first_parameter_that_is_not_finite_is_named() -> None:
    model, _ = stepped(1)
    check_finite(model, step=3, last_good="none yet")
    with torch.no_grad():
        model[1].bias[0] = torch.nan  # type: ignore[index]
    with pytest.raises(RunStopped, match=r"^step 3: 1\.bias is not finite; last good state: none yet$"):
        check_finite(model, step=3, last_good="none yet")


def test_the_model_that_a_run_begins_with_is_loaded_once_until_it_is_taken(model_directory: Path) -> None:
    start = StartingModel(str(model_directory))
    model, _ = start.load()
    assert start.load()[0] is model and start.take() is model
    other = start.take()  # another run trains it too: with weights that the first has not changed
    assert other is not model
    assert all(torch.equal(other.get_parameter(name), parameter) for name, parameter in model.named_parameters())
