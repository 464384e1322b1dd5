"""Kills: work is cut off at random instants, half of them changes of the file system, and gone on with; what comes out
at last must be, byte for byte, what work that was never cut off makes.
"""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

from tests.endurance import forks, material
from tests.endurance.forks import Cut, Ending
from tests.endurance.material import Work

MOST_CUTS = 3
STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Kills:
    """The suite: each of its `parts` is made once, on what the `stages` make, and then the cases run."""

    stages = (material.make,)

    def __init__(self, place: Path, stuff: Path) -> None:
        self.place = place
        self.parts = material.works(stuff)

    def part(self, number: int, _seed: int) -> str:
        """Which of the parts a case has to do with."""
        return list(self.parts)[3 * number % len(self.parts)]  # of each kind soon

    def make(self, name: str) -> object:
        """A run that is never cut off: what it makes, how many changes of the file system it takes, and how long."""
        work, place = self.parts[name], self.place / "whole" / name
        place.mkdir(parents=True)
        started = time.perf_counter()
        ending = material.succeeded(forks.run(work.words, place))
        return {"changes": ending.changes, "seconds": time.perf_counter() - started}

    def case(self, number: int, seed: int, place: Path, made: dict[str, dict[str, float]]) -> str:
        """Runs a case in `place`; returns what is wrong, or ""."""
        rng = random.Random(f"kills {seed} {number}")
        name = self.part(number, seed)
        work, whole, done = self.parts[name], made[name], []
        for _ in range(rng.randint(1, MOST_CUTS)):
            cut = draw(rng, int(whole["changes"]), whole["seconds"])
            logged = {path: len(material.log(path)) for path in place.rglob(material.LOG)}
            ending = forks.run(self.words(work, place, done), place, cut=cut)
            done.append(f"{cut}: {ending.code}")
            wrong = self.wrong_end(ending, cut, place, logged)
            if cut.change and cut.signal == signal.SIGKILL and len(done) == 1 and ending.code == 0:
                wrong = "was not cut off"
            if wrong:
                return f"{name}, {'; '.join(done)}: {wrong}"
            if ending.code == 0:
                break
        ending = forks.run(self.words(work, place, done), place)
        wrong = ""
        if ending.code != 0 and not (not work.resumes and (place / work.made).exists() and ending.code == 2):
            wrong = f"could not be gone on with: {ending}"
        wrong = wrong or material.difference(material.tree(place), material.tree(self.place / "whole" / name))
        return f"{name}, {'; '.join(done)}: {wrong}" if wrong else ""

    @staticmethod
    def words(work: Work, place: Path, done: list[str]) -> list[object]:
        return [*work.words, *(["--resume"] if work.resumes and done else [])]

    @staticmethod
    def wrong_end(ending: Ending, cut: Cut, place: Path, logged: dict[Path, int]) -> str:
        """What is wrong with how cut-off work ended: a signal that can be answered saves the state.

        logged: how many lines each log had before it.
        """
        if ending.code in (-cut.signal, -signal.SIGALRM) and cut.signal in (signal.SIGKILL, signal.SIGALRM):
            return ""
        if ending.code == -cut.signal:  # before the loop begins, or behind it
            states = [path.name for path in place.rglob("state/step-*")]
            entries = [
                entry for path in place.rglob(material.LOG) for entry in material.log(path)[logged.get(path, 0) :]
            ]
            steps = [entry["step"] for entry in entries if "event" not in entry]
            lost = bool(steps) and f"step-{max(steps):08d}" not in states
            return f"step {max(steps)} was done and not saved: {ending}" if lost else ""
        return material.complaint(ending)


def draw(rng: random.Random, changes: int, seconds: float) -> Cut:
    """When and how to cut off: in half of the cases at a change of the file system, or shortly after one."""
    kind = signal.SIGKILL if rng.random() < 0.7 else rng.choice(STOPS)
    if rng.random() < 0.5:
        return Cut(kind, seconds=rng.uniform(0.02, seconds))
    shortly = kind == signal.SIGKILL and rng.random() < 0.5
    return Cut(kind, rng.randint(1, changes), rng.uniform(1e-5, 2e-3) if shortly else 0.0)
