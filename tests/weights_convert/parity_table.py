"""Writes the tables of docs/verification.md: how far every class is from the reference, in three shapes.

python -m tests.weights_convert.parity_table [tiny] [odd] [base] [--family bert roberta …] [--steps N]
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence

import torch
import transformers

from minibert.config import PRESETS
from minibert.verification.differences import Row, is_hidden_state
from tests.weights_convert.reference_models import KINDS, ODD, SMALL, family_of_kind, reference_model
from tests.weights_convert.test_verify import converted
from weights_convert.families import FAMILIES
from weights_convert.parity import compare, train_both

SHAPES = {"tiny": SMALL, "odd": ODD, "base": PRESETS["base"]}
STEPS = 100  # of AdamW; those of base's shape take an hour for BERT's classes on 2 cores


def figures(kind: str, shape: str, steps: int) -> Iterator[str]:
    """The cells of one row; that of the steps is empty where there are none."""
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
    losses = train_both(converted(reference, kind), reference, steps=steps)
    yield f"{max(abs(ours - theirs) for ours, theirs in losses):.1e}" if losses else ""


def _verdict(rows: list[Row]) -> str:
    return f"{sum(row.agrees for row in rows)} of {len(rows)}"


def main(args: Sequence[str] | None = None) -> None:
    """Prints the table, row by row."""
    parser = argparse.ArgumentParser(prog="python -m tests.weights_convert.parity_table")
    parser.add_argument("shapes", nargs="*", metavar="SHAPE", help=f"of {', '.join(SHAPES)}; all where none is given")
    parser.add_argument("--family", nargs="+", choices=FAMILIES, default=list(FAMILIES))
    parser.add_argument("--steps", type=int, default=STEPS, help="of AdamW in float64")
    options = parser.parse_args(args)
    transformers.logging.set_verbosity_error()
    print(
        "| class | shape | float64: values | gradients | agree | float32: hidden states | gradients | agree | steps |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for shape in options.shapes or SHAPES:
        for kind in KINDS:
            if family_of_kind(kind) in options.family:
                print(f"| {' | '.join(figures(kind, shape, options.steps))} |", flush=True)


if __name__ == "__main__":
    main()
