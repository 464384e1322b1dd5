"""Sentences in CoNLL columns, and rows that are no words."""

from __future__ import annotations

from pathlib import Path

import pytest

from finetune import conll
from finetune.conll import read_conll
from finetune.examples import TaggedExample
from finetune.tags import check_tags, entities, find_scheme, tag_ids, tag_labels
from finetune.tally import Tally
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


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a\tO\nb\n", "a.conll:2: 1 column(s), expected 2, as in the first row"),
        ("a O\n\nb NN O\n", "a.conll:3: 3 column(s), expected 2"),
        ("a\tO\nb O\n", "a.conll:2: 1 column(s), expected 2"),
        ("a\nb\n", "a.conll:1: one column, expected a word and its tag"),
        ("a\tO\n\tO\n", "a.conll:2: an empty column, expected a word and its tag"),
        ("a\tO\nb\t\n", "a.conll:2: an empty column"),
        ("", "a.conll: no sentence in it"),
        ("\n \n-DOCSTART- O\n", "a.conll: no sentence in it"),
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
        f"{path}:3: a sentence of more than 10 characters, expected a blank line behind each"
    )


def test_a_sentence_with_a_bad_row_is_left_out_and_named(tmp_path: Path) -> None:
    content = "a\tO\n\nb\tO\nc\n\tO\nd\tO\n\ne\tO\n\t \nf\tO\n\ng\t\nh\tO\n"
    path, tally = write(tmp_path / "a.conll", content), Tally("skip")
    assert [x.words for x in read_conll(path, tally=tally)] == [("a",), ("e",), ("f",)]
    assert (tally.what, tally.lines) == ("sentences", 13)
    assert tally.bad == [
        f"{path}:4: 1 column(s), expected 2, as in the first row",
        f"{path}:12: an empty column, expected a word and its tag",
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
    assert check_tags(examples, "iob2") == examples
    assert sum(len(entities(x.tags or ())) for x in examples) == count
    labels = tag_labels(read(str(DATA / "wnut17" / "train.conll")), "iob2")
    assert len(labels) == 13
    assert sum(map(len, tag_ids(examples, labels))) == sum(len(x.words) for x in examples)
