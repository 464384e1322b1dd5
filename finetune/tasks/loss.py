"""The loss of tasks that choose one of several: cross-entropy, with class weights and label smoothing if asked for.

Sums and divisors are kept apart, so that the mean over a global batch doesn't depend on how it is cut up.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from minibert.errors import InputError
from minibert.files.tables import listed
from minibert.files.text import json_type, parse_json, read_small, reason

BALANCED = "balanced"  # the other value of --class-weights is a file
LEAST, MOST = 1e-6, 1e6  # weights: far from what float32 can't hold


@dataclass(frozen=True)
class ClassLoss:
    """How the cross-entropy is computed."""

    weights: Tensor | None = None  # (C,) float64; None: all 1
    smoothing: float = 0.0  # the share of a target that is spread evenly over all choices

    def weights_for(self, logits: Tensor) -> Tensor | None:
        """Return the weights in the logits' number format, on their device."""
        return None if self.weights is None else self.weights.to(logits)

    def divisor(self, targets: Tensor) -> float:
        """Return what the sum over targets is divided by for the mean: the sum of their weights."""
        return len(targets) if self.weights is None else float(self.weights[targets].sum())

    def sum(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the sum of the losses, as PyTorch's `cross_entropy` with `weight` and `label_smoothing` has it.

        logits: (B, C), -inf for what is no choice: smoothing is over the others. targets: (B,).
        """
        weights = self.weights_for(logits)
        loss = F.cross_entropy(logits, targets, weight=weights, reduction="sum")
        if not self.smoothing:
            return loss
        absent = logits == -torch.inf
        logs = logits.log_softmax(-1) if weights is None else logits.log_softmax(-1) * weights
        spread = logs.masked_fill(absent, 0).sum(-1) / (~absent).sum(-1)
        return (1 - self.smoothing) * loss - self.smoothing * spread.sum()


PLAIN = ClassLoss()


def balanced_weights(counts: Mapping[str, int], labels: Sequence[str]) -> list[float]:
    """Return n / (C * n_c) for each label, so that all C classes have the same weight in sum; 1 if it doesn't occur.

    counts: the number n_c of training examples of each class that occurs, n in all.
    """
    total = sum(counts.values())
    return [total / (len(counts) * counts[label]) if label in counts else 1.0 for label in labels]


def balanced_positives(counts: Mapping[str, int], labels: Sequence[str], examples: int) -> list[float]:
    """Return (n - n_c) / n_c for each label: the weight of the n_c examples that have it, if an example can have
    several labels, so that they have the same weight in sum as those without it; 1 if all have it, or none."""
    having = [counts.get(label, 0) for label in labels]
    return [(examples - count) / count if 0 < count < examples else 1.0 for count in having]


def read_weights(path: str, labels: Sequence[str]) -> list[float]:
    """Return the weight of each label from a JSON object.

    Raises InputError if the file can't be read, or doesn't give each label, and nothing else, a weight within bounds.
    """
    expected = f'expected a JSON object of {{"label": weight}} (the other choice for --class-weights is {BALANCED})'
    try:
        found = parse_json(read_small(path))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: {reason(error)}; {expected}") from error
    if not isinstance(found, dict):
        raise InputError(f"{path}: found {json_type(found)}, {expected}")
    for label, weight in found.items():
        if label not in labels:
            raise InputError(f"{path}: {label!r:.60} is not a label of the training file: {listed(labels)}")
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not LEAST <= weight <= MOST:
            what = f"{path}: the weight of {label!r:.60} is {weight!r:.60}"
            raise InputError(f"{what}, expected a number from {LEAST:f} to {MOST:,.0f}")
    if missing := [label for label in labels if label not in found]:
        raise InputError(f"{path}: no weight for {listed(missing)}, expected one for each label (1: no change)")
    return [float(found[label]) for label in labels]
