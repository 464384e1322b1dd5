"""The embedded corpus: each rule of the cleaning as a literal docstring and the paragraphs it becomes; which strings
of a file are read; that nothing is executed; that the order depends on nothing but the sources."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pretrain.text import pydocs
from pretrain.text.docstrings import paragraphs

PROSE = "This is a sentence of prose that stays."
MORE = "And here is the one that follows."


@pytest.mark.parametrize(
    ("docstring", "expected"),
    [
        pytest.param(f"{PROSE}\n\n{MORE}\n", [PROSE, MORE], id="paragraphs"),
        pytest.param("This is a sentence\n    of prose that\n    stays.", [PROSE], id="wrapped lines"),
        pytest.param(f"{PROSE}\n\n>>> f(1)\n1\n>>> g(\n...   2)\n2\n\n{MORE}", [PROSE, MORE], id="doctest"),
        pytest.param(f"frob(x, y=(1, 2)) -> Tensor\n\n{PROSE}", [PROSE], id="signature"),
        pytest.param(f"frob(x) -> int\n{PROSE}", [PROSE], id="signature without a blank line"),
        pytest.param(
            f"{PROSE[:-1]}::\n\n    x = the code\n\n    in a block of it\n\n{MORE}", [PROSE[:-1] + ":", MORE], id="::"
        ),
        pytest.param(f"{PROSE}\n\n```python\nthe code is in a fence\n```\n\n{MORE}", [PROSE, MORE], id="fence"),
        pytest.param(
            f"{PROSE}\n\n.. code-block:: text\n\n    this is the text of a code block\n\n{MORE}",
            [PROSE, MORE],
            id="code-block",
        ),
        pytest.param(f"{PROSE}\n\n.. math::\n    a is in the set of b and c\n\n{MORE}", [PROSE, MORE], id="math block"),
        pytest.param(f".. note:: {PROSE}\n\n.. warning::\n\n   {MORE}", [PROSE, MORE], id="note and warning"),
        pytest.param(f".. versionadded:: 1.2.0\n   {PROSE}", [PROSE], id="version"),
        pytest.param(f"The Section\n===========\n\n{PROSE}", ["The Section:", PROSE], id="heading"),
        pytest.param(f"Notes\n-----\n{PROSE}\n{MORE}", [f"Notes: {PROSE} {MORE}"], id="heading above its text"),
        pytest.param(
            f"{PROSE} [1]_\n\nReferences\n----------\n.. [1] The Author of the Book, A Title, 1999.",
            [f"{PROSE} [1]_", "References:"],
            id="references",
        ),
        pytest.param(
            f"Parameters\n----------\nx : array_like\n    {PROSE}\ny : int\n    {MORE}",
            ["Parameters:", f"x : array_like {PROSE}", f"y : int {MORE}"],
            id="numpy parameters",
        ),
        pytest.param(
            f"Args:\n    x (int, optional): This is a sentence\n        of prose that stays.\n    y: {MORE}",
            ["Args:", f"x (int, optional): {PROSE}", f"y: {MORE}"],
            id="google",
        ),
        pytest.param(
            f":param x: {PROSE}\n:type x: int\n:rtype: str",
            [f":param x: {PROSE}", ":type x: int", ":rtype: str"],
            id="sphinx fields",
        ),
        pytest.param(f"* {PROSE}\n* And here is\n  the one that follows.", [f"* {PROSE}", f"* {MORE}"], id="list"),
        pytest.param(f"1. {PROSE}\n(b) {MORE}", [f"1. {PROSE}", f"(b) {MORE}"], id="numbered list"),
        pytest.param(f"    {PROSE}\n\nx\n    {PROSE}\n{MORE}", [PROSE, f"x {PROSE}", MORE], id="back to the left"),
        pytest.param(
            f"====  ====\na     b\n====  ====\nthe   and of the table\n====  ====\n\n{PROSE}", [PROSE], id="table"
        ),
        pytest.param(f"=== ===\nthe and\n=== ===\n\n{PROSE}\n\n{MORE}", [PROSE, MORE], id="table without a header"),
        pytest.param(
            f"=== ===\na   b\n=== ===\nthe and\n\nof  it\n=== ===\n{PROSE}\n\n{MORE}", [MORE], id="blank row in a table"
        ),
        pytest.param(
            f"Title\n~~~~~\n{PROSE}\n\nOther\n~~~~~\n{MORE}", [f"Title: {PROSE}", f"Other: {MORE}"], id="tildes"
        ),
        pytest.param(
            f"```code``` is here.\n\n{PROSE}", ["```code``` is here.", PROSE], id="three backquotes in a line"
        ),
        pytest.param(
            "See the file\nfile:///tmp/x of it.", ["See the file file:///tmp/x of it."], id="address of a file"
        ),
        pytest.param(f"+-----+-----+\n| the | and |\n+-----+-----+\n\n{PROSE}", [PROSE], id="grid table"),
        pytest.param(
            "Calls :func:`~os.path.join` with ``None`` and *args*, see `a link <https://x.org>`_.",
            ["Calls :func:`~os.path.join` with ``None`` and *args*, see `a link <https://x.org>`_."],
            id="inline markup stays",
        ),
        pytest.param(f"Copyright (c) 1999 by the author of this file.\n\n{PROSE}", [PROSE], id="licence"),
        pytest.param(f"{PROSE}\n\nx = torch.ones(3) + f(y)\nreturn x.sum()", [PROSE], id="unmarked code"),
        pytest.param(f"{PROSE}\n\ngraph():\n%x_1 : [num_users=1] -> call_fn(_a)", [PROSE], id="graph"),
        pytest.param(f'{PROSE}\n\nsum_expr ::= term_expr | sum_expr "+" term_expr', [PROSE], id="grammar"),
        pytest.param("See Also:\n    tree_flatten, tree_unflatten, ndarray.size", [], id="names"),
        pytest.param(
            "Returns (the well-known) `value`, or None if x < 0.",
            ["Returns (the well-known) `value`, or None if x < 0."],
            id="symbols among words",
        ),
        pytest.param("a + b = 1", [], id="no word"),
        pytest.param("", [], id="nothing"),
    ],
)
def test_cleaning(docstring: str, expected: list[str]) -> None:
    assert paragraphs(docstring) == expected


SOURCE = '''
"""The module says what it is for."""
import pathlib
pathlib.Path({marker!r}).write_text("executed")
raise SystemExit("executed")


class Shelf:
    """A shelf has many books on it."""

    def take(self):
        """Take a book from the shelf."""

        def helper():
            "A helper in one line of its own."

    if True:
        def put(self): """Put the book on the shelf."""


Shelf.__doc__ = "Some text comes from an " + "{{field}}assignment of it.".format(field=1)
add_docstr(Shelf.x, r"""
x() -> int

What is written in C has its text here.
""")
add_newdoc("module", "name", ("y", """And numpy has it in a tuple."""))
'''


@pytest.fixture
def package(tmp_path: Path) -> Path:
    root = tmp_path / "package"
    for folder in ("", "sub", "tests", "site-packages"):
        (root / folder).mkdir(exist_ok=True)
    (root / "b.py").write_text(SOURCE.format(marker=str(tmp_path / "executed")))
    (root / "sub" / "a.py").write_text('"""This is the text of another file."""')
    (root / "sub" / "broken.py").write_text('"""This file is a template.""" {{ name }} =')
    (root / "tests" / "test_b.py").write_text('"""This is a test and it is not read."""')
    (root / "site-packages" / "other.py").write_text('"""This is of another package and not read."""')
    (root / "dangling.py").symlink_to(tmp_path / "nowhere.py")
    return root


def test_docstrings_are_found_in_source_order(package: Path) -> None:
    assert pydocs.pieces_of_file(package / "b.py") == [
        ["The module says what it is for."],
        [
            "A shelf has many books on it.",
            "Take a book from the shelf.",
            "A helper in one line of its own.",
            "Put the book on the shelf.",
        ],
        ["Some text comes from an assignment of it."],
        ["What is written in C has its text here."],
        ["And numpy has it in a tuple."],
    ]


def test_nothing_is_executed(package: Path) -> None:
    for file in pydocs.python_files(package):
        pydocs.pieces_of_file(file)
    assert not (package.parent / "executed").exists()
    assert not list(package.rglob("__pycache__"))


def test_files_are_sorted_and_tests_left_out(package: Path) -> None:
    names = [file.relative_to(package).as_posix() for file in pydocs.python_files(package)]
    assert names == ["b.py", "dangling.py", "sub/a.py", "sub/broken.py"]


@pytest.mark.parametrize("name", ["sub/broken.py", "dangling.py"])
def test_what_cannot_be_parsed_is_skipped(package: Path, name: str) -> None:
    assert pydocs.pieces_of_file(package / name) is None


def test_skipped_files_are_counted(package: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert len(list(pydocs._pieces_of_files(pydocs.python_files(package)))) == 4
    assert caplog.messages == ["pydocs: 4 files read, 2 of them skipped because they do not parse"]


def _sentence(number: int) -> str:
    return f"Sentence number {number} is written out here, and it has about a hundred characters or a few more."


def test_short_pieces_are_put_together_and_long_ones_are_documents() -> None:
    long = [_sentence(n) for n in range(7)]
    short = [[_sentence(n)] for n in range(10, 13)]
    documents = list(pydocs._assemble([[long, *short], [[_sentence(20)], [_sentence(21)]]]))
    assert [document.split("\n\n") for document in documents] == [
        long,
        [paragraph for piece in short for paragraph in piece],
        [_sentence(20), _sentence(21)],
    ]


def test_repeated_paragraphs_are_left_out() -> None:
    first, second = [_sentence(n) for n in range(3)], [_sentence(n) for n in range(2, 5)]
    documents = list(pydocs._assemble([[first], [second], [first]]))
    assert [document.split("\n\n") for document in documents] == [first, [_sentence(3), _sentence(4)]]


def test_short_paragraphs_may_be_repeated() -> None:
    first, second = [["Returns:", _sentence(n), _sentence(n + 1)] for n in (1, 3)]
    documents = list(pydocs._assemble([[first], [second]]))
    assert [document.split("\n\n") for document in documents] == [first, second]


def test_documents_that_are_too_small_are_left_out() -> None:
    assert list(pydocs._assemble([[["Only a few words."]], [[_sentence(1) * 3]]])) == []


def test_a_missing_package_is_reported(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(pydocs, "PACKAGES", ("numpy", "no_such_package"))
    found = pydocs.sources()
    assert list(found) == ["stdlib", "numpy", "no_such_package"]
    assert found["no_such_package"] is None
    assert (found["stdlib"] or Path()).joinpath("ast.py").is_file()
    pydocs.documents()
    assert caplog.messages == ["pydocs: no_such_package is not installed; the corpus lacks its documentation"]


def _python(code: str, *arguments: str, seed: str) -> str:
    environment = os.environ | {"PYTHONHASHSEED": seed}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], env=environment, capture_output=True, text=True, check=True
    ).stdout


def test_the_same_documents_whatever_the_hash_seed() -> None:
    root = pydocs.sources()["networkx"]
    assert root is not None
    code = (
        "import hashlib, itertools, pathlib, sys; from pretrain.text import pydocs;"
        "files = pydocs.python_files(pathlib.Path(sys.argv[1]))[:60];"
        "texts = list(pydocs._assemble(itertools.chain(pydocs._topics(), pydocs._pieces_of_files(files))));"
        "print(len(texts), hashlib.sha256('\\0'.join(texts).encode()).hexdigest())"
    )
    first, second = (_python(code, str(root), seed=seed) for seed in ("1", "2"))
    assert first == second
    assert int(first.split()[0]) > 100


def test_no_package_is_imported() -> None:
    code = (
        "import sys; from pretrain.text import pydocs; pydocs.sources(); next(pydocs._topics());"
        "print({'torch', 'numpy', 'sympy', 'networkx', 'transformers'} & set(sys.modules))"
    )
    assert _python(code, seed="0") == "set()\n"


@pytest.mark.slow
def test_the_whole_corpus_is_of_the_promised_size() -> None:
    documents = list(pydocs.documents())
    paragraphs = [paragraph for document in documents for paragraph in document.split("\n\n")]
    assert len(documents) > 9_000
    assert sum(map(len, paragraphs)) > 12_000_000
    long = [paragraph for paragraph in paragraphs if len(paragraph) >= 60]
    assert len(set(long)) == len(long)
    assert not any(paragraph.startswith(">>>") or "  " in paragraph or "\t" in paragraph for paragraph in paragraphs)
