"""The reference's Longformer's values in minibert's shapes, by hand; beside real ones they are in `test_verify`."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from minibert.verification.samples import Layout, Sample
from tests.helpers import FAMILY
from weights_convert.reference import SoftmaxInFull
from weights_convert.windowed_values import in_our_shape, undivided

PLACE = "blocks.0.attention"


def sample(*rows: str) -> Sample:
    """Sequences of G for a global token, l for another, and a dot for padding."""
    marks = torch.tensor([[".lG".index(mark) for mark in row] for row in rows])
    zeros = torch.zeros_like(marks)
    return Sample(Layout("right", "many"), zeros, zeros, marks > 0, {}, global_tokens=marks == 2)


def test_a_band_after_global_columns_becomes_rows_of_all_keys() -> None:
    # A window of 2 and at most 2 global tokens: columns 0 and 1 are those, 2 to 4 the tokens before, at and after.
    band = torch.zeros(2, 4, 1, 5)  # (B, T', N, G + w + 1); the reference has added a token
    band[0, :3, 0] = torch.tensor([[0.5, 0.1, 0, 0, 0.4], [0.3, 0.1, 0, 0.6, 0], [0.2, 0.3, 0.4, 0, 0.1]])
    band[1, :3, 0] = torch.tensor([[0.2, 9, 0, 0.8, 0], [0, 0, 0, 0, 0], [0.7, 9, 0, 0.3, 0]])
    found = in_our_shape(f"{PLACE}.probabilities", band, sample("GlG", "lGl"))
    expected = [
        [[0.5, 0.4, 0.1], [0.3, 0.6, 0.1], [0.2, 0.4, 0.3]],
        [[0.8, 0.2, 0], [0, 0, 0], [0, 0.7, 0.3]],  # of its one global token; the 9 belongs to none
    ]
    assert torch.equal(found, torch.tensor(expected)[:, None])


def test_rows_of_global_tokens_come_to_their_places() -> None:
    rows = torch.arange(1.0, 17).view(2, 1, 2, 4)  # (B, N, G, T')
    found = in_our_shape(f"{PLACE}.global_probabilities", rows, sample("lGG", "G.."))
    assert found[:, 0].tolist() == [
        [[0, 0, 0], [1, 2, 3], [5, 6, 7]],
        [[9, 10, 11], [0, 0, 0], [0, 0, 0]],
    ]
    queries = torch.arange(1.0, 5).view(2, 2, 1)  # (G, B, H)
    found = in_our_shape(f"{PLACE}.global_query", queries, sample("lGG", "G.."))
    assert found[..., 0].tolist() == [[0, 1, 3], [2, 0, 0]]


def test_what_the_reference_added_is_cut_off_and_projections_are_turned() -> None:
    drawn, x = sample("lll", "ll."), torch.arange(8.0).view(2, 4, 1)
    for name in ("output", "context", "sum"):
        assert in_our_shape(f"{PLACE}.{name}", x, drawn)[..., 0].tolist() == [[0, 1, 2], [4, 5, 6]]
    for name in ("query", "key", "value", "global_key", "global_value"):
        assert in_our_shape(f"{PLACE}.{name}", x.transpose(0, 1), drawn)[..., 0].tolist() == [[0, 1, 2], [4, 5, 6]]
    pooled = torch.ones(2, 5)
    assert in_our_shape("pooler.dense", pooled, drawn) is pooled


def test_only_queries_were_divided() -> None:
    config = FAMILY["longformer"].replace(hidden_size=48)  # heads of 16
    assert undivided(f"{PLACE}.query", torch.tensor(3.0), config).item() == 12
    assert undivided(f"{PLACE}.global_query", torch.tensor(3.0), config).item() == 12
    for name in ("key", "value", "global_key", "output"):
        assert undivided(f"{PLACE}.{name}", torch.tensor(3.0), config).item() == 3


def test_softmax_keeps_float64_as_it_is_and_no_other_format() -> None:
    def as_the_reference_does(x: Tensor) -> torch.dtype:
        return F.softmax(x, dim=-1, dtype=torch.float32).dtype

    with SoftmaxInFull():
        assert as_the_reference_does(torch.zeros(2, dtype=torch.float64)) == torch.float64
        assert as_the_reference_does(torch.zeros(2, dtype=torch.bfloat16)) == torch.float32
    assert as_the_reference_does(torch.zeros(2, dtype=torch.float64)) == torch.float32
