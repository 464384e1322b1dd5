"""Models kept along the way (`--keep-at`): the marks, the steps that reach them, and the directories.

    RUN/kept/step-00003200/     a model directory, and in it `summary.json`, with the figures after that many steps

A mark is reached by the first step after which the run has seen so many words, has come so far, or has taken so many
steps: this depends on the run's progress alone. A model is kept before the state after its step can be saved, and a
resume removes the models of later steps, which it takes again. So a run that was killed ends with the models of one
that was not, each once.
"""

import json
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, NamedTuple

from minibert.errors import InputError, RunStopped, plural
from minibert.files.writing import clear_leftovers, to_disk, written_whole

Unit = Literal["words", "share", "steps"]
UNITS: dict[str, tuple[Unit, Fraction]] = {
    "k": ("words", Fraction(1_000)),
    "M": ("words", Fraction(1_000_000)),
    "%": ("share", Fraction(1, 100)),
    "steps": ("steps", Fraction(1)),
}
MARK = re.compile(r"(?P<number>\d{1,15}(\.\d{1,9})?)(?P<unit>k|M|%|steps)", re.ASCII)


class Seen(NamedTuple):
    """How far a run has come, in the units of the marks."""

    words: float | None  # None if the token arrays don't say how many words the text has
    share: float  # of the run, 0 to 1
    steps: int


@dataclass(frozen=True)
class Mark:
    """A place in a run at which its model is kept."""

    text: str  # as given
    unit: Unit
    amount: float

    def is_reached(self, seen: Seen) -> bool:
        """Return whether a run that has come this far has reached the mark."""
        now = getattr(seen, self.unit)
        return now is not None and now >= self.amount


def parse_marks(text: str, *, steps: int | None) -> list[Mark]:
    """Return the marks of a list such as "500k,2.5M,50%,1000steps"; steps: the length of the run, if known.

    Raises InputError if one is malformed, is reached before the first step or never, or is given twice.
    """
    marks: list[Mark] = []
    for part in map(str.strip, text.split(",")):
        found = MARK.fullmatch(part)
        if not found or (found["unit"] == "steps" and "." in found["number"]):
            raise InputError(
                f"--keep-at: expected words (500k or 2.5M), a share of the run (50%) or steps (1000steps), with commas "
                f"between them, not {part!r:.40}"
            )
        unit, factor = UNITS[found["unit"]]
        mark = Mark(part, unit, float(Fraction(found["number"]) * factor))
        if not mark.amount:
            raise InputError(f"--keep-at {part}: must be above 0")
        if unit == "share" and mark.amount > 1:
            raise InputError(f"--keep-at {part}: must be at most 100%, the whole run")
        if unit == "steps" and steps is not None and mark.amount > steps:
            raise InputError(f"--keep-at {part}: the run has only {plural(steps, 'step')}")
        for other in marks:
            if (other.unit, other.amount) == (unit, mark.amount):
                raise InputError(f"--keep-at: {other.text} and {part} are the same mark")
        marks.append(mark)
    return marks


class Keeping:
    """The marks that are still ahead of a run, and the directory of its kept models."""

    def __init__(self, directory: Path, marks: Sequence[Mark], seen: Seen) -> None:
        """seen: how far the run has come; marks that it has reached are not ahead of it."""
        self.directory = directory
        self.ahead = [mark for mark in marks if not mark.is_reached(seen)]

    def reached(self, seen: Seen) -> list[Mark]:
        """Return the marks that were ahead and are now reached: those of the step just taken."""
        reached = [mark for mark in self.ahead if mark.is_reached(seen)]
        self.ahead = [mark for mark in self.ahead if mark not in reached]
        return reached

    def place(self, step: int) -> Path:
        """Return the directory of the model that is kept after a step."""
        return self.directory / f"step-{step:08d}"

    def remove_after(self, step: int) -> list[str]:
        """Remove the models of later steps and what a killed process left; return the names of those models."""
        clear_leftovers(self.directory)
        later = [
            path
            for path in sorted(self.directory.glob("step-*"))
            if (number := re.fullmatch(r"step-(\d+)", path.name)) and int(number[1]) > step
        ]
        for path in later:
            shutil.rmtree(path)
        return [path.name for path in later]


def keep(place: Path, save: Callable[[Path], object], summary: Mapping[str, Any], *, last_good: str) -> None:
    """Write the model directory `place`, of which `save` writes all but the summary; it appears as a whole.

    Raises RunStopped, naming the reason and the last good state, if writing fails, and leaves nothing behind.
    """
    try:
        with written_whole(place) as aside:
            save(aside)
            (aside / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8", newline="\n")
            for path in (*aside.iterdir(), aside):
                to_disk(path)  # before a later state is, from which this model would not be made again
        to_disk(place.parent)
    except OSError as error:
        reason = error.strerror or error
        raise RunStopped(f"{place} could not be written ({reason}); last good state: {last_good}") from error
