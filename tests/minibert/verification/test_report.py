"""What a comparison prints and keeps: the verdict on rows and on losses."""

from __future__ import annotations

import json
import math
from dataclasses import replace

from minibert.verification.differences import Row
from minibert.verification.report import Report

AGREES = Row("value", "embeddings", 0.0, 0.0, 0.0, 1e-10, agrees=True)
MISSING = Row("gradient", "pooler.dense.bias", math.inf, math.inf, math.inf, 1e-9, agrees=False, note="not in minibert")


def report(*rows: Row, cause: str | None = None, losses: list[tuple[float, float]] | None = None) -> Report:
    return Report(
        reference="a", implementation="x", model="b", architecture="Bert", dtype="float64", seed=3, parameters=1234,
        rows=list(rows), cause=cause, losses=losses or [],
    )  # fmt: skip


def test_the_table_says_who_ran_what_and_where_it_differs_first() -> None:
    assert list(report(AGREES, MISSING, replace(MISSING, kind="weight"), cause="it is frozen").lines()) == [
        "reference: a (x)",
        "model:     b, a Bert of 1,234 parameters, in float64",
        "batches:   3, of 6 sequences each; padding: right, left, none; seed 3",
        "",
        "value                                max       mean   relative   max allowed",
        "embeddings                      0.00e+00   0.00e+00   0.00e+00      1.00e-10",
        "gradient of pooler.dense.bias        inf        inf        inf      1.00e-09  <-- differs first: "
        "not in minibert",
        "weight of pooler.dense.bias          inf        inf        inf      1.00e-09  differs: not in minibert",
        "",
        "2 of 3 rows differ in float64; the first is gradient of pooler.dense.bias",
        "likely cause: it is frozen",
    ]


def test_json_has_no_infinity() -> None:
    content = report(MISSING, losses=[(1.0, math.nan)]).to_json()
    assert json.loads(json.dumps(content, allow_nan=False)) == {
        "agrees": False, "reference": "a", "model": "b", "architecture": "Bert", "dtype": "float64", "seed": 3,
        "parameters": 1234, "first_divergent": "gradient of pooler.dense.bias", "cause": None,
        "rows": [{"kind": "gradient", "name": "pooler.dense.bias", "max": None, "mean": None, "relative": None,
                  "tolerance": 1e-9, "agrees": False, "note": "not in minibert"}],
        "steps": [{"ours": 1.0, "reference": None}],
    }  # fmt: skip


def test_losses_that_part_are_a_difference() -> None:
    together = report(AGREES, losses=[(1.0, 1.0), (0.5, 0.5 + 1e-9)])
    apart = report(AGREES, losses=[(1.0, 1.0), (0.5, 0.5 + 1e-7)])
    lost = report(AGREES, losses=[(1.0, math.nan)])
    assert [each.agrees for each in (together, apart, lost)] == [True, False, False]
    assert list(apart.verdict())[-1].startswith("2 AdamW steps on the same batches: the losses differ, from 1.000000")
