"""What minibert has to bear on people's machines, drawn from a seed; for each failure, what runs it alone is told.

python -m tests.endurance kills --count 200      work that is cut off and gone on with
python -m tests.endurance damages --count 300    directories of which a file is spoiled
python -m tests.endurance hostile --count 500    options, files, names, streams and environments that nobody means well
python -m tests.endurance sample                 a few of each
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.endurance import forks

COUNTS = {"kills": 200, "damages": 300, "hostile": 500}
SAMPLE = {"kills": 4, "damages": 6, "hostile": 18}


def main() -> int:
    """Runs one suite, or a sample of all; 1 where a case went wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.endurance", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("suite", choices=[*COUNTS, "sample"])
    parser.add_argument("--count", type=int, help="how many cases")
    parser.add_argument("--seed", type=int, default=0, help="what the cases are drawn from")
    parser.add_argument("--only", type=int, nargs="*", help="the cases of these numbers")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="cases at a time")
    parser.add_argument("--keep", type=Path, help="a directory that is left with all that was made, to be looked at")
    options = parser.parse_args()
    counts = SAMPLE if options.suite == "sample" else {options.suite: options.count or COUNTS[options.suite]}
    base = options.keep or Path(tempfile.mkdtemp(prefix="endurance-"))
    forks.preload()
    try:
        failures = [_run(name, options.only or range(count), options, base) for name, count in counts.items()]
    finally:
        if not options.keep:
            shutil.rmtree(base)
    return int(any(failures))


def _run(name: str, numbers: Sequence[int], options: argparse.Namespace, base: Path) -> int:
    """How many cases of a suite went wrong."""
    from tests.endurance.damages import Damages
    from tests.endurance.hostile import Hostile
    from tests.endurance.kills import Kills

    started, place = time.monotonic(), base / name
    suite = {"kills": Kills, "damages": Damages, "hostile": Hostile}[name](place, base / "material")
    for stage in suite.stages:
        dict(forks.spread([stage.__name__], lambda _, stage=stage: stage(base / "material"), 1))
    needed = {suite.part(number, options.seed) for number in numbers}
    made = dict(forks.spread(sorted(needed), suite.make, options.jobs))

    def case(number: int) -> str:
        inside = place / "cases" / str(number) / "in"
        inside.mkdir(parents=True)
        wrong = suite.case(number, options.seed, inside, made)
        if not wrong and not options.keep:
            shutil.rmtree(inside.parent)
        return wrong

    failures = 0
    for number, wrong in forks.spread(numbers, case, options.jobs):
        if wrong:
            failures += 1
            again = f"python -m tests.endurance {name} --seed {options.seed} --only {number}"
            print(f"\n{name} {number}: {wrong}\n    alone: {again}", flush=True)
    seconds = time.monotonic() - started
    print(f"{name}: {len(numbers) - failures} of {len(numbers)} as they should, in {seconds:.0f} s", flush=True)
    return failures


if __name__ == "__main__":
    sys.exit(main())
