"""Sentences to be tagged: running text is cut into words whose characters are known; columns are told from it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.data.data_options import FileForm, TagDataOptions
from finetune.data.examples import TaggedExample
from finetune.data.sentences import cut_clusters, cut_words, given_sentences, read_sentences
from minibert.errors import plural
from minibert.files.tally import Tally
from tests.finetune.files import DATA, needs_data, standard_input, write
from tests.helpers import refusal


def columns(word: str | None = None, tag: str | None = None, form: FileForm | None = None) -> TagDataOptions:
    return TagDataOptions(word_column=word, tag_column=tag, layout=form)


def read_tagged(
    path: str, options: TagDataOptions | None = None, *, tally: Tally | None = None
) -> Iterator[TaggedExample]:
    return read_sentences(path, options or columns(), tally=tally)


def read_untagged(
    path: str, options: TagDataOptions | None = None, *, tally: Tally | None = None
) -> Iterator[TaggedExample]:
    return read_sentences(path, options or columns(), labelled=False, tally=tally)


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


@pytest.mark.parametrize(
    ("text", "clusters"),
    [
        ("很好 ok", "很 好 o k"),
        ("👍🏽👍", "👍🏽 👍"),
        ("👩\u200d🚀🏳\ufe0f\u200d🌈", "👩\u200d🚀 🏳\ufe0f\u200d🌈"),
        ("🇨🇳🇫🇷🇩", "🇨🇳 🇫🇷 🇩"),
        (
            "\U0001f3f4\U000e0067\U000e0062\U000e007f1\ufe0f\u20e3",
            "\U0001f3f4\U000e0067\U000e0062\U000e007f 1\ufe0f\u20e3",
        ),
        ("cafe\u0301は\u3099", "c a f e\u0301 は\u3099"),
        ("\u1112\u1161\u11ab\u1100\u1173\u11af", "\u1112\u1161\u11ab \u1100\u1173\u11af"),
        ("น้ำ", "น้ำ"),
        ("\u0301a\u200d b", "\u0301 a\u200d b"),
    ],
)
def test_text_is_cut_into_what_readers_see_as_characters(text: str, clusters: str) -> None:
    assert [text[start:end] for start, end in cut_clusters(text)] == clusters.split(" ")


@given(st.text())
def test_words_are_all_that_is_no_white_space(text: str) -> None:
    spans = cut_words(text)
    assert "".join(text[start:end] for start, end in spans) == "".join(text.split())
    assert all(before[1] <= after[0] for before, after in pairwise(spans))


def test_lines_of_text_are_sentences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = "Ann ran.\r\n  Plan B it is\n"
    for path in (write(tmp_path / "a.txt", content), standard_input(monkeypatch, content)):
        found = list(read_untagged(path))
        assert [(x.words, x.text, x.offsets, x.row) for x in found] == [
            (("Ann", "ran", "."), "Ann ran.", ((0, 3), (4, 7), (7, 8)), 1),
            (("Plan", "B", "it", "is"), "  Plan B it is", ((2, 6), (7, 8), (9, 11), (12, 14)), 2),
        ]
        assert all(x.tags is None for x in found)


@pytest.mark.parametrize(
    "content", ["Ann\tB-per\nran\tO\n", "Ann NNP B-per\nran VBD O\n", "-DOCSTART- O\n\nAnn B-per\nran O\n"]
)
@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz", "a.conll"])
def test_columns_are_told_from_text(tmp_path: Path, content: str, name: str) -> None:
    (found,) = read_untagged(write(tmp_path / name, content))
    assert (found.words, found.tags, found.text, found.offsets) == (("Ann", "ran"), None, "Ann ran", ((0, 3), (4, 7)))


SENTENCES = {
    "Ich fahre mit der S-Bahn\nAda lives in Leeds town\n": ["Ich", "Ada"],
    "My blood type is O\n": ["My"],
    "send me an E-Mail\nI took the I-95\nHis blood type is O\n": ["send", "I", "His"],
    "Ada lives in Leeds\ttown\n": ["Ada"],
    "Plan B\n": ["Plan"],
    "# O wonder\n# Plan B\n": ["#", "#"],
    "Type O\nType O\nno tag\n": ["Type", "Type", "no"],
    "the cat\n\na dog\n": ["the", "a"],
    "a token label\nand more\n": ["a", "and"],
}


@pytest.mark.parametrize("content", SENTENCES)
@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz", "a", "a.text", "-"])
def test_running_text_is_not_taken_for_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, name: str
) -> None:
    path = standard_input(monkeypatch, content) if name == "-" else write(tmp_path / name, content)
    tally = Tally("skip")
    found = list(read_untagged(path, tally=tally))
    assert [x.text for x in found] == [line for line in content.splitlines() if line]
    assert [x.words[0] for x in found] == SENTENCES[content]
    assert len(tally.told) == 1 and ": running text, one sentence per line; first sentence: " in tally.told[0]


@pytest.mark.parametrize(
    "content",
    [
        "Ann B-x\nran O\n\nYes O\n",
        "Ann NNP I-NP B-x\nran VBD I-VP O\n\nYes UH O O\n",  # four columns, with a blank line between sentences
        "Ann\tNNP\nran\tVBD\n",
        "New York\tB-x\nran\tO\n",
        "Ann\tO\n",
        "# id 7\tdomain=en\nAnn _ _ B-x\nran _ _ O\n\n# id 8\tdomain=en\nran _ _ O\n",
        "-DOCSTART- -X- O\n\nAnn NNP O\n",
        "Ann NNP I-NP B-x\nran VBD I-VP O\n\n",
        "Word Tag\nAnn B-x\nran O\n",
        "Word\tTag\n\nAnn\tB-x\nran\tO\n",
    ],
)
@pytest.mark.parametrize("name", ["a.txt", "eng.testa"])
def test_columns_are_not_taken_for_running_text(tmp_path: Path, content: str, name: str) -> None:
    tally = Tally()
    found = list(read_untagged(write(tmp_path / name, content), tally=tally))
    assert found[0].words[0] == ("New York" if content.startswith("New") else "Ann")
    assert ": words: column 1; first sentence: " in tally.told[-1]
    assert len(tally.told) == 1 + content.startswith("Word")


@pytest.mark.parametrize(
    ("content", "count"),
    [
        ("the O\ncat O\n", 2),
        ("I took the I-95\nMy type is O\n", 4),
        ("My blood type is O\nHer blood type is O\n\n", 5),
        ("My blood type is O\n\nHer blood type is O\n\nHis blood type is O\nTheir blood type is O\n", 5),
        ("Ich fahre mit der S-Bahn\nWir hören jetzt die B-Seite\n\n", 5),
        ("Take I-95\nMy S-Bahn\n", 2),
        ("Ann NNP\nran VBD\n\nYes UH\n", 2),
        ("1\tAda lives in Leeds\n2\tBob lives in York\n", 2),
        ("Ann\nran\n\nYes\n", 1),
    ],
)
def test_what_may_be_one_or_the_other_is_for_the_user_to_say(tmp_path: Path, content: str, count: int) -> None:
    path = write(tmp_path / "a.txt", content)
    assert refusal(lambda: list(read_untagged(path))) == (
        f"{path}: are these columns with one word per row, or running text? All lines have {plural(count, 'column')}; "
        "give --layout columns or --layout text"
    )
    assert len(list(read_untagged(path, columns(form="columns")))) < len(content.splitlines())
    assert next(read_untagged(path, columns(form="text"))).text == content.splitlines()[0]


@pytest.mark.parametrize("content", ["word,tag\nAnn,B-x\n", ",Sentence #,Word,Tag\n0,Sentence: 1,Ann,B-x\n1,,ran,O\n"])
def test_commas_are_not_between_words_and_tags(tmp_path: Path, content: str) -> None:
    path = write(tmp_path / "a.csv", content)
    assert refusal(lambda: list(read_tagged(path))) == (
        f"{path}: .csv is not supported, expected columns separated by spaces or tabs, with a blank line between "
        "sentences, or .jsonl with lists of words and tags"
    )


def test_a_slip_does_not_make_columns_running_text(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "Ann NNP B-x\nran VBD O\n\n" * 10 + "ran O\n")
    message = f"{path}:31: the row has 2 columns, expected 3, as in the first row"
    assert refusal(lambda: list(read_untagged(path))) == message


def test_standard_input_and_pipes_are_running_text_unless_columns_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = "-DOCSTART- O\n\nAnn B-per\nran O\n"
    with open(write(tmp_path / "a", content)) as file:
        path = f"/dev/fd/{file.fileno()}"
        assert [x.text for x in read_untagged(path, tally=Tally("skip"))] == ["-DOCSTART- O", "Ann B-per", "ran O"]
    path = standard_input(monkeypatch, "My type is O\nHis is B-x\n")
    assert [x.words[-1] for x in read_untagged(path)] == ["O", "B-x"]
    assert next(read_untagged(standard_input(monkeypatch, content), columns(form="columns"))).words == ("Ann", "ran")


@pytest.mark.parametrize("content", ["Ann O\nran O", '{"text": "Ann"}'])
def test_the_user_may_say_what_a_file_is(tmp_path: Path, content: str) -> None:
    for name in ("a.txt", "a.conll", "a.jsonl"):
        path = write(tmp_path / name, content)
        assert next(read_untagged(path, columns(form="text"))).text == content.splitlines()[0]
    assert next(read_untagged(write(tmp_path / "a.txt", '{"text": "Ann"}'), columns(form="jsonl"))).text == "Ann"


@pytest.mark.parametrize("names", [columns("2", "3"), columns("1")])
def test_a_columns_number_says_nothing_of_json_lines(names: TagDataOptions, tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", '{"tokens": ["Ann"], "ner_tags": ["B-x"]}\n')
    (tagged,), (alone,) = read_tagged(path, names), read_untagged(path, names)
    (given,) = given_sentences([{"tokens": ["Ann"]}], names, Tally())
    assert (tagged.words, tagged.tags, alone.words, given.words) == (("Ann",), ("B-x",), ("Ann",), ("Ann",))


TOKENS = """{"id": "q-7", "tokens": ["New York", "#", "is"], "ner_tags": ["B-x", "O", "O"]}

{"tokens": ["Yes"], "ner_tags": ["O"], "id": 3}
"""


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.json"])
def test_json_lines_may_have_words_and_tags(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, TOKENS)
    tally = Tally()
    found = list(read_tagged(path, tally=tally))
    assert [(x.words, x.tags, x.text, x.row, x.rows, x.id) for x in found] == [
        (("New York", "#", "is"), ("B-x", "O", "O"), "New York # is", 1, (1, 1, 1), "q-7"),
        (("Yes",), ("O",), "Yes", 3, (3,), 3),
    ]
    assert found[0].offsets == ((0, 8), (9, 10), (11, 13))
    assert tally.told == [f"{path}: words: tokens, tags: ner_tags; first sentence: New York # is (B-x O O)"]
    assert [(x.words, x.tags, x.id) for x in read_untagged(path)] == [(x.words, None, x.id) for x in found]


def test_fields_of_json_lines_are_named_by_the_user(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", '{"words": ["Ann"], "pos": ["NNP"], "text": "x", "tokens": ["y"]}\n')
    (found,) = read_tagged(path, columns("words", "pos"))
    assert (found.words, found.tags) == (("Ann",), ("NNP",))
    assert [x.words for x in read_untagged(path, columns("words"))] == [("Ann",)]
    assert [x.words for x in read_untagged(path, columns("text"))] == [("x",)]
    assert [x.words for x in read_untagged(path)] == [("y",)]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"ner_tags": [3, 0]}, "field 'ner_tags' has 3 at index 0, a number; expected strings: words, or the names"),
        ({"ner_tags": ["O"]}, "found 1 tag for 2 words, expected one per word"),
        ({"ner_tags": "O O"}, "field 'ner_tags' is a string, expected a list of strings"),
        ({"tokens": []}, "field 'tokens' is empty, expected a list of strings"),
        ({"tokens": ["a", ""]}, "field 'tokens' has '' at index 1, expected text that is not empty"),
        ({"tokens": ["a", "\ud83d"]}, "field 'tokens' has '\\ud83d' at index 1, expected text without unpaired"),
        ({"tokens": None}, "field 'tokens' is null, expected a list of strings"),
        ({"id": 1.5}, "field 'id' is a number, expected a string or a whole number"),
    ],
)
def test_lists_that_are_refused(tmp_path: Path, fields: dict[str, object], message: str) -> None:
    path = write(tmp_path / "a.jsonl", json.dumps({"tokens": ["a", "b"], "ner_tags": ["O", "O"]} | fields))
    assert f"a.jsonl:1: {message}" in refusal(lambda: list(read_tagged(path)))


def test_a_csv_file_is_neither(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "text,label\nAnn ran,x\n")
    assert f"{path}: .csv is not supported, expected .conll, " in refusal(lambda: list(read_untagged(path)))


def test_other_files_are_columns_also_of_words_alone(tmp_path: Path) -> None:
    path = write(tmp_path / "a.conll", "Ann\nran\n\nYes\n")
    assert [x.words for x in read_untagged(path)] == [("Ann", "ran"), ("Yes",)]


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "-"])
def test_texts_may_stand_in_json_objects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    content = '{"text": "Ann ran O"}\n\n{"text": " a\\tb", "more": 1}\n'
    path = standard_input(monkeypatch, content) if name == "-" else write(tmp_path / name, content)
    assert [(x.words, x.text, x.offsets, x.row) for x in read_untagged(path)] == [
        (("Ann", "ran", "O"), "Ann ran O", ((0, 3), (4, 7), (8, 9)), 1),
        (("a", "b"), " a\tb", ((1, 2), (3, 4)), 3),
    ]


@pytest.mark.parametrize("name", ["a.txt", "a.conll", "a"])
def test_a_brace_begins_a_row_of_columns_too(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, "{\tO\nAnn\tB-per\n")
    assert [x.words for x in read_untagged(path)] == [("{", "Ann")]


def test_what_is_no_json_is_refused_where_the_input_begins_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    path = standard_input(monkeypatch, '{"text": "Ann ran."}\nYes.\n')
    assert "standard input:2: expected one JSON object per line" in refusal(lambda: list(read_untagged(path)))


def test_blank_lines_are_bad_rows_and_lines_are_counted(tmp_path: Path) -> None:
    path, tally = write(tmp_path / "a.txt", "Ann ran.\n\nYes, she did.\n"), Tally("skip")
    assert [x.text for x in read_untagged(path, tally=tally)] == ["Ann ran.", "Yes, she did."]
    assert (tally.lines, tally.bad) == (3, [f"{path}:2: the text is empty, expected text"])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", '{"text": "Ann"}\n{"text": ""}\n', "a.jsonl:2: field 'text' is empty"),
        ("a.jsonl", '{"texts": "Ann"}\n', "a.jsonl:1: field 'text' is missing; the object has 'texts'"),
        ("a.jsonl", '{"text": ["Ann"]}\n', "a.jsonl:1: field 'text' is an array, expected a string"),
        ("a.jsonl", "\n", "a.jsonl: no row found"),
        ("a.txt", "Ann ran.\n \nYes.\n", "a.txt:2: the text is empty"),
        ("a.txt", "", "a.txt: no sentence found"),
        ("a.conll", "", "a.conll: no sentence found"),
        ("a.conll", "Ann O\nran\n", "a.conll:2: the row has 1 column, expected 2"),
    ],
)
def test_what_is_refused(tmp_path: Path, name: str, content: str, message: str) -> None:
    path = write(tmp_path / name, content)
    assert message in refusal(lambda: list(read_untagged(path)))


@needs_data
def test_words_of_tagged_text_are_mostly_found_again() -> None:
    """The words of WNUT17's dev set, joined by spaces and cut again."""
    found = list(read_tagged(str(DATA / "wnut17" / "dev.conll")))
    whole = sum(span in set(cut_words(x.text)) for x in found for span in x.offsets)
    assert whole > 0.97 * sum(len(x.words) for x in found)
