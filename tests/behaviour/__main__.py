"""What a refactoring must not change, recorded before it and after it, and the two records compared.

    python -m tests.behaviour record runs/before       # on the commit before, in a tree of its own
    python -m tests.behaviour record runs/after        # on the result, on the same machine
    python -m tests.behaviour compare runs/before runs/after

Recorded are the outputs, losses and gradients of every model class and family, and every file that the commands leave.
A commit from before this script is recorded by copying this directory into a tree of it (`git worktree add`). What a
refactoring moves is named in `internals` alone; all else is asked for as a user asks for it. `--only PATTERN` picks
cases by a regular expression in their names, such as `models/albert`, `finetune/.*/lora` or `pretrain`.

`compare` names each case that differs, is missing or new, what in it differs and by how much; exit code 1 where
anything does. Numbers are the same on one machine with one version of torch alone: compare says where that differs.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

from tests.endurance import forks

MOST_LINES = 6  # about a case, in a comparison
FAILED = "failed"  # in place of entries: a case that could not be recorded, and why


def main() -> int:
    """Records or compares."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.behaviour", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    record = commands.add_parser("record")
    record.add_argument("out", type=Path, help="the directory to write; cases that are there are replaced")
    record.add_argument("--only", default="", metavar="PATTERN", help="only the cases whose names it is found in")
    record.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="cases at a time")
    compare = commands.add_parser("compare")
    compare.add_argument("before", type=Path)
    compare.add_argument("after", type=Path)
    options = parser.parse_args()
    return _compare(options) if options.command == "compare" else _record(options)


def _record(options: argparse.Namespace) -> int:
    forks.preload()
    from tests.behaviour import commands, models, records

    started, base = time.monotonic(), Path(tempfile.mkdtemp(prefix="behaviour-"))
    material = base / "material"
    cases = {**models.cases(material), **commands.cases(material)}
    picked = [name for name in cases if re.search(options.only, name)]

    def entries_of(name: str) -> dict[str, Any]:
        try:
            return cases[name](base / "cases" / name.replace("/", " "))
        except Exception:  # whatever it is: shown and counted, while the other cases go on
            return {FAILED: traceback.format_exc()}

    failures = 0
    try:
        dict(forks.spread(["material"], lambda _: commands.make(material), 1))
        for number, (name, entries) in enumerate(forks.spread(picked, entries_of, options.jobs), 1):
            print(f"{number:4} of {len(picked)}, {time.monotonic() - started:4.0f} s  {name}", flush=True)
            if FAILED in entries:
                failures += 1
                print(entries[FAILED], flush=True)
            else:
                records.write(options.out, name, entries)
    finally:
        shutil.rmtree(base)
    records.write(options.out, records.MACHINE, records.machine())
    print(f"{len(picked) - failures} of {len(picked)} cases recorded, in {time.monotonic() - started:.0f} s")
    return int(bool(failures))


def _compare(options: argparse.Namespace) -> int:
    from tests.behaviour import records

    before, after = (records.read(place) for place in (options.before, options.after))
    machines = before.pop(records.MACHINE), after.pop(records.MACHINE)
    for field in machines[0].keys() & machines[1].keys():
        if machines[0][field] != machines[1][field]:
            print(f"note: {field} was {machines[0][field]}, and then {machines[1][field]}")
    found = records.differences(before, after)
    for name, (of_all, *lines) in found.items():
        more = [f"and {len(lines) - MOST_LINES} more"] if len(lines) > MOST_LINES else []
        print(f"{name}: {of_all}", *lines[:MOST_LINES], *more, sep="\n    ")
    print(f"{len(found)} of {len(before.keys() | after.keys())} cases differ, are missing or new")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
