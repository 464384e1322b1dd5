"""Sentences to be tagged: running text is cut into words whose characters are known; columns are told from it."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.conll import read_conll
from finetune.sentences import cut_words, read_sentences
from finetune.tally import Tally
from tests.finetune.files import DATA, needs_data, standard_input, write
from tests.helpers import refusal


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Mr. O'Neil's (U.S.) boat", "Mr . O'Neil's ( U.S . ) boat"),
        ("It cost $1,000.50, at 12:30!", "It cost $ 1,000.50 , at 12:30 !"),
        ("@paul likes #cats: see a@b.co, AT&T; well-known…", "@paul likes #cats : see a@b.co , AT&T ; well-known …"),
        ("他住在Berlin，3号。", "他 住 在 Berlin ， 3 号 。"),
        ("東京タワー", "東 京 タ ワ ー"),
        ("Zoë’s naïve café 🐈", "Zoë’s naïve café 🐈"),
        ("Cafe\u0301 na\u0308ive", "Cafe\u0301 na\u0308ive"),  # an accent may be a character of its own
        ("हिन्दी में की\u200dबोर्ड", "हिन्दी में की\u200dबोर्ड"),
        ("می\u200cخواهم שָׁלוֹם", "می\u200cخواهم שָׁלוֹם"),
        ("は\u3099る ❤\ufe0f!", "は\u3099 る ❤\ufe0f !"),
        ("yes,no - maybe", "yes , no - maybe"),
        (" \u00a0 tabs\tand\u3000spaces  ", "tabs and spaces"),
    ],
)
def test_text_is_cut_into_words(text: str, words: str) -> None:
    assert [text[start:end] for start, end in cut_words(text)] == words.split()


@given(st.text())
def test_words_are_all_that_is_no_white_space(text: str) -> None:
    spans = cut_words(text)
    assert "".join(text[start:end] for start, end in spans) == "".join(text.split())
    assert all(before[1] <= after[0] for before, after in pairwise(spans))


def test_lines_of_text_are_sentences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = "Ann ran.\r\n  Plan B it is\n"
    for path in (write(tmp_path / "a.txt", content), standard_input(monkeypatch, content)):
        found = list(read_sentences(path))
        assert [(x.words, x.text, x.offsets, x.row) for x in found] == [
            (("Ann", "ran", "."), "Ann ran.", ((0, 3), (4, 7), (7, 8)), 1),
            (("Plan", "B", "it", "is"), "  Plan B it is", ((2, 6), (7, 8), (9, 11), (12, 14)), 2),
        ]
        assert all(x.tags is None for x in found)


@pytest.mark.parametrize(
    "content", ["Ann\tB-per\nran\tO\n", "Ann NNP B-per\nran VBD O\n", "-DOCSTART- O\n\nAnn B-per\nran O\n"]
)
@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz", "a.conll", "-"])
def test_columns_are_told_from_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, name: str) -> None:
    path = standard_input(monkeypatch, content) if name == "-" else write(tmp_path / name, content)
    (found,) = read_sentences(path)
    assert (found.words, found.tags, found.text, found.offsets) == (("Ann", "ran"), None, "Ann ran", ((0, 3), (4, 7)))


def test_other_files_are_columns_also_of_words_alone(tmp_path: Path) -> None:
    path = write(tmp_path / "a.conll", "Ann\nran\n\nYes\n")
    assert [x.words for x in read_sentences(path)] == [("Ann", "ran"), ("Yes",)]


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "-"])
def test_texts_may_stand_in_json_objects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    content = '{"text": "Ann ran O"}\n\n{"text": " a\\tb", "more": 1}\n'
    path = standard_input(monkeypatch, content) if name == "-" else write(tmp_path / name, content)
    assert [(x.words, x.text, x.offsets, x.row) for x in read_sentences(path)] == [
        (("Ann", "ran", "O"), "Ann ran O", ((0, 3), (4, 7), (8, 9)), 1),
        (("a", "b"), " a\tb", ((1, 2), (3, 4)), 3),
    ]


@pytest.mark.parametrize("name", ["a.txt", "a.conll", "-"])
def test_a_brace_begins_a_row_of_columns_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    content = "{\tO\nAnn\tB-per\n"
    path = standard_input(monkeypatch, content) if name == "-" else write(tmp_path / name, content)
    assert [x.words for x in read_sentences(path)] == [("{", "Ann")]


def test_what_is_no_json_is_refused_where_the_input_begins_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    path = standard_input(monkeypatch, '{"text": "Ann ran."}\nYes.\n')
    assert "standard input:2: expected one JSON object a line" in refusal(lambda: list(read_sentences(path)))


def test_blank_lines_are_bad_rows_and_lines_are_counted(tmp_path: Path) -> None:
    path, tally = write(tmp_path / "a.txt", "Ann ran.\n\nYes, she did.\n"), Tally("skip")
    assert [x.text for x in read_sentences(path, tally=tally)] == ["Ann ran.", "Yes, she did."]
    assert (tally.lines, tally.bad) == (3, [f"{path}:2: the text is empty, expected text"])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", '{"text": "Ann"}\n{"text": ""}\n', "a.jsonl:2: field 'text' is empty"),
        ("a.jsonl", '{"texts": "Ann"}\n', "a.jsonl:1: field 'text' is not there; the object's are 'texts'"),
        ("a.jsonl", '{"text": ["Ann"]}\n', "a.jsonl:1: field 'text' is an array, expected a string"),
        ("a.jsonl", "\n", "a.jsonl: no row in it"),
        ("a.txt", "Ann ran.\n \nYes.\n", "a.txt:2: the text is empty"),
        ("a.txt", "", "a.txt: no sentence in it"),
        ("a.conll", "", "a.conll: no sentence in it"),
        ("a.conll", "Ann O\nran\n", "a.conll:2: 1 column(s), expected 2"),
    ],
)
def test_what_is_refused(tmp_path: Path, name: str, content: str, message: str) -> None:
    path = write(tmp_path / name, content)
    assert message in refusal(lambda: list(read_sentences(path)))


@needs_data
def test_words_of_tagged_text_are_mostly_found_again() -> None:
    """The words of WNUT17's dev set, joined by spaces and cut again."""
    sentences = list(read_conll(str(DATA / "wnut17" / "dev.conll")))
    whole = sum(span in set(cut_words(x.text)) for x in sentences for span in x.offsets)
    assert whole > 0.97 * sum(len(x.words) for x in sentences)
