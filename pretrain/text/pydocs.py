"""The embedded corpus: English that is already on the machine, the documentation of Python and some packages.

It holds the language reference (`pydoc_data.topics`) and the docstrings of the standard library and of PACKAGES.
Sources are read with `ast`, never imported. From the top down: which documents there are, which strings a file holds.
`docstrings.py` turns a docstring into paragraphs.
"""

import ast
import importlib.util
import itertools
import logging
import multiprocessing
import os
import re
import sysconfig
import warnings
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from pretrain.arrays.workers import start_worker, usable_cores
from pretrain.text.docstrings import paragraphs
from pretrain.text.sentences import split_sentences

# Some of these are needed by torch and matplotlib: all are installed wherever the core is.
PACKAGES = (
    "numpy", "torch", "sympy", "networkx", "matplotlib", "mpl_toolkits", "torchmetrics", "mpmath", "fontTools", "PIL",
    "fsspec", "jinja2",
)  # fmt: skip
# Not for readers: other people's packages, tests, and programs shipped with the library.
_SKIPPED_FOLDERS = frozenset(
    {"site-packages", "dist-packages", "test", "tests", "testing", "__pycache__", "idlelib", "lib2to3", "turtledemo"}
)
_DOC_CALLS = frozenset({"add_docstr", "_add_docstr", "add_docstr_all", "add_newdoc", "_array_method_doc"})
_LONG = 600  # characters that make a document; shorter pieces are joined, since NSP needs several sentences
_SHORTEST = 150  # characters: a shorter document is dropped ...
_FEWEST_SENTENCES = 2  # ... and so is one that can give no pair of sentences
_LINE = 60  # characters: what is shorter, such as "Returns:", may be repeated
_logger = logging.getLogger(__name__)

Piece = list[str]  # the paragraphs of one module, class (with its methods) or function


def documents() -> Iterator[str]:
    """Yield the documents of the embedded corpus, blank lines between paragraphs, in the same order on every machine.

    A document is a class with its methods, or a function, and what follows in the file until there is enough text. A
    paragraph longer than a line that has occurred before, word for word, is left out. A package that is not installed
    is logged as a warning, and so is, as information, the number of files that could not be parsed.
    """
    found = sources()
    for missing in (name for name, root in found.items() if root is None):
        _logger.warning("pydocs: %s is not installed; the corpus lacks its documentation", missing)
    files = [file for root in found.values() if root is not None for file in python_files(root)]
    return _assemble(itertools.chain(_topics(), _pieces_of_files(files)))


def sources() -> dict[str, Path | None]:
    """Return where each source of the corpus was found; None for a package that is not installed."""
    found: dict[str, Path | None] = {"stdlib": Path(sysconfig.get_path("stdlib"))}
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)  # of a top-level package: finds it without importing it
        locations = list(spec.submodule_search_locations or []) if spec else []
        found[name] = Path(locations[0]) if locations else None
    return found


def _assemble(files: Iterable[list[Piece]]) -> Iterator[str]:
    """Yield documents made from the pieces of each file."""
    seen: set[str] = set()
    for pieces in files:
        gathered: list[Piece] = [[]]
        for piece in pieces:
            fresh = []
            for paragraph in piece:
                if paragraph not in seen:
                    fresh.append(paragraph)
                if len(paragraph) >= _LINE:
                    seen.add(paragraph)
            if sum(map(len, gathered[-1])) >= _LONG:
                gathered.append([])
            gathered[-1] += fresh
        yield from ("\n\n".join(document) for document in gathered if _is_document(document))


def _is_document(document: Piece) -> bool:
    sentences = [sentence for paragraph in document for sentence in split_sentences(paragraph)]
    return len(sentences) >= _FEWEST_SENTENCES and sum(map(len, sentences)) >= _SHORTEST


def _topics() -> Iterator[list[Piece]]:
    from pydoc_data.topics import topics  # a module of data only; half a megabyte, so imported where it is used

    for name in sorted(topics):
        yield [paragraphs(topics[name])]


def _pieces_of_files(files: list[Path]) -> Iterator[list[Piece]]:
    # Spawned, not forked: the caller may have torch's threads. The workers import this module and nothing heavy.
    context = multiprocessing.get_context("spawn")
    unparsed = 0
    with ProcessPoolExecutor(min(usable_cores(), 8), context, initializer=start_worker) as pool:
        for pieces in pool.map(pieces_of_file, files, chunksize=16):
            unparsed += pieces is None
            yield pieces or []
    _logger.info("pydocs: %d files read, %d of them skipped because they do not parse", len(files), unparsed)


def python_files(root: Path) -> list[Path]:
    """Return the Python sources below `root`, sorted by path, without the folders that hold no documentation."""
    found = []
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = [name for name in subfolders if name not in _SKIPPED_FOLDERS]
        found += [Path(folder, name) for name in names if name.endswith(".py")]
    return sorted(found, key=lambda file: file.parts)


def pieces_of_file(file: Path) -> list[Piece] | None:
    """Return the paragraphs of a source file, read without running it; None if the file does not parse."""
    try:
        source = file.read_bytes()
        if b'"""' not in source and b"'''" not in source:
            return []  # parsing is what takes the time
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in other people's strings
            tree = ast.parse(source)
    except (OSError, SyntaxError, ValueError, RecursionError):
        return None  # a dangling link, a template, the syntax of another version
    head = ast.get_docstring(tree, clean=False)
    groups = [[head] if head else [], *(list(_docstrings(node)) for node in tree.body)]
    pieces = [[p for docstring in group for p in paragraphs(docstring)] for group in groups]
    return [piece for piece in pieces if piece]


def _docstrings(node: ast.AST) -> Iterator[str]:
    """Yield the documentation strings of a statement and of everything inside it, in source order."""
    text = None
    if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        text = ast.get_docstring(node, clean=False)
    elif isinstance(node, ast.Assign) and any(_name(target) == "__doc__" for target in node.targets):
        text = _literal(node.value)
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and _name(node.value.func) in _DOC_CALLS:
        # What is written in C is documented by such calls; numpy wraps the text in a tuple.
        arguments = [e for a in node.value.args for e in (a.elts if isinstance(a, ast.Tuple) else [a])]
        text = max((_literal(argument) or "" for argument in arguments), key=len, default="")
    if text:
        yield text
    for block in ("body", "handlers", "orelse", "finalbody"):
        for child in getattr(node, block, ()):
            yield from _docstrings(child)


def _name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _literal(node: ast.expr) -> str | None:
    """Return the string that an expression of literals stands for; fields of a `"...".format()` are left empty."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return (_literal(node.left) or "") + (_literal(node.right) or "")
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "format":
        template = _literal(node.func.value)
        return template and re.sub(r"(?<!\{)\{\w+\}", "", template).replace("{{", "{").replace("}}", "}")
    return None
