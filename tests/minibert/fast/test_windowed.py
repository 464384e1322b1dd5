"""The band of the picture gives what the whole picture gives, without ever being as large."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from minibert.fast import accelerate, windowed
from minibert.model import Bert
from tests.helpers import FAMILY, randomize, seeded

CONFIG = FAMILY["longformer"].replace(
    max_position_embeddings=420, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0
)


def encoder(window: int) -> Bert:
    model = Bert(CONFIG.replace(attention_window=(window, window + 2))).double()
    randomize(model, seed=5)
    return model


def masks(length: int) -> dict[str, Tensor | None]:
    ragged = torch.ones(4, length, dtype=torch.int8)
    ragged[1, length // 2 :], ragged[2, : length // 3], ragged[3] = 0, 0, 0
    spread = torch.where(torch.rand(4, length, generator=seeded(3)) < 0.1, 2, 1).to(torch.int8)
    spread[0] = 1  # a row without any
    return {
        "none": None,
        "padding": ragged == 1,
        "one": ragged * torch.ones_like(ragged).index_fill(1, torch.tensor([0]), 2),
        "many": ragged * spread,
    }


@pytest.mark.parametrize("kind", ["none", "padding", "one", "many"])
@pytest.mark.parametrize("chunk", [4, 16])
@pytest.mark.parametrize(("window", "length"), [(2, 9), (4, 37), (16, 37), (16, 64), (30, 101)])
def test_the_band_is_the_picture(
    window: int, length: int, chunk: int, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(windowed, "CHUNK", chunk)
    plain = encoder(window)
    fast = accelerate(copy.deepcopy(plain))
    input_ids = torch.randint(2, 40, (4, length), generator=seeded(1))
    weights = torch.randn(4, length, 24, generator=seeded(2), dtype=torch.float64)
    states, gradients = [], []
    for model in (plain, fast):
        output = model(input_ids, attention_mask=masks(length)[kind])
        (output * weights).sum().backward()
        states.append(output.detach())
        gradients.append({name: each.grad for name, each in model.named_parameters()})
    assert (states[0] - states[1]).abs().max() < 1e-12
    for name, expected in gradients[0].items():
        found = gradients[1][name]
        if expected is None or found is None:  # global projections where no token is global
            assert expected is found and ".global_" in name and kind in ("none", "padding")
        else:
            assert (found - expected).abs().max() < 1e-12 * max(1.0, float(expected.abs().max())), name


class Sizes(TorchDispatchMode):
    """Notes the numbers of elements of whatever is computed."""

    def __init__(self) -> None:
        super().__init__()
        self.largest = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        result = function(*args, **(kwargs or {}))
        if isinstance(result, Tensor):
            self.largest = max(self.largest, result.numel())
        return result


@pytest.mark.parametrize("kind", ["padding", "one"])
def test_nothing_grows_with_the_square_of_the_length(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windowed, "CHUNK", 16)
    model = accelerate(encoder(4))
    largest = []
    for length in (200, 400):
        with Sizes() as sizes:
            model(
                torch.randint(2, 40, (4, length), generator=seeded(1)), attention_mask=masks(length)[kind]
            ).sum().backward()
        largest.append(sizes.largest)
    assert largest[1] < 2.2 * largest[0]


@pytest.mark.parametrize("kind", ["none", "padding", "many"])
def test_chosen_positions_are_those_of_the_whole(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windowed, "CHUNK", 8)
    fast = accelerate(encoder(4)).train()
    input_ids, wanted = torch.randint(2, 40, (4, 37), generator=seeded(1)), torch.tensor([40, 3, 0])
    mask = masks(37)[kind]
    expected = fast(input_ids, attention_mask=mask).flatten(0, 1)[wanted]
    assert (fast.states_at(input_ids, wanted, attention_mask=mask) - expected).abs().max() < 1e-12


@pytest.mark.parametrize(("part", "shape"), [("dot_product", (2, 3, 37, 8)), ("query_key_value", (2, 37, 72))])
def test_a_hook_sees_whole_sequences(part: str, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windowed, "CHUNK", 4)
    model, seen = accelerate(encoder(4)), []
    model.blocks[0].attention.get_submodule(part).register_forward_hook(lambda *call: seen.append(call[-1].shape))
    model(torch.randint(2, 40, (2, 37), generator=seeded(1)))
    assert seen == [shape]


def test_a_replaced_context_is_not_bypassed(monkeypatch: pytest.MonkeyPatch) -> None:
    model, input_ids = accelerate(encoder(4)), torch.randint(2, 40, (2, 37), generator=seeded(1))
    monkeypatch.setattr(model.blocks[1].attention, "context", lambda x, mask: x)
    chosen = torch.tensor([40, 3])
    assert torch.equal(model.states_at(input_ids, chosen), model(input_ids).flatten(0, 1)[chosen])
