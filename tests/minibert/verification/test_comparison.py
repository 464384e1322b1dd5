"""Two runs of models of ours: what differs first, and why, without any other implementation."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn

from minibert.heads import BertForPreTraining
from minibert.verification.comparison import compare_runs
from minibert.verification.differences import Row
from minibert.verification.runs import run_ours
from minibert.verification.samples import LAYOUTS, draw_sample
from tests.helpers import TINY, randomize, tiny_model


def compared(
    ours: BertForPreTraining, theirs: BertForPreTraining, dtype: str = "float64"
) -> tuple[list[Row], str | None]:
    """Both in `dtype`; in bfloat16 beside the second one in float32."""
    samples = [draw_sample(theirs, TINY, layout, seed=0) for layout in LAYOUTS]
    chosen = getattr(torch, dtype)
    sides = [copy.deepcopy(model).to(chosen) for model in (ours, theirs)]
    exact = copy.deepcopy(theirs).float()
    return compare_runs(
        [sample.to(torch.device("cpu"), chosen) for sample in samples],
        lambda sample: run_ours(sides[0], sample),
        lambda sample: run_ours(sides[1], sample),
        None if dtype != "bfloat16" else lambda sample: run_ours(exact, sample.to(sample.real.device, torch.float32)),
        dtype=dtype,
    )


def model() -> BertForPreTraining:
    found = tiny_model("BertForPreTraining")
    assert isinstance(found, BertForPreTraining)
    randomize(found, seed=11)
    return found


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
def test_a_model_agrees_with_its_copy(dtype: str) -> None:
    rows, cause = compared(model(), model(), dtype)
    assert cause is None and all(row.agrees for row in rows)
    assert dtype == "bfloat16" or max(row.max for row in rows) == 0
    assert [row.kind for row in rows].count("gradient") == [row.kind for row in rows].count("weight") > 20
    names = [row.name for row in rows]
    assert names[0] == "embeddings.token" and names.index("loss") < names.index("encoder.embeddings.token.weight")


def other_eps(model: BertForPreTraining) -> None:
    model.encoder.blocks[1].attention_norm.eps = 1e-3


def swap(model: BertForPreTraining) -> None:
    first, second = model.encoder.blocks[0].feed_forward_norm, model.encoder.blocks[0].attention_norm
    for leaf in ("weight", "bias"):
        one, other = getattr(first, leaf), getattr(second, leaf)
        setattr(first, leaf, nn.Parameter(other.detach().clone()))
        setattr(second, leaf, nn.Parameter(one.detach().clone()))


def freeze(model: BertForPreTraining) -> None:
    model.pooler.dense.bias.requires_grad = False


def not_a_number(model: BertForPreTraining) -> None:
    model.pooler.dense.bias.data[0] = torch.nan


@pytest.mark.parametrize(
    ("plant", "first", "cause"),
    [
        (other_eps, "blocks.1.attention_norm", "LayerNorm eps is 0.001, but the reference's is 1e-12"),
        (swap, "blocks.0.attention_norm", "blocks.0.attention_norm and feed_forward_norm are swapped"),
        (freeze, "gradient of pooler.dense.bias",
         "no gradient reaches pooler.dense.bias: it is frozen, detached, or not used"),
        (not_a_number, "pooler.dense", "minibert's weights of pooler.dense are not all finite"),
    ],
)  # fmt: skip
def test_a_fault_is_found_and_named(plant: Callable[[BertForPreTraining], None], first: str, cause: str) -> None:
    faulty = model()
    plant(faulty)
    rows, found = compared(faulty, model())
    assert next(row.title for row in rows if not row.agrees) == first
    assert found == cause


def test_a_row_that_no_batch_reaches_differs_as_a_weight() -> None:
    faulty = model()
    faulty.encoder.embeddings.segment.weight.data[0] += 1
    sample = draw_sample(faulty, TINY, LAYOUTS[2], seed=0)
    sample.token_type_ids.fill_(1)
    right = model()
    rows, cause = compare_runs(
        [sample], lambda sample: run_ours(faulty, sample), lambda sample: run_ours(right, sample), dtype="float32"
    )
    assert [row.title for row in rows if not row.agrees] == ["weight of encoder.embeddings.segment.weight"]
    assert cause == (
        "encoder.embeddings.segment.weight differs in 1 of 2 rows, which no token or position of the batches uses"
    )
