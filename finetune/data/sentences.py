"""Sentences with tags, or to tag: columns, running text or JSON lines -> `TaggedExample`."""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate, chain, islice
from typing import Any

from finetune.data import conll
from finetune.data.conll import conll_sentences, conllu_sentences, joined, telling
from finetune.data.data_options import FileForm, TagDataOptions
from finetune.data.examples import TaggedExample
from finetune.data.tags import OUTSIDE, WORD_SCHEMES, Entity, plain, tags_of
from minibert.errors import InputError, plural
from minibert.files import conllu
from minibert.files.tables import COLUMN_FILES, COLUMN_NUMBER, JSON_FILES, Row, given_rows, jsonl_rows, not_blank
from minibert.files.tally import Tally
from minibert.files.text import (
    LONE_SURROGATE,
    STANDARD_INPUT,
    check_text,
    is_open_already,
    json_type,
    parse_json,
    read_lines,
    shown,
    suffix,
)
from minibert.tokenizer.vocabulary import UNSPACED

# Replaces every combining mark (a separate accent, a vowel of Hindi or Thai, a point of Hebrew), as `re` has no class
# for them: a mark belongs to the character before it.
_MARK = "\u0300"

# A word: an ideograph; letters and digits, with the marks inside words (U.S, o'clock, well-known, 1,000, a@b.c, the
# joiners of Persian and Hindi) and the sign before a name or a hashtag; or any other character by itself.
_LETTERS = rf"(?:(?!{UNSPACED.pattern})\w{_MARK}*)+"
_INSIDE = r"(?:[-.'’&/@\u200c\u200d]|(?<=\d)[,:](?=\d))"
_WORD = re.compile(rf"{UNSPACED.pattern}{_MARK}*|[@#]?{_LETTERS}(?:{_INSIDE}{_LETTERS})*|\S{_MARK}*")

# What readers see as one character: a flag of two letters, or a character and what continues it, such as marks, skin
# tones, the vowels and last consonants of Hangul, or a joiner with what it joins. Unicode has more such clusters
# (Standard Annex 29); inside these no word begins.
_CONTINUES = (
    rf"[{_MARK}\u0e33\u0eb3\u1160-\u11ff\u200c\ud7b0-\ud7fb\uff9e\uff9f\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f]"
)
_CLUSTER = re.compile(rf"(?:[\U0001f1e6-\U0001f1ff]{{2}}|\S)(?:{_CONTINUES}|\u200d\S?)*")

MANY_ROWS = 10  # so many lines of running text hardly ever have equally many words and end with what looks like a tag
WORDS, TAGS, TEXT = "tokens", "ner_tags", "text"  # the usual fields of .jsonl

_TAG = re.compile(r"^(?:O|[BIESLUMW]-\S+)$")  # ends a row of columns without tabs; "Plan B" has no type


def read_sentences(
    path: str, data_options: TagDataOptions, *, labelled: bool = True, tally: Tally | None = None
) -> Iterator[TaggedExample]:
    """Stream the sentences of a file, plain or .gz, or of standard input (`-`).

    Each object of a .jsonl or .json file has a list of words and a list of their tags (tokens and ner_tags, unless the
    options say otherwise), and maybe an id; any other file has columns. Without labels, a file may also be running
    text, one sentence per line, which is cut into words, and JSON lines may have the field text instead. The form is
    given by `layout`, by the file's name (`COLUMN_FILES`, .jsonl), or by all its lines: see `_is_columns`. A file other
    than .txt that begins with a JSON object is JSON lines. Standard input and pipes can't be read twice, and their
    first line may be all there is yet: they are JSON lines if it begins with "{", otherwise running text. The `tally`
    records what was decided.

    For word segmentation (`cuts_words`), the characters of a text are tagged. A labelled file has words separated by
    spaces, one sentence per line, unless its name says that it has columns, of characters and their tags.

    Raises InputError, naming file and row, if the file is .csv, empty or of unclear form, `conll_sentences`,
    `conllu_sentences` or `tables.jsonl_rows` refuses it, or, unless the `tally` skips bad rows, a field is not a list
    of strings, lists differ in length, or a line of text is empty.
    """
    if data_options.cuts_words and suffix(path) == conllu.SUFFIX:
        raise InputError(
            f"{path}: expected texts for --scheme {data_options.scheme}, but {conllu.SUFFIX} files are already split "
            "into words"
        )
    read = _read_labelled if labelled else _read_unlabelled
    return read(path, data_options, tally or Tally())


def _read_labelled(path: str, data_options: TagDataOptions, tally: Tally) -> Iterator[TaggedExample]:
    if suffix(path) == ".csv":
        raise InputError(
            f"{path}: .csv is not supported, expected columns separated by spaces or tabs, with a blank line between "
            "sentences, or .jsonl with lists of words and tags"
        )
    if data_options.cuts_words:
        return _read_cut(path, data_options, tally)
    if suffix(path) not in JSON_FILES:
        return _reader(path)(read_lines(path), path, data_options, tally, labelled=True)
    fields = field_of(data_options.word_column) or WORDS, field_of(data_options.tag_column) or TAGS
    see = "expected a list of words and a list of their tags (see --word-column and --tag-column)"
    rows = jsonl_rows(path, read_lines(path), fields, tally, see)
    return telling(sentences_of(rows, tally, fields), tally, f"{shown(path)}: words: {fields[0]}, tags: {fields[1]}")


def _read_cut(path: str, data_options: TagDataOptions, tally: Tally) -> Iterator[TaggedExample]:
    """Stream texts that are cut into words."""
    if suffix(path) in JSON_FILES:
        raise InputError(
            f"{path}: {suffix(path)} is not supported with --scheme {data_options.scheme}, expected words separated "
            "by spaces, or columns"
        )
    if suffix(path) in COLUMN_FILES:
        return conll_sentences(read_lines(path), path, data_options, tally, labelled=True)
    tally.form = "segmented"
    lines = not_blank(tally.counted(_without_tags(read_lines(path), path, data_options.scheme)), tally)
    found = tally.made(lines, lambda line: cut_sentence(*line, path, data_options.scheme))
    found = tally.nonempty(found, f"{shown(path)}: no sentence found, expected words separated by spaces")
    return telling(found, tally, f"{shown(path)}: words separated by spaces, one sentence per line")


def _read_unlabelled(path: str, data_options: TagDataOptions, tally: Tally) -> Iterator[TaggedExample]:
    form, lines, cut = data_options.layout, read_lines(path), cut_of(data_options)
    if form is None:
        form, lines = _form(path, lines, may_be_columns=not data_options.cuts_words)
    tally.form = form
    if form == "columns":
        return _reader(path)(lines, path, data_options, tally, labelled=False)
    if form == "text":
        texts = (Row(row, f"{shown(path)}:{row}", (line.rstrip("\r\n"),)) for row, line in tally.counted(lines))
        found = sentences_of(texts, tally, (TEXT,), what="the text", cut=cut)
        return telling(found, tally, f"{shown(path)}: running text, one sentence per line")
    first = list(islice(((row, line) for row, line in lines if line.strip()), 1))
    words = any(_is_object(line, WORDS) for _, line in first)
    field = field_of(data_options.word_column) or (WORDS if words else TEXT)
    rows = jsonl_rows(path, chain(first, lines), (field,), tally, "see --word-column")
    found = sentences_of(rows, tally, (field,), cut=cut)
    return telling(found, tally, f"{shown(path)}: JSON lines, field {field}")


def _reader(path: str) -> Callable[..., Iterator[TaggedExample]]:
    """Return what reads columns: CoNLL-U, if the file's name says so, is read as it is published."""
    return conllu_sentences if suffix(path) == conllu.SUFFIX else conll_sentences


def given_sentences(items: Iterable[Any], data_options: TagDataOptions, tally: Tally) -> Iterator[TaggedExample]:
    """Return examples from Python: texts, or mappings with the fields of JSON lines; errors as in `read_sentences`."""
    iterator = iter(items)
    first = list(islice(iterator, 1))
    words = any(isinstance(item, dict) and WORDS in item for item in first)
    field = field_of(data_options.word_column) or (WORDS if words else TEXT)
    rows = given_rows(chain(first, iterator), (field,), tally)
    return sentences_of(rows, tally, (field,), cut=cut_of(data_options))


def field_of(column: str | None) -> str | None:
    """Return the field of JSON lines that the user named, if any. A column's number names none: a model may have been
    trained on columns and now get JSON lines."""
    return None if column is None or COLUMN_NUMBER.fullmatch(column) else column


# --- What a file is --------------------------------------------------------------------------------------------------

Lines = Iterator[tuple[int, str]]


def _form(path: str, lines: Lines, *, may_be_columns: bool) -> tuple[FileForm, Lines]:
    """Return the form to read the file as, and its lines from the first one on. may_be_columns: by its content; texts
    to be cut into words, without spaces, look like one column."""
    if suffix(path) in COLUMN_FILES:
        return "columns", lines
    if suffix(path) in JSON_FILES:
        return "jsonl", lines
    if suffix(path) == ".csv":
        raise InputError(
            f"{path}: .csv is not supported, expected .conll, .txt or .jsonl; with --layout text, each line is a "
            "sentence"
        )
    first = list(islice(lines, 1))
    if not first:
        raise InputError(f"{shown(path)}: no sentence found, the file is empty")
    maybe_json = suffix(path) != ".txt" and first[0][1].startswith("{")
    once = path == STANDARD_INPUT or is_open_already(path)  # can't be read twice
    if maybe_json and (once or _is_object(first[0][1])):
        return "jsonl", chain(first, lines)
    columns = may_be_columns and not once and _is_columns(read_lines(path), path)
    return "columns" if columns else "jsonl" if maybe_json else "text", chain(first, lines)


def _is_columns(lines: Iterable[tuple[int, str]], path: str) -> bool:
    """Whether these are columns, not running text.

    Columns begin with -DOCSTART-, or nine of ten rows, and at least two, have the same number of cells. With tabs, nine
    of ten also end with a tag, or most have no cell with a space. With spaces, nine of ten end with a tag, O and
    another occur, and there is a blank line or at most three columns; with a blank line and `MANY_ROWS`, any tags will
    do. (The tenth row is a slip, refused later.) A single row is columns if it has a tab, a tag and no space.

    Raises InputError if all lines are alike, as in columns, but nothing else suggests columns.
    """
    counts, tags = Counter[int](), Counter[str]()  # numbers of columns; tags in the last column
    rows, spaced, header = 0, 0, False
    blocks, tabs, blank = 1, False, False  # blocks of rows, with lines without words between them
    for _, line in lines:
        if line.startswith(conll.DOCUMENT_START) and not rows:
            return True
        if conll.ends_sentence(line):
            blank = rows > 0
            continue
        if line.startswith(conll.COMMENT) and (blank or not rows):
            continue
        if not rows and not header and conll.names_columns(line):
            header = True
            continue
        blocks += blank
        blank = False
        tabs = tabs if rows else conll.has_tabs(line)
        columns = conll.split_columns(line, tabs=tabs)
        rows += 1
        counts[len(columns)] += 1
        spaced += any(" " in cell for cell in columns)
        tags.update(_TAG.findall(columns[-1]))
        if rows % 100 == 0 and not _nearly_all(max(counts.values()), rows):
            return False
    count, alike = counts.most_common(1)[0] if rows else (0, 0)
    tagged = _nearly_all(tags.total(), rows)
    if rows < 2 or not _nearly_all(alike, rows):
        return rows == 1 and tabs and tagged and not spaced
    if tabs and (tagged or 2 * spaced <= rows):
        return True
    parted = blank or blocks > 1
    differ = OUTSIDE in tags and len(tags) > 1  # lines of text may end with "S-Bahn" or with O, but hardly both
    if tagged and count > 1 and ((parted and rows >= MANY_ROWS) or (differ and (parted or count < 4))):
        return True
    if tabs or (tagged and count > 1) or (1 < blocks < rows):
        raise InputError(
            f"{shown(path)}: are these columns with one word per row, or running text? All lines have "
            f"{plural(count, 'column')}; give --layout columns or --layout text"
        )
    return False


def _without_tags(lines: Lines, path: str, scheme: str) -> Lines:
    """Yield the lines. Raises InputError if nine of ten of the first ones have the same number of words, one of them a
    single character and the last one a tag."""
    first = list(islice(lines, 2 * MANY_ROWS))
    rows = [line.split() for _, line in first if not conll.ends_sentence(line)]
    tags = set(map(plain, WORD_SCHEMES[scheme].tags))
    tagged = [row for row in rows if plain(row[-1]) in tags and 1 in map(len, row[:-1])]
    alike = max(Counter(map(len, tagged)).values(), default=0)
    if alike > 1 and _nearly_all(alike, len(rows)):
        raise InputError(
            f"{shown(path)}: expected words separated by spaces, but lines end with tags of --scheme {scheme}; if each "
            "line is a character and its tag, give the file an extension such as .conll"
        )
    yield from chain(first, lines)


def _nearly_all(some: int, of: int) -> bool:
    return 10 * some >= 9 * of


def _is_object(line: str, field: str | None = None) -> bool:
    """Whether a line is a JSON object, and has the field, if one is given."""
    try:
        found = parse_json(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and (field is None or field in found)


# --- Sentences -------------------------------------------------------------------------------------------------------


Cut = Callable[[str], list[tuple[int, int]]]  # a text -> the [start, end) of what is tagged


def sentences_of(
    rows: Iterable[Row], tally: Tally, fields: tuple[str, ...], *, what: str = "", cut: Cut | None = None
) -> Iterator[TaggedExample]:
    """Yield the sentences of rows with a text or a list of words, and, if there are two fields, a list of tags. `what`
    names a text outside any field in messages; `cut` is `cut_words` unless given. Errors as in `read_sentences`."""
    return tally.made(rows, lambda row: _sentence(row, fields, what or f"field {fields[0]!r}", cut or cut_words))


def _sentence(read: Row, fields: tuple[str, ...], what: str, cut: Cut) -> TaggedExample:
    row, where, (text, *tags), id = read.row, read.where, read.cells, read.id
    if len(fields) == 1 and (fields[0] == TEXT or not isinstance(text, list)):
        text = check_text(text, f"{where}: {what}")
        offsets = tuple(cut(text))
        return TaggedExample(tuple(text[start:end] for start, end in offsets), None, row, where, text, offsets, id=id)
    words = _strings(text, f"{where}: {what}")
    found = _strings(tags[0], f"{where}: field {fields[1]!r}") if tags else None
    if found is not None and len(found) != len(words):
        raise InputError(
            f"{where}: found {plural(len(found), 'tag')} for {plural(len(words), 'word')}, expected one per word"
        )
    text, offsets = joined(words, "" if cut is cut_characters else " ")
    return TaggedExample(words, found, row, where, text, offsets, rows=(row,) * len(words), id=id)


def _strings(value: Any, what: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise InputError(f"{what} is {'empty' if value == [] else json_type(value)}, expected a list of strings")
    for number, one in enumerate(value):
        if not isinstance(one, str):
            raise InputError(
                f"{what} has {one!r:.60} at index {number}, {json_type(one)}; expected strings: words, or the names of "
                "tags, such as B-PER, not their numbers"
            )
        if not one or LONE_SURROGATE.search(one):
            expected = "text without unpaired surrogates" if one else "text that is not empty"
            raise InputError(f"{what} has {one!r:.60} at index {number}, expected {expected}")
    return tuple(value)


def cut_words(text: str) -> list[tuple[int, int]]:
    """Return the [start, end) characters of each word; punctuation marks are words, as in most tagged texts."""
    return [match.span() for match in _WORD.finditer(_with_marks_alike(text))]


def cut_clusters(text: str) -> list[tuple[int, int]]:
    """Return the [start, end) of what readers see as one character each."""
    return [match.span() for match in _CLUSTER.finditer(_with_marks_alike(text))]


def _with_marks_alike(text: str) -> str:
    return "".join(_MARK if unicodedata.category(character).startswith("M") else character for character in text)


def cut_characters(text: str) -> list[tuple[int, int]]:
    """Return the [start, end) of each character that is not white space."""
    return [(place, place + 1) for place, character in enumerate(text) if not character.isspace()]


def cut_of(data_options: TagDataOptions) -> Cut:
    """Return what cuts a text into what is tagged."""
    return cut_characters if data_options.cuts_words else cut_words


def cut_sentence(row: int, line: str, path: str, scheme: str) -> TaggedExample:
    """Return a line of words between white space as a text without it, whose characters are tagged.

    Raises InputError, naming file and row, if the line has no word.
    """
    where = f"{shown(path)}:{row}"
    words = check_text(line.strip(), f"{where}: the line").split()
    ends = list(accumulate(map(len, words)))
    found = [Entity("", end - len(word), end) for word, end in zip(words, ends, strict=True)]
    text, tags = "".join(words), tuple(tags_of(found, ends[-1], WORD_SCHEMES[scheme].spelled))
    return TaggedExample(tuple(text), tags, row, where, text, tuple(cut_characters(text)), rows=(row,) * len(text))
