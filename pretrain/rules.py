"""What a recipe leaves open: learning rates and dropout, as functions of what is known when a run begins.

The rules were fitted to held-out losses on 10 million words of English books (docs/pretraining.md has the figures). All
rates are peaks, of a warm-up over 5 % of the run and a linear decay to 0.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from minibert.config import PRESETS
from minibert.training.room import block_matrices
from pretrain.options import PretrainOptions

# The smallest and the largest values with which the rules were measured, by the name of `Plan`'s field.
MEASURED = {"hidden_size": (128, 256), "layers": (2, 4), "step_tokens": (3.9e3, 8e3), "tokens": (1.8e6, 7.7e7)}
# What a line for the user calls such a value.
_SHOWN = {
    "hidden_size": "a hidden size of {}",
    "layers": "a depth of {}",
    "step_tokens": "{} tokens per step",
    "tokens": "{} tokens in all",
}

# With fewer tokens for each weight of the blocks, a smaller model reached a lower loss in the same time.
FEWEST_TOKENS = 2.0
# Over the text: with more, there is dropout (it helped at 23), and a word of advice.
DROPOUT_FROM_PASSES, MOST_PASSES = 15.0, 25.0


@dataclass(frozen=True)
class Plan:
    """What is known of a run when it begins."""

    hidden_size: int  # H
    layers: int  # L
    block_weights: int  # numbers in the matrices of the blocks
    step_tokens: float  # real tokens of an optimizer step, special ones included
    tokens: float  # of all steps
    passes: float  # over the training text
    trained: bool  # it begins with trained weights (--init)

    def __str__(self) -> str:
        return f"{self.tokens:,.0f} tokens, {self.passes:,.2f} passes over the text"


def learning_rate(plan: Plan) -> float:
    """Return AdamW's peak rate, for embeddings, heads and vectors: in proportion to 1/H."""
    return 3.3e-3 * (256 / plan.hidden_size) * _of_length_and_batch(plan, fall=0.1)


def block_learning_rate(plan: Plan) -> float:
    """Return Muon's peak rate, for the matrices of the blocks: lower for wide and for deep models."""
    return 3.2e-3 * (256 / plan.hidden_size) ** 0.5 * (4 / plan.layers) ** 0.25 * _of_length_and_batch(plan, fall=0.2)


def dropout(plan: Plan) -> float:
    """Return the dropout: none until a text is read so often that it could be memorised."""
    return 0.1 if plan.passes > DROPOUT_FROM_PASSES else 0.0


def _of_length_and_batch(plan: Plan, *, fall: float) -> float:
    """Longer runs want lower rates, by the power `fall`. Larger batches allow higher ones, by the square root (Malladi
    et al. 2022, arXiv 2205.10287).
    """
    tokens = max(plan.tokens, MEASURED["tokens"][0])  # rates of shorter runs would become too high
    return (tokens / 5e6) ** -fall * (plan.step_tokens / 7_870) ** 0.5


RULES = {"learning_rate": learning_rate, "block_learning_rate": block_learning_rate, "dropout": dropout}


def left_to_rules(options: PretrainOptions) -> list[str]:
    """Return the names of the options that are left to a rule."""
    muon = options.optimizer == "muon"
    return [name for name in RULES if getattr(options, name) is None and (muon or name != "block_learning_rate")]


def beyond_measured(plan: Plan) -> list[str]:
    """Return a line for the user if the plan lies outside the range of `MEASURED`."""
    values = {name: (getattr(plan, name), *bounds) for name, bounds in MEASURED.items()}
    outside = [
        f"{_SHOWN[name].format(f'{value:,.0f}')} (measured: {low:,.0f} to {high:,.0f})"
        for name, (value, low, high) in values.items()
        if not low <= value <= high
    ]
    if plan.trained:
        outside.append("weights that are already trained (--init)")
    if not outside:
        return []
    return [f"the rules' measurements do not cover {', '.join(outside)}: it may be worth trying other rates"]


def advice(plan: Plan) -> list[str]:
    """Return lines for the user about a run from which another choice would probably get more."""
    lines = []
    if plan.tokens < FEWEST_TOKENS * plan.block_weights and not plan.trained:
        fitting = [name for name, config in PRESETS.items() if FEWEST_TOKENS * block_matrices(config) <= plan.tokens]
        smaller = [name for name in fitting if block_matrices(PRESETS[name]) < plan.block_weights]
        better = f"--model {smaller[-1]}" if smaller else "a smaller --model"
        lines.append(
            f"the model is large for so short a run ({plan.tokens / plan.block_weights:.2g} tokens for each weight of "
            f"its blocks): {better} or a longer run would probably reach a lower loss"
        )
    if plan.passes > MOST_PASSES:
        lines.append(
            f"{plan.passes:,.0f} passes over the text are more than usually help: with more text or fewer passes, the "
            "model would probably be better"
        )
    return lines


def filled(options: PretrainOptions, value_of: Callable[[str], Any]) -> PretrainOptions:
    """Return the options with what they leave open set to `value_of` its name."""
    return replace(options, **{name: value_of(name) for name in left_to_rules(options)})


def by_rule(options: PretrainOptions, plan: Plan) -> PretrainOptions:
    """Return the options with what they leave open by the rules, to three digits."""
    return filled(options, lambda name: float(f"{RULES[name](plan):.3g}"))
