"""docs/internals.md: its lines of code are the code's own, its values what they compute, its pictures there."""

from __future__ import annotations

import doctest
import inspect
import re
import textwrap
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from minibert.exploring.record import make_record
from minibert.tokenizer import Tokenizer
from tests.helpers import REPOSITORY, TINY, tiny_model
from tests.weights_convert.reference_models import real_directory
from weights_convert.convert import from_hf

PAGE = REPOSITORY / "docs" / "internals.md"
TEXT = PAGE.read_text(encoding="utf-8")
EXCERPTS = re.findall(r"^`(minibert\.[\w.]+)`: .*?\n\n```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def test_every_excerpt_says_where_it_is_from() -> None:
    assert len(EXCERPTS) == TEXT.count("```python\n") == 12


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


def test_every_name_of_the_json_is_in_the_docs_and_no_other(tokenizer: Tokenizer) -> None:
    model = tiny_model("BertForPreTraining", TINY.replace(vocab_size=80))
    record = make_record(model, tokenizer, "the cat [MASK]", "sat", name="x", other=(model, tokenizer, "y"))
    named_elsewhere = {
        "embeddings.values", "embeddings.norms", "blocks.values", "blocks.norms", "blocks.added", "attention.figures",
        "predictions.layers.answers", "compare.model", "compare.predictions",
    }  # fmt: skip

    def names(value: Any, path: str) -> set[str]:
        entry = next(iter(value), None) if isinstance(value, list) else value  # entries of a list are alike
        if not isinstance(entry, dict) or path in named_elsewhere:
            return {path}
        return {name for key, part in entry.items() for name in names(part, f"{path}.{key}")}

    table = re.search(r"^\| In the JSON.*?\n\n", TEXT, re.DOTALL | re.MULTILINE)
    assert table is not None
    documented = set()
    for parent, about in re.findall(r"^\| `([\w.]+)` \| (.*) \|$", table[0], re.MULTILINE):
        documented |= {f"{parent}.{name}" for name in re.findall(r"`(\w+)`", about)} or {parent}
    assert documented == {name for key, part in record.items() for name in names(part, key)}
