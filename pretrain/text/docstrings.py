"""A docstring -> its paragraphs, as they read in an editor.

What is not language is dropped: doctests, blocks marked as code, signatures, tables, directives, underlines, and
paragraphs that are mostly symbols: unmarked code, grammars, formulas, lists of names. The rest stays as it was typed,
with its backquotes, lists and parameter names: the English that documentation is written in.
"""

import inspect
import re
from collections.abc import Iterable, Iterator

from pretrain.text.sentences import fold

_PROMPT = re.compile(r">>>|\.\.\. |In \[\d*\]:|Out\[\d*\]:|[$%] \w")
_FENCE = re.compile(r"```(?!.*```)")
_DIRECTIVE = re.compile(r"\.\. +(?:([\w:-]+?) ?::(?: +(.*))?$)?")
_KEPT_DIRECTIVES = {
    "note", "warning", "caution", "important", "tip", "hint", "attention", "danger", "error", "admonition",
    "deprecated", "versionadded", "versionchanged", "versionremoved", "topic",
}  # fmt: skip
_DIRECTIVE_ARGUMENT = re.compile(r"v?\d+(?:\.\w+)+[.:]?$|\W*$")  # the version of `versionadded`
_SIGNATURE = re.compile(
    r"(?:class |def |async def )?[\w.]+\([^()]*(?:\([^()]*\)[^()]*)*\)(?: *(?:->|=>|=) *\S(?:(?!\. ).){0,60})?[.:]?$"
)
_TABLE_BORDER = re.compile(r"=+(?: +=+)+$")
_TABULAR = re.compile(
    r"\S {3,}\S.*\S {3,}\S|\|.*\|.*\||[+|][-=+|: ]{3,}|[│─┌└├═║╱╲█⎛⎝⎡⎣]|[-=~_^]{4,}|(?<!:)[_/\\|]{3,}|(?:\. ?){5,}"
)
_UNDERLINE = re.compile(r"([=\-~^*\"'#+.:_`])\1{2,}$")
_ITEM = re.compile(  # of a list, or of a list of names: "- ...", "(a) ...", "2. ...", ":param x: ...", "x (int): ..."
    r"[-*+•–] +|\(?(?:\d{1,2}|[a-z]|[ivx]+)\) +|\d{1,2}\. +|[:@]\w+ ?[^:]*: |[\w.*]+(?: ?\([^()]*\))? ?: +(?=\S)"
)
_BOILERPLATE = re.compile(r"copyright|all rights reserved|licen[sc]ed? (?:under|agreement)|\S@\S+\.\w", re.IGNORECASE)
_WORD = re.compile(  # of English prose: in brackets, quotes or emphasis, hyphenated, before a comma
    r"""[(\["'`*]*[A-Za-z]+(?:['’/-][A-Za-z]+)*[)\]"'`*]*[.,:;!?]*[)"'`*]*$"""
)
_MOST_SYMBOLS = 0.6  # a paragraph with a smaller share of what are not words counts as language


def paragraphs(docstring: str) -> list[str]:
    """Return the paragraphs of a docstring, or of any reStructuredText, unwrapped and without what is not language."""
    lines = _without_code(inspect.cleandoc(docstring).split("\n"))
    blocks = (fold(block) for block in _blocks(_without_underlines(list(lines))))
    return [block for block in blocks if _is_language(block) and not _BOILERPLATE.search(block)]


def _is_language(paragraph: str) -> bool:
    found = paragraph.split()
    return sum(not _WORD.match(one) for one in found) < _MOST_SYMBOLS * len(found)


def _without_code(lines: Iterable[str]) -> Iterator[str]:
    """Blank out doctests, fenced and literal blocks, tables, signatures, and directives that show no prose."""
    skipped: int | None = None  # lines deeper than this belong to a block that is dropped
    until_blank = in_fence = is_border = False
    borders = 0  # of the current table: between its first and its last there may be blank rows
    previous = ""
    for line in lines:
        text = line.strip()
        indent = len(line) - len(line.lstrip())
        starts, previous = not previous, "" if _SIGNATURE.match(text) else text
        was_border, is_border = is_border, bool(_TABLE_BORDER.match(text))
        if _FENCE.match(text) or in_fence:
            in_fence = in_fence != bool(_FENCE.match(text))
            yield ""
            continue
        if not text:
            until_blank = until_blank and 0 < borders < 3 and not was_border  # a border above a blank line is the last
            borders = borders if until_blank else 0
            yield ""
            continue
        if skipped is not None and indent > skipped:
            continue
        skipped = None
        if is_border:
            until_blank, borders = True, borders + 1
        elif _PROMPT.match(text):
            until_blank = True
        is_table = bool(_TABULAR.search(text)) and not _UNDERLINE.match(text)
        directive = _DIRECTIVE.match(text)
        if directive and not until_blank:
            if directive[1] in _KEPT_DIRECTIVES:
                argument = directive[2] or ""
                yield ""
                yield " " * (indent + 3) + ("" if _DIRECTIVE_ARGUMENT.match(argument) else argument)
            else:
                skipped = indent
                yield ""
        elif until_blank or is_table or (starts and _SIGNATURE.match(text)):
            yield ""
        elif text.endswith("::"):
            skipped = indent
            yield line.rstrip()[:-1]
        else:
            yield line.rstrip()


def _without_underlines(lines: list[str]) -> Iterator[str]:
    """Drop underlines; a heading becomes the beginning of what follows it: "Returns:"."""
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        text = line.strip()
        if _UNDERLINE.match(text):
            continue
        is_heading = bool(text) and _UNDERLINE.match(following.strip()) is not None
        yield line.rstrip(" :") + ":" if is_heading else line


def _blocks(lines: Iterable[str]) -> Iterator[str]:
    """Gather lines into paragraphs. A new one begins after a blank line, at a list item, and where the indentation
    decreases, as after the description of a parameter."""
    block: list[str] = []
    last = 0  # the indent of the block's last line
    for line in lines:
        text = line.strip()
        indent = len(line) - len(line.lstrip())
        if block and (not text or _ITEM.match(text) or indent < last):
            yield " ".join(block)
            block = []
        if text:
            block.append(text)
            last = indent
    if block:
        yield " ".join(block)
