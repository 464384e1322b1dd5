"""Values out of JSON and TOML against the types that dataclasses declare."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pytest

from minibert.files.typed import check_fields, typed
from tests.helpers import refusal


@dataclass(frozen=True)
class Side:
    documents: int
    share: float


@dataclass(frozen=True)
class Record:
    train: Side
    sides: dict[str, Side]
    options: dict[str, Any]
    kind: Literal["a", "b"] | None


GOOD = {"train": {"documents": 1, "share": 1}, "sides": {"x.bin": {"documents": 2, "share": 0.5}}, "options": {}}


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        (2**70, int, 2**70),
        (-3, float, -3.0),
        (None, float | None, None),
        (True, bool, True),
        ("\ud800", str, "\ud800"),
        ("a", Literal["a", "b"], "a"),
        (None, Literal["a"] | None, None),
        ([[128, 1], [512, 0.5]], tuple[tuple[int, float], ...], ((128, 1.0), (512, 0.5))),
        ([], tuple[str, ...], ()),
        ({"any": [1, None]}, dict[str, Any], {"any": [1, None]}),
        (GOOD | {"kind": "b", "new": 1}, Record, Record(Side(1, 1.0), {"x.bin": Side(2, 0.5)}, {}, "b")),
    ],
)
def test_what_fits_is_of_the_type(value: Any, kind: Any, expected: object) -> None:
    found = typed(value, kind)
    assert found == expected
    assert type(found) is type(expected)


def test_what_is_no_number_is_a_float() -> None:
    assert math.isnan(typed(math.nan, float))


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        (True, int, "int, not True"),
        (1, bool, "bool, not 1"),
        (1.0, int, "int, not 1.0"),
        (math.inf, int, "int, not inf"),
        (True, float, "float, not True"),
        ("1", float | None, "float | None, not '1'"),
        (10**400, float, f"float, not {10**79}"),
        (None, str, "str, not None"),
        ("c", Literal["a", "b"], "Literal['a', 'b'], not 'c'"),
        ("\ud800", Literal["a", "b"], "Literal['a', 'b'], not '\\ud800'"),
        ([], Literal["a"], "Literal['a'], not []"),
        ([1], tuple[int, float], "tuple[int, float], not [1]"),
        ([[128, "x"]], tuple[tuple[int, float], ...], "tuple[tuple[int, float], ...], not [[128, 'x']]"),
        ("ab", tuple[str, ...], "tuple[str, ...], not 'ab'"),
        ([], dict, "dict, not []"),
    ],
)
def test_what_does_not_is_named_with_what_was_expected(value: Any, kind: Any, expected: str) -> None:
    assert refusal(lambda: typed(value, kind, "field")) == f"field must be of type {expected}"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "the content must be of type Record, not []"),
        (GOOD | {"kind": 1}, "kind must be of type Optional[Literal['a', 'b']], not 1"),
        (GOOD | {"train": 3}, "train must be of type Side, not 3"),
        (GOOD | {"train": {"documents": 3}}, "train.share must be of type float, not None"),
        (GOOD | {"sides": {"x.bin": {"documents": "2"}}}, "sides.x.bin.documents must be of type int, not '2'"),
        (GOOD | {"sides": {"x.bin": GOOD["train"], "y": None}}, "sides.y must be of type Side, not None"),
    ],
)  # fmt: skip
def test_the_place_inside_is_named(content: object, message: str) -> None:
    assert refusal(lambda: typed(content, Record)) == message


def test_what_is_nested_deep_is_left_alone() -> None:
    depth = 900
    deep = json.loads('{"a": ' * depth + "1" + "}" * depth)
    assert typed(deep, dict[str, Any]) == deep


def test_fields_keep_the_values_that_they_were_given() -> None:
    side = Side(documents=1, share=2)
    check_fields(side)
    assert type(side.share) is int
    check_fields(Side(documents=1, share=np.float64(0.5)))
    assert refusal(lambda: check_fields(Side(documents=1, share="2"))) == "share must be of type float, not '2'"  # type: ignore[arg-type]
