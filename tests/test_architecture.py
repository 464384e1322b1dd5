"""What docs/architecture.md says of folders, names, commands, exit codes and imports is what the code has."""

from __future__ import annotations

import re
from pkgutil import resolve_name

import pytest

import finetune.__main__
import minibert.__main__
import pretrain.__main__
import weights_convert.__main__
from minibert import errors
from tests.helpers import REPOSITORY
from tests.test_layout import BELOW_ALL, HEIGHT, PACKAGES, SOURCES

PAGE = (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")
CODE = sorted(set(re.findall(r"`([^`\n]+)`", PAGE)))
PATHS = [code for code in CODE if re.fullmatch(r"[\w.]+/[\w./]*", code) and code not in ("state/", "kept/", "runs/")]
NAMES = [code for code in CODE if re.fullmatch(rf"(?:{'|'.join(PACKAGES)})(?:\.\w+)+", code)]


def rows(heading: str) -> list[list[str]]:
    """The rows of the first table below a heading, without the row of titles."""
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


@pytest.mark.parametrize("path", PATHS)
def test_a_path_exists(path: str) -> None:
    found = REPOSITORY / path
    assert found.is_dir() if path.endswith("/") else found.is_file()


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_one_of_the_code(name: str) -> None:
    assert resolve_name(name) is not None  # it fails where there is none


def test_every_folder_has_its_row() -> None:
    listed = {path.rstrip("/") for row in rows("Folders") for path in quoted(row[0])}
    there = {path.parent.relative_to(REPOSITORY).as_posix() for path in SOURCES}
    assert listed == there | {"tests", "benchmarks", "examples"}


def test_the_import_rule_is_the_one_that_is_enforced() -> None:
    found = {row[0]: set(quoted(row[1])) for row in rows("What may import what")}
    assert found.pop("below all") == BELOW_ALL
    assert found == {str(n): {part for part, height in HEIGHT.items() if height == n} for n in range(7)}


def test_the_commands_are_those_that_there_are() -> None:
    found = {quoted(row[0])[0].removeprefix("python -m "): set(quoted(row[1])) for row in rows("The commands")}
    programs = (minibert.__main__, pretrain.__main__, finetune.__main__, weights_convert.__main__)
    assert found == {program.__name__.partition(".")[0]: set(program.COMMANDS) for program in programs}


def test_exit_codes_are_those_of_the_errors() -> None:
    found = {quoted(row[2])[0].rpartition(".")[2]: int(row[0]) for row in rows("Contracts") if quoted(row[2])}
    kinds = (errors.CheckFailed, errors.InputError, errors.RunStopped, errors.Interrupted)
    assert found == {kind.__name__: kind.exit_code for kind in kinds}
