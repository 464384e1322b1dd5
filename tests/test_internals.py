"""docs/internals.md: its lines of code are the code's own, its values what they compute, its pictures there."""

from __future__ import annotations

import doctest
import inspect
import re
import textwrap
from importlib import import_module
from pathlib import Path

import pytest

from tests.helpers import REPOSITORY
from tests.weights_convert.reference_models import real_directory
from weights_convert.convert import from_hf

PAGE = REPOSITORY / "docs" / "internals.md"
TEXT = PAGE.read_text(encoding="utf-8")
EXCERPTS = re.findall(r"^`(minibert\.[\w.]+)`: .*?\n\n```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def test_every_excerpt_says_where_it_is_from() -> None:
    assert len(EXCERPTS) == TEXT.count("```python\n") == 10


@pytest.mark.parametrize(("name", "lines"), EXCERPTS, ids=[name for name, _ in EXCERPTS])
def test_lines_of_code_are_the_codes_own(name: str, lines: str) -> None:
    module, cls, function = name.rsplit(".", 2)
    source = inspect.getsource(getattr(getattr(import_module(module), cls), function))
    assert textwrap.indent(lines, " " * 8) in source


def test_values_are_what_the_code_computes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from_hf(real_directory(), tmp_path / "models" / "minilm")
    monkeypatch.chdir(tmp_path)
    results = doctest.testfile(str(PAGE), module_relative=False)
    assert results.attempted > 20
    assert results.failed == 0


@pytest.mark.parametrize("document", ["README.md", "docs/internals.md"])
def test_pictures_are_there(document: str) -> None:
    path = REPOSITORY / document
    pictures = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", path.read_text(encoding="utf-8"))
    assert pictures
    assert [name for name in pictures if not (path.parent / name).is_file()] == []
