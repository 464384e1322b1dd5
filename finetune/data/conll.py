"""Token classification: columns, one word per row -> `TaggedExample`. CoNLL files and relatives that number words."""

import re
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import accumulate, chain, pairwise
from typing import NamedTuple

from finetune.data.data_options import DataOptions, TagDataOptions
from finetune.data.examples import TaggedExample
from finetune.data.tags import OUTSIDE, is_tag
from minibert.errors import InputError, plural
from minibert.files.conllu import COLUMNS as CONLL_U
from minibert.files.conllu import LONGEST_SENTENCE, read_blocks, read_sentence
from minibert.files.conllu import SUFFIX as CONLL_U_SUFFIX
from minibert.files.tables import COLUMN_NUMBER
from minibert.files.tally import Tally
from minibert.files.text import shown, suffix

DOCUMENT_START = "-DOCSTART-"
# Not str.split(), which also splits at a no-break space: some words of tweets contain one.
_SPACES = re.compile("[ \t]+")
# A cell of a column that counts; CoNLL-U also has 5-6, a form that words 5 and 6 share, and 8.1, an omitted word.
_NUMBER = re.compile("[0-9]{1,9}(?:[-.][0-9]{1,9})?")
_OTHER_NUMBER = re.compile("[0-9]{1,9}(?:[-./:][0-9]{1,9})*[.:)]?")  # "2-7" or "7.", as other files number words
# The cells of a first row that names the columns: the one over the words, and the last.
_HEADS_OF_WORDS = {"word", "words", "token", "tokens", "form", "text"}
_HEADS_OF_TAGS = {"tag", "tags", "label", "labels", "ner", "ner_tag", "ner_tags", "pos", "pos_tag", "pos_tags", "upos"}
COMMENT = ("# ", "#\t")  # "#" and "#tag" are words of tweets
NO_SENTENCE = "no sentence found, expected a word and its tag on each line"
_SHOWN_WORDS = 8


class Table(NamedTuple):
    """The layout of a file's rows."""

    tabs: bool  # tabs separate the columns, otherwise spaces
    width: int  # the number of columns
    numbered: bool  # the first column numbers the words
    tagged: bool  # in the first sentence, the last column has only tags
    word: int  # the column of the word, from 0
    tag: int | None  # the column of the tag; None if tags are ignored
    others: tuple[int, ...] = ()  # other columns with tags, if the user named none


def conll_sentences(
    lines: Iterable[tuple[int, str]], path: str, data_options: TagDataOptions, tally: Tally, *, labelled: bool
) -> Iterator[TaggedExample]:
    """Stream the sentences of a file, given as (row, line).

    A row is a word. Tabs separate its columns if the first row has a tab, otherwise spaces. The word is in the first
    column, or in the second if the first one counts 1, 2, 3. Its tag is in the last column, in the fourth (UPOS) of
    CoNLL-U's ten, or in the first of GermEval's two columns of tags, beside numbered words. The options may name other
    columns; the `tally` records which were used. Without labels, only words are read.

    A sentence ends at a blank line, at a number that starts again, or at a row that begins with -DOCSTART-, which is
    skipped. Also skipped are a first row that names the columns, such as Word and Tag, and comments: if words are
    numbered, all lines that begin with "#"; otherwise, lines before a sentence that begin with "# " and don't look like
    the other rows. The text of a sentence is its words joined by single spaces, or, for word segmentation, its
    characters with nothing between them.

    Raises InputError, naming file and row, if a sentence doesn't end, a column is missing or there is no sentence; and,
    unless the `tally` skips bad rows, if a row has another number of columns than the first, an empty word or tag, or
    no number in the column that counts.
    """
    tally.what, lines = "sentence", _without_header(tally.counted(lines), path, tally)
    first = _first_sentence(lines)
    table = _table(first, path, data_options, labelled=labelled)
    between = "" if data_options.cuts_words else " "
    found = _examples(_rows(chain(first, lines), path, table), path, table, tally, between)
    tags = "" if table.tag is None else f", tags: column {table.tag + 1}"
    others = "".join(f"; column {column + 1} has tags too" for column in table.others)
    found = telling(found, tally, f"{shown(path)}: words: column {table.word + 1}{tags}", others)
    return tally.nonempty(found, f"{shown(path)}: {NO_SENTENCE}")


def conllu_sentences(
    lines: Iterable[tuple[int, str]], path: str, data_options: TagDataOptions, tally: Tally, *, labelled: bool
) -> Iterator[TaggedExample]:
    """Stream the sentences of a CoNLL-U file, given as (row, line), each with its running text.

    Raises InputError as `conllu_columns` and `read_blocks` do, if there is no sentence, and, unless the `tally` skips
    bad rows, as `minibert.files.conllu.read_sentence` does.
    """
    word, tag = conllu_columns(data_options, path, labelled=labelled)

    def example_of(block: Sequence[tuple[int, str]]) -> TaggedExample:
        rows, cells, text, offsets = read_sentence(block, path)
        tags = None if tag is None else cells[tag]
        return TaggedExample(cells[word], tags, rows[0], f"{shown(path)}:{rows[0]}", text, offsets, rows)

    tally.what = "sentence"
    found = tally.made(read_blocks(tally.counted(lines), path), example_of)
    found = telling(found, tally, f"{shown(path)}: words: {word}" + ("" if tag is None else f", tags: {tag}"))
    return tally.nonempty(found, f"{shown(path)}: {NO_SENTENCE}")


def conllu_columns(data_options: TagDataOptions, path: str, *, labelled: bool) -> tuple[str, str | None]:
    """Return CoNLL-U's names of the columns of the word and the tag; None for the tag without labels.

    Raises InputError if there is no such column, or it numbers the words or, for the tag, has them.
    """
    asked = {"--word-column": data_options.word_column or "form"}
    if labelled:
        asked["--tag-column"] = data_options.tag_column or "upos"
    found: list[str] = []
    for option, name in asked.items():
        column = CONLL_U[_column(option, name, len(CONLL_U), shown(path))]
        if column in ("id", *found) or (found and column == "form"):
            used = "numbers the words" if column == "id" else "has the words"
            raise InputError(f"{shown(path)}: {option} {name}: column {column} {used}, expected a different column")
        found.append(column)
    return found[0], found[1] if labelled else None


def with_names(data_options: TagDataOptions, path: str) -> TagDataOptions:
    """Return the options with names in place of the numbers of columns, if the file is CoNLL-U: what is saved with a
    model then means the same column of any file, or none. Raises InputError as `conllu_columns` does."""
    if suffix(path) != CONLL_U_SUFFIX:
        return data_options
    word, tag = conllu_columns(data_options, path, labelled=True)
    return replace(
        data_options,
        word_column=data_options.word_column and word,
        tag_column=data_options.tag_column and tag,
    )


def check_saved_numbers(given: Container[str], data_options: DataOptions, path: str, *, labelled: bool) -> None:
    """Raises InputError if the file is CoNLL-U, and a column to be read has a number that is not among the options
    `given`: it was saved with a model that was trained on a file with other columns."""
    if not isinstance(data_options, TagDataOptions) or data_options.layout not in (None, "columns"):
        return
    if suffix(path) != CONLL_U_SUFFIX:
        return
    used = {"--word-column": data_options.word_column, "--tag-column": data_options.tag_column if labelled else None}
    for name, number in used.items():
        if name not in given and number is not None and COLUMN_NUMBER.fullmatch(number):
            raise InputError(
                f"{path}: {name} {number} was saved with the model, for files that are not CoNLL-U; give the {name} of "
                f"this file, such as {'form' if name == '--word-column' else 'upos'}"
            )


def telling(sentences: Iterable[TaggedExample], tally: Tally, what: str, more: str = "") -> Iterator[TaggedExample]:
    """Yield the sentences. The tally records how they were read, and the first one, to let the user check that."""
    for number, example in enumerate(sentences):
        if number == 0:
            dots = " ..." if len(example.words) > _SHOWN_WORDS else ""
            tags = "" if example.tags is None else f" ({' '.join(example.tags[:_SHOWN_WORDS])}{dots})"
            words = " ".join(example.words[:_SHOWN_WORDS])
            tally.told.append(f"{what}; first sentence: {words}{dots}{tags}{more}")
        yield example


def _examples(
    found: Iterable[tuple[int, list[str] | InputError]], path: str, table: Table, tally: Tally, between: str
) -> Iterator[TaggedExample]:
    """Yield the sentences that the rows make up; the tally refuses those with a bad row."""
    bad: InputError | None = None  # the first reason why the sentence can't be read
    read: list[tuple[int, str, str | None]] = []  # row, word, tag
    size = 0  # characters in words and tags
    for row, columns in found:
        if isinstance(columns, InputError):
            bad = bad or columns
        elif columns:
            word, tag = columns[table.word], None if table.tag is None else columns[table.tag]
            read.append((row, word, tag))
            size += len(word) + len(tag or "")
            if size > LONGEST_SENTENCE:
                raise InputError(
                    f"{shown(path)}:{read[0][0]}: a sentence exceeds {LONGEST_SENTENCE:,} characters; put a "
                    "blank line after each sentence"
                )
            if not word or tag == "":
                expected, hint = "a word", "see --word-column"
                if tag is not None:
                    expected, hint = f"{expected} and its tag", f"{hint} and --tag-column"
                bad = bad or InputError(f"{shown(path)}:{row}: a column is empty, expected {expected} ({hint})")
        elif bad or read:
            if bad:
                tally.refuse(bad)
            else:
                rows, words, tags = zip(*read, strict=True)
                yield TaggedExample(
                    words, None if table.tag is None else tags, rows[0], f"{shown(path)}:{rows[0]}",
                    *joined(words, between), rows=None if rows[-1] - rows[0] < len(rows) else rows,
                )  # fmt: skip
            bad, read, size = None, [], 0


def joined(words: Sequence[str], between: str = " ") -> tuple[str, tuple[tuple[int, int], ...]]:
    """Return words as running text, and the [start, end) characters of each."""
    starts = accumulate((len(word) + len(between) for word in words[:-1]), initial=0)
    return between.join(words), tuple((start, start + len(word)) for word, start in zip(words, starts, strict=True))


def _without_header(lines: Iterable[tuple[int, str]], path: str, tally: Tally) -> Iterator[tuple[int, str]]:
    """Yield the lines without a first row that names the columns, which the tally records."""
    lines = iter(lines)
    for row, line in lines:
        is_row = not (ends_sentence(line) or line.startswith("#"))
        if is_row and names_columns(line):
            tally.told.append(f"{shown(path)}:{row}: skipped because it names the columns: {line.strip()!r:.60}")
        else:
            yield row, line
        if is_row:
            break
    yield from lines


# --- Rows ------------------------------------------------------------------------------------------------------------


def _rows(lines: Iterable[tuple[int, str]], path: str, table: Table) -> Iterator[tuple[int, list[str] | InputError]]:
    """Yield (row, its columns or what is wrong with them), with no columns at the end of a sentence or of the file."""
    row, inside, number = 0, False, 0  # inside: in a sentence; number: the last one in the first column
    for row, line in lines:
        if ends_sentence(line):
            inside = False
            yield row, []
            continue
        columns = split_columns(line, tabs=table.tabs)
        if _is_comment(line, columns, table, inside=inside):
            continue
        if bad := _badness(columns, table):
            inside = True
            yield row, InputError(f"{shown(path)}:{row}: {bad}")
            continue
        if table.numbered and not columns[0].isdigit():
            continue
        if table.numbered:
            if inside and int(columns[0]) <= min(number, 1):  # numbers start again without a blank line
                yield row, []
            number = int(columns[0])
        inside = True
        yield row, columns
    yield row + 1, []


def _badness(columns: Sequence[str], table: Table) -> str:
    """Return why this is not a row of the table, or ""."""
    if len(columns) != table.width:
        return f"the row has {plural(len(columns), 'column')}, expected {table.width}, as in the first row"
    if table.numbered and not _NUMBER.fullmatch(columns[0]):
        return (
            f"{columns[0]!r:.40} is not a number, but the first column numbers the words in the rows above; "
            "if it holds the words themselves, use --word-column 1"
        )
    return ""


def ends_sentence(line: str) -> bool:
    """Whether a line is not a word but separates two sentences."""
    return not line.strip() or line.startswith(DOCUMENT_START)


def split_columns(line: str, *, tabs: bool) -> list[str]:
    """Return the cells of a row."""
    line = line.rstrip("\r\n")
    return [cell.strip(" ") for cell in line.split("\t")] if tabs else _SPACES.split(line.strip(" "))


def names_columns(line: str) -> bool:
    """Whether a first row is a header: one cell is a name for words, the last a name for tags."""
    cells = [cell.lower() for cell in split_columns(line, tabs=has_tabs(line))]
    return cells[-1] in _HEADS_OF_TAGS and not _HEADS_OF_WORDS.isdisjoint(cells[:-1])


def has_tabs(line: str) -> bool:
    """Whether tabs separate the columns of this row, and so of all rows."""
    return "\t" in line.rstrip("\r\n").strip(" \t")


def _is_comment(line: str, columns: Sequence[str], table: Table, *, inside: bool) -> bool:
    if table.numbered:
        return line.startswith("#")
    is_row = len(columns) == table.width and (not table.tagged or is_tag(columns[-1]))
    return not inside and line.startswith(COMMENT) and not is_row


# --- What the columns are --------------------------------------------------------------------------------------------


def _first_sentence(lines: Iterator[tuple[int, str]]) -> list[tuple[int, str]]:
    """Return the lines up to the end of the first sentence of two or more words: they show what the columns are."""
    found, words, size = [], 0, 0
    for row, line in lines:
        found.append((row, line))
        size += len(line)
        if ends_sentence(line):
            if words > 1:
                break
            words = 0
        elif not line.startswith("#"):
            words += 1
        if size > LONGEST_SENTENCE:
            break
    return found


def _table(first: Sequence[tuple[int, str]], path: str, data_options: TagDataOptions, *, labelled: bool) -> Table:
    """Return the layout. Raises InputError if a column is missing, labelled words have no second column, word and tag
    share one, the word's has tags, or, without --word-column, the first column numbers something other than words."""
    lines = [(row, line) for row, line in first if not ends_sentence(line)]
    rows = [(row, line) for row, line in lines if not line.startswith("#")] or lines[:1]
    word_column, tag_column = data_options.word_column, data_options.tag_column
    if not rows:
        raise InputError(f"{shown(path)}: {NO_SENTENCE}")
    row, line = rows[0]
    where = f"{shown(path)}:{row}"
    tabs = has_tabs(line)
    table = [columns for _, line in rows if (columns := split_columns(line, tabs=tabs))]
    count = len(table[0])
    if labelled and count < 2:
        raise InputError(
            f"{where}: there is only one column, expected a word and its tag, separated by a tab or spaces"
        )
    alike = [columns for columns in table if len(columns) == count]  # the others are refused later, as bad rows
    tagged = all(is_tag(columns[-1]) for columns in alike)
    numbered = count > 1 + (labelled or tagged) and _counts([columns[0] for columns in alike])
    if word_column is None and not numbered and count > 2 and _go_up([columns[0] for columns in alike]):
        begins = ", ".join(columns[0] for columns in alike[:3])
        raise InputError(
            f"{where}: the numbers in the first column ({begins}) don't count the words of each sentence; "
            "give --word-column, and put a blank line between sentences"
        )
    usual_word, usual_tag = int(numbered), 3 if numbered and count == len(CONLL_U) else count - 1
    if numbered and count == 4 and tagged and all(is_tag(columns[2]) for columns in alike):
        usual_tag = 2  # GermEval: the last column has the names inside names
    word = usual_word if word_column is None else _column("--word-column", word_column, count, where)
    words = [columns[word] for columns in alike]
    if len(words) > 1 and OUTSIDE in words and all(map(is_tag, words)):
        raise InputError(f"{where}: column {word + 1} has tags, expected words (see --word-column)")
    found = Table(tabs, count, numbered and word != 0, tagged, word, tag=None)
    if not labelled:
        return found
    tag = usual_tag if tag_column is None else _column("--tag-column", tag_column, count, where)
    if word == tag:
        raise InputError(
            f"{where}: column {word + 1} can't hold both the words and the tags; choose two different columns"
        )
    others = (column for column in range(count) if column not in (word, tag) and tag_column is None)
    also = tuple(column for column in others if all(is_tag(columns[column]) for columns in alike))
    return found._replace(tag=tag, others=also)


def _counts(cells: Sequence[str]) -> bool:
    """Whether these are 1, 2, 3 or 0, 1, 2, which may start again with each sentence, or part of one: 17, 18, 19."""
    if not all(map(_NUMBER.fullmatch, cells)):
        return False
    numbers = [int(cell) for cell in cells if cell.isdigit()]
    steps = list(pairwise(numbers))
    if numbers and numbers[0] <= 1:
        forward = [after > before for before, after in steps]  # not by exactly one: a word may have been omitted
        begins = (after == numbers[0] for _, after in steps)
        return (any(forward) or not steps) and all(map(max, forward, begins))
    return len(numbers) > 2 and all(after == before + 1 for before, after in steps)


def _go_up(cells: Sequence[str]) -> bool:
    """Whether these go up by at most one, as numbers of sentences do (1, 1, 2), or 1-1, 1-2, or 1., 2., or numbers with
    a name ("Sentence: 1"), including a file name that stays the same."""
    numbers = [[int(number) for number in re.findall("[0-9]{1,9}", cell)] for cell in cells]
    names = {re.sub("[0-9]+", "", cell) for cell in cells}
    if len(cells) < 2 or not all(numbers) or (len(names) > 1 and not all(map(_OTHER_NUMBER.fullmatch, cells))):
        return False
    return all(before <= after and sum(after) - sum(before) <= 1 for before, after in pairwise(numbers))


def _column(option: str, name: str, count: int, where: str) -> int:
    """Return the index of the column that the user named."""
    if count == len(CONLL_U) and name.lower() in CONLL_U:
        return CONLL_U.index(name.lower())
    if COLUMN_NUMBER.fullmatch(name) and int(name) <= count:
        return int(name) - 1
    expected = f"a number from 1 to {count}" + (f" or one of {', '.join(CONLL_U)}" if count == len(CONLL_U) else "")
    there = f"the file has {plural(count, 'column')}"
    raise InputError(f"{where}: {there}; {option} (given, or saved with the model) is {name}, expected {expected}")
