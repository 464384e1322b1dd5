"""The cross-entropy that is made with its gradient in one pass, against PyTorch's."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from minibert.fast import cross_entropy
from minibert.fast.cross_entropy import IGNORED, SummedCrossEntropy, by_pytorch
from tests.helpers import seeded


@pytest.mark.parametrize("rows", [1, 64, 130])
def test_the_written_cross_entropy_is_pytorchs_with_its_gradient(rows: int) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = (5 * torch.randn(rows, 97, dtype=torch.float64, generator=generator)).requires_grad_()
    labels = torch.randint(0, 97, (rows,), generator=generator)
    reference = logits.detach().clone().requires_grad_()
    ours = SummedCrossEntropy.apply(logits, labels)
    theirs = torch.nn.functional.cross_entropy(reference, labels, reduction="sum")
    torch.testing.assert_close(ours, theirs, rtol=1e-13, atol=0)
    (ours / 3).backward()
    (theirs / 3).backward()
    torch.testing.assert_close(logits.grad, reference.grad, rtol=0, atol=1e-14)


def test_rows_beyond_the_labels_change_nothing() -> None:
    given = torch.randn(9, 7, generator=seeded(0), requires_grad=True)
    labels = torch.tensor([3, 0, 6, 6])
    SummedCrossEntropy.apply(given, labels).backward()
    expected = torch.zeros(9, 7)
    expected[:4] = given.detach()[:4].softmax(-1) - nn.functional.one_hot(labels, 7)
    assert_close(given.grad, expected)


def test_a_second_backward_pass_is_refused() -> None:
    given = torch.randn(3, 7, generator=seeded(0), requires_grad=True)
    loss = SummedCrossEntropy.apply(given, torch.tensor([3, 0, 6]))
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_on_a_cpu_it_is_the_written_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cross_entropy, "by_pytorch", None)
    logits = torch.zeros(2, 4, requires_grad=True)
    assert cross_entropy.summed_cross_entropy(logits, torch.tensor([1, 2])).item() == pytest.approx(2 * math.log(4))


def test_no_chosen_token_costs_nothing() -> None:
    assert SummedCrossEntropy.apply(torch.zeros(0, 5), torch.zeros(0, dtype=torch.long)).item() == 0.0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_a_gpus_loss_is_a_cpus_and_filling_does_not_count(dtype: torch.dtype) -> None:
    """The last two of the seven rows are filling, whose labels say so."""
    assert IGNORED == -100  # which is no token's id
    drawn = torch.randn(7, 11, generator=seeded(3)).to(dtype)
    labels = torch.tensor([3, 0, 10, 5, 5])
    ours, theirs = (drawn.clone().requires_grad_() for _ in range(2))
    loss = by_pytorch(ours, torch.cat([labels, torch.tensor([IGNORED, IGNORED])]))
    expected = SummedCrossEntropy.apply(theirs, labels)
    loss.backward()
    expected.backward()
    assert loss.dtype == expected.dtype
    assert_close(loss, expected, rtol=1e-6, atol=0)
    assert_close(ours.grad, theirs.grad, rtol=0, atol=1e-2 if dtype == torch.bfloat16 else 1e-6)
    assert ours.grad is not None and bool((ours.grad[5:] == 0).all())
