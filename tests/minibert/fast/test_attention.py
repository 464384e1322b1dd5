"""Attention by the fused kernel and as it is written out are the same."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.modules.module import register_module_forward_hook
from torch.testing import assert_close

from minibert.fast import accelerate
from minibert.model import DotProductAttention, visible_keys
from tests.helpers import seeded


@pytest.mark.parametrize("length", [1, 15, 16, 17])  # the fused kernel is given keys by 16
@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("masked", [False, True], ids=["no mask", "mask"])
def test_the_fused_and_the_written_out_attention_agree(length: int, rows: int, masked: bool) -> None:
    mask = visible_keys(torch.rand(rows, length, generator=seeded(3)) < 0.6) if masked else None
    query, key, value = torch.randn(3, rows, 3, length, 8, generator=seeded(4), dtype=torch.float64)
    fused, written_out = accelerate(DotProductAttention(0.1)).eval(), DotProductAttention(0.1).eval()
    assert_close(fused(query, key, value, mask), written_out(query, key, value, mask), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("rows", "dtype", "training", "learns", "keys"),
    [
        (3, torch.float32, False, False, [16]),  # keys are filled up
        (3, torch.float32, False, True, [16]),
        (3, torch.bfloat16, False, False, [16]),
        (1, torch.float32, False, False, [15]),  # a single text
        (3, torch.bfloat16, False, True, []),  # written out
        (3, torch.float32, True, False, []),
    ],
)
def test_the_fused_kernel_is_called_where_it_is_the_fast_way(
    monkeypatch: pytest.MonkeyPatch, rows: int, dtype: torch.dtype, training: bool, learns: bool, keys: list[int]
) -> None:
    called, kernel = [], F.scaled_dot_product_attention

    def seen(query: Tensor, key: Tensor, *args: Any, **more: Any) -> Tensor:
        called.append(key.size(-2))
        return kernel(query, key, *args, **more)

    monkeypatch.setattr(F, "scaled_dot_product_attention", seen)
    query, key, value = torch.randn(3, rows, 3, 15, 8, generator=seeded(4)).to(dtype)
    accelerate(DotProductAttention(0.1)).train(training)(query.requires_grad_(learns), key, value, None)
    assert called == keys


def test_a_hook_on_all_modules_sees_its_dropout() -> None:
    attention, seen = accelerate(DotProductAttention(0.1)).eval(), []
    handle = register_module_forward_hook(lambda module, *_: seen.append(module))
    try:
        attention(*torch.randn(3, 1, 3, 5, 8, generator=seeded(4)), None)
    finally:
        handle.remove()
    assert seen == [attention.dropout, attention]


def test_it_drops_in_training() -> None:
    uniform = torch.zeros(1, 1, 200, 200)  # all keys look alike: every probability is 1/200
    torch.manual_seed(8)
    got = accelerate(DotProductAttention(0.3)).train()(uniform, uniform, torch.eye(200)[None, None] * 200, None)
    assert float((got == 0).double().mean()) == pytest.approx(0.3, abs=0.01)


def test_it_drops_where_its_dropout_alone_is_in_training() -> None:
    """As those have it who ask a model several times for one answer (Gal & Ghahramani 2016, arXiv 1506.02142)."""
    torch.manual_seed(8)
    for attention in (DotProductAttention(0.3), accelerate(DotProductAttention(0.3))):
        attention.eval().dropout.train()
        got = attention(*torch.zeros(2, 1, 1, 200, 200), torch.eye(200)[None, None] * 200, None)
        assert float((got == 0).double().mean()) == pytest.approx(0.3, abs=0.01)


@pytest.mark.parametrize("everywhere", [False, True], ids=["an object's", "the class's"])
def test_other_probabilities_are_taken(monkeypatch: pytest.MonkeyPatch, everywhere: bool) -> None:
    attention = accelerate(DotProductAttention(0.1)).eval()
    value = torch.randn(1, 3, 5, 8, generator=seeded(4))
    monkeypatch.setattr(DotProductAttention if everywhere else attention, "probabilities", lambda *_: torch.eye(5))
    assert torch.equal(attention(value, value, value, None), value)
