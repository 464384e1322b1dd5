"""Token classification: columns, a word a row -> `TaggedExample`. CoNLL's form, and its relatives that number words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, chain, pairwise
from typing import NamedTuple

from finetune.data.examples import TaggedExample
from finetune.data.tags import OUTSIDE, is_tag
from finetune.data.tally import Tally
from minibert.errors import InputError
from minibert.files.text import read_lines, shown

DOCUMENT_START = "-DOCSTART-"
LONGEST_SENTENCE = 2**24  # characters: all of it is in memory
# Not str.split(), for which a no-break space ends a word too: tweets hold such words.
_SPACES = re.compile("[ \t]+")
CONLL_U = ("id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")  # its ten columns
# What stands in a column that counts: in CoNLL-U also 5-6, a form that words 5 and 6 share, and 8.1, a word left out.
_NUMBER = re.compile("[0-9]{1,9}(?:[-.][0-9]{1,9})?")
_OTHER_NUMBER = re.compile("[0-9]{1,9}(?:[-./:][0-9]{1,9})*[.:)]?")  # "2-7" or "7.", as others number words
_COLUMN = re.compile("[1-9][0-9]{0,8}")
# What a first row says that names the columns: its word's cell, and its last.
_HEADS_OF_WORDS = {"word", "words", "token", "tokens", "form", "text"}
_HEADS_OF_TAGS = {"tag", "tags", "label", "labels", "ner", "ner_tag", "ner_tags", "pos", "pos_tag", "pos_tags", "upos"}
COMMENT = ("# ", "#\t")  # "#" and "#tag" are words of tweets
_SHOWN_WORDS = 8


class Names(NamedTuple):
    """What the user calls the columns: a number from 1, in CoNLL-U a name, in .jsonl a field. None: the usual one."""

    word: str | None = None
    tag: str | None = None

    @property
    def field_of_words(self) -> str | None:
        """What JSON lines call the words. A column's number says nothing of them: a model may have been trained on
        columns, and be asked in JSON lines."""
        return None if self.word is None or _COLUMN.fullmatch(self.word) else self.word

    @property
    def field_of_tags(self) -> str | None:
        """What they call the tags."""
        return None if self.tag is None or _COLUMN.fullmatch(self.tag) else self.tag


USUAL = Names()


class Table(NamedTuple):
    """How a file's rows are made up."""

    tabs: bool  # stand between two columns, else spaces
    width: int  # the number of columns
    numbered: bool  # the first column counts the words
    tagged: bool  # what the last column has in the first sentence are tags
    word: int  # the word's column, from 0
    tag: int | None  # the tag's; None where tags are not looked at
    others: tuple[int, ...] = ()  # that hold tags too, where nobody said which to take


def read_conll(
    path: str, *, labelled: bool = True, names: Names = USUAL, tally: Tally | None = None
) -> Iterator[TaggedExample]:
    """Streams the sentences of a file, plain or .gz, or of standard input (`-`).

    A row is a word, with tabs between its columns where the first row has a tab, else spaces. The word is the first
    column, or the second where the first one counts: 1, 2, 3. Its tag is the last, in CoNLL-U's ten columns the fourth
    (UPOS). `names` says otherwise; the `tally` is told what was taken. Without labels the word alone is read.

    A line of white space ends a sentence, as does a number that begins again; a row that begins with -DOCSTART- does
    too and is left out. So are a first row that names the columns, such as Word and Tag, and comments: where words are
    numbered all lines that begin with "#", else at a sentence's beginning those that begin with "# " and are no row
    like the others. As the text of a sentence count its words with single spaces between them.

    Raises:
        InputError, naming file and row: a sentence that doesn't end, a column that is not there, no sentence at all; as
        `minibert.files.text.read_lines`; and, as the `tally` has it, a sentence with a bad row: one of another number
        of columns than the first, an empty word or tag, a number that is none.
    """
    return conll_sentences(read_lines(path), path, tally or Tally(), labelled=labelled, names=names)


def conll_sentences(
    lines: Iterable[tuple[int, str]], path: str, tally: Tally, *, labelled: bool, names: Names = USUAL
) -> Iterator[TaggedExample]:
    """As `read_conll`, from (row, line) of a file that is open already."""
    tally.what, lines = "sentences", _without_header(tally.counted(lines), path, tally)
    first = _first_sentence(lines)
    table = _table(first, path, labelled=labelled, names=names)
    empty = True
    bad: InputError | None = None  # why the sentence can't be read
    rows: list[int] = []
    words: list[str] = []
    tags: list[str] = []
    size = 0  # the characters of words and tags
    for row, columns in _rows(chain(first, lines), path, table):
        if isinstance(columns, InputError):
            bad = bad or columns
        elif columns:
            word, tag = columns[table.word], None if table.tag is None else columns[table.tag]
            size = (size if words else 0) + len(word) + len(tag or "")
            if size > LONGEST_SENTENCE:
                raise InputError(
                    f"{shown(path)}:{rows[0] if rows else row}: a sentence of more than {LONGEST_SENTENCE:,} "
                    "characters, expected a blank line behind each"
                )
            if not word or tag == "":
                hint = "see --word-column" + ("" if tag is None else " and --tag-column")
                bad = bad or InputError(f"{shown(path)}:{row}: an empty column, expected a word and its tag; {hint}")
            rows.append(row)
            words.append(word)
            tags += [] if tag is None else [tag]
        elif bad:
            tally.refuse(bad)
            rows, words, tags, bad = [], [], [], None
        elif words:
            example = TaggedExample(
                tuple(words), tuple(tags) if labelled else None, rows[0], f"{shown(path)}:{rows[0]}", *joined(words),
                rows=None if rows[-1] - rows[0] < len(rows) else tuple(rows),
            )  # fmt: skip
            if empty:
                others = "".join(f"; column {column + 1} has tags too" for column in table.others)
                tally.told.append(f"{shown(path)}: {_taken(table)}; {first_shown(example)}{others}")
            empty = False
            yield example
            rows, words, tags = [], [], []
    if empty and not tally.bad:
        raise InputError(f"{shown(path)}: no sentence in it, expected a word and its tag a line")


def joined(words: Sequence[str]) -> tuple[str, tuple[tuple[int, int], ...]]:
    """Words as running text, and the [start, end) characters of each."""
    ends = accumulate(len(word) + 1 for word in words)  # with the space after it
    return " ".join(words), tuple((end - 1 - len(word), end - 1) for word, end in zip(words, ends, strict=True))


def _taken(table: Table) -> str:
    """What a user is told of the columns."""
    return f"words: column {table.word + 1}" + ("" if table.tag is None else f", tags: column {table.tag + 1}")


def first_shown(example: TaggedExample) -> str:
    """The first sentence for a user, who sees by it whether words and tags are what they should be."""
    more = " ..." if len(example.words) > _SHOWN_WORDS else ""
    tags = "" if example.tags is None else f" ({' '.join(example.tags[:_SHOWN_WORDS])}{more})"
    return f"first sentence: {' '.join(example.words[:_SHOWN_WORDS])}{more}{tags}"


def _without_header(lines: Iterable[tuple[int, str]], path: str, tally: Tally) -> Iterator[tuple[int, str]]:
    """The lines, but for a first row that names the columns, of which the tally is told."""
    lines = iter(lines)
    for row, line in lines:
        is_row = not (ends_sentence(line) or line.startswith("#"))
        if is_row and names_columns(line):
            tally.told.append(f"{shown(path)}:{row}: left out, as it names the columns: {line.strip()!r:.60}")
        else:
            yield row, line
        if is_row:
            break
    yield from lines


# --- Rows ------------------------------------------------------------------------------------------------------------


def _rows(lines: Iterable[tuple[int, str]], path: str, table: Table) -> Iterator[tuple[int, list[str] | InputError]]:
    """(row, its columns or why it has others), none of them where a sentence ends; it also ends with the file."""
    row, inside, number = 0, False, 0  # whether in a sentence, and what the first column counted last
    for row, line in lines:
        if ends_sentence(line):
            inside = False
            yield row, []
            continue
        columns = split_columns(line, tabs=table.tabs)
        if _is_comment(line, columns, table, inside=inside):
            continue
        bad = _badness(columns, table)
        if bad:
            inside = True
            yield row, InputError(f"{shown(path)}:{row}: {bad}")
            continue
        if table.numbered and not columns[0].isdigit():
            continue
        if table.numbered:
            if inside and int(columns[0]) <= min(number, 1):  # it begins again, without a blank line
                yield row, []
            number = int(columns[0])
        inside = True
        yield row, columns
    yield row + 1, []


def _badness(columns: Sequence[str], table: Table) -> str:
    """Why this is no row of the table, or ""."""
    if len(columns) != table.width:
        return f"{len(columns)} column(s), expected {table.width}, as in the first row"
    if table.numbered and not _NUMBER.fullmatch(columns[0]):
        return (
            f"{columns[0]!r:.40} is no number, as those above it in the first column, which counts; expected one, or "
            "with --word-column 1 a column of words"
        )
    return ""


def ends_sentence(line: str) -> bool:
    """Whether a line is no word, but stands between two sentences."""
    return not line.strip() or line.startswith(DOCUMENT_START)


def split_columns(line: str, *, tabs: bool) -> list[str]:
    """The cells of a row."""
    line = line.rstrip("\r\n")
    return [cell.strip(" ") for cell in line.split("\t")] if tabs else _SPACES.split(line.strip(" "))


def names_columns(line: str) -> bool:
    """Whether a first row is none, but says what the columns are: one has words, the last tags."""
    cells = [cell.lower() for cell in split_columns(line, tabs=has_tabs(line))]
    return cells[-1] in _HEADS_OF_TAGS and not _HEADS_OF_WORDS.isdisjoint(cells[:-1])


def has_tabs(line: str) -> bool:
    """Whether tabs are what stands between the columns of this row and of all."""
    return "\t" in line.rstrip("\r\n").strip(" \t")


def _is_comment(line: str, columns: Sequence[str], table: Table, *, inside: bool) -> bool:
    if table.numbered:
        return line.startswith("#")
    is_row = len(columns) == table.width and (not table.tagged or is_tag(columns[-1]))
    return not inside and line.startswith(COMMENT) and not is_row


# --- What the columns are --------------------------------------------------------------------------------------------


def _first_sentence(lines: Iterator[tuple[int, str]]) -> list[tuple[int, str]]:
    """The lines up to the first sentence that has two words or more, and to its end: they tell what the columns are."""
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


def _table(first: Sequence[tuple[int, str]], path: str, *, labelled: bool, names: Names) -> Table:
    """
    Raises:
        InputError: a column that is not there, one alone where words are labelled, the same for word and tag, tags in
            that of the words; and where nobody said which one has the words, a first column that numbers something
            else.
    """
    lines = [(row, line) for row, line in first if not ends_sentence(line)]
    rows = [(row, line) for row, line in lines if not line.startswith("#")] or lines[:1]
    if not rows:
        raise InputError(f"{shown(path)}: no sentence in it, expected a word and its tag a line")
    row, line = rows[0]
    tabs = has_tabs(line)
    table = [columns for _, line in rows if (columns := split_columns(line, tabs=tabs))]
    count = len(table[0])
    if labelled and count < 2:
        raise InputError(
            f"{shown(path)}:{row}: one column, expected a word and its tag with a tab or spaces between them"
        )
    alike = [columns for columns in table if len(columns) == count]  # the others are refused when their turn comes
    tagged = all(is_tag(columns[-1]) for columns in alike)
    numbered = count > 1 + (labelled or tagged) and _counts([columns[0] for columns in alike])
    if names.word is None and not numbered and count > 2 and _go_up([columns[0] for columns in alike]):
        begins = ", ".join(columns[0] for columns in alike[:3])
        raise InputError(
            f"{shown(path)}:{row}: the first column, {begins}, numbers something, but not the words of each sentence; "
            "expected --word-column, and a blank line between sentences"
        )
    usual_word, usual_tag = int(numbered), 3 if numbered and count == len(CONLL_U) else count - 1
    word = usual_word if names.word is None else _column("--word-column", names.word, count, f"{shown(path)}:{row}")
    words = [columns[word] for columns in alike]
    if len(words) > 1 and OUTSIDE in words and all(map(is_tag, words)):
        raise InputError(f"{shown(path)}:{row}: column {word + 1} has tags, expected words; see --word-column")
    if not labelled:
        return Table(tabs, count, numbered and word != 0, tagged, word, None)
    tag = usual_tag if names.tag is None else _column("--tag-column", names.tag, count, f"{shown(path)}:{row}")
    if word == tag:
        raise InputError(f"{shown(path)}:{row}: column {word + 1} for words and tags, expected two; see --tag-column")
    others = (column for column in range(count) if column not in (word, tag) and names.tag is None)
    also = tuple(column for column in others if all(is_tag(columns[column]) for columns in alike))
    return Table(tabs, count, numbered and word != 0, tagged, word, tag, also)


def _counts(cells: Sequence[str]) -> bool:
    """Whether these are 1, 2, 3 or 0, 1, 2, which may begin again with a sentence, or a part's 17, 18, 19."""
    if not all(map(_NUMBER.fullmatch, cells)):
        return False
    numbers = [int(cell) for cell in cells if cell.isdigit()]
    steps = list(pairwise(numbers))
    if numbers and numbers[0] <= 1:
        forward = [after > before for before, after in steps]  # not by one: a word may have been left out
        begins = (after == numbers[0] for _, after in steps)
        return (any(forward) or not steps) and all(map(max, forward, begins))
    return len(numbers) > 2 and all(after == before + 1 for before, after in steps)


def _go_up(cells: Sequence[str]) -> bool:
    """Whether these go up by one at most, as numbers of sentences do (1, 1, 2), or 1-1, 1-2, or 1., 2, or numbers
    with a name ("Sentence: 1"), also that of a file, which stays the same."""
    numbers = [[int(number) for number in re.findall("[0-9]{1,9}", cell)] for cell in cells]
    names = {re.sub("[0-9]+", "", cell) for cell in cells}
    if len(cells) < 2 or not all(numbers) or (len(names) > 1 and not all(map(_OTHER_NUMBER.fullmatch, cells))):
        return False
    return all(before <= after and sum(after) - sum(before) <= 1 for before, after in pairwise(numbers))


def _column(option: str, name: str, count: int, where: str) -> int:
    """The index of the column that the user means."""
    if count == len(CONLL_U) and name.lower() in CONLL_U:
        return CONLL_U.index(name.lower())
    if _COLUMN.fullmatch(name) and int(name) <= count:
        return int(name) - 1
    expected = f"a number from 1 to {count}" + (f" or one of {', '.join(CONLL_U)}" if count == len(CONLL_U) else "")
    whose = "(given, or saved with the model)"
    raise InputError(f"{where}: {option} {name}: there are {count} column(s), expected {expected} {whose}")
