"""What a wheel holds, and under which name: read from pyproject.toml and git, nothing is built."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import minibert
from tests.helpers import REPOSITORY

PYPROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
SETUPTOOLS = PYPROJECT["tool"]["setuptools"]
TRACKED = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
FILES = [Path(name) for name in TRACKED.stdout.split("\0") if (REPOSITORY / name).is_file()]


def test_every_file_of_the_packages_is_in_the_wheel() -> None:
    packages = {Path(*name.split(".")) for name in SETUPTOOLS["packages"]}
    data = {
        path.relative_to(REPOSITORY)
        for package, patterns in SETUPTOOLS["package-data"].items()
        for pattern in patterns
        for path in (REPOSITORY / package.replace(".", "/")).glob(pattern)
    }
    inside = [path for path in FILES if path.parts[0] in {package.parts[0] for package in packages}]
    assert Path("pretrain/recipes/demo-model.json") in inside
    left_out = [path for path in inside if path not in data and not (path.suffix == ".py" and path.parent in packages)]
    assert left_out == []


def test_the_version_is_written_once() -> None:
    assert "version" not in PYPROJECT["project"]
    assert SETUPTOOLS["dynamic"] == {"version": {"attr": "minibert.__version__"}}
    assert re.fullmatch(r"\d+\.\d+\.\d+", minibert.__version__)


def test_the_citation_names_this_version() -> None:
    citation = (REPOSITORY / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {minibert.__version__}\n" in citation


def test_nobody_is_told_to_install_a_strangers_package() -> None:
    """On the public index `minibert` is not this project."""
    assert PYPROJECT["project"]["name"] == "minibert-by-hand"
    told = re.compile(r"pip3? install (?:-\S+ +)*['\"]?minibert(?![\w.-])")
    texts = {path: (REPOSITORY / path).read_bytes().decode("utf-8", "replace") for path in FILES}
    assert [path for path, text in texts.items() if told.search(text)] == []
