"""Two implementations on the same batches: a row for every value, and the likely cause of the first that differs."""

import math
from collections.abc import Callable, Iterable

from minibert.verification.causes import likely_cause
from minibert.verification.differences import Divergence, Row, differences, judged, judged_by_cost, weight_rows, worst
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
    tables: list[list[Row]] = []
    first, cause = math.inf, None
    for sample in samples:
        mine, other = ours(sample), theirs(sample)
        if exact is None:
            rows = judged(differences(mine, other, sample), dtype)
        else:
            truth = exact(sample)
            rows = judged_by_cost(differences(mine, truth, sample), differences(other, truth, sample))
        number = next((number for number, row in enumerate(rows) if not row.agrees), math.inf)
        if number < first:
            first, row = number, rows[int(number)]
            cause = likely_cause(Divergence(row.kind, row.name, sample, mine, other))
        tables.append(rows)
    compared = weight_rows(mine.parameters, other.parameters)
    if first == math.inf and (name := next((row.name for row in compared if not row.agrees), None)):
        cause = weights_not_reached(name, mine.parameters.get(name), other.parameters.get(name))
    return [worst(list(rows)) for rows in zip(*tables, strict=True)] + compared, cause
