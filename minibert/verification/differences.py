"""How far apart two runs are, value by value, and how close they must be.

docs/verification.md gives the tolerances and the reasons for them.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from minibert.verification.runs import Run
from minibert.verification.samples import Sample

Kind = Literal["value", "gradient", "weight"]


@dataclass(frozen=True)
class Tolerance:
    """The largest differences that count as rounding."""

    value: float  # of any entry of a value
    scaled: bool  # multiplied by the value's largest entry if that is over 1, except for hidden states
    gradient: float  # as a share of the model's largest gradient entry
    loss: float  # of the losses while both are trained


TOLERANCES = {
    "float64": Tolerance(value=1e-10, scaled=False, gradient=1e-9, loss=1e-8),
    "float32": Tolerance(value=2e-5, scaled=True, gradient=1e-3, loss=1e-3),
}
BFLOAT16_ROUNDING = 2.0**-8  # the largest error of rounding to bfloat16, as a share of the number


@dataclass(frozen=True)
class Row:
    """One value, on its worst sample."""

    kind: Kind
    name: str  # of the value, or of the parameter
    max: float  # the largest difference of an entry; infinite if either side has no number
    mean: float  # the mean difference of all entries
    relative: float  # max as a share of the reference's largest entry; of a gradient, of the model's largest gradient
    tolerance: float  # of max; in bfloat16, of mean
    agrees: bool
    note: str = ""

    @property
    def title(self) -> str:
        """The name as the table shows it."""
        return self.name if self.kind == "value" else f"{self.kind} of {self.name}"


@dataclass(frozen=True)
class Difference:
    """How far one value of one sample is from the reference's."""

    max: float
    mean: float
    entries: int
    scale: float  # the reference's largest entry; for a gradient, the model's largest
    spread: float  # the mean absolute value of the reference's entries
    note: str = ""

    def row(self, kind: Kind, name: str, *, judged: float, allowed: float) -> Row:
        """Return the row with the verdict on `judged`, the largest difference or the mean."""
        relative = self.max / self.scale if self.scale else (math.inf if self.max else 0.0)
        agrees = math.isfinite(judged) and judged <= allowed
        return Row(kind, name, self.max, self.mean, relative, allowed, agrees, self.note)


Differences = dict[tuple[Kind, str], Difference]


@dataclass(frozen=True)
class Divergence:
    """The first value or gradient that differs, and everything known about both sides."""

    kind: Kind
    name: str  # of the value or parameter
    sample: Sample
    ours: Run
    theirs: Run


def differences(ours: Run, theirs: Run, sample: Sample) -> Differences:
    """Return the difference of every value of either run, in the order of the computation, then of every gradient."""
    found: Differences = {}
    for name in in_one_order(theirs.values, ours.values):
        mine, wanted = (
            sample.used_part(name, run.values[name]) if name in run.values else None for run in (ours, theirs)
        )
        if any(each is not None and each.numel() for each in (mine, wanted)):  # else no token of the sample uses it
            found["value", name] = difference(mine, wanted)
    largest = max(float(gradient.abs().max()) for gradient in theirs.gradients.values() if gradient is not None)
    for name in in_one_order(theirs.parameters, ours.parameters):
        found["gradient", name] = difference(ours.gradients.get(name), theirs.gradients.get(name), scale=largest)
    return found


def weight_rows(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> list[Row]:
    """Return a row for every parameter; both sides cast the same file's numbers alike, so only equality will do."""
    found = {name: difference(ours.get(name), theirs.get(name)) for name in in_one_order(theirs, ours)}
    return [each.row("weight", name, judged=each.max, allowed=0.0) for name, each in found.items()]


def in_one_order(first: Mapping[str, object], second: Mapping[str, object]) -> list[str]:
    """Return the names of both: the first's in order, and each that only the second has after its predecessor there."""
    names = list(first)
    place = 0
    for name in second:
        if name not in first:
            names.insert(place, name)
        place = names.index(name) + 1
    return names


def difference(ours: Tensor | None, theirs: Tensor | None, scale: float | None = None) -> Difference:
    """Return how far apart two tensors are: infinitely, if one is missing, has another shape or is not finite."""
    if ours is None and theirs is None:  # a parameter that neither side's loss depends on
        return Difference(0.0, 0.0, entries=1, scale=scale or 0.0, spread=0.0)
    measured = ours if theirs is None else theirs
    assert measured is not None
    largest, mean, note = math.inf, math.inf, ""
    if ours is None or theirs is None:
        note = "not in minibert" if ours is None else "not in the reference"
    elif ours.shape != theirs.shape:
        note = f"{tuple(ours.shape)} against {tuple(theirs.shape)}"
    elif not (ours.isfinite().all() and theirs.isfinite().all()):
        note = "not finite"
    else:
        apart = (ours.double() - theirs.double()).abs()
        largest, mean = float(apart.max()), float(apart.mean())
    scale = float(measured.abs().max()) if scale is None else scale
    return Difference(largest, mean, measured.numel(), scale, spread=float(measured.abs().double().mean()), note=note)


# --- Verdicts --------------------------------------------------------------------------------------------------------


def judged(found: Differences, dtype: str) -> list[Row]:
    """Return the rows of one sample in float64 or float32, each with its verdict."""
    tolerance, rows = TOLERANCES[dtype], []
    for (kind, name), each in found.items():
        if kind == "gradient":
            allowed = tolerance.gradient * each.scale
        elif tolerance.scaled and not is_hidden_state(name):
            allowed = tolerance.value * max(1.0, each.scale)
        else:
            allowed = tolerance.value
        rows.append(each.row(kind, name, judged=each.max, allowed=allowed))
    return rows


def is_hidden_state(name: str) -> bool:
    """Return whether a value is what one layer passes to the next."""
    return re.fullmatch(r"embeddings|blocks\.\d+", name) is not None


def judged_by_cost(found: Differences, cost: Differences) -> list[Row]:
    """Return the rows of one sample in bfloat16: minibert may be as far from the truth as the reference is.

    found: minibert in bfloat16 against the reference in float32; cost: the reference in bfloat16 against the same.

    Both round the same computation in a different order, so their mean errors should be alike: hence twice the
    reference's. A mean of few entries varies by chance, so there it may be more, by a rule of thumb: 4/√n. Errors below
    the rounding of single numbers say nothing: of the value's own entries, and for a gradient of the model's largest,
    since some gradients (that of a key's bias) are sums of which only rounding remains.
    """
    rows = []
    for (kind, name), each in found.items():
        few = 4 / math.sqrt(each.entries)
        floor = max(cost[kind, name].mean, BFLOAT16_ROUNDING * each.spread)
        allowed = 2 * (1 + few) * floor
        if kind == "gradient":
            allowed += few * BFLOAT16_ROUNDING * each.scale
        rows.append(each.row(kind, name, judged=each.mean, allowed=allowed))
    return rows


def worst(rows: list[Row]) -> Row:
    """Return, of one value's rows on all samples, the one that differs, or else the one nearest to its tolerance."""
    return max(rows, key=lambda row: (not row.agrees, row.max / row.tolerance if row.tolerance else row.max))
