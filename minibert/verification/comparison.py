"""Two implementations on the same batches: a row for every value, and the likely cause of the first that differs."""

import math
from collections.abc import Callable, Iterable

from minibert.verification.causes import likely_cause
from minibert.verification.differences import (
    Divergence,
    Kind,
    Row,
    differences,
    judged,
    judged_by_cost,
    weight_rows,
    worst,
)
from minibert.verification.runs import Run
from minibert.verification.samples import Sample
from minibert.verification.weight_causes import weights_not_reached

Runner = Callable[[Sample], Run]  # an implementation


def compare_runs(
    samples: Iterable[Sample], ours: Runner, theirs: Runner, exact: Runner | None = None, *, dtype: str
) -> tuple[list[Row], str | None]:
    """Return a row for every value, in the order of the computation and from its worst sample, and the likely cause of
    the first difference, None if none fits.

    exact: for bfloat16, the implementation that gives the true values, against which both are measured.
    """
    found: dict[tuple[Kind, str], list[Row]] = {}  # those of each value; the first sample has all values
    first, cause = math.inf, None
    for sample in samples:
        mine, other = ours(sample), theirs(sample)
        if exact is None:
            rows = judged(differences(mine, other, sample), dtype)
        else:
            truth = exact(sample)
            rows = judged_by_cost(differences(mine, truth, sample), differences(other, truth, sample))
        for row in rows:
            found.setdefault((row.kind, row.name), []).append(row)
        places = {key: place for place, key in enumerate(found)}
        divergent = next((row for row in rows if not row.agrees), None)
        if divergent is not None and (place := places[divergent.kind, divergent.name]) < first:
            first = place
            cause = likely_cause(Divergence(divergent.kind, divergent.name, sample, mine, other))
        weights, wanted = mine.parameters, other.parameters
        del mine, other  # two of each would need twice the memory
    compared = weight_rows(weights, wanted)
    if first == math.inf and (name := next((row.name for row in compared if not row.agrees), None)):
        cause = weights_not_reached(name, weights.get(name), wanted.get(name))
    return [worst(rows) for rows in found.values()] + compared, cause
