"""What a run of pytest for mutants notes: how each test ended, and, where it is to, which lines each executes.

For that it needs the package `coverage`, which is no dependency of the project.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

OUTCOMES = "MUTANTS_OUTCOMES"  # the file to note outcomes in, a line of JSON for each phase of each test
TRACED = "MUTANTS_TRACED"  # the files whose lines are noted, with colons between them; not set: none are
LINES = "MUTANTS_LINES"  # where they are noted

_tracer: Any = None


def pytest_configure(config: Any) -> None:
    """Begins before a test file, and what it imports, is loaded."""
    global _tracer
    if TRACED in os.environ:
        import coverage

        files = os.environ[TRACED].split(os.pathsep)
        _tracer = coverage.Coverage(os.environ[LINES], data_suffix=True, include=files, config_file=False)
        _tracer.start()


def pytest_runtest_logstart(nodeid: str) -> None:
    """From here on lines are this test's, those of its fixtures too."""
    if _tracer is not None:
        _tracer.switch_context(nodeid)


def pytest_runtest_logreport(report: Any) -> None:
    """Noted by the process itself that runs the test."""
    if not hasattr(report, "node"):  # else a worker of xdist has noted it
        line = {"test": report.nodeid, "passed": report.outcome == "passed", "seconds": report.duration}
        with Path(os.environ[OUTCOMES]).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def pytest_unconfigure() -> None:
    """Writes the lines down."""
    if _tracer is not None:
        _tracer.stop()
        _tracer.save()
