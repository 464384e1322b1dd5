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
    BatchSums,
    loss_sums,
    predict,
    right_answers,
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


def test_rows_beyond_the_labels_are_not_asked_for() -> None:
    assert int(right_answers(MLM, batch([1, 0], [0])).mlm) == 1


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

    def sums(part: PretrainBatch) -> BatchSums:
        return loss_sums(predict(model, part), part)

    parts = [sums(part(low, high)) for low, high in ((0, 1), (1, 4), (4, 6))]
    for name, wanted, *found in zip(BatchSums._fields, sums(part(0, 6)), *parts, strict=True):
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
