"""CoNLL-U, the format of Universal Dependencies (https://universaldependencies.org/format.html).

Blank lines separate sentences. A line that begins with "#" is a comment; any other has ten columns between tabs. Words
are numbered 1, 2, 3. Before words 5 and 6 there may be a range, 5-6: one form that stands for both. After word 8, an
empty node, 8.1, may stand for an omitted word.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import NamedTuple

from minibert.errors import InputError, plural
from minibert.files.text import read_raw_lines, shown

SUFFIX = ".conllu"
COLUMNS = ("id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")
LONGEST_SENTENCE = 2**24  # characters; a sentence is held in memory
_RANGE = re.compile("([1-9][0-9]{0,8})-([1-9][0-9]{0,8})")
_EMPTY_NODE = re.compile(r"([0-9]{1,9})\.[1-9][0-9]{0,8}")


class Sentence(NamedTuple):
    """The words of a sentence, without its ranges and empty nodes."""

    rows: tuple[int, ...]  # the line of each word, from 1
    cells: dict[str, tuple[str, ...]]  # column -> the cell of each word
    text: str  # the forms, with a space after each unless MISC has SpaceAfter=No
    offsets: tuple[tuple[int, int], ...]  # the [start, end) characters of each word in the text


def read_blocks(lines: Iterable[tuple[int, str]], path: str) -> Iterator[list[tuple[int, str]]]:
    """Yield the lines of each sentence, given and yielded as (row, line), without comments.

    Raises InputError, naming file and row, if a sentence doesn't end.
    """
    block: list[tuple[int, str]] = []
    size = 0  # characters
    for row, line in chain(lines, [(0, "")]):
        if line.strip():
            block += [] if line.startswith("#") else [(row, line)]
            size += len(line)
            if size > LONGEST_SENTENCE:
                raise InputError(
                    f"{shown(path)}:{row}: the sentence has more than {LONGEST_SENTENCE:,} characters; put a blank "
                    "line after each sentence"
                )
            continue
        if block:
            yield block
        block, size = [], 0


def read_sentence(block: Sequence[tuple[int, str]], path: str) -> Sentence:
    """Return the sentence that `read_blocks` yielded. Words in a range have a space between them, and the range's MISC
    says whether there is one after its last word.

    Raises InputError, naming file and row, if a row does not have ten columns, a cell is empty, or a number is not the
    next one.
    """
    rows: list[int] = []
    words, spaces = [], []
    last, space_after_last = 0, " "  # the last word of the range, and what follows it
    for row, line in block:
        cells = line.rstrip("\r\n").split("\t")
        if len(cells) != len(COLUMNS):
            raise InputError(
                f"{shown(path)}:{row}: {plural(len(cells), 'column')}, expected the {len(COLUMNS)} of CoNLL-U, "
                f"separated by tabs; files with other columns need an extension other than {SUFFIX}, such as .conll"
            )
        if "" in cells:
            name = COLUMNS[cells.index("")]
            raise InputError(f"{shown(path)}:{row}: column {name} is empty, expected _ where there is no value")
        number, space = len(rows) + 1, "" if "SpaceAfter=No" in cells[-1].split("|") else " "
        if cells[0] == str(number):
            rows.append(row)
            words.append(cells)
            spaces.append(" " if number < last else space_after_last if number == last else space)
        elif (found := _RANGE.fullmatch(cells[0])) and last < number == int(found[1]) < int(found[2]):
            last, space_after_last = int(found[2]), space
        elif not (found := _EMPTY_NODE.fullmatch(cells[0])) or int(found[1]) != len(rows):
            raise InputError(
                f"{shown(path)}:{row}: number {cells[0]!r:.40}, expected {number}: words are numbered 1, 2, 3, and "
                "a blank line ends each sentence"
            )
    if len(rows) < max(last, 1):
        raise InputError(f"{shown(path)}:{block[-1][0]}: the sentence ends here, expected word {len(rows) + 1}")
    columns = dict(zip(COLUMNS, zip(*words, strict=True), strict=True))
    pieces, offsets, end = [], [], 0
    for form, space in zip(columns["form"], spaces, strict=True):
        pieces += [form, space]
        offsets.append((end, end + len(form)))
        end += len(form) + len(space)
    return Sentence(tuple(rows), columns, "".join(pieces[:-1]), tuple(offsets))


def replaced(path: str, column: str, cells: Iterable[tuple[int, str]]) -> Iterator[bytes]:
    """Yield the lines of a file byte for byte, but with other cells in a column of some rows.

    cells: (row, new cell) in the order of the rows, each taken only when the one before it is in its place.

    Raises InputError as `read_raw_lines` does, or if a new cell contains a tab or a line end.
    """
    index, changes = COLUMNS.index(column), iter(cells)
    row, cell = next(changes, (0, ""))
    for number, line in enumerate(read_raw_lines(path), start=1):
        if number != row:
            yield line
            continue
        if any(character in cell for character in "\t\r\n"):
            raise InputError(f"{shown(path)}:{row}: the new {column} is {cell!r:.60}, which can't be a cell of CoNLL-U")
        content = line.rstrip(b"\r\n")
        kept = content.split(b"\t")
        kept[index] = cell.encode("utf-8")
        yield b"\t".join(kept) + line[len(content) :]
        row, cell = next(changes, (0, ""))
