"""A docstring -> its paragraphs of prose.

Its lines go through three filters, from the outside in: code and tables, then headings, then labels and names. What is
left is gathered into blocks, one for each paragraph, list item or description of a parameter; each is unwrapped, its
markup is taken off, and it stays if it reads as prose. The rules were found by reading many hundreds of paragraphs.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator

from pretrain.sentences import fold, split_sentences


def _words(text: str, separator: str | None = None) -> frozenset[str]:
    return frozenset(text.split(separator))


_PROMPT = re.compile(r">>>|\.\.\. |In \[\d*\]:|Out\[\d*\]:|[$%] \w")
_FENCE = re.compile(r"```|~~~")
_DIRECTIVE = re.compile(r"\.\. +(?:([\w:-]+?) ?::(?: +(.*))?$)?")
_KEPT_DIRECTIVES = _words(
    "note warning caution important tip hint attention danger error admonition deprecated versionadded versionchanged"
    " versionremoved topic"
)
_DIRECTIVE_ARGUMENT = re.compile(r"v?\d+(?:\.\w+)+[.:]?$|\W*$")  # the version of `versionadded`
_SIGNATURE = re.compile(
    r"(?:class |def |async def )?[\w.]+\([^()]*(?:\([^()]*\)[^()]*)*\)(?: *(?:->|=>|=) *\S(?:(?!\. ).){0,60})?[.:]?$"
)
_TABLE_BORDER = re.compile(r"=+(?: +=+)+$")
_TABULAR = re.compile(
    r"\S {3,}\S.*\S {3,}\S|\|.*\|.*\||[+|][-=+|: ]{3,}|[│─┌└├═║╱╲█⎛⎝⎡⎣]|[-=~_^]{4,}|[_/\\|]{3,}|(?:\. ?){5,}"
)
_UNDERLINE = re.compile(r"([=\-~^*\"'#+.:_`])\1{2,}$")
_DROPPED_SECTIONS = _words(
    "see also|seealso|references|reference|methods|routine listings|citations|bibliography|authors|author|license", "|"
)
_NAMES_SECTIONS = _words("parameters|other parameters|returns|yields|raises|attributes|arguments|warns|receives", "|")
_LABEL = re.compile(
    r"[*#_ ]*(args|arguments|optional arguments|parameters?|params|keyword arg(?:ument)?s?|kwargs|returns?|raises"
    r"|yields|attributes|shapes?|inputs?|outputs?|examples?|notes?|warnings?|usage|see also|references?|methods"
    r"|members|fields)"
    r"[*_]*(?: \([^()]*\))?\s*:{1,2}[*_]*$",
    re.IGNORECASE,
)
_FIELD = re.compile(
    r"[:@](param|arg|key|keyword|raise|except|return|yield|type|rtype|ivar|cvar|var)\w*(?: +[^:]{1,60})?: *(.*)$"
)  # :param x: ...   @param x: ...   :rtype: ...
_NAMED = re.compile(
    r"[*`\"'(]{0,4}[\w.*\[\]/-]+[`\"')*]{0,3}(?:(?:, | or | / |/)[*`\w\"']+)*"
    r" ?(?:[(\[][^()]*(?:\([^()]*\)[^()]*)*[)\]])? ?(?::|--?|–|—) +(?=\S)"
)  # name (type): ...   name -- ...
_TYPED = re.compile(  # name : type
    r"[\w.*`\"',\[\] ]{1,60}?(?:( ):(?: +|$)(?!\S* \S+ \S+ \S+ .*\.$)|: ?(?=(?:an? )?\(?(?:int|str|bool|float|list"
    r"|tuple|dict|set|array|ndarray|callable|optional|tensor|numpy|file|string|integer|boolean|iterable|container"
    r"|function|graph|matrix|symbol|expr)\b))",
    re.IGNORECASE,
)
_BULLET = re.compile(r"[-*+•–] +|\(?(?:\d{1,2}|[a-z]|[ivx]+)\) +|\d{1,2}\. +")
_TWO_COLUMNS = re.compile(r"\S+(?: \S+){0,2}(?<![.,;:!?]) {3,}(?:-{1,2} +)?(?=\S)")


def paragraphs(docstring: str) -> list[str]:
    """The prose of a docstring, or of any reStructuredText: paragraphs without markup, code, tables and headings."""
    lines = list(_without_code(inspect.cleandoc(docstring).split("\n")))
    lines = list(_without_labels(list(_without_headings(lines))))
    cleaned = (_prose(block) for block in _blocks(lines))
    return [text for text in cleaned if text]


def _without_code(lines: Iterable[str]) -> Iterator[str]:
    """Blank lines for doctests, fenced and literal blocks, tables, signatures, and directives that show no prose."""
    skipped: int | None = None  # lines deeper than this belong to a block that is dropped
    until_blank = in_fence = False
    borders = 0
    previous = ""
    for line in lines:
        text = line.strip()
        indent = _indent(line)
        starts, previous = not previous, "" if _SIGNATURE.match(text) else text
        if _FENCE.match(text) or in_fence:
            in_fence = in_fence != bool(_FENCE.match(text))
            yield ""
            continue
        if not text:
            until_blank = until_blank and 0 < borders < 3
            borders = borders if until_blank else 0
            yield ""
            continue
        if skipped is not None and indent > skipped:
            continue
        skipped = None
        if _TABLE_BORDER.match(text):
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


def _without_headings(lines: list[str]) -> Iterator[str]:
    """Blank lines for underlined titles, sections that list names ("See Also"), and names in sections of parameters."""
    title = ""
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        text = line.strip()
        is_title = bool(text and _UNDERLINE.match(following.strip())) and not _UNDERLINE.match(text)
        if is_title:
            title = text.lower().strip(":* ")
        is_name = title in _NAMES_SECTIONS and _indent(line) == 0 and _indent(following) > 0
        drop = is_title or is_name or title in _DROPPED_SECTIONS or _UNDERLINE.match(text) or text.startswith("#")
        yield "" if drop else line


def _without_labels(lines: list[str]) -> Iterator[str]:
    """Labels as "Args:" go, and the names and types below them: the description of a parameter becomes a list item."""
    label: int | None = None  # the indent of the label that we are below
    item: int | None = None  # the indent of the items below it
    drops = False
    starts = True
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        text = line.strip()
        indent = _indent(line)
        if not text:
            starts = True
            yield ""
            continue
        if label is not None and indent <= label:
            label = item = None
        found = _LABEL.match(text)
        if found:
            label, item = indent, None
            drops = found[1].lower() in _DROPPED_SECTIONS
            yield ""
            continue
        if label is not None:
            item = indent if item is None else item
            if drops:
                continue
        named = _NAMED.match(text, _end(_BULLET.match(text)))
        field = _FIELD.match(text)
        typed = _TYPED.match(text)
        if typed and (typed[1] or _indent(following) > indent):
            starts = True
            yield " " * indent + ("" if _indent(following) > indent else "- " + text[typed.end() :])
        elif field:
            yield " " * indent + ("- " + field[2] if field[1] not in ("type", "rtype") and field[2] else "")
        elif named and (indent == item or (starts and ("(" in named[0] or " -- " in named[0]))):
            yield " " * indent + "- " + text[named.end() :]
        else:
            starts = False
            yield line


def _blocks(lines: Iterable[str]) -> Iterator[str]:
    """Gathers lines into blocks, unwrapped. A blank line, a list item or a new indent begins a block."""
    block: list[str] = []
    first = last = 0  # indents of the block's first and last line
    hangs = False  # a list item: deeper lines continue it
    for line in lines:
        text = line.strip()
        indent = _indent(line)
        marker = _BULLET.match(text) or _TWO_COLUMNS.match(text)
        unfinished = bool(block) and block[-1][-1] not in ".:;!?" and len(block[-1].split()) > 4
        if not text or not block or marker:
            continues = False
        elif indent > last:
            continues = unfinished or (hangs and indent > first)
        elif indent < last:
            continues = (unfinished and text[0].islower()) or (hangs and indent > first)
        else:
            continues = True
        if not continues and block:
            yield " ".join(block)
            block = []
        if text:
            if not block:
                first, hangs = indent, marker is not None
            block.append(text[_end(marker) :])
            last = indent
    if block:
        yield " ".join(block)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _end(match: re.Match[str] | None) -> int:
    return match.end() if match else 0


# A block -> prose, or nothing.

_HOLE = "\0"  # stands where something was that no words can stand for: its sentence goes
_MARKUP: list[tuple[re.Pattern[str], str]] = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r":[\w:+.-]+:`!?([^`<]*?)\s*<[^`]*>`", r"\1"),  # :func:`title <target>`
        (r":[\w:+.-]+:`+[~!]?([^`]*)`+", r"\1"),  # :func:`name`
        (r"(?<!\w):(?:func|class|meth|attr|mod|ref|math):~?", ""),  # a role whose backquote was forgotten
        (r"``(.+?)``", r"\1"),
        (r"`([^`'\s][^`']{0,40})'(?!\w)", r"'\1'"),  # quotes as they were once typed
        (r"\"([\"'])([^\"']*)\1\"", r"\1\2\1"),  # quotes in quotes, as the language reference has them
        (r"`([^`<>]+?)\s*<[^`]*>`_{0,2}", r"\1"),  # `title <address>`_
        (r"`([^`]*)`_{0,2}", r"\1"),
        (r"!?\[([^\]]+)\]\((?:https?:|#|\.)[^)]*\)", r"\1"),  # [title](address)
        (r"\s*\[[#*\w-]+\]_", ""),  # [1]_
        (r"(?<=[a-z.,)])(?:\s+\[\d+(?:, ?(?:p\. ?)?\d+)*\])+(?=[\s.,;:]|$)", ""),  # [1], not a[1]
        (r"\*\*([^*\s](?:[^*]*[^*\s])?)\*\*", r"\1"),
        (r"(?<![\w*])\*([^*\s](?:[^*]*[^*\s])?)\*(?![\w*])", r"\1"),
        (r"\b([A-Za-z]\w+)_(?=[\s.,;:)])", r"\1"),  # name_
        (r"\|(\w+)\|", r"\1"),
        (r"\\([*_`|\\ ])", r"\1"),
        (r"\s*[(<](?:[Ss]ee:? )?(?:https?|ftp)://[^\s>)]+[)>]", ""),
        (r"\b(?:https?|ftp)://\S+", _HOLE),
        (r"\s*\(?\b[Dd]efaults?(?: value)?[:=]+ ?[^\s]+?\)?\.?$", ""),  # Default: 1
        (r"(?<!\S)~\.?(?=[a-zA-Z_])", ""),  # ~package.name
        (r"\s*\((?:see|see also|cf\.?|from)\s*\)", ""),
        (r"\(\s*\)", ""),
        (r"\s+([.,;:!?)])(?=\s|$)", r"\1"),
    )
]
_MATH = re.compile(r":math:`([^`]*)`|\$\$?([^$]+)\$\$?|(?<![`:])`([^`]*(?:\\[a-z]|[_^]\{)[^`]*)`(?!`)")
_TEX_SPOKEN = _words(
    "alpha beta gamma delta epsilon varepsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau phi varphi"
    " chi psi omega Gamma Delta Theta Lambda Sigma Phi Psi Omega sin cos tan log ln exp min max arg det in"
)
_TEX_SIGNS = {
    "leq": "<=", "le": "<=", "geq": ">=", "ge": ">=", "neq": "!=", "ne": "!=", "times": "x", "cdot": "*", "pm": "+-",
    "infty": "infinity", "ldots": "...", "dots": "...", "cdots": "...", "to": "->", "rightarrow": "->", "mapsto": "->",
    "left": "", "right": "", "quad": " ", "displaystyle": "", "lvert": "|", "rvert": "|", "ast": "*", "star": "*",
    "sim": "~", "approx": "~",
}  # fmt: skip
_TEX_STYLE = re.compile(r"\\(?:text|mathrm|mathbf|mathbb|mathcal|mathit|mathsf|operatorname|texttt|rm|bf|bm)\b\s*")

# What may stand before a sentence and is no part of it.
_LEADS = (
    re.compile(  # Note: ...
        r"(?:\.\. )?[*_]*(?:notes?|nb|n\.b\.|warnings?|returns?|raises|yields|precondition|important|todo|fixme|xxx|tip"
        r"|input|output)\b[*_]*(?: \(?\w+\)?)? ?:{1,2}[*_]* +(?=\S)",
        re.IGNORECASE,
    ),
    re.compile(r"[\w.]+\([^()]*\) *(?:(?:->|=>|=) *[^.:]{1,40}[.:]|--?|:) +(?=[A-Z])"),  # f(x) -> int.  ...
    re.compile(  # name (type): ...   (a, b): ...   name: ...
        r"(?:[\w.*]+ ?\([^()]*(?:\([^()]*\)[^()]*)*\) ?:|\(\w+(?:, \w+)*\):|[a-z*][\w.*]*(?: ?:| --?)(?= [A-Z]))"
        r" +(?=\S)"
    ),
)
_WORDY = re.compile(r"[\"'“‘(\[]*[A-Za-z]+(?:['’/-][A-Za-z]+)*[\"'”’)\].,:;!?…]*$")
_FUNCTION_WORDS = _words(
    "a an the of to in is are was be for and or if on with that this it its as by from not can will which when at has"
    " have should must may you we all any no"
)
_CODE = re.compile(
    r"(?:import |from [\w.]+ import|def |class \w+[(:]|return |[@%#{}\[<>|=+*/\\&]|\w+ ?=|if .*:$|for .* in .*:$"
    r"|[\w.*`, ]{1,40} : |(?:and|or|of|but|than|which|resulting) )"
)
_NOT_PROSE = re.compile(r"\{\w*\}|[{};]$| = .* = |==|::|->.*->|\\\w+\{|<BLANKLINE>|</?\w+>|%\(|%[ds]\b|\x1b")
_BOILERPLATE = re.compile(
    r"copyright|all rights reserved|permission (?:is|to use)|warranties|licen[sc]ed? (?:under|agreement)|redistribut"
    r"|^(?:created|modified|written|author|contributed|last modified|todo|fixme)\b.{0,40}(?:\d|@|by|:)|\S@\S+\.\w",
    re.IGNORECASE,
)


def _prose(block: str) -> str:
    """A block without its markup, or "" where what is left is no prose."""
    text = _MATH.sub(lambda match: _spoken_tex(match[match.lastindex or 0]), block)
    for pattern, replacement in _MARKUP:
        text = pattern.sub(replacement, text)
    text = fold(text)
    for lead in _LEADS:
        text = text[_end(lead.match(text)) :]
    if _HOLE in text or _NOT_PROSE.search(text):
        text = " ".join(s for s in split_sentences(text) if _HOLE not in s and not _NOT_PROSE.search(s))
    if text.endswith((",", "(", "=", "-", " and", " or", " by", " is", " the")):  # a formula was to follow
        text = " ".join(split_sentences(text)[:-1])
    return text if _is_prose(text) else ""


def _spoken_tex(formula: str) -> str:
    r"""A short formula as one would type it: \alpha_i \leq 1 -> alpha_i <= 1. A hole for one that is not so simple."""
    if "\\\\" in formula or "&" in formula:  # several lines
        return _HOLE
    plain = re.sub(r"\\([A-Za-z]+)", _spoken_command, _TEX_STYLE.sub("", formula))
    plain = fold(re.sub(r"[{}]|\\.", "", plain.replace("\\_", "_").replace("~", " ")))
    return plain if len(plain) <= 40 and _HOLE not in plain else _HOLE


def _spoken_command(match: re.Match[str]) -> str:
    return match[1] if match[1] in _TEX_SPOKEN else _TEX_SIGNS.get(match[1], _HOLE)


def _is_prose(text: str) -> bool:
    words = text.split()
    if len(words) < 5 or not re.match(r"[\w\"'“‘(]", text) or _CODE.match(text) or _BOILERPLATE.search(text):
        return False
    # A fragment of a table, or a note that is no sentence, begins small and ends without a mark.
    if len(words) < 9 and not (text[0].isupper() or text[-1] in ".!?"):
        return False
    wordy = sum(_WORDY.match(word) is not None for word in words)
    is_sentence = text[0].isupper() and text[-1] in ".!?"
    return wordy >= 0.7 * len(words) and (is_sentence or any(word.lower() in _FUNCTION_WORDS for word in words))
