"""Token classification: columns, a word a row -> `TaggedExample`. CoNLL's form, and its relatives that number words."""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, chain, pairwise
from typing import NamedTuple

from finetune.data.data_options import TagDataOptions
from finetune.data.examples import TaggedExample
from finetune.data.tables import COLUMN_NUMBER
from finetune.data.tags import OUTSIDE, is_tag
from finetune.data.tally import Tally
from minibert.errors import InputError
from minibert.files.text import shown

DOCUMENT_START = "-DOCSTART-"
LONGEST_SENTENCE = 2**24  # characters: all of it is in memory
# Not str.split(), for which a no-break space ends a word too: tweets hold such words.
_SPACES = re.compile("[ \t]+")
CONLL_U = ("id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")  # its ten columns
# What stands in a column that counts: in CoNLL-U also 5-6, a form that words 5 and 6 share, and 8.1, a word left out.
_NUMBER = re.compile("[0-9]{1,9}(?:[-.][0-9]{1,9})?")
_OTHER_NUMBER = re.compile("[0-9]{1,9}(?:[-./:][0-9]{1,9})*[.:)]?")  # "2-7" or "7.", as others number words
# What a first row says that names the columns: its word's cell, and its last.
_HEADS_OF_WORDS = {"word", "words", "token", "tokens", "form", "text"}
_HEADS_OF_TAGS = {"tag", "tags", "label", "labels", "ner", "ner_tag", "ner_tags", "pos", "pos_tag", "pos_tags", "upos"}
COMMENT = ("# ", "#\t")  # "#" and "#tag" are words of tweets
NO_SENTENCE = "no sentence in it, expected a word and its tag per line"
_SHOWN_WORDS = 8


class Table(NamedTuple):
    """How a file's rows are made up."""

    tabs: bool  # stand between two columns, else spaces
    width: int  # the number of columns
    numbered: bool  # the first column counts the words
    tagged: bool  # what the last column has in the first sentence are tags
    word: int  # the word's column, from 0
    tag: int | None  # the tag's; None where tags are not looked at
    others: tuple[int, ...] = ()  # that hold tags too, where nobody said which to take


def conll_sentences(
    lines: Iterable[tuple[int, str]], path: str, data_options: TagDataOptions, tally: Tally, *, labelled: bool
) -> Iterator[TaggedExample]:
    """Streams the sentences of a file's (row, line).

    A row is a word, with tabs between its columns where the first row has a tab, else spaces. The word is the first
    column, or the second where the first one counts: 1, 2, 3. Its tag is the last, in CoNLL-U's ten columns the fourth
    (UPOS). The options may say otherwise; the `tally` is told what was taken. Without labels the word alone is read.

    A line of white space ends a sentence, as does a number that begins again; a row that begins with -DOCSTART- does
    too and is left out. So are a first row that names the columns, such as Word and Tag, and comments: where words are
    numbered all lines that begin with "#", else at a sentence's beginning those that begin with "# " and are no row
    like the others. As the text of a sentence count its words with single spaces between them.

    Raises InputError, naming file and row: a sentence that doesn't end, a column that is not there, no sentence at
    all; and, as the `tally` has it, a sentence with a bad row: one of another number of columns than the first, an
    empty word or tag, a number that is none.
    """
    tally.what, lines = "sentences", _without_header(tally.counted(lines), path, tally)
    first = _first_sentence(lines)
    table = _table(first, path, data_options, labelled=labelled)
    found = _examples(_rows(chain(first, lines), path, table), path, table, tally)
    tags = "" if table.tag is None else f", tags: column {table.tag + 1}"
    others = "".join(f"; column {column + 1} has tags too" for column in table.others)
    found = telling(found, tally, f"{shown(path)}: words: column {table.word + 1}{tags}", others)
    return tally.nonempty(found, f"{shown(path)}: {NO_SENTENCE}")


def telling(sentences: Iterable[TaggedExample], tally: Tally, what: str, more: str = "") -> Iterator[TaggedExample]:
    """The same sentences. The tally is told how they were read, and the first: so a user sees whether that is right."""
    for number, example in enumerate(sentences):
        if number == 0:
            dots = " ..." if len(example.words) > _SHOWN_WORDS else ""
            tags = "" if example.tags is None else f" ({' '.join(example.tags[:_SHOWN_WORDS])}{dots})"
            words = " ".join(example.words[:_SHOWN_WORDS])
            tally.told.append(f"{what}; first sentence: {words}{dots}{tags}{more}")
        yield example


def _examples(
    found: Iterable[tuple[int, list[str] | InputError]], path: str, table: Table, tally: Tally
) -> Iterator[TaggedExample]:
    """The sentences that the rows make up; those with a bad row, as the tally has it, are refused."""
    bad: InputError | None = None  # why the sentence can't be read
    read: list[tuple[int, str, str | None]] = []  # row, word, tag
    size = 0  # the characters of words and tags
    for row, columns in found:
        if isinstance(columns, InputError):
            bad = bad or columns
        elif columns:
            word, tag = columns[table.word], None if table.tag is None else columns[table.tag]
            read.append((row, word, tag))
            size += len(word) + len(tag or "")
            if size > LONGEST_SENTENCE:
                raise InputError(
                    f"{shown(path)}:{read[0][0]}: a sentence of more than {LONGEST_SENTENCE:,} characters, expected a "
                    "blank line after each"
                )
            if not word or tag == "":
                hint = "see --word-column" + ("" if tag is None else " and --tag-column")
                bad = bad or InputError(f"{shown(path)}:{row}: an empty column, expected a word and its tag; {hint}")
        elif bad or read:
            if bad:
                tally.refuse(bad)
            else:
                rows, words, tags = zip(*read, strict=True)
                yield TaggedExample(
                    words, None if table.tag is None else tags, rows[0], f"{shown(path)}:{rows[0]}", *joined(words),
                    rows=None if rows[-1] - rows[0] < len(rows) else rows,
                )  # fmt: skip
            bad, read, size = None, [], 0


def joined(words: Sequence[str]) -> tuple[str, tuple[tuple[int, int], ...]]:
    """Words as running text, and the [start, end) characters of each."""
    ends = accumulate(len(word) + 1 for word in words)  # with the space after it
    return " ".join(words), tuple((end - 1 - len(word), end - 1) for word, end in zip(words, ends, strict=True))


def _without_header(lines: Iterable[tuple[int, str]], path: str, tally: Tally) -> Iterator[tuple[int, str]]:
    """The lines, but for a first row that names the columns, of which the tally is told."""
    lines = iter(lines)
    for row, line in lines:
        is_row = not (ends_sentence(line) or line.startswith("#"))
        if is_row and names_columns(line):
            tally.told.append(f"{shown(path)}:{row}: skipped, as it names the columns: {line.strip()!r:.60}")
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
        if bad := _badness(columns, table):
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
            f"{columns[0]!r:.40} is not a number like those above it in the first column, which counts; expected one, "
            "or with --word-column 1 a column of words"
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


def _table(first: Sequence[tuple[int, str]], path: str, data_options: TagDataOptions, *, labelled: bool) -> Table:
    """Raises InputError: a column that is not there, one alone where words are labelled, the same for word and tag,
    tags in that of the words; and where nobody said which has the words, a first column that numbers something else.
    """
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
        raise InputError(f"{where}: one column, expected a word and its tag with a tab or spaces between them")
    alike = [columns for columns in table if len(columns) == count]  # the others are refused when their turn comes
    tagged = all(is_tag(columns[-1]) for columns in alike)
    numbered = count > 1 + (labelled or tagged) and _counts([columns[0] for columns in alike])
    if word_column is None and not numbered and count > 2 and _go_up([columns[0] for columns in alike]):
        begins = ", ".join(columns[0] for columns in alike[:3])
        raise InputError(
            f"{where}: the first column, {begins}, numbers something, but not the words of each sentence; "
            "expected --word-column, and a blank line between sentences"
        )
    usual_word, usual_tag = int(numbered), 3 if numbered and count == len(CONLL_U) else count - 1
    word = usual_word if word_column is None else _column("--word-column", word_column, count, where)
    words = [columns[word] for columns in alike]
    if len(words) > 1 and OUTSIDE in words and all(map(is_tag, words)):
        raise InputError(f"{where}: column {word + 1} has tags, expected words; see --word-column")
    found = Table(tabs, count, numbered and word != 0, tagged, word, tag=None)
    if not labelled:
        return found
    tag = usual_tag if tag_column is None else _column("--tag-column", tag_column, count, where)
    if word == tag:
        raise InputError(f"{where}: column {word + 1} for words and tags, expected two; see --tag-column")
    others = (column for column in range(count) if column not in (word, tag) and tag_column is None)
    also = tuple(column for column in others if all(is_tag(columns[column]) for columns in alike))
    return found._replace(tag=tag, others=also)


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
    if COLUMN_NUMBER.fullmatch(name) and int(name) <= count:
        return int(name) - 1
    expected = f"a number from 1 to {count}" + (f" or one of {', '.join(CONLL_U)}" if count == len(CONLL_U) else "")
    whose = "(given, or saved with the model)"
    raise InputError(f"{where}: {option} {name}: there are {count} column(s), expected {expected} {whose}")
