"""Fine-tuning's windows, words and answers with the tokenizers of RoBERTa and ALBERT."""

from __future__ import annotations

import numpy as np
import pytest

from finetune.data.data_options import QuestionDataOptions, TagDataOptions
from finetune.data.examples import Answer, QuestionExample, TaggedExample
from finetune.tasks.question_answering import NO_ANSWER, QuestionAnswering
from finetune.tasks.token_classification import TokenClassification
from minibert.tokenizer import Tokenizer
from minibert.tokenizer.vocabulary import Kind

CONTEXT = "The cat sat on the mat, and the dogs   ran to the “house”; he bought milk. She went home, to bread."
ANSWERS = ["The cat", "dogs   ran", "“house”", "bread", "he bought milk"]


@pytest.fixture(params=["bpe", "unigram"])
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return Tokenizer.train([CONTEXT, "the dog ran"] * 3, vocab_size=300, kind=request.param)


def test_every_answer_is_read_off_its_window_again(tokenizer: Tokenizer) -> None:
    task = QuestionAnswering(QuestionDataOptions(max_length=24, stride=6).fitted(64), tokenizer)
    for answer in ANSWERS:
        gold = (Answer(answer, CONTEXT.index(answer)),)
        question = QuestionExample("q", "the dog ran", CONTEXT, gold, "t", "x.json: question q")
        features = task.features([question])
        targets = [feature for feature in features if feature.target != (NO_ANSWER, NO_ANSWER)]
        assert len(features) > 1 and targets
        for feature in targets:
            first, offsets = feature.place
            start, end = (position - first for position in feature.target)
            # A piece of the unigram model may reach over a punctuation mark: "”;" or "▁bread."
            assert CONTEXT[offsets[start, 0] : offsets[end, 1]].rstrip(";.") == answer


def test_a_window_is_what_the_tokenizer_makes_of_a_pair(tokenizer: Tokenizer) -> None:
    task = QuestionAnswering(QuestionDataOptions(max_length=200, stride=12).fitted(256), tokenizer)
    question = QuestionExample("q", "the dog ran", CONTEXT, (), "t", "x.json: question q")
    (feature,) = task.features([question])
    batch = tokenizer("the dog ran", CONTEXT)
    (tokens,) = feature.sequences
    assert tokens.ids.tolist() == batch.input_ids[0].tolist()
    assert tokens.second == len(tokens.ids) - int(batch.token_type_ids.sum())
    first, offsets = feature.place
    assert first == int((batch.sequence_ids[0] == 1).nonzero()[0])
    np.testing.assert_array_equal(offsets, batch.offsets[0, first:-1])


def test_pairs_are_laid_out_as_the_tokenizer_does(tokenizer: Tokenizer) -> None:
    a, b = tokenizer.encode_plain(["the cat", "the dog ran"])
    (whole,) = tokenizer.encode(["the cat"], ["the dog ran"])
    ours = tokenizer.lay_out(a, b)
    assert (ours.ids.tolist(), ours.second) == (whole.ids.tolist(), whole.second)


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_tagged_words_are_cut_as_inside_a_sentence(kind: Kind) -> None:
    tokenizer = Tokenizer.train([CONTEXT, "the cat 猫 sat"] * 3, vocab_size=300, kind=kind)
    words = ("cat", "sat", "猫", "[SEP]", "<mask>")
    task = TokenClassification(TagDataOptions(max_length=60, stride=2).fitted(64), tokenizer, ("O",))
    example = TaggedExample(words, ("O",) * 5, 1, "x:1")
    (feature,) = task.features([example])
    ids = feature.sequences[0].ids
    assert feature.place[0].tolist() == [0, 1, 2, 3, 4]
    assert [tokenizer.shown(ids[at]) for at in feature.place[1][:2]] == (
        ["▁cat", "▁sat"] if kind == "bpe" else [tokenizer.shown(tokenizer.encode_plain([w])[0][0]) for w in words[:2]]
    )
    # A word that spells a special token is only a word.
    assert not set(ids[1:-1].tolist()) & {tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id, tokenizer.pad_id}
