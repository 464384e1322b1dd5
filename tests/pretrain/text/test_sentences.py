"""Where sentences end, in English and in Chinese, and that no character gets lost on the way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretrain.text.sentences import fold, split_sentences


@pytest.mark.parametrize(
    "sentences",
    [
        ["One sentence.", "Another one!", "A third?", "No mark at the end"],
        ["Dr. Smith and Mr. Jones met Prof. Li.", "They talked."],
        ["Use a sequence, e.g. a list, i.e. [1].", "Or not."],
        ["He lives in the U.S. Army base.", "She does not."],
        ["He lives in the U.S.", "The end."],
        ["Apples, pears, etc.", "They are fruit."],
        ["See Fig. 3 and Eq. (4) for it.", "See No. 5 too."],
        ["He said no.", "Then he left."],
        ["J. R. R. Tolkien wrote it.", "It is long."],
        ["Matrix times vector is A.", "The rest follows."],
        ["The value is 3.14 in version 2.7.1 of it.", "Good."],
        ["Open foo.py and call os.path.join there.", "Done."],
        ["Wait... what?", "Well...", "Fine."],
        ["Really?!", "Yes."],
        ['He said "Stop."', "She stopped."],
        ["(It is so.)", "[Indeed.]", "“Yes.”", "End."],
        ['"Why?" he asked.', "Nobody knew."],
        ["1. First item.", "2. Second item."],
        ["It was 5 p.m. on Monday.", "It rained."],
        ["Cats vs. Dogs is a set.", "Smith et al. Extended it."],
        ["Éric est là.", "Où est-il?"],
    ],
)
def test_english_sentences(sentences: list[str]) -> None:
    assert split_sentences(" ".join(sentences)) == sentences


@pytest.mark.parametrize(
    "sentences",
    [
        ["今天天气很好。", "我们去公园吧！", "你去吗？", "不去"],
        ["第一点；", "第二点。"],
        ["他说：“好。”", "然后他走了。"],
        ["（这是括号。）", "下一句。"],
        ["真的吗？！", "是的。"],
        ["他想了想……", "然后说：“走吧！”", "大家笑了。"],
        ["真的吗?", "是的!", "好。"],
        ['他说"好。"', "然后走了。"],
        ["版本是3.5，大小为1.2米。", "对。"],
        ["「你好！」", "她说。"],
    ],
)
def test_chinese_sentences_need_no_space(sentences: list[str]) -> None:
    assert split_sentences("".join(sentences)) == sentences


def test_chinese_and_english_in_one_text() -> None:
    assert split_sentences("我用 Python 3.11。It is fast. 很好！") == ["我用 Python 3.11。", "It is fast.", "很好！"]


def test_wrapped_chinese_lines_are_joined_without_a_space() -> None:
    assert split_sentences("今天天气\n很好。我们\n  去公园。") == ["今天天气很好。", "我们去公园。"]


def test_wrapped_english_and_korean_lines_are_joined_with_one() -> None:
    assert split_sentences("two\n  words\tand 나는\n학생") == ["two words and 나는 학생"]


@pytest.mark.parametrize("text", ["", " \n\t ", "\u3000"])
def test_nothing_gives_no_sentence(text: str) -> None:
    assert split_sentences(text) == []


def _without_space(text: str) -> str:
    return "".join(text.split())


_TRICKY = st.text(alphabet="aBI .!?…。！？；“”\"'()（）「」1\n\t天地é·-", max_size=60)


@given(st.one_of(_TRICKY, st.text()))
def test_no_character_is_lost_or_moved(text: str) -> None:
    assert _without_space("".join(split_sentences(text))) == _without_space(text)


@given(st.one_of(_TRICKY, st.text()))
def test_sentences_are_folded_and_not_empty(text: str) -> None:
    for sentence in split_sentences(text):
        assert sentence
        assert sentence == fold(sentence)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("." * 1_000_000, 1),
        (".!" * 500_000 + "a", 1),
        ("." * 500_000 + '"' * 500_000 + "a", 1),
        ("\u3000" * 1_000_000 + "a", 1),
        ("字" + "\n\u3000" * 500_000 + "a", 1),
        ("字!" + "」" * 1_000_000 + "a", 2),
    ],
    ids=["stops", "marks", "quotes", "wide spaces", "wide lines", "brackets"],
)
def test_each_character_is_looked_at_a_few_times(text: str, count: int) -> None:
    assert len(split_sentences(text)) == count  # were it once for every other, this would take hours
