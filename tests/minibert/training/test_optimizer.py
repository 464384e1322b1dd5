"""Groups are complete, Muon is torch's Muon, and a state goes through tensors bit for bit."""

import copy
import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

from minibert.architectures import ARCHITECTURES
from minibert.errors import InputError
from minibert.training.optimizer import (
    Muon,
    OptimizerOptions,
    Update,
    build_optimizers,
    decay_groups,
    load_optimizer_tensors,
    named_optimizer_tensors,
    orthogonalize,
    set_learning_rate,
)
from tests.helpers import tiny_model


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Matrices this small wait longer for a second thread than they take."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def options(**changes: Any) -> OptimizerOptions:
    fields: dict[str, Any] = {
        "optimizer": "muon",
        "learning_rate": 2e-3,
        "muon_learning_rate": 0.02,
        "betas": (0.9, 0.99),
        "eps": 1e-6,
        "weight_decay": 0.01,
    }
    return OptimizerOptions(**(fields | changes))


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.query_key_value = nn.Linear(8, 24)
        self.output = nn.Linear(8, 8)


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = Attention()
        self.norm = nn.LayerNorm(8)
        self.rise = nn.Linear(8, 16)
        self.fall = nn.Linear(16, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        query, key, value = self.attention.query_key_value(x).chunk(3, dim=-1)
        x = self.norm(x + self.attention.output(torch.softmax(query * key, -1) * value))
        return x + self.fall(torch.relu(self.rise(x)))


class Model(nn.Module):
    """The names and shapes of the real one, tied decoder included, small enough for 10 steps in milliseconds."""

    def __init__(self) -> None:
        super().__init__()
        self.embeddings = nn.Embedding(11, 8)
        self.blocks = nn.ModuleList([Block(), Block()])
        self.decoder = nn.Linear(8, 11)
        self.decoder.weight = self.embeddings.weight
        self.unused = nn.Linear(8, 2)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.embeddings(ids)
        for block in self.blocks:
            x = block(x)
        return self.decoder(x)


def new_model(dtype: torch.dtype = torch.float32) -> Model:
    torch.manual_seed(0)
    return Model().to(dtype)


def train(model: nn.Module, optimizers: list[torch.optim.Optimizer], steps: range) -> None:
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        ids = torch.randint(11, (4, 6), generator=generator)
        set_learning_rate(optimizers, (step + 1) / 20)
        nn.functional.cross_entropy(model(ids).flatten(0, 1), ids.roll(1).flatten()).backward()
        for optimizer in optimizers:
            optimizer.step()
        model.zero_grad()


def test_matrices_decay_vectors_do_not_and_tied_ones_count_once() -> None:
    model = new_model()
    decay, no_decay = decay_groups(model)
    assert [name for name in decay if not name.startswith("blocks.1")] == [
        "embeddings.weight",
        "blocks.0.attention.query_key_value.weight",
        "blocks.0.attention.output.weight",
        "blocks.0.rise.weight",
        "blocks.0.fall.weight",
        "unused.weight",
    ]
    assert [name for name in no_decay if not name.startswith("blocks.1")] == [
        "blocks.0.attention.query_key_value.bias",
        "blocks.0.attention.output.bias",
        "blocks.0.norm.weight",
        "blocks.0.norm.bias",
        "blocks.0.rise.bias",
        "blocks.0.fall.bias",
        "decoder.bias",
        "unused.bias",
    ]


def test_adamw_is_one_optimizer_with_the_papers_two_groups() -> None:
    (adamw,) = build_optimizers(new_model(), options(optimizer="adamw"))
    assert type(adamw) is torch.optim.AdamW
    assert [(len(group["params"]), group["weight_decay"]) for group in adamw.param_groups] == [(10, 0.01), (14, 0.0)]
    assert [group["fused"] for group in adamw.param_groups] == [True, True]


def test_muon_takes_the_block_matrices_and_the_stacked_ones_apart() -> None:
    muon, adamw = build_optimizers(new_model(), options())
    assert isinstance(muon, torch.optim.Muon) and isinstance(adamw, torch.optim.AdamW)
    assert [(group["parts"], [tuple(p.shape) for p in group["params"]]) for group in muon.param_groups] == [
        (3, [(24, 8), (24, 8)]),
        (1, [(8, 8), (16, 8), (8, 16), (8, 8), (16, 8), (8, 16)]),
    ]
    assert [len(group["params"]) for group in adamw.param_groups] == [2, 14]


def test_frozen_parameters_are_in_no_group() -> None:
    model = new_model()
    model.blocks.requires_grad_(False)
    (adamw,) = build_optimizers(model, options())
    assert sum(len(group["params"]) for group in adamw.param_groups) == 4


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_every_trained_parameter_is_in_one_group_and_nothing_else(architecture: str, kind: str) -> None:
    model = tiny_model(architecture)
    model.encoder.embeddings.requires_grad_(False)
    groups = [group for o in build_optimizers(model, options(optimizer=kind)) for group in o.param_groups]
    held = Counter(parameter for group in groups for parameter in group["params"])
    assert held == Counter(parameter for parameter in model.parameters() if parameter.requires_grad)


def test_each_group_keeps_its_own_peak_rate() -> None:
    optimizers = build_optimizers(new_model(), options())
    set_learning_rate(optimizers, 0.5)
    assert [group["lr"] for o in optimizers for group in o.param_groups] == [0.01, 0.01, 1e-3, 1e-3]
    set_learning_rate(optimizers, 1.0)
    assert [group["lr"] for o in optimizers for group in o.param_groups] == [0.02, 0.02, 2e-3, 2e-3]


def test_a_parameters_rate_may_be_a_share_of_the_peak() -> None:
    model = new_model()
    (adamw,) = build_optimizers(
        model, options(optimizer="adamw"), rate_share=lambda name: 0.5 if name.startswith("blocks.0") else 1.0
    )
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    for group in adamw.param_groups:
        below = {names[id(parameter)].startswith("blocks.0") for parameter in group["params"]}
        assert group["peak_lr"] == group["lr"] == options().learning_rate * (0.5 if below == {True} else 1.0)
        assert len(below) == 1
    assert len(adamw.param_groups) == 4


def test_adamw_does_in_float64_what_torchs_plain_one_does() -> None:
    model = new_model(torch.float64)
    reference = copy.deepcopy(model)
    train(model, build_optimizers(model, options(optimizer="adamw", weight_decay=0.0)), range(5))
    plain = torch.optim.AdamW(
        reference.parameters(), lr=2e-3, betas=(0.9, 0.99), eps=1e-6, weight_decay=0.0, fused=False
    )
    plain.param_groups[0]["peak_lr"] = 2e-3
    train(reference, [plain], range(5))
    for ours, theirs in zip(model.parameters(), reference.parameters(), strict=True):
        assert (ours - theirs).abs().max() < 1e-14


def matrices_with_gradients(shapes: list[tuple[int, int]]) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(1)
    parameters = [nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]
    for parameter in parameters:
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    return parameters


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 5e-4), (torch.float32, 5e-3)])
def test_muon_agrees_with_torchs(dtype: torch.dtype, tolerance: float) -> None:
    """In bfloat16 to that format's rounding; in float32 torch's own rounding is the difference."""
    shapes = [(32, 32), (48, 16), (16, 48), (32, 32)]
    ours, theirs = matrices_with_gradients(shapes), matrices_with_gradients(shapes)
    muon = Muon([{"params": ours, "parts": 1}], lr=0.02, weight_decay=0.1, dtype=dtype)
    reference = torch.optim.Muon(theirs, lr=0.02, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for _ in range(3):
        muon.step()
        reference.step()
    start = matrices_with_gradients(shapes)
    for mine, other, before in zip(ours, theirs, start, strict=True):
        assert (other - before).abs().max() > 0.02  # each moved, by far more than the tolerance
        assert (mine - other).abs().max() < tolerance


def test_a_stacked_weight_moves_as_its_parts_would_alone() -> None:
    (stacked,) = matrices_with_gradients([(24, 8)])
    (whole,) = matrices_with_gradients([(24, 8)])
    assert whole.grad is not None
    parts = [nn.Parameter(part.clone()) for part in whole.detach().chunk(3)]
    for part, gradient in zip(parts, whole.grad.chunk(3), strict=True):
        part.grad = gradient.clone()
    together = Muon([{"params": [stacked], "parts": 3}], lr=0.02, weight_decay=0.1, dtype=torch.float32)
    apart = Muon([{"params": parts, "parts": 1}], lr=0.02, weight_decay=0.1, dtype=torch.float32)
    for _ in range(3):
        together.step()
        apart.step()
    assert torch.equal(stacked, torch.cat(parts))


def test_muons_matrices_do_not_depend_on_how_many_share_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = [(16, 16)] * 5
    together, one_by_one = matrices_with_gradients(shapes), matrices_with_gradients(shapes)
    Muon([{"params": together, "parts": 1}], lr=0.02, weight_decay=0.0, dtype=torch.float32).step()
    monkeypatch.setattr("minibert.training.optimizer.BATCH_NUMBERS", 1)
    Muon([{"params": one_by_one, "parts": 1}], lr=0.02, weight_decay=0.0, dtype=torch.float32).step()
    for a, b in zip(together, one_by_one, strict=True):
        assert (a - b).abs().max() < 1e-6


def test_orthogonalize_brings_singular_values_near_one() -> None:
    torch.manual_seed(0)
    directions = orthogonalize(torch.randn(4, 20, 50), coefficients=(3.4445, -4.7750, 2.0315), steps=5, eps=1e-7)
    values = torch.linalg.svdvals(directions)
    assert values.min() > 0.5 and values.max() < 1.5


@pytest.mark.parametrize("kind", ["adamw", "muon"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_going_on_from_saved_tensors_is_bit_equal_to_never_stopping(kind: str, dtype: torch.dtype) -> None:
    never_stopped = new_model(dtype)
    train(never_stopped, build_optimizers(never_stopped, options(optimizer=kind), muon_dtype=dtype), range(20))

    first = new_model(dtype)
    optimizers = build_optimizers(first, options(optimizer=kind), muon_dtype=dtype)
    train(first, optimizers, range(10))
    weights = copy.deepcopy(first.state_dict())
    saved = {name: tensor.clone() for name, tensor in named_optimizer_tensors(first, optimizers).items()}

    second = new_model(dtype)
    second.load_state_dict(weights)
    optimizers = build_optimizers(second, options(optimizer=kind), muon_dtype=dtype)
    load_optimizer_tensors(second, optimizers, saved)
    train(second, optimizers, range(10, 20))
    for (name, expected), found in zip(never_stopped.named_parameters(), second.parameters(), strict=True):
        assert torch.equal(expected, found), name


def test_names_are_those_of_the_parameters_and_the_same_before_any_step() -> None:
    model = new_model()
    optimizers = build_optimizers(model, options())
    before = named_optimizer_tensors(model, optimizers)
    assert before["optimizer/unused.weight/exp_avg_sq"].shape == (2, 8)
    assert before["optimizer/blocks.0.attention.query_key_value.weight/momentum_buffer"].shape == (24, 8)
    assert before["optimizer/embeddings.weight/step"].shape == ()
    assert len(before) == 8 + 3 * 16
    train(model, optimizers, range(1))
    after = named_optimizer_tensors(model, optimizers)
    assert after.keys() == before.keys()
    assert {n: (t.dtype, t.shape) for n, t in after.items()} == {n: (t.dtype, t.shape) for n, t in before.items()}
    assert after["optimizer/embeddings.weight/step"].item() == 1.0


def test_loading_shares_no_memory_with_what_was_loaded() -> None:
    model = new_model()
    optimizers = build_optimizers(model, options())
    train(model, optimizers, range(1))
    saved = {name: tensor.clone() for name, tensor in named_optimizer_tensors(model, optimizers).items()}
    kept = {name: tensor.clone() for name, tensor in saved.items()}
    other = new_model()
    optimizers = build_optimizers(other, options())
    load_optimizer_tensors(other, optimizers, saved)
    train(other, optimizers, range(1))
    assert all(torch.equal(saved[name], kept[name]) for name in kept)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("optimizer/decoder.bias/step"), "tensor optimizer/decoder.bias/step is missing"),
        (lambda t: t.update({"optimizer/new/step": torch.zeros(())}), "tensor optimizer/new/step belongs to nothing"),
        (
            lambda t: t.update({"optimizer/decoder.bias/exp_avg": torch.zeros(12)}),
            r"exp_avg is torch.float32 \(12,\), expected torch.float32 \(11,\)",
        ),
        (
            lambda t: t.update({"optimizer/decoder.bias/exp_avg": torch.zeros(11, dtype=torch.float64)}),
            r"exp_avg is torch.float64 \(11,\), expected torch.float32 \(11,\)",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_named(change: Any, message: str) -> None:
    model = new_model()
    optimizers = build_optimizers(model, options())
    tensors = named_optimizer_tensors(model, optimizers)
    tensors["model/weight"] = torch.zeros(1)  # other names are not the optimizers' business
    change(tensors)
    with pytest.raises(InputError, match=message):
        load_optimizer_tensors(model, optimizers, tensors)


@pytest.mark.parametrize("limit", [0.0, 0.5, 5.0, 5.0000005, 6.0])
def test_gradients_are_clipped_as_torch_clips_them(limit: float) -> None:
    """Two gradients of norm 3 and 4, together 5."""
    ours, theirs = ([nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(1))] for _ in range(2))
    for first, second in (ours, theirs):
        first.grad, second.grad = torch.tensor([0.0, 3.0]), torch.tensor([4.0])
    unused = nn.Parameter(torch.zeros(3))
    update = Update([*ours, unused], [], clip_norm=limit)
    norm = update.norm()
    assert norm.item() == 5.0
    update.apply(norm)
    nn.utils.clip_grad_norm_([*theirs, unused], limit or math.inf)
    assert [one.grad.tolist() for one in ours] == [one.grad.tolist() for one in theirs]


def test_a_norm_that_is_no_number_is_told() -> None:
    parameter = nn.Parameter(torch.zeros(2))
    parameter.grad = torch.tensor([math.nan, 1.0])
    assert math.isnan(Update([parameter], [], clip_norm=1.0).norm().item())


def test_a_rate_in_a_tensor_stays_in_that_tensor() -> None:
    """As a GPU's recorded step reads it; and a step goes by it as by a number."""
    models = [new_model(), new_model()]
    models[1].load_state_dict(models[0].state_dict())
    for model, rates_are_tensors in zip(models, (False, True), strict=True):
        optimizers = build_optimizers(model, options())
        groups = [group for optimizer in optimizers for group in optimizer.param_groups]
        if rates_are_tensors:
            held = [torch.tensor(group["lr"]) for group in groups]
            for group, rate in zip(groups, held, strict=True):
                group["lr"] = rate
        train(model, optimizers, range(3))
        if rates_are_tensors:
            assert all(group["lr"] is rate for group, rate in zip(groups, held, strict=True))
            assert [round(rate.item(), 9) for rate in held] == [0.003, 0.003, 3e-4, 3e-4]  # 3 / 20 of the peaks
    for ours, theirs in zip(*(model.parameters() for model in models), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-7)
