"""The result of a comparison: as a table for people, and as JSON."""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from minibert.errors import plural
from minibert.verification.differences import TOLERANCES, Row
from minibert.verification.samples import LAYOUTS, ROWS, Layout


@dataclass(frozen=True, repr=False)
class Report:
    """The comparison of a model with a reference."""

    reference: str
    implementation: str  # that ran the reference
    model: str
    architecture: str
    dtype: str
    seed: int
    parameters: int
    rows: list[Row]
    cause: str | None  # of the first row that differs
    layouts: tuple[Layout, ...] = LAYOUTS  # of the batches
    sequences: int = ROWS  # in each
    losses: list[tuple[float, float]] = field(default_factory=list)  # at each step, minibert's and the reference's

    def __repr__(self) -> str:
        return f"Report({self.model} beside {self.reference}: {'; '.join(self.verdict())})"

    @property
    def first_divergent(self) -> Row | None:
        """The first row, in the order of the computation, that does not agree."""
        return next((row for row in self.rows if not row.agrees), None)

    @property
    def loss_difference(self) -> float:
        """The largest difference between the two losses in training; infinite if one is not finite."""
        apart = (abs(ours - theirs) for ours, theirs in self.losses)
        return max((difference if math.isfinite(difference) else math.inf for difference in apart), default=0.0)

    @property
    def steps_agree(self) -> bool:
        """Whether the losses stayed together; True if no steps were asked for."""
        return not self.losses or self.loss_difference <= TOLERANCES[self.dtype].loss

    @property
    def agrees(self) -> bool:
        """Whether every row and every step agrees."""
        return self.first_divergent is None and self.steps_agree

    def lines(self) -> Iterator[str]:
        """Yield the table and the verdict."""
        yield f"reference: {self.reference} ({self.implementation})"
        yield f"model:     {self.model}, a {self.architecture} of {self.parameters:,} parameters, in {self.dtype}"
        padded = ", ".join(map(str, self.layouts))
        yield f"batches:   {len(self.layouts)}, of {self.sequences} sequences each; padding: {padded}; seed {self.seed}"
        yield ""
        width = max(len(row.title) for row in self.rows)
        measured = "mean" if self.dtype == "bfloat16" else "max"
        yield f"{'value':{width}}  {'max':>9}  {'mean':>9}  {'relative':>9}  {f'{measured} allowed':>12}"
        first = self.first_divergent
        for row in self.rows:
            numbers = "  ".join(f"{number:9.2e}" for number in (row.max, row.mean, row.relative))
            mark = "" if row.agrees else "  <-- differs first" if row is first else "  differs"
            yield f"{row.title:{width}}  {numbers}  {row.tolerance:12.2e}{mark}{row.note and f': {row.note}'}"
        yield ""
        yield from self.verdict()

    def verdict(self) -> Iterator[str]:
        """Yield the last lines: how many rows agree, whether training does, and the likely cause."""
        first = self.first_divergent
        if first is None:
            yield f"all {len(self.rows)} values, gradients and weights agree in {self.dtype}"
        else:
            differing = sum(not row.agrees for row in self.rows)
            differ = "differs" if differing == 1 else "differ"
            yield f"{differing} of {len(self.rows)} rows {differ} in {self.dtype}; the first is {first.title}"
            yield f"likely cause: {self.cause or 'no known cause fits'}"
        if self.losses:
            verdict = "agree" if self.steps_agree else "differ"
            yield (
                f"{plural(len(self.losses), 'AdamW step')} on the same batches: the losses {verdict}, from "
                f"{self.losses[0][1]:.6f} to {self.losses[-1][1]:.6f}, at most {self.loss_difference:.2e} apart "
                f"(allowed {TOLERANCES[self.dtype].loss:.0e})"
            )

    def to_json(self) -> dict[str, Any]:
        """Return everything, for a file. JSON has no infinity: it becomes null."""
        first = self.first_divergent
        facts = ("agrees", "reference", "model", "architecture", "dtype", "seed", "parameters")
        return {
            **{name: getattr(self, name) for name in facts},
            "first_divergent": first and first.title,
            "cause": self.cause,
            "rows": [{name: _finite(value) for name, value in asdict(row).items()} for row in self.rows],
            "steps": [{"ours": _finite(ours), "reference": _finite(theirs)} for ours, theirs in self.losses],
        }


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
