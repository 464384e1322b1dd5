"""Token classification: CoNLL columns -> `TaggedExample`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate

from finetune.examples import TaggedExample
from finetune.tally import Tally
from minibert.errors import InputError
from minibert.text_files import read_lines, shown

DOCUMENT_START = "-DOCSTART-"
LONGEST_SENTENCE = 2**24  # characters: all of it is in memory
# Not str.split(), for which a no-break space ends a word too: tweets hold such words.
_SPACES = re.compile("[ \t]+")


def read_conll(path: str, *, labelled: bool = True, tally: Tally | None = None) -> Iterator[TaggedExample]:
    """Streams the sentences of a file, plain or .gz, or of standard input (`-`).

    A row is a word: the word is the first column, its tag the last, with tabs between them where the first row has a
    tab, else spaces. A line of white space ends a sentence; a row that begins with -DOCSTART- does too and is left out.
    Without labels the first column alone is read, and there need be no other. As the text of a sentence count its
    words with single spaces between them.

    Raises:
        InputError, naming file and row: a sentence that doesn't end, no sentence at all; as
        `minibert.text_files.read_lines`; and, as the `tally` has it, a sentence with a bad row: one of another number
        of columns than the first, an empty word or tag.
    """
    return conll_sentences(read_lines(path), path, tally or Tally(), labelled=labelled)


def conll_sentences(
    lines: Iterable[tuple[int, str]], path: str, tally: Tally, *, labelled: bool
) -> Iterator[TaggedExample]:
    """As `read_conll`, from (row, line) of a file that is open already."""
    tally.what, lines = "sentences", tally.counted(lines)
    empty = True
    bad: InputError | None = None  # why the sentence can't be read
    words: list[str] = []
    tags: list[str] = []
    begun, size = 1, 0  # the row of the first word; the characters of words and tags
    for row, columns in _rows(lines, path, least=2 if labelled else 1):
        if isinstance(columns, InputError):
            bad = bad or columns
        elif columns:
            begun = begun if words else row
            size = (size if words else 0) + len(columns[0]) + len(columns[-1])
            if size > LONGEST_SENTENCE:
                raise InputError(
                    f"{shown(path)}:{begun}: a sentence of more than {LONGEST_SENTENCE:,} characters, expected a blank "
                    "line behind each"
                )
            if not (columns[0] and columns[-1]):
                bad = bad or InputError(f"{shown(path)}:{row}: an empty column, expected a word and its tag")
            words.append(columns[0])
            tags.append(columns[-1])
        elif bad:
            tally.refuse(bad)
            words, tags, bad = [], [], None
        elif words:
            empty = False
            yield TaggedExample(
                tuple(words), tuple(tags) if labelled else None, begun, f"{shown(path)}:{begun}", *_joined(words)
            )
            words, tags = [], []
    if empty and not tally.bad:
        raise InputError(f"{shown(path)}: no sentence in it, expected a word and its tag a line")


def _joined(words: Sequence[str]) -> tuple[str, tuple[tuple[int, int], ...]]:
    """Words as running text, and the [start, end) characters of each."""
    ends = accumulate(len(word) + 1 for word in words)  # with the space after it
    return " ".join(words), tuple((end - 1 - len(word), end - 1) for word, end in zip(words, ends, strict=True))


def _rows(lines: Iterable[tuple[int, str]], path: str, *, least: int) -> Iterator[tuple[int, list[str] | InputError]]:
    """(row, its columns or why it has others), none of them where a sentence ends; it also ends with the file."""
    count = 0
    tabs = False
    row = 0
    for row, line in lines:
        if not line.strip() or line.startswith(DOCUMENT_START):
            yield row, []
            continue
        line = line.rstrip("\r\n")
        tabs = tabs if count else "\t" in line.strip(" \t")
        columns = [cell.strip(" ") for cell in line.split("\t")] if tabs else _SPACES.split(line.strip(" "))
        if not count:
            count = len(columns)
            if count < least:
                raise InputError(f"{shown(path)}:{row}: one column, expected a word and its tag")
        if len(columns) == count:
            yield row, columns
        else:
            expected = f"expected {count}, as in the first row"
            yield row, InputError(f"{shown(path)}:{row}: {len(columns)} column(s), {expected}")
    yield row + 1, []
