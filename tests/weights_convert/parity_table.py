"""Writes the table of docs/verification.md: how far every class is from the reference, in three shapes.

python -m tests.weights_convert.parity_table [tiny] [odd] [base]
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import torch
import transformers

from minibert.config import PRESETS
from tests.weights_convert.reference_models import KINDS, ODD, SMALL, reference_model
from tests.weights_convert.test_verify import converted
from weights_convert.comparison import Row, is_hidden_state
from weights_convert.verify import compare, train_both

SHAPES = {"tiny": SMALL, "odd": ODD, "base": PRESETS["base"]}
STEPS = 100  # of AdamW; those of base's shape take an hour for all classes on 2 cores


def figures(kind: str, shape: str) -> Iterator[str]:
    """The cells of one row."""
    reference = reference_model(kind, SHAPES[shape])
    reference.set_attn_implementation("eager")
    ours = converted(reference, kind)
    yield kind
    yield shape
    for dtype in ("float64", "float32"):
        ours.to(getattr(torch, dtype))
        rows, _ = compare(ours, lambda dtype: reference.to(dtype), dtype=dtype)
        values = [row for row in rows if row.kind == "value"]
        gradients = [row for row in rows if row.kind == "gradient"]
        compared = values if dtype == "float64" else [row for row in values if is_hidden_state(row.name)]
        yield f"{max(row.max for row in compared):.1e}"
        yield f"{max(row.relative for row in gradients):.1e}"
        yield _verdict(rows)
    reference = reference_model(kind, SHAPES[shape])
    losses = train_both(converted(reference, kind), reference, steps=STEPS)
    yield f"{max(abs(ours - theirs) for ours, theirs in losses):.1e}"


def _verdict(rows: list[Row]) -> str:
    return f"{sum(row.agrees for row in rows)} of {len(rows)}"


def main() -> None:
    """Prints the table, row by row."""
    transformers.logging.set_verbosity_error()
    print(
        "| class | shape | float64: values | gradients | agree | float32: hidden states | gradients | agree | steps |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for shape in sys.argv[1:] or SHAPES:
        for kind in KINDS:
            print(f"| {' | '.join(figures(kind, shape))} |", flush=True)


if __name__ == "__main__":
    main()
