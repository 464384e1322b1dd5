"""Doubts about a finished run's figures, each with its likely cause: nothing was learned, or too little data."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from finetune.tasks.task import Feature, Task
from minibert.errors import plural
from minibert.tokenizer import Tokenizer

FEW_EXAMPLES = 50
MANY_UNKNOWN = 0.1  # of a text's tokens; for English and an English vocabulary it is a thousandth
STALLED = 0.98  # of the first losses


def doubts(
    task: Task[Any, Any],
    examples: Sequence[Any],
    predictions: Sequence[Any],
    *,
    trained_on: Sequence[Feature],
    losses: Sequence[float],
) -> Iterator[str]:
    """Yield each doubt as a line for the user. examples, predictions: those of dev; losses: as they were logged."""
    slow = "probably too few --epochs, a --learning-rate too low or too high, or data without a pattern"
    if nothing := task.nothing_learned(examples, predictions):
        yield f"{nothing}: {slow}"
    if len(losses) > 2 and (last := np.mean(losses[-max(1, len(losses) // 4) :])) > STALLED * losses[0]:
        yield f"the loss ended at {last:.4f}, about where it began ({losses[0]:.4f}): {slow}"
    if (unknown := unknown_share(trained_on, task.tokenizer)) > MANY_UNKNOWN:
        what = "its vocabulary is probably for another language or script"
        yield f"{unknown:.0%} of the training texts' tokens are unknown to the model: {what}"
    if len(examples) < FEW_EXAMPLES:
        one = f"each counts for {1 / len(examples):.0%}"
        yield f"dev has only {plural(len(examples), 'example')}, too few for reliable figures: {one}"


def unknown_share(features: Sequence[Feature], tokenizer: Tokenizer) -> float:
    """The share of [UNK] among the tokens, not counting other special tokens."""
    ids = np.concatenate([sequence.ids for feature in features for sequence in feature.sequences])
    text = ids[~np.isin(ids, (tokenizer.pad_id, tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id))]
    return float(np.mean(text == tokenizer.unk_id)) if len(text) else 0.0
