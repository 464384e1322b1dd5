"""How far a fine-tuning run has come, and the best of it: the facts that are saved with its state."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Position:
    """Counts of what is done, and what the best epoch reached."""

    step: int = 0  # optimizer steps done
    seconds: float = 0.0  # spent in them, over all parts of the run
    examples: int = 0  # trained on, or windows of them
    tokens: int = 0  # real ones
    evaluated: int = 0  # epochs
    best_epoch: int = 0  # from 1
    best_metrics: dict[str, float] = field(default_factory=dict)  # on dev
    best_reading: dict[str, Any] = field(default_factory=dict)  # with what was chosen on dev
