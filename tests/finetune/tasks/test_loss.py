"""Class weights and label smoothing: PyTorch's mean, however the batch is cut; and the file of weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from finetune.data.data_options import QuestionDataOptions, TagDataOptions, TextDataOptions
from finetune.tasks.loss import ClassLoss, balanced_positives, balanced_weights, read_weights
from finetune.tasks.question_answering import QuestionAnswering
from finetune.tasks.text_classification import TextClassification
from finetune.tasks.token_classification import NOT_SCORED, TokenClassification
from minibert.heads import SpanLogits
from minibert.tokenizer import Tokenizer
from tests.helpers import refusal, seeded

WEIGHTS = torch.tensor([0.1, 2.0, 0.5], dtype=torch.float64)
TARGETS = torch.tensor([0, 2, 0, 1, 0, 0])


def scores(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=seeded(0), requires_grad=True)


def gradient(loss: Tensor, logits: Tensor) -> Tensor:
    return torch.autograd.grad(loss, logits, retain_graph=True)[0]


def assert_same(ours: Tensor, expected: Tensor, logits: Tensor) -> None:
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(gradient(ours, logits), gradient(expected, logits), rtol=0, atol=1e-12)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_loss_and_gradient_are_pytorchs_mean_in_one_batch_or_several(weights: Tensor | None, smoothing: float) -> None:
    logits, loss = scores(6, 3), ClassLoss(weights, smoothing)
    expected = F.cross_entropy(logits, TARGETS, weight=weights, label_smoothing=smoothing)
    divisor = loss.divisor(TARGETS)
    assert_same(loss.sum(logits, TARGETS) / divisor, expected, logits)
    parts = [slice(0, 1), slice(1, 2), slice(2, 6)]  # the first alone weighs 0.1
    assert sum(loss.divisor(TARGETS[part]) for part in parts) == pytest.approx(divisor, abs=1e-12)
    assert_same(sum(loss.sum(logits[part], TARGETS[part]) for part in parts) / divisor, expected, logits)


def test_smoothing_leaves_out_what_is_no_choice() -> None:
    logits = scores(2, 4)
    with_absent = logits.masked_fill(torch.tensor([[False] * 4, [False, False, True, True]]), -torch.inf)
    ours = ClassLoss(smoothing=0.3).sum(with_absent, torch.tensor([3, 1]))
    alone = [(logits[:1], torch.tensor([3])), (logits[1:, :2], torch.tensor([1]))]
    assert_same(ours, sum(F.cross_entropy(one, target, label_smoothing=0.3) for one, target in alone), logits)


def test_several_labels_weigh_where_they_apply(tokenizer: Tokenizer) -> None:
    logits, targets = scores(2, 3), torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    task = TextClassification(TextDataOptions(multi_label=True), tokenizer, ("a", "b", "c")).with_loss(
        ClassLoss(WEIGHTS)
    )
    expected = F.binary_cross_entropy_with_logits(logits, targets.double(), pos_weight=WEIGHTS)
    assert_same(task.loss_sum(logits, targets) / task.count(targets), expected, logits)


def test_words_weigh_by_their_tags(tokenizer: Tokenizer) -> None:
    logits, targets = scores(2, 4, 3), torch.tensor([[NOT_SCORED, 0, 1, NOT_SCORED], [NOT_SCORED, 2, 0, 0]])
    task = TokenClassification(TagDataOptions(), tokenizer, ("O", "a", "b")).with_loss(ClassLoss(WEIGHTS, 0.2))
    expected = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), weight=WEIGHTS, label_smoothing=0.2)
    assert_same(task.loss_sum(logits, targets) / task.count(targets), expected, logits)


def test_answers_are_smoothed_over_real_tokens(tokenizer: Tokenizer) -> None:
    start, end, lengths = scores(2, 5), scores(2, 5), (5, 3)
    task = QuestionAnswering(QuestionDataOptions(), tokenizer).with_loss(ClassLoss(smoothing=0.2))
    places = torch.tensor([[1, 4], [0, 2]])
    targets = torch.cat([places, torch.tensor(lengths)[:, None]], 1)
    expected = sum(
        F.cross_entropy(logits[row, :length], places[row, side], label_smoothing=0.2) / 2
        for row, length in enumerate(lengths)
        for side, logits in enumerate((start, end))
    )
    assert_same(task.loss_sum(SpanLogits(start, end), targets), expected, start)


def test_balanced_classes_have_the_same_weight_in_sum() -> None:
    assert balanced_weights({"a": 6, "b": 2}, ("a", "b")) == [8 / 12, 2.0]
    assert balanced_weights({"a": 6, "b": 2}, ("a", "never", "b")) == [8 / 12, 1.0, 2.0]
    assert balanced_positives({"a": 6, "b": 2, "all": 8}, ("a", "b", "all", "none"), 8) == [2 / 6, 3.0, 1.0, 1.0]


def test_weights_are_read_in_the_order_of_the_labels(tmp_path: Path) -> None:
    (tmp_path / "weights.json").write_text('{"b": 2, "a": 0.5}')
    assert read_weights(str(tmp_path / "weights.json"), ("a", "b")) == [0.5, 2.0]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, ': No such file or directory; expected a JSON object of {"label": weight}'),
        (b"a 2", ": Expecting value: line 1 column 1 (char 0); expected a JSON object"),
        (b'{"a": "\xff"}', ": byte 7 is not UTF-8"),
        (b"[1, 2]", ": found an array, expected a JSON object"),
        (b'{"a": 1, "c": 1}', ": 'c' is not a label of the training file: 'a', 'b'"),
        (b'{"a": 0, "b": 1}', ": the weight of 'a' is 0, expected a number from 0.000001 to 1,000,000"),
        (b'{"a": 1, "b": 1e9}', ": the weight of 'b' is 1000000000.0, expected a number from"),
        (b'{"a": NaN, "b": 1}', ": NaN is not JSON"),
        (b'{"a": true, "b": 1}', ": the weight of 'a' is True, expected a number"),
        (b'{"a": "2", "b": 1}', ": the weight of 'a' is '2', expected a number"),
        (b'{"a": 1}', ": no weight for 'b', expected one for each label (1: no change)"),
    ],
)
def test_bad_weights(content: bytes | None, said: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.json"
    if content is not None:
        path.write_bytes(content)
    assert f"{path}{said}" in refusal(lambda: read_weights(str(path), ("a", "b")))
