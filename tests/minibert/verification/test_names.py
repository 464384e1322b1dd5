"""The names that connect modules, values and parameters."""

from __future__ import annotations

import pytest

from minibert.verification.names import stacked_part, values_of


@pytest.mark.parametrize("kind", ["", "global_"])
def test_a_stacked_module_makes_three_values(kind: str) -> None:
    module = f"blocks.3.attention.{kind}query_key_value"
    values = tuple(f"blocks.3.attention.{kind}{part}" for part in ("query", "key", "value"))
    assert values_of(f"encoder.{module}") == values_of(module) == values
    assert [stacked_part(value) for value in values] == [(module, 0), (module, 1), (module, 2)]


@pytest.mark.parametrize("name", ["blocks.3.attention.output", "pooler.dense", "embeddings", "loss"])
def test_any_other_module_makes_its_own_value(name: str) -> None:
    assert values_of(name) == (name,) and stacked_part(name) is None
