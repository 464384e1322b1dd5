"""Long texts are encoded in parts, or only as far as they are asked for: with the same ids, in little memory."""

from __future__ import annotations

from functools import partial

import pytest

from minibert.tokenizer import Tokenizer
from minibert.tokenizer import long_texts as module
from minibert.tokenizer.vocabulary import Kind
from tests.helpers import refusal
from tests.minibert.unicode_strings import strings

WORDS = ["the", "mill", "covid", "c++", "a.b", "don't", ".", ",", "--", "(", "天地", "字", "高血压"]
ADDED = ["covid", "c++", "a.b", "高血压"]


@pytest.fixture
def short_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts are long from seven characters on."""
    monkeypatch.setattr(module, "LONG_TEXT", 6)
    monkeypatch.setattr(module, "CHARACTERS_AT_ONCE", 100)


def trained(kind: Kind, added: list[str]) -> Tokenizer:
    tokenizer = Tokenizer.train([" ".join(WORDS)] * 5, vocab_size=300 if kind == "bpe" else 80, kind=kind)
    tokenizer.add_tokens(added)
    return tokenizer


@pytest.mark.parametrize("added", [[], ADDED], ids=["bare", "words added"])
@pytest.mark.parametrize("kind", ["wordpiece", "bpe", "unigram"])
@pytest.mark.usefixtures("short_is_long")
def test_a_beginning_has_the_tokens_of_the_whole(kind: Kind, added: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = trained(kind, added)
    texts = ["".join(three) for three in zip(*[iter(strings(900, WORDS, seed=5))] * 3, strict=True)]
    whole = list(tokenizer.encode_whole(texts))
    beginnings = list(tokenizer.encode_whole(texts, tokens=3))
    assert [len(ids) > 3 for ids in beginnings] == [len(ids) > 3 for ids in whole]
    assert [ids[:-1] for ids in beginnings] == [
        ids[:-1][: len(cut) - 1] for ids, cut in zip(whole, beginnings, strict=True)
    ]
    assert sum(len(cut) < len(ids) for ids, cut in zip(whole, beginnings, strict=True)) > 30
    cut = tokenizer(texts, max_length=5)
    monkeypatch.setattr(module, "LONG_TEXT", 10**9)
    expected = tokenizer(texts, max_length=5)
    assert cut.input_ids.tolist() == expected.input_ids.tolist()
    assert cut.offsets.tolist() == expected.offsets.tolist()


@pytest.mark.parametrize("added", [[], ADDED], ids=["bare", "words added"])
@pytest.mark.usefixtures("short_is_long")
def test_long_parts_of_wordpiece_are_cut_between_words(added: list[str]) -> None:
    tokenizer = trained("wordpiece", added)
    for text in [
        "." * 30,
        "字天" * 20,
        "the mill" + "(.)" * 10,
        "a.b" * 9,
        "c++" * 9,
        "高血压" * 9,
        *strings(200, WORDS, seed=6),
    ]:
        parts = tokenizer.parts(text)
        ids = [each for part in tokenizer.encode_plain(parts) for each in part]
        assert ids == tokenizer.encode_plain([text])[0]
    assert max(map(len, tokenizer.parts("," * 30 + " " + "字天" * 20))) == 6
    assert tokenizer.parts("a" * 30) == ["a" * 30]


@pytest.mark.parametrize("kind", ["wordpiece", "bpe", "unigram"])
def test_of_a_long_text_only_a_beginning_is_encoded(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = trained(kind, [])
    beginning = partial(tokenizer._seams.beginning, tokens=128, count=tokenizer._count_tokens)
    text = "the mill , " * 100_000
    assert len(beginning(text)) < 70_000
    assert len(beginning("the " + " " * 70_000 + text)) < 300_000  # as far as it takes
    if kind == "wordpiece":
        assert len(beginning("." * 1_000_000)) < 70_000
        assert len(beginning("字" * 1_000_000)) < 70_000


def test_half_a_character_in_a_long_text_is_named() -> None:
    tokenizer = trained("wordpiece", [])
    text = "the mill " * 10_000 + "\ud800" + " the" * 10_000
    assert refusal(lambda: list(tokenizer.encode_whole(["the", text], tokens=10**5))) == (
        "text 2, character 90000: expected Unicode text, found a lone surrogate"
    )
