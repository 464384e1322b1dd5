"""Whether the tests see mistakes: mutants of the source, each tried on the tests that execute its line.

    python -m tests.mutants --count 200 --seed 0 --out runs/mutants-before     # on the commit before a refactoring
    python -m tests.mutants --count 200 --seed 0 --out runs/mutants-after      # on the result: as many killed, or more

One seed draws the same mutants of the same files. `FILES` says which are drawn from; where they have moved, `--files`
does. First the default tests are run once, to learn which lines each executes (`pip install coverage`); that is kept in
`coverage.json` of `--out`, and used again as long as neither source nor tests have changed. Then each mutant is tried,
in a copy of the tree: on the tests of its own file first, then on the fast ones; the first that fails kills it. A line
that is executed on import alone is tried on all tests that execute anything of its file. `mutants.json` has for each
mutant its change, the tests, and what became of it: killed (and by which test), timed out, survived, not covered.
"""

from __future__ import annotations

import argparse
import collections
import hashlib
import importlib.util
import json
import os
import queue
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.mutants import plugin
from tests.mutants.drawing import Mutant, draw

REPOSITORY = Path(__file__).parents[2]
FILES = (
    "minibert/model.py", "minibert/heads.py", "minibert/fast/encoder.py", "minibert/fast/attention.py",
    "minibert/fast/cross_entropy.py", "pretrain/batches/masking.py", "pretrain/batches/pairs.py", "pretrain/loss.py",
    "weights_convert/key_map.py", "weights_convert/families.py",
)  # fmt: skip
OUTCOMES = ("killed", "timed out", "survived", "not covered")
START, FACTOR = 90, 10  # seconds that pytest may take to begin, and how many times as long as before its tests
MOST_MEMORY = 8 * 2**30  # of address space: a loop without an end may fill more than time


def main() -> int:
    """Draws, tries and counts."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.mutants", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=200, help="how many mutants")
    parser.add_argument("--seed", type=int, default=0, help="what they are drawn from")
    parser.add_argument("--files", nargs="+", default=FILES, help="the files that are changed")
    parser.add_argument("--tests", nargs="+", default=["tests"], help="the tests that are to see it")
    parser.add_argument("--most-seconds", type=float, default=60.0, help="of tests for a mutant; the slowest are left")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="processes at a time")
    parser.add_argument("--out", type=Path, default=Path("runs/mutants"), help="the directory of the results")
    options = parser.parse_args()
    options.out = options.out.resolve()
    options.out.mkdir(parents=True, exist_ok=True)
    sources = {file: (REPOSITORY / file).read_text(encoding="utf-8") for file in options.files}
    with tempfile.TemporaryDirectory(prefix="mutants-") as base:
        covered = coverage_of(options, Path(base) / "whole")
        copies: queue.SimpleQueue[Path] = queue.SimpleQueue()
        for number in range(options.jobs):
            copies.put(copy_tree(Path(base) / str(number)))

        def tried(mutant: Mutant) -> dict[str, Any]:
            copy = copies.get()
            try:
                return try_out(mutant, sources[mutant.file], covered, copy, options.most_seconds)
            finally:
                copies.put(copy)

        results = []
        with ThreadPoolExecutor(options.jobs) as pool:
            for result in pool.map(tried, draw(sources, options.count, options.seed)):
                results.append(result)
                print(f"{len(results):4}  {result['file']}:{result['line']}  {result['outcome']}", flush=True)
                (options.out / "mutants.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(table(results))
    return 0


def copy_tree(to: Path) -> Path:
    """The files of the working tree that git does not ignore."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in filter(None, names):
        if (REPOSITORY / name).exists():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, to / name, follow_symlinks=False)
    return to


def pytest(copy: Path, arguments: list[str], seconds: float | None = None, **notes: object) -> list[dict[str, Any]]:
    """Runs pytest in a copy of the tree; returns how each phase of each test ended.

    Raises TimeoutError: it took longer than `seconds`, and was killed.
    """
    outcomes = copy.with_name(f"{copy.name}.jsonl")
    outcomes.write_text("")
    environment = {
        "PYTHONPATH": os.pathsep.join([str(copy), *filter(None, [os.environ.get("PYTHONPATH")])]),
        "PYTHONDONTWRITEBYTECODE": "1",  # what is compiled is known by second and size: two mutants may share both
        "OMP_NUM_THREADS": "1",
        plugin.OUTCOMES: str(outcomes),
        **{name: str(value) for name, value in notes.items()},
    }
    options = ["-q", "--no-header", "-p", "tests.mutants.plugin", "-p", "no:cacheprovider", "--hypothesis-seed=0"]
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", *options, *arguments],
        cwd=copy, env=os.environ | environment, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY)),
    )  # fmt: skip
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired as error:
        raise TimeoutError from error
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    found = [json.loads(line) for line in outcomes.read_text(encoding="utf-8").splitlines()]
    if process.returncode not in (0, 1):  # not even begun: a module can't be imported
        found.append({"test": f"pytest, exit {process.returncode}", "passed": False, "seconds": 0.0})
    return found


# --- Which tests execute which lines ---------------------------------------------------------------------------------


def coverage_of(options: argparse.Namespace, copy: Path) -> dict[str, Any]:
    """Of the tests that pass: {"seconds": test -> its time, "lines": file -> line -> which of these execute it}."""
    kept = options.out / "coverage.json"
    copy_tree(copy)
    state = hashlib.sha256(json.dumps([list(options.files), options.tests]).encode())
    for path in sorted(copy.rglob("*.py")):
        state.update(str(path.relative_to(copy)).encode() + path.read_bytes())
    if kept.exists() and (covered := json.loads(kept.read_text(encoding="utf-8")))["state"] == state.hexdigest():
        return covered
    if importlib.util.find_spec("coverage") is None:
        sys.exit("which tests execute which lines is not known, and to learn it needs: pip install coverage")
    import coverage

    print(f"learning which tests execute which lines; then: {kept}", flush=True)
    data = copy.with_name("lines")
    traced = os.pathsep.join(str(copy / file) for file in options.files)
    spread = ["-n", str(options.jobs), "--dist", "loadfile"] if options.jobs > 1 else []
    spread += ["--continue-on-collection-errors"]  # a test file that asks git finds no repository in a copy
    outcomes = pytest(copy, [*spread, *options.tests], **{plugin.TRACED: traced, plugin.LINES: data})
    seconds: dict[str, float] = collections.Counter()
    for outcome in outcomes:
        seconds[outcome["test"]] += outcome["seconds"]
    for outcome in outcomes:
        if not outcome["passed"]:
            seconds.pop(outcome["test"], None)
    listing = copy.with_name("every.tests")
    listing.write_text("\n".join(seconds) + "\n", encoding="utf-8")
    if not seconds or pytest(copy, ["-p", "no:xdist", "--collect-only", f"@{listing}"]):
        sys.exit("the tests that pass are not found again by their names: what mutants would be said to be killed by")
    combined = coverage.Coverage(data, config_file=False)
    combined.combine([str(data.parent)])
    numbers = {test: number for number, test in enumerate(seconds)}
    lines = {}
    for file in options.files:
        found = combined.get_data().contexts_by_lineno(str(copy / file))
        lines[file] = {line: [numbers[test] for test in tests if test in numbers] for line, tests in found.items()}
    covered = {"state": state.hexdigest(), "seconds": seconds, "lines": lines}
    kept.write_text(json.dumps(covered) + "\n", encoding="utf-8")
    return json.loads(kept.read_text(encoding="utf-8"))


def tests_for(mutant: Mutant, covered: dict[str, Any]) -> list[str]:
    """The tests that may see a mutant, those first that are likely to soon."""
    first, last = (1, sys.maxsize) if mutant.on_import else mutant.lines
    of_file, every = covered["lines"][mutant.file].items(), list(covered["seconds"])
    tests = {every[number] for line, numbers in of_file if first <= int(line) <= last for number in numbers}
    own = f"test_{Path(mutant.file).stem}.py"
    return sorted(tests, key=lambda test: (own not in test, covered["seconds"][test]))


# --- Trying a mutant -------------------------------------------------------------------------------------------------


def try_out(mutant: Mutant, source: str, covered: dict[str, Any], copy: Path, most_seconds: float) -> dict[str, Any]:
    """What becomes of a mutant, for `mutants.json`."""
    covering, tests, seconds = tests_for(mutant, covered), [], 0.0
    for test in covering:
        seconds += covered["seconds"][test]
        if tests and seconds > most_seconds:
            break
        tests.append(test)
    result = {"file": mutant.file, "line": source.encode()[: mutant.start].count(b"\n") + 1,
              "change": mutant.diff(source), "covering": len(covering), "tried": len(tests)}  # fmt: skip
    if not tests:
        return {**result, "outcome": "not covered"}
    listing = copy.with_name(f"{copy.name}.tests")
    listing.write_text("\n".join(tests) + "\n", encoding="utf-8")
    path = copy / mutant.file
    path.write_text(mutant.apply(source), encoding="utf-8")
    try:
        outcomes = pytest(copy, ["-x", "-p", "no:xdist", f"@{listing}"], START + FACTOR * min(seconds, most_seconds))
    except TimeoutError:
        return {**result, "outcome": "timed out"}
    finally:
        path.write_text(source, encoding="utf-8")
    failed = [outcome["test"] for outcome in outcomes if not outcome["passed"]]
    return {**result, "outcome": "killed", "by": failed[0]} if failed else {**result, "outcome": "survived"}


def table(results: list[dict[str, Any]]) -> str:
    """A line for each file, with how many mutants ended how, and the mutants that were not killed."""
    counts: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for result in results:
        counts[result["file"]][result["outcome"]] += 1
        counts["all"][result["outcome"]] += 1
    left = [result for result in results if result["outcome"] in ("survived", "not covered")]
    return "\n".join([
        *(f"{result['file']}:{result['line']} {result['outcome']}\n{result['change']}" for result in left),
        f"{'':30}" + "".join(f"{name:>13}" for name in OUTCOMES),
        *(f"{file:30}" + "".join(f"{of[name]:13}" for name in OUTCOMES) for file, of in counts.items()),
    ])  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
