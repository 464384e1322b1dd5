"""The pretraining loss, against sums made by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from minibert.heads import BertForMaskedLM, BertForPreTraining, PreTrainingLogits
from pretrain.batches.batch import PretrainBatch
from pretrain.loss import (
    NO_LABEL,
    SummedCrossEntropy,
    Sums,
    loss_sums,
    predict,
    right_answers,
    summed_cross_entropy,
)
from tests.helpers import TINY, seeded

LN3 = math.log(3)


def batch(labels: list[int], classes: list[int]) -> PretrainBatch:
    return PretrainBatch(
        input_ids=torch.ones(len(classes), 4, dtype=torch.long),
        token_type_ids=torch.zeros(len(classes), 4, dtype=torch.long),
        attention_mask=None,
        masked_positions=torch.arange(len(labels)),
        masked_labels=torch.tensor(labels, dtype=torch.long),
        next_sentence_labels=torch.tensor(classes),
        lengths=torch.tensor([4] * len(classes)),
    )


MLM = torch.tensor([[0.0, 0.0, -1e9], [LN3, 0.0, -1e9], [LN3, 0.0, -1e9]])  # 1/2 each; 3/4 and 1/4; the same
NSP = torch.tensor([[LN3, 0.0], [LN3, 0.0]])


def test_sums_by_hand() -> None:
    sums = loss_sums(PreTrainingLogits(MLM, NSP), batch([1, 0, 1], [0, 1]))
    assert_close(sums.mlm, torch.tensor(math.log(2) + math.log(4 / 3) + math.log(4)))
    assert_close(sums.nsp, torch.tensor(math.log(4 / 3) + math.log(4)))


def test_right_answers_by_hand() -> None:
    right = right_answers(PreTrainingLogits(MLM, NSP), batch([1, 0, 0], [1, 0]))
    assert (int(right.mlm), int(right.nsp)) == (2, 1)


def test_without_a_next_sentence_head_its_sums_are_0() -> None:
    sums, right = loss_sums(MLM, batch([1, 0, 1], [0, 1])), right_answers(MLM, batch([1, 0, 1], [0, 1]))
    assert_close(sums.mlm, torch.tensor(math.log(2) + math.log(4 / 3) + math.log(4)))
    assert [float(value) for value in (sums.nsp, right.mlm, right.nsp)] == [0, 1, 0]


@pytest.mark.parametrize("label", [0, 1])
def test_both_classes_of_pairs_are_learned(label: int) -> None:
    nsp = torch.zeros(1, 2, requires_grad=True)
    loss_sums(PreTrainingLogits(MLM, nsp), batch([1, 0, 1], [label])).nsp.backward()
    expected = torch.tensor([[0.5, 0.5]])
    expected[0, label] = -0.5
    assert_close(nsp.grad, expected)


def test_the_padding_token_is_a_label_like_any_other() -> None:
    sums = loss_sums(torch.tensor([[0.0, LN3]]), batch([0], [0]))
    assert_close(sums.mlm, torch.tensor(math.log(4)))


def test_nothing_to_tell_costs_nothing() -> None:
    answer, nothing = PreTrainingLogits(torch.empty(0, 3), NSP), batch([], [0, 1])
    assert (float(loss_sums(answer, nothing).mlm), int(right_answers(answer, nothing).mlm)) == (0, 0)


@pytest.mark.parametrize(
    ("given", "computed"),
    [(torch.bfloat16, torch.float32), (torch.float32, torch.float32), (torch.float64, torch.float64)],
)
def test_losses_are_computed_in_float32_or_wider(given: torch.dtype, computed: torch.dtype) -> None:
    sums = loss_sums(PreTrainingLogits(MLM.to(given), NSP.to(given)), batch([1, 0, 1], [0, 1]))
    assert (sums.mlm.dtype, sums.nsp.dtype) == (computed, computed)


def test_a_bfloat16_answer_loses_nothing_more() -> None:
    logits = torch.zeros(1, 1000, dtype=torch.bfloat16)
    assert_close(loss_sums(logits, batch([5], [0])).mlm, torch.tensor(math.log(1000)), rtol=1e-6, atol=0)


@pytest.mark.parametrize("architecture", [BertForPreTraining, BertForMaskedLM])
def test_the_sums_of_micro_batches_add_up_to_those_of_the_batch(
    architecture: type[BertForPreTraining | BertForMaskedLM],
) -> None:
    model = architecture(TINY, generator=seeded(1)).double().eval()
    input_ids = torch.randint(1, 40, (6, 9), generator=seeded(2))
    lengths = torch.tensor([9, 5, 9, 7, 3, 9])

    def part(low: int, high: int) -> PretrainBatch:
        positions = torch.cat([row * 9 + torch.tensor([1, 2]) for row in range(high - low)])
        return PretrainBatch(
            input_ids=input_ids[low:high],
            token_type_ids=torch.zeros(high - low, 9, dtype=torch.long),
            attention_mask=torch.arange(9) < lengths[low:high, None],
            masked_positions=positions,
            masked_labels=input_ids[low:high, 3:5].flatten(),
            next_sentence_labels=torch.arange(low, high) % 2,
            lengths=lengths[low:high],
        )

    def sums(part: PretrainBatch) -> Sums:
        return loss_sums(predict(model, part), part)

    parts = [sums(part(low, high)) for low, high in ((0, 1), (1, 4), (4, 6))]
    for name, wanted, *found in zip(Sums._fields, sums(part(0, 6)), *parts, strict=True):
        assert_close(torch.stack(found).sum(), wanted, rtol=0, atol=1e-10, msg=lambda m, n=name: f"{n}: {m}")


def test_the_model_gets_the_whole_batch() -> None:
    seen: dict[str, Tensor | None] = {}

    class Listens(nn.Module):
        def forward(self, input_ids: Tensor, **inputs: Tensor | None) -> Tensor:
            seen.update(input_ids=input_ids, **inputs)
            return MLM

    given = batch([1, 0, 1], [0, 1])
    assert predict(Listens(), given) is MLM
    assert seen.keys() == {"input_ids", "token_type_ids", "attention_mask", "masked_positions"}
    assert all(value is getattr(given, name) for name, value in seen.items())


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
    assert int(right_answers(MLM, batch([1, 0], [0])).mlm) == 1  # the third row is not asked for


def test_a_second_backward_pass_is_refused() -> None:
    given = torch.randn(3, 7, generator=seeded(0), requires_grad=True)
    loss = SummedCrossEntropy.apply(given, torch.tensor([3, 0, 6]))
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_no_chosen_token_costs_nothing() -> None:
    assert SummedCrossEntropy.apply(torch.zeros(0, 5), torch.zeros(0, dtype=torch.long)).item() == 0.0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_a_gpus_loss_is_a_cpus_and_filling_does_not_count(dtype: torch.dtype) -> None:
    """The last two of the seven rows are filling, whose labels say so."""
    drawn = torch.randn(7, 11, generator=seeded(3)).to(dtype)
    labels = torch.tensor([3, 0, 10, 5, 5])
    ours, theirs = (drawn.clone().requires_grad_() for _ in range(2))
    loss = summed_cross_entropy(ours, torch.cat([labels, torch.tensor([NO_LABEL, NO_LABEL])]))
    expected = SummedCrossEntropy.apply(theirs, labels)
    loss.backward()
    expected.backward()
    assert loss.dtype == expected.dtype
    assert_close(loss, expected, rtol=1e-6, atol=0)
    assert_close(ours.grad, theirs.grad, rtol=0, atol=1e-2 if dtype == torch.bfloat16 else 1e-6)
    assert ours.grad is not None and bool((ours.grad[5:] == 0).all())
