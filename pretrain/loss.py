"""The pretraining loss: mean masked-LM loss over the masked tokens plus mean next-sentence loss over the pairs.

Each is a sum over what this process sees, divided by the count of the global batch, so that the losses and gradients of
any number of micro-batches and processes add up to those of one big batch.

M' >= M rows of logits belong to M labels: further rows are padding (see `batches.batch`) and don't count. Nor does, on
a GPU, a label that is `IGNORED`.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from minibert.fast.cross_entropy import summed_cross_entropy
from minibert.heads import PreTrainingLogits
from pretrain.batches.batch import PretrainBatch


class BatchSums(NamedTuple):
    """Sums over one batch; `nsp` is 0 for a model without the next-sentence head."""

    mlm: Tensor  # over the M masked tokens
    nsp: Tensor  # over the B pairs


def loss_sums(answer: Tensor | PreTrainingLogits, batch: PretrainBatch) -> BatchSums:
    """Sum the losses, in float32 or wider, of a model's output: MLM logits (M', V), alone or with NSP logits (B, 2)."""
    if isinstance(answer, PreTrainingLogits):
        nsp = summed_cross_entropy(answer.nsp, batch.next_sentence_labels)
        return BatchSums(summed_cross_entropy(answer.mlm, batch.masked_labels), nsp)
    mlm = summed_cross_entropy(answer, batch.masked_labels)
    return BatchSums(mlm, torch.zeros_like(mlm))


def right_answers(answer: Tensor | PreTrainingLogits, batch: PretrainBatch) -> BatchSums:
    """Count the masked tokens, and the pairs, that are predicted correctly: whose right answer scores highest."""
    mlm_logits = answer.mlm if isinstance(answer, PreTrainingLogits) else answer
    mlm = (mlm_logits[: len(batch.masked_labels)].argmax(-1) == batch.masked_labels).sum()
    if isinstance(answer, PreTrainingLogits):
        return BatchSums(mlm, (answer.nsp.argmax(-1) == batch.next_sentence_labels).sum())
    return BatchSums(mlm, torch.zeros_like(mlm))


def predict(model: nn.Module, batch: PretrainBatch) -> Tensor | PreTrainingLogits:
    """Run one forward pass, under whatever autocast is active."""
    return model(
        batch.input_ids,
        token_type_ids=batch.token_type_ids,
        attention_mask=batch.attention_mask,
        masked_positions=batch.masked_positions,
    )
