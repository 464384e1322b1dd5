"""The house rules of the design: who may import whom, and what is never done with a file that a user hands in."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers import REPOSITORY

PACKAGES = ("minibert", "pretrain", "finetune", "weights_convert")
SOURCES = sorted(path for package in PACKAGES for path in (REPOSITORY / package).rglob("*.py"))

# Inside minibert: a module imports lower ones alone; two of one height don't know each other, except for these.
TOGETHER = {"model", "windowed"}
HEIGHT = {
    "config": 0, "model": 1, "windowed": 1, "fast": 2, "heads": 2, "architectures": 3, "checkpoint": 4, "tracing": 4,
    "contributions": 5, "intervening": 5, "exploring": 6, "verification": 6,
}  # fmt: skip
# What each of them may use, and which uses none of them.
BELOW_ALL = {"errors", "files", "lazy", "tokenizer"}


def module_name(path: Path) -> str:
    """minibert/training/state.py -> "minibert.training.state"."""
    return ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__")


def imports_of(tree: ast.AST, module: str, *, is_package: bool = False) -> Iterator[tuple[str, ast.stmt]]:
    """Every module that is imported anywhere in the code, by its full name; `from a import b` as "a.b"."""
    package = module if is_package else module.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            yield from ((f"{source}.{alias.name}", node) for alias in node.names)


def imports(path: Path) -> list[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [name for name, _ in imports_of(tree, module_name(path), is_package=path.name == "__init__.py")]


def test_imports_are_found_wherever_and_however_they_are_written() -> None:
    code = "import a.b\nfrom c import d as e\ndef f():\n    from . import g\n    from ..h.i import j\n"
    found = [name for name, _ in imports_of(ast.parse(code), "minibert.training.state")]
    assert sorted(found) == ["a.b", "c.d", "minibert.h.i.j", "minibert.training.g"]


def test_there_is_code_to_look_at() -> None:
    names = {module_name(path) for path in SOURCES}
    assert {"minibert.config", "minibert.training.state", "pretrain.train", "finetune", "weights_convert"} <= names


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_packages_import_minibert_and_themselves_alone(path: Path) -> None:
    own = path.relative_to(REPOSITORY).parts[0]
    wrong = [name for name in imports(path) if name.split(".")[0] in set(PACKAGES) - {own, "minibert"}]
    assert wrong == []


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_nothing_imports_tests_or_benchmarks(path: Path) -> None:
    assert [name for name in imports(path) if name.split(".")[0] in ("tests", "benchmarks")] == []


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_transformers_is_imported_inside_a_function_of_reference_alone(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    allowed: set[ast.AST] = set()
    if module_name(path) == "weights_convert.reference":
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
        allowed = {statement for function in functions for statement in ast.walk(function)}
    found = [
        f"line {node.lineno}: {name}"
        for name, node in imports_of(tree, module_name(path))
        if name.split(".")[0] == "transformers" and node not in allowed
    ]
    assert found == []


def part_of_minibert(name: str) -> str:
    """The part that an import reaches: "minibert.model.Bert" -> "model"; "" for other packages."""
    pieces = name.split(".")
    return pieces[1] if pieces[0] == "minibert" and len(pieces) > 1 else ""


@pytest.mark.parametrize("path", [path for path in SOURCES if part_of_minibert(module_name(path)) in HEIGHT])
def test_the_model_imports_downward(path: Path) -> None:
    own = part_of_minibert(module_name(path))
    lower = {part for part, height in HEIGHT.items() if height < HEIGHT[own]} | BELOW_ALL
    lower |= TOGETHER if own in TOGETHER else set()
    found = {part_of_minibert(name) for name in imports(path)} - {"", own}
    assert found - lower == set()


@pytest.mark.parametrize("part", sorted(BELOW_ALL))
def test_what_stands_below_the_model_does_not_import_it(part: str) -> None:
    inside = [path for path in SOURCES if part_of_minibert(module_name(path)) == part]
    assert {part_of_minibert(name) for path in inside for name in imports(path)} - {""} - BELOW_ALL == set()


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_nothing_is_unpickled(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    pickles = [name for name in imports(path) if name.split(".")[0] in ("pickle", "dill", "joblib", "cloudpickle")]
    assert pickles == []
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        if ast.unparse(call.func) == "torch.load":
            assert keywords.get("weights_only") == "True", f"line {call.lineno}"
        assert keywords.get("allow_pickle", "False") == "False", f"line {call.lineno}"


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_text_is_read_and_written_alike_on_every_system(path: Path) -> None:
    """Windows has another encoding, and another line end, where none is given."""
    for call in (node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)):
        name, given = ast.unparse(call.func), {keyword.arg for keyword in call.keywords}
        modes = [arg.value for arg in call.args if isinstance(arg, ast.Constant)] if name.endswith("open") else []
        if name.endswith((".read_text", ".write_text")) or (name.endswith("open") and name != "os.open"):
            writes = name.endswith(".write_text") or any(set(mode) & set("wax+") for mode in modes)
            needed = {"encoding", "newline"} if writes else {"encoding"}
            assert any("b" in mode for mode in modes) or needed <= given, f"line {call.lineno}: {name}"


def test_pyproject_lists_every_package() -> None:
    setuptools = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    there = {module_name(path) for path in SOURCES if path.name == "__init__.py"}
    assert set(PACKAGES) <= there
    assert sorted(setuptools["packages"]) == sorted(there)
