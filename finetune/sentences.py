"""What is to be tagged: CoNLL columns without regard to tags, or running text, a line or a JSON object a sentence ->
`TaggedExample`."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import Any

from finetune.conll import DOCUMENT_START, conll_sentences
from finetune.examples import TaggedExample
from finetune.tables import Row, jsonl_rows, read_rows
from finetune.tally import Tally
from minibert.errors import InputError
from minibert.text_files import STANDARD_INPUT, check_text, read_lines, shown, suffix
from minibert.tokenizer import UNSPACED

# What stands for every combining mark here (an accent of its own, a vowel of Hindi or Thai, a point of Hebrew), for
# which `re` has no class: it belongs to the character before it.
_MARK = "\u0300"

# A word: an ideograph; letters and digits with what stands inside words (U.S, o'clock, well-known, 1,000, a@b.c, the
# joiners of Persian and Hindi), and the sign before a name or a hashtag; or any other character by itself.
_LETTERS = rf"(?:(?!{UNSPACED.pattern})\w{_MARK}*)+"
_INSIDE = r"(?:[-.'’&/@\u200c\u200d]|(?<=\d)[,:](?=\d))"
_WORD = re.compile(rf"{UNSPACED.pattern}{_MARK}*|[@#]?{_LETTERS}(?:{_INSIDE}{_LETTERS})*|\S{_MARK}*")

# A first line that ends with a tag, or has tabs.
_COLUMNS = re.compile(rf".*\t|.* (?:O|[BIES]-\S+)\s*$|{DOCUMENT_START}")

JSON_FIELDS = ("text",)


def read_sentences(path: str, *, tally: Tally | None = None) -> Iterator[TaggedExample]:
    """Streams the sentences of a file, plain or .gz, or of standard input (`-`), without tags.

    A .txt file and standard input are CoNLL columns where the first line has a tab, ends with a tag or is -DOCSTART-;
    else they are running text, each line a sentence, which is cut into words. So is the field text of the JSON objects
    in a .jsonl file, or in standard input that begins with "{". Every other file is CoNLL columns.

    Raises:
        InputError, naming file and row: as `finetune.conll.read_conll` or `finetune.tables.read_rows`; of running text
        an empty line; no line at all.
    """
    tally = tally or Tally()
    if suffix(path) == ".jsonl":
        return sentences_of(read_rows(path, JSON_FIELDS, tally=tally), tally)
    lines = read_lines(path)
    first = list(islice(lines, 1))
    if not first:
        raise InputError(f"{shown(path)}: no sentence in it")
    lines = chain(first, lines)
    if (path != STANDARD_INPUT and suffix(path) != ".txt") or _COLUMNS.match(first[0][1]):
        return conll_sentences(lines, path, tally, labelled=False)
    if path == STANDARD_INPUT and first[0][1].startswith("{"):
        return sentences_of(jsonl_rows(path, lines, JSON_FIELDS, tally), tally)
    rows = (Row(row, f"{shown(path)}:{row}", (line.rstrip("\r\n"),)) for row, line in tally.counted(lines))
    return sentences_of(rows, tally, what="the text")


def sentences_of(
    rows: Iterable[Row], tally: Tally, *, what: str = f"field {JSON_FIELDS[0]!r}"
) -> Iterator[TaggedExample]:
    """The sentences of rows whose one field is a text, in messages called `what`; errors as `read_sentences`."""
    return tally.made(rows, lambda row: _sentence(*row, what))


def _sentence(row: int, where: str, cells: tuple[Any, ...], what: str) -> TaggedExample:
    text = check_text(cells[0], f"{where}: {what}")
    offsets = tuple(cut_words(text))
    return TaggedExample(tuple(text[start:end] for start, end in offsets), None, row, where, text, offsets)


def cut_words(text: str) -> list[tuple[int, int]]:
    """The [start, end) characters of each word; punctuation marks are words, as in most tagged texts."""
    alike = "".join(_MARK if unicodedata.category(character).startswith("M") else character for character in text)
    return [match.span() for match in _WORD.finditer(alike)]
