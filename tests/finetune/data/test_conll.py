"""Sentences in CoNLL columns, and rows that are no words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from finetune.data import conll
from finetune.data.conll import conll_sentences, conllu_sentences
from finetune.data.data_options import TagDataOptions
from finetune.data.examples import TaggedExample
from finetune.data.tags import check_tags, entities, find_scheme, tag_ids, tag_labels
from minibert.files.tally import Tally
from minibert.files.text import read_lines
from tests.finetune.files import DATA, needs_data, standard_input, write
from tests.helpers import refusal

CONLL_2003 = """-DOCSTART- -X- -X- O

EU NNP I-NP I-ORG
rejects VBZ I-VP O
German JJ I-NP I-MISC

Peter NNP I-NP I-PER
Blackburn NNP I-NP I-PER
-DOCSTART- -X- -X- O
BRUSSELS NNP I-NP I-LOC
"""


def columns(word: str | None = None, tag: str | None = None) -> TagDataOptions:
    return TagDataOptions(word_column=word, tag_column=tag)


def read_conll(
    path: str, options: TagDataOptions | None = None, *, labelled: bool = True, tally: Tally | None = None
) -> Iterator[TaggedExample]:
    return conll_sentences(read_lines(path), path, options or columns(), tally or Tally(), labelled=labelled)


def read(path: str, *, labelled: bool = True) -> list[TaggedExample]:
    return list(read_conll(path, labelled=labelled))


@pytest.mark.parametrize("separator", [" ", "\t", "   "])
@pytest.mark.parametrize("name", ["a.conll", "a.txt.gz"])
def test_the_word_is_the_first_column_and_its_tag_the_last(tmp_path: Path, name: str, separator: str) -> None:
    path = write(tmp_path / name, CONLL_2003.replace(" ", separator))
    assert read(path) == [
        TaggedExample(
            ("EU", "rejects", "German"), ("I-ORG", "O", "I-MISC"), 3, f"{path}:3", "EU rejects German",
            ((0, 2), (3, 10), (11, 17)),
        ),
        TaggedExample(("Peter", "Blackburn"), ("I-PER", "I-PER"), 7, f"{path}:7", "Peter Blackburn", ((0, 5), (6, 15))),
        TaggedExample(("BRUSSELS",), ("I-LOC",), 10, f"{path}:10", "BRUSSELS", ((0, 8),)),
    ]  # fmt: skip
    assert [x.tags for x in read(path, labelled=False)] == [None, None, None]


def test_lines_of_white_space_separate_sentences(tmp_path: Path) -> None:
    path = write(tmp_path / "a.conll", "\ufeff \r\na\tO\r\n\t\r\n\r\nb\tO\r\n \t \r\nc\tO")
    assert [(x.words, x.row) for x in read(path)] == [(("a",), 2), (("b",), 5), (("c",), 7)]


def test_words_may_hold_other_white_space_than_the_separator(tmp_path: Path) -> None:
    path = write(tmp_path / "a.conll", "\u3000\tO\nNew York\tB-LOC\n\u00a0x\u2028\tO\n\ufe0f\tO\n")
    assert read(path)[0].words == ("\u3000", "New York", "\u00a0x\u2028", "\ufe0f")
    path = write(tmp_path / "b.conll", "a\u3000b B-LOC \n #x\tO\n")
    assert read(path)[0].words == ("a\u3000b", "#x")
    assert read(path)[0].tags == ("B-LOC", "O")


def test_words_alone_can_be_predicted(monkeypatch: pytest.MonkeyPatch) -> None:
    examples = read(standard_input(monkeypatch, "He\nruns\n\nYes\n"), labelled=False)
    assert [(x.words, x.tags, x.where) for x in examples] == [
        (("He", "runs"), None, "standard input:1"), (("Yes",), None, "standard input:4"),
    ]  # fmt: skip


CONLL_U = """# sent_id = 1
# text = Vámonos al mar
1-2\tVámonos\t_\t_\t_\t_\t_\t_\t_\t_
1\tVamos\tir\tVERB\tV\tMood=Imp\t0\troot\t_\t_
2\tnos\tnosotros\tPRON\tP\t_\t1\tobj\t_\t_
3-4\tal\t_\t_\t_\t_\t_\t_\t_\t_
3\ta\ta\tADP\tS\t_\t5\tcase\t_\t_
4\tel\tel\tDET\tD\t_\t5\tdet\t_\t_
4.1\tfue\tir\tVERB\tV\t_\t_\t_\t0:x\t_
5\tmar\tmar\tNOUN\tN\t_\t1\tobl\t_\tSpaceAfter=No

# sent_id = 2
1\tSí\tsí\tINTJ\tI\t_\t0\troot\t_\t_

"""
WITHOUT_COMMENTS = "".join(line for line in CONLL_U.splitlines(keepends=True) if not line.startswith("#"))
GERM_EVAL = """#\thttp://de.wikipedia.org/wiki/Manfred_Korfmann [2009-10-17]
1\tTroia\tB-OTH\tB-LOC
2\t-\tI-OTH\tO
3\tAusstellung\tI-OTH\tO

#\tn-tv.de vom 26.02.2005 [2005-02-26]\t
1\tJa\tO\tO
"""
MULTI_CONER = """# id 5239d808-f300-46ea-aa3b-5093040213a3\tdomain=en
the _ _ O
drive _ _ B-CW
# _ _ O

# id 1e5a\tdomain=en
go _ _ O
"""


@pytest.mark.parametrize(
    ("content", "words", "tags", "said"),
    [
        (
            CONLL_U, ["Vamos nos a el mar", "Sí"], ["VERB PRON ADP DET NOUN", "INTJ"],
            "words: column 2, tags: column 4; first sentence: Vamos nos a el mar (VERB PRON ADP DET NOUN)",
        ),
        (
            WITHOUT_COMMENTS, ["Vamos nos a el mar", "Sí"], ["VERB PRON ADP DET NOUN", "INTJ"],
            "words: column 2, tags: column 4; first sentence: Vamos nos a el mar (VERB PRON ADP DET NOUN)",
        ),
        (
            GERM_EVAL, ["Troia - Ausstellung", "Ja"], ["B-OTH I-OTH I-OTH", "O"],
            "words: column 2, tags: column 3; first sentence: Troia - Ausstellung (B-OTH I-OTH I-OTH); column 4 has "
            "tags too",
        ),
        (
            MULTI_CONER, ["the drive #", "go"], ["O B-CW O", "O"],
            "words: column 1, tags: column 4; first sentence: the drive # (O B-CW O)",
        ),
        (
            "0 Go O\n\n0 Ann B-x\n1 ran O\n", ["Go", "Ann ran"], ["O", "B-x O"],
            "words: column 2, tags: column 3; first sentence: Go (O)",
        ),
        (
            "1\tAnn\tB-x\n2\tran\tO\n1\tYes\tO\n", ["Ann ran", "Yes"], ["B-x O", "O"],
            "words: column 2, tags: column 3; first sentence: Ann ran (B-x O)",
        ),
        (
            "17\tAnn\tB-x\n18\tran\tO\n19\t.\tO\n\n1\tYes\tO\n", ["Ann ran .", "Yes"], ["B-x O O", "O"],
            "words: column 2, tags: column 3; first sentence: Ann ran . (B-x O O)",
        ),
        (
            "1\tO\n2\tO\n3\tB-x\n", ["1 2 3"], ["O O B-x"],
            "words: column 1, tags: column 2; first sentence: 1 2 3 (O O B-x)",
        ),
        (
            "1945\tCD\tO\n1996\tCD\tO\n", ["1945 1996"], ["O O"],
            "words: column 1, tags: column 3; first sentence: 1945 1996 (O O)",
        ),
        (
            "# O\n#x O\nw3 B-x\n\n# O\n", ["# #x w3", "#"], ["O O B-x", "O"],
            "words: column 1, tags: column 2; first sentence: # #x w3 (O O B-x)",
        ),
        (
            "a O\n" * 10, [" ".join("a" * 10)], [" ".join("O" * 10)],
            "words: column 1, tags: column 2; first sentence: a a a a a a a a ... (O O O O O O O O ...)",
        ),
    ],
    ids=[
        "CoNLL-U", "CoNLL-U without comments", "GermEval", "MultiCoNER", "from 0", "no blank line", "a part",
        "numbers as words", "years as words", "hashes as words", "more words than are shown",
    ],
)  # fmt: skip
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_the_columns_of_published_forms(
    content: str, words: list[str], tags: list[str], said: str, end: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "a.conll", content.replace("\n", end))
    tally = Tally()
    found = list(read_conll(path, tally=tally))
    assert [" ".join(x.words) for x in found] == words
    assert [" ".join(x.tags or ()) for x in found] == tags
    assert tally.told == [f"{path}: {said}"]
    assert [" ".join(x.words) for x in read(path, labelled=False)] == words


@pytest.mark.parametrize(
    "numbers",
    [
        "1 1 2 2", "0 0 1 1", "1 1 1 1", "0 0 0 0", "1 2 2 3", "1-1 1-2 2-1 2-2", "1/1 1/2 1/3 1/4", "1. 2. 3. 4.",
        "Sentence:1 Sentence:1 Sentence:2 Sentence:2", "bc/00/c_01 bc/00/c_01 bc/00/c_01 bc/00/c_01",
    ],
)  # fmt: skip
@pytest.mark.parametrize("labelled", [True, False])
def test_a_first_column_that_numbers_something_else_is_not_taken_for_words(
    numbers: str, labelled: bool, tmp_path: Path
) -> None:
    rows = zip(numbers.split(), ["Ann\tB-x", "ran\tO", "Bob\tB-x", "ran\tO"], strict=True)
    path = write(tmp_path / "a.conll", "".join(f"{number}\t{rest}\n" for number, rest in rows))
    begins = ", ".join(numbers.split()[:3])
    assert refusal(lambda: read(path, labelled=labelled)) == (
        f"{path}:1: the numbers in the first column ({begins}) don't count the words of each sentence; give "
        "--word-column, and put a blank line between sentences"
    )
    for name, words in {"1": numbers.split(), "2": ["Ann", "ran", "Bob", "ran"]}.items():
        found = read_conll(path, columns(name), labelled=labelled)
        assert [word for example in found for word in example.words] == words


@pytest.mark.parametrize("names", [columns("2"), columns("2", "1"), columns("2", "3")])
@pytest.mark.parametrize("labelled", [True, False])
def test_a_column_of_tags_is_not_taken_for_words(names: TagDataOptions, labelled: bool, tmp_path: Path) -> None:
    path = write(tmp_path / "a.conll", "Ann B-x O\nran O O\n\n")  # as where a model's own column was another file's
    assert refusal(lambda: list(read_conll(path, names, labelled=labelled))) == (
        f"{path}:1: column 2 has tags, expected words (see --word-column)"
    )


HEADED = [
    "Word\tTag\r\nAnn\tB-x\r\nran\tO\r\n",
    "token pos ner_tag\nAnn NNP B-x\nran VBD O\n",
    "# from somewhere\n\nTokens\tLabels\n\nAnn\tB-x\nran\tO\n",
    "id\tform\tupos\n1\tAnn\tB-x\n2\tran\tO\n",
]


@pytest.mark.parametrize("content", HEADED)
@pytest.mark.parametrize("labelled", [True, False])
def test_a_row_that_names_the_columns_is_left_out_and_said(content: str, labelled: bool, tmp_path: Path) -> None:
    path, tally = write(tmp_path / "a.conll", content), Tally()
    (found,) = read_conll(path, labelled=labelled, tally=tally)
    assert (found.words, found.tags) == (("Ann", "ran"), ("B-x", "O") if labelled else None)
    row, header = next((number, line) for number, line in enumerate(content.split("\n"), 1) if line[:1] not in "#")
    assert tally.told[0] == f"{path}:{row}: skipped because it names the columns: {header.strip()!r}"


@pytest.mark.parametrize("content", ["Tag\nAnn\n", "word\tO\nran\tO\n", "Ann\tB-x\nword\ttag\n", "the label\nO x\n"])
def test_words_that_may_name_columns_stay_words(content: str, tmp_path: Path) -> None:
    (found,) = read_conll(write(tmp_path / "a.conll", content), labelled=False)
    assert len(found.words) == 2


def test_words_know_their_rows_between_rows_that_are_none(tmp_path: Path) -> None:
    first, second = read(write(tmp_path / "a.conllu", CONLL_U))
    assert (first.row, first.rows, second.row, second.rows) == (4, (4, 5, 7, 8, 10), 13, None)


@pytest.mark.parametrize(
    ("names", "words", "tags"),
    [
        (columns(tag="xpos"), "Vamos nos a el mar", "V P S D N"),
        (columns(tag="5"), "Vamos nos a el mar", "V P S D N"),
        (columns(word="LEMMA", tag="deprel"), "ir nosotros a el mar", "root obj case det obl"),
    ],
)
def test_columns_are_named_by_the_user(names: TagDataOptions, words: str, tags: str, tmp_path: Path) -> None:
    found = next(read_conll(write(tmp_path / "a.conllu", CONLL_U), names))
    assert (" ".join(found.words), " ".join(found.tags or ())) == (words, tags)


def test_the_first_column_may_be_words_though_it_counts(tmp_path: Path) -> None:
    path = write(tmp_path / "a.conll", "1\tCD\tO\n2\tCD\tO\n\nskip\tVB\tO\n")
    assert [x.words for x in read_conll(path, columns(word="1"))] == [("1", "2"), ("skip",)]
    assert refusal(lambda: read(path)) == (
        f"{path}:4: 'skip' is not a number, but the first column numbers the words in the rows above; if it holds the "
        "words themselves, use --word-column 1"
    )


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            columns(word="3"),
            "a.conll:1: the file has 2 columns; --word-column (given, or saved with the model) is 3, {expected}",
        ),
        (
            columns(tag="0"),
            "a.conll:1: the file has 2 columns; --tag-column (given, or saved with the model) is 0, {expected}",
        ),
        (
            columns(tag="upos"),
            "a.conll:1: the file has 2 columns; --tag-column (given, or saved with the model) is upos, {expected}",
        ),
        (columns(word="2"), "a.conll:1: column 2 can't hold both the words and the tags; choose two different columns"),
    ],
)
def test_columns_that_are_not_there(names: TagDataOptions, message: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.conll", "a\tO\n")
    message = message.format(there="the file has 2 columns", expected="expected a number from 1 to 2")
    message = message.replace("a.conll", path)
    assert refusal(lambda: list(read_conll(path, names))) == message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a\tO\nb\n", "a.conll:2: the row has 1 column, expected 2, as in the first row"),
        ("a O\n\nb NN O\n", "a.conll:3: the row has 3 columns, expected 2"),
        ("a\tO\nb O\n", "a.conll:2: the row has 1 column, expected 2"),
        ("a\nb\n", "a.conll:1: there is only one column, expected a word and its tag, separated by a tab or spaces"),
        ("a\tO\n\tO\n", "a.conll:2: a column is empty, expected a word and its tag"),
        ("a\tO\nb\t\n", "a.conll:2: a column is empty"),
        ("", "a.conll: no sentence found"),
        ("\n \n-DOCSTART- O\n", "a.conll: no sentence found"),
    ],
)
def test_rows_that_are_refused(tmp_path: Path, content: str, message: str) -> None:
    path = write(tmp_path / "a.conll", content)
    assert message in refusal(lambda: read(path))


def test_a_sentence_that_does_not_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conll, "LONGEST_SENTENCE", 10)
    assert len(read(write(tmp_path / "a.conll", "a\tO\n\nabcd\tO\nabcd\tO\n"))) == 2
    path = write(tmp_path / "a.conll", "a\tO\n\n" + "abcd\tO\n" * 9)
    assert refusal(lambda: read(path)) == (
        f"{path}:3: a sentence exceeds 10 characters; put a blank line after each sentence"
    )


def test_a_sentence_with_a_bad_row_is_left_out_and_named(tmp_path: Path) -> None:
    content = "a\tO\n\nb\tO\nc\n\tO\nd\tO\n\ne\tO\n\t \nf\tO\n\ng\t\nh\tO\n"
    path, tally = write(tmp_path / "a.conll", content), Tally("skip")
    assert [x.words for x in read_conll(path, tally=tally)] == [("a",), ("e",), ("f",)]
    assert (tally.what, tally.lines) == ("sentence", 13)
    assert tally.bad == [
        f"{path}:4: the row has 1 column, expected 2, as in the first row",
        f"{path}:12: a column is empty, expected a word and its tag (see --word-column and --tag-column)",
    ]


def test_text_that_is_not_utf8(tmp_path: Path) -> None:
    path = write(tmp_path / "a.conll", b"a\tO\n\xe9\tO\n")
    assert "a.conll:2: not UTF-8 at byte 4" in refusal(lambda: read(path))


@needs_data
@pytest.mark.parametrize(
    ("name", "sentences", "count"), [("train", 3394, 1975), ("dev", 1009, 836), ("test", 1287, 1079)]
)
def test_wnut17(name: str, sentences: int, count: int) -> None:
    examples = read(str(DATA / "wnut17" / f"{name}.conll"))
    assert len(examples) == sentences
    assert find_scheme(examples) == "iob2"
    assert check_tags(examples) == (examples, "iob2")
    assert sum(len(entities(x.tags or ())) for x in examples) == count
    labels = tag_labels(read(str(DATA / "wnut17" / "train.conll")), "iob2", "train.conll")
    assert len(labels) == 13
    assert sum(map(len, tag_ids(examples, labels))) == sum(len(x.words) for x in examples)


# --- CoNLL-U as published ---------------------------------------------------------------------------------------------


def read_conllu(
    path: str, options: TagDataOptions | None = None, *, labelled: bool = True, tally: Tally | None = None
) -> list[TaggedExample]:
    lines = read_lines(path)
    return list(conllu_sentences(lines, path, options or columns(), tally or Tally(), labelled=labelled))


def test_a_sentence_of_conllu_has_its_own_text(tmp_path: Path) -> None:
    path, tally = write(tmp_path / "a.conllu.gz", CONLL_U), Tally()
    first, second = read_conllu(path, tally=tally)
    assert first == TaggedExample(
        ("Vamos", "nos", "a", "el", "mar"), ("VERB", "PRON", "ADP", "DET", "NOUN"), 4, f"{path}:4",
        "Vamos nos a el mar", ((0, 5), (6, 9), (10, 11), (12, 14), (15, 18)), (4, 5, 7, 8, 10),
    )  # fmt: skip
    assert (second.words, second.tags, second.rows) == (("Sí",), ("INTJ",), (13,))
    assert (tally.what, tally.lines) == ("sentence", 14)
    assert tally.told == [
        f"{path}: words: form, tags: upos; first sentence: Vamos nos a el mar (VERB PRON ADP DET NOUN)"
    ]
    assert [x.tags for x in read_conllu(path, columns(tag="ner_tags"), labelled=False)] == [None, None]


@pytest.mark.parametrize(
    ("names", "words", "tags"),
    [
        (columns(tag="XPOS"), "Vamos nos a el mar", "V P S D N"),
        (columns(tag="8"), "Vamos nos a el mar", "root obj case det obl"),
        (columns(word="lemma", tag="feats"), "ir nosotros a el mar", "Mood=Imp _ _ _ _"),
    ],
)
def test_any_column_of_conllu_may_be_tags(names: TagDataOptions, words: str, tags: str, tmp_path: Path) -> None:
    first = read_conllu(write(tmp_path / "a.conllu", CONLL_U), names)[0]
    assert (" ".join(first.words), " ".join(first.tags or ())) == (words, tags)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (columns(tag="id"), "--tag-column id: column id numbers the words, expected a different column"),
        (columns(tag="2"), "--tag-column 2: column form has the words, expected a different column"),
        (
            columns(word="lemma", tag="form"),
            "--tag-column form: column form has the words, expected a different column",
        ),
        (
            columns(word="lemma", tag="lemma"),
            "--tag-column lemma: column lemma has the words, expected a different column",
        ),
        (columns(word="1"), "--word-column 1: column id numbers the words, expected a different column"),
        (
            columns(tag="ner"),
            "the file has 10 columns; --tag-column (given, or saved with the model) is ner, expected a number from "
            "1 to 10 or one of id, form, lemma, upos, xpos, feats, head, deprel, deps, misc",
        ),
    ],
)  # fmt: skip
def test_columns_that_conllu_does_not_have(names: TagDataOptions, message: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.conllu", CONLL_U)
    assert refusal(lambda: read_conllu(path, names)) == f"{path}: {message}"


def test_a_sentence_of_conllu_that_cannot_be_read_is_left_out_and_named(tmp_path: Path) -> None:
    path, tally = write(tmp_path / "a.conllu", CONLL_U.replace("\n2\tnos", "\n3\tnos")), Tally("skip")
    assert [x.words for x in read_conllu(path, tally=tally)] == [("Sí",)]
    assert [reason.partition(",")[0] for reason in tally.bad] == [f"{path}:5: number '3'"]
    assert "a.conllu:5: number '3', expected 2" in refusal(lambda: read_conllu(path))
    path = write(tmp_path / "b.conllu", "# text = nothing\n\n")
    assert refusal(lambda: read_conllu(path)).startswith(f"{path}: no sentence found")


@needs_data
@pytest.mark.parametrize(
    ("name", "sentences", "words", "tags"),
    [
        ("dev.conllu", 156, 2722, "PROPN PROPN NOUN AUX"),
        ("test.conllu", 153, 3408, "NOUN PUNCT PROPN NUM"),
        ("train.conllu.gz", 1781, 43504, "NOUN ADP DET NOUN"),
    ],
)
def test_partut(name: str, sentences: int, words: int, tags: str) -> None:
    """The counts are those of `grep -c '^# sent_id'` and of rows that begin with a whole number. Both readers agree."""
    path = str(DATA / "ud-partut" / name)
    found = read_conllu(path)
    assert (len(found), sum(len(x.words) for x in found)) == (sentences, words)
    assert " ".join((found[0].tags or ())[:4]) == tags
    assert [(x.words, x.tags) for x in read(path)] == [(x.words, x.tags) for x in found]
