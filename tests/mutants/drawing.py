"""Mutants: a source file with one small change that ought to matter. All that a file can have, and some drawn by lot.

A change takes the place of a few characters and leaves the rest of the file as it is, so that it reads as a person's
slip would. What only speaks is left alone: messages, docstrings, annotations, imports.
"""

from __future__ import annotations

import ast
import difflib
import itertools
import random
from collections.abc import Iterator, Mapping
from typing import NamedTuple

SWAPPED = {
    ast.Lt: ("<", "<="), ast.LtE: ("<=", "<"), ast.Gt: (">", ">="), ast.GtE: (">=", ">"), ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="), ast.Is: ("is", "is not"), ast.IsNot: ("is not", "is"), ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"), ast.Add: ("+", "-"), ast.Sub: ("-", "+"), ast.Mult: ("*", "/"), ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "*"), ast.Mod: ("%", "//"), ast.BitAnd: ("&", "|"), ast.BitOr: ("|", "&"),
    ast.And: ("and", "or"), ast.Or: ("or", "and"),
}  # fmt: skip
SPEAKING = (ast.Import, ast.ImportFrom, ast.JoinedStr, ast.Assert)
UNSEEN = {"annotation", "returns", "decorator_list"}  # fields that decide nothing here


class Mutant(NamedTuple):
    """A change of a file."""

    file: str
    start: int  # the bytes that are replaced
    end: int
    new: str
    lines: tuple[int, int]  # first and last line of the statement, or of its head, from 1
    on_import: bool  # whether it is executed when the module is imported, whatever test asks for that

    def apply(self, source: str) -> str:
        """The changed file."""
        content = source.encode()
        return (content[: self.start] + self.new.encode() + content[self.end :]).decode()

    def diff(self, source: str) -> str:
        """The lines that change, as `diff` shows them."""
        lines = difflib.unified_diff(source.splitlines(), self.apply(source).splitlines(), n=0, lineterm="")
        return "\n".join(itertools.islice(lines, 3, None))


def draw(sources: Mapping[str, str], count: int, seed: int) -> list[Mutant]:
    """`count` mutants, or all that there are: of each file as many, as far as it has them. sources: file -> content."""
    rng = random.Random(f"mutants {seed}")
    piles = []
    for file, source in sorted(sources.items()):
        found = mutants_of(file, source)
        piles.append(rng.sample(found, len(found)))
    rounds = itertools.chain.from_iterable(itertools.zip_longest(*piles))
    working = (mutant for mutant in rounds if mutant and _compiles(mutant.apply(sources[mutant.file])))
    return list(itertools.islice(working, count))


def mutants_of(file: str, source: str) -> list[Mutant]:
    """All mutants of a file that differ from it and from each other, in the order of its lines."""
    content = source.encode()
    starts = [0, *itertools.accumulate(map(len, content.splitlines(keepends=True)))]
    found = set()
    for node, lines, on_import in _nodes(ast.parse(source), (0, 0), True):
        for start, end, new in _changes(node, content, starts):
            if content[start:end].decode() != new:
                found.add(Mutant(file, start, end, new, lines, on_import))
    return sorted(found)


def _compiles(source: str) -> bool:
    try:
        compile(source, "mutant", "exec")
    except SyntaxError:
        return False
    return True


def _nodes(node: ast.AST, lines: tuple[int, int], on_import: bool) -> Iterator[tuple[ast.AST, tuple[int, int], bool]]:
    """Every node that does something, with the lines of its statement."""
    if isinstance(node, ast.stmt):
        body = getattr(node, "body", None)
        lines = node.lineno, max(node.lineno, body[0].lineno - 1) if body else node.end_lineno or node.lineno
    yield node, lines, on_import
    if isinstance(node, ast.Raise):
        return
    for field, value in ast.iter_fields(node):
        later = field == "body" and isinstance(node, ast.FunctionDef | ast.Lambda)
        for child in value if isinstance(value, list) else [value]:
            is_docstring = isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant)
            is_for_types = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
            speaks = isinstance(child, SPEAKING) or is_docstring or is_for_types or field in UNSEEN
            if isinstance(child, ast.AST) and not speaks:
                yield from _nodes(child, lines, on_import and not later)


def _changes(node: ast.AST, content: bytes, starts: list[int]) -> Iterator[tuple[int, int, str]]:
    """What can be changed at a node: the bytes that are replaced, and by what."""

    def span(place: ast.AST) -> tuple[int, int]:
        return starts[place.lineno - 1] + place.col_offset, starts[place.end_lineno - 1] + place.end_col_offset  # type: ignore[attr-defined]

    def text(place: ast.AST) -> str:
        return content[slice(*span(place))].decode()

    def between(left: ast.AST, right: ast.AST, operator: ast.AST) -> Iterator[tuple[int, int, str]]:
        old, new = SWAPPED.get(type(operator), ("", ""))
        start, end = span(left)[1], span(right)[0]
        at = content.find(old.encode(), start, end)
        if old and at >= 0:
            yield at, at + len(old), new

    match node:
        case ast.Compare():
            for left, operator, right in zip([node.left, *node.comparators], node.ops, node.comparators, strict=False):
                yield from between(left, right, operator)
        case ast.BinOp():
            yield from between(node.left, node.right, node.op)
        case ast.BoolOp():
            yield from between(node.values[0], node.values[1], node.op)
        case ast.UnaryOp(op=ast.Not() | ast.USub()):
            yield *span(node), text(node.operand)
        case ast.Constant(value=bool()):
            yield *span(node), str(not node.value)
        case ast.Constant(value=int() | float()):
            yield from ((*span(node), repr(node.value + step)) for step in (1, -1))
        case ast.Constant(value=str()):
            yield *span(node), repr(f"{node.value}x")
        case ast.If() | ast.IfExp() if not isinstance(node.test, ast.Compare | ast.UnaryOp):
            yield *span(node.test), f"(not ({text(node.test)}))"
        case ast.Raise() | ast.Expr(value=ast.Call()) | ast.AugAssign():
            yield *span(node), "pass"
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield *span(node), "pass"
        case ast.Call(args=places) | ast.Tuple(elts=places, ctx=ast.Load()) | ast.List(elts=places, ctx=ast.Load()):
            for left, right in itertools.pairwise(places):
                (start, left_end), (right_start, end) = span(left), span(right)
                yield start, end, f"{text(right)}{content[left_end:right_start].decode()}{text(left)}"
