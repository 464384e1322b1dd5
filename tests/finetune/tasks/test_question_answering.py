"""Windows over a passage, the answer's tokens in them, and the answer read off the text again."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from finetune.data.data_options import QuestionDataOptions
from finetune.data.examples import Answer, QuestionExample
from finetune.forward import logits_of
from finetune.tasks.batches import make_batch
from finetune.tasks.question_answering import NO_ANSWER, Found, QuestionAnswering, Span, best_spans
from finetune.tasks.task import Feature
from minibert.files.tally import Tally
from minibert.heads import SpanLogits
from minibert.tokenizer import Tokenizer
from minibert.training.device import Precision
from tests.helpers import TINY, refusal, tiny_model

CONTEXT = "The cat sat on the mat, and the dogs   ran to the house; he bought milk. She went home running, to bread."
READING = QuestionDataOptions(max_length=20, stride=6).fitted(64)


def example(answer: str | None, context: str = CONTEXT, id: str = "q") -> QuestionExample:
    answers = () if answer is None else (Answer(answer, context.index(answer)),)
    return QuestionExample(id, "the dog ran", context, answers, "t", f"x.json: question {id}")


@pytest.fixture
def task(tokenizer: Tokenizer) -> QuestionAnswering:
    return QuestionAnswering(READING, tokenizer)


def ask(task: QuestionAnswering, questions: list[QuestionExample], likely: dict[int, tuple[int, int]]) -> list[Found]:
    """Predictions of a model that is sure of the span at these characters of each question, and else of no answer,
    with "bread" as the next best."""
    features = task.features(questions, labelled=False)
    width = max(feature.length for feature in features)
    start, end = torch.zeros(len(features), width), torch.zeros(len(features), width)
    for row, feature in enumerate(features):
        start[row, NO_ANSWER] = end[row, NO_ANSWER] = 1.0
        first, offsets = feature.place
        bread = questions[feature.example].context.rfind("bread")
        low, high = likely.get(feature.example, (bread, bread + 5))
        score = 5.0 if feature.example in likely else 0.5
        start[row, first : first + len(offsets)][torch.from_numpy(offsets[:, 0] == low)] = score
        end[row, first : first + len(offsets)][torch.from_numpy(offsets[:, 1] == high)] = score
    outputs = task.outputs(SpanLogits(start=start, end=end), features)
    return task.predictions(questions, features, outputs)


def words_of(feature: Feature, text: str, positions: tuple[int, int]) -> str:
    first, offsets = feature.place
    return text[offsets[positions[0] - first, 0] : offsets[positions[1] - first, 1]]


def test_windows_cover_the_passage_and_share_the_stride(task: QuestionAnswering) -> None:
    features = task.features([example("dogs")])
    assert len(features) > 3 and all(feature.length <= 20 for feature in features)
    spans = [(int(offsets[0, 0]), int(offsets[-1, 1])) for _, offsets in (feature.place for feature in features)]
    assert spans[0][0] == 0 and spans[-1][1] == len(CONTEXT)
    for one, other in itertools.pairwise(features):
        shared = {tuple(span) for span in one.place[1].tolist()} & {tuple(span) for span in other.place[1].tolist()}
        assert len(shared) == 6


@pytest.mark.parametrize("answer", ["The cat", "dogs   ran", "bread", "milk", "he bought milk"])
def test_the_target_is_the_answer_where_a_window_holds_it_and_else_no_answer(
    task: QuestionAnswering, answer: str
) -> None:
    start, end = CONTEXT.index(answer), CONTEXT.index(answer) + len(answer)
    found = 0
    for feature in task.features([example(answer)]):
        offsets = feature.place[1]
        if offsets[0, 0] <= start and end <= offsets[-1, 1]:
            assert words_of(feature, CONTEXT, feature.target) == answer
            found += 1
        else:
            assert feature.target == (NO_ANSWER, NO_ANSWER)
    assert found


def test_a_question_without_an_answer_asks_for_none(task: QuestionAnswering) -> None:
    assert {feature.target for feature in task.features([example(None)])} == {(NO_ANSWER, NO_ANSWER)}


@pytest.mark.parametrize("states_known", [False, True])
def test_a_loss_does_not_depend_on_what_it_is_batched_with(task: QuestionAnswering, *, states_known: bool) -> None:
    features = task.features([example("dogs"), example("cat", "The cat sat.")])
    config = TINY.replace(vocab_size=task.tokenizer.vocab_size, max_position_embeddings=64)
    model = tiny_model("BertForQuestionAnswering", config).double()
    precision = Precision(torch.float64, "asked for", "cpu")

    def loss(chosen: list[Feature]) -> float:
        batch = make_batch(chosen, task, labelled=True)
        with torch.no_grad():
            if states_known:
                alone = [make_batch([one], task, labelled=False) for one in chosen]
                known = [
                    replace(
                        one,
                        hidden=model.encoder(
                            its.input_ids[:, : one.length], token_type_ids=its.token_type_ids[:, : one.length]
                        ),
                    )
                    for one, its in zip(chosen, alone, strict=True)
                ]
                batch = make_batch(known, task, labelled=True)
            return task.loss_sum(logits_of(model, batch, precision), batch.targets).item()

    assert len({feature.length for feature in features}) > 1
    assert loss(features) == pytest.approx(sum(loss([feature]) for feature in features), abs=1e-12)


def test_the_answer_is_read_off_the_text_whichever_window_it_is_in(task: QuestionAnswering) -> None:
    wanted = ["The cat", "dogs   ran", "bread"]
    questions = [example(answer, id=answer) for answer in wanted]
    places = {number: (CONTEXT.index(a), CONTEXT.index(a) + len(a)) for number, a in enumerate(wanted)}
    for question, found, place in zip(questions, ask(task, questions, places), places.values(), strict=True):
        assert found.text == question.id
        assert (found.spans[0].start, found.spans[0].end) == place
        answer = task.answer(question, found)
        assert (answer["answer"], answer["start"], answer["end"]) == (question.id, *place)
        assert CONTEXT[answer["start"] : answer["end"]] == answer["answer"]


def test_a_passage_without_tokens_has_no_answer_in_plain_json(task: QuestionAnswering) -> None:
    question = replace(example(None), context="\ufe0f")
    (found,) = ask(task, [question], {})
    answer = task.answer(question, found)
    assert json.loads(json.dumps(answer, allow_nan=False)) == answer
    assert (answer["answer"], answer["no_answer_score"], answer["n_best"]) == ("", None, [])


def test_no_answer_is_given_where_the_threshold_says_so(task: QuestionAnswering) -> None:
    questions = [example("milk", id="has"), example(None, id="none")]
    found = ask(task, questions, {0: (CONTEXT.index("milk"), CONTEXT.index("milk") + 4)})
    assert found[0].no_answer_score < 0 < found[1].no_answer_score
    assert task.metrics(questions, found)["f1"] == 0.5  # always answers
    tuned = task.tuned(questions, found, "f1")
    assert tuned.data_options.no_answer_threshold is not None
    figures = tuned.metrics(questions, found)
    assert (figures["f1"], figures["has_ans_exact"], figures["no_ans_exact"]) == (1.0, 1.0, 1.0)
    assert [tuned.answer(q, f)["answer"] for q, f in zip(questions, found, strict=True)] == ["milk", ""]
    assert (
        task.tuned(questions[:1], found[:1], "f1") is task
    )  # if every question has an answer, there is nothing to choose


def test_the_threshold_is_chosen_by_the_metric_that_chooses_the_epoch(task: QuestionAnswering) -> None:
    """The second answer is half right: it raises F1 and not the exact matches."""
    questions = [example("milk", id="a"), example("dogs   ran", id="b"), example(None, id="c")]
    found = [Found((), text, score) for text, score in (("milk", 0.25), ("ran", 0.5), ("milk", 0.75))]
    chosen = {metric: task.tuned(questions, found, metric).data_options for metric in ("f1", "exact")}
    assert [options.no_answer_threshold for options in chosen.values()] == [0.5, 0.25]


def test_the_threshold_counts_where_every_question_has_an_answer_too(task: QuestionAnswering) -> None:
    questions = [example("milk", id="sure"), example("dogs", id="unsure")]
    found = ask(task, questions, {0: (CONTEXT.index("milk"), CONTEXT.index("milk") + 4)})
    found[1] = found[1]._replace(text="dogs")
    assert task.metrics(questions, found) == {"exact": 1.0, "f1": 1.0}
    strict = task.with_data_options(replace(READING, no_answer_threshold=0.0))
    assert [strict.answer(q, f)["answer"] for q, f in zip(questions, found, strict=True)] == ["milk", ""]
    assert strict.metrics(questions, found) == {"exact": 0.5, "f1": 0.5}


def test_best_spans_are_those_of_a_search_through_all() -> None:
    rng = np.random.default_rng(0)
    for size, most, count in itertools.product((1, 2, 9), (1, 3, 30), (1, 4)):
        starts, ends = rng.normal(size=(2, size)).astype(np.float32)
        offsets = np.stack([np.arange(size) * 2, np.arange(size) * 2 + 1], axis=1)
        every = [
            Span(2 * a, 2 * b + 1, float(starts[a] + ends[b]))
            for a in range(size)
            for b in range(a, min(a + most, size))
        ]
        expected = sorted(every, key=lambda span: -span.score)[:count]
        assert best_spans(starts, ends, offsets, most=most, count=count) == expected


def test_an_answer_at_the_end_of_a_passage_of_3000_tokens(tokenizer: Tokenizer) -> None:
    context = "the cat sat on the mat. " * 430 + "he bought bread"
    task = QuestionAnswering(QuestionDataOptions().fitted(512), tokenizer)
    question = example("he bought bread", context)
    features = task.features([question])
    assert sum(len(feature.place[1]) for feature in features) > 3000
    place = context.index("he bought bread"), len(context)
    assert ask(task, [question], {0: place})[0].text == "he bought bread"


def test_a_question_that_leaves_no_room_is_a_bad_row(tokenizer: Tokenizer) -> None:
    task = QuestionAnswering(READING, tokenizer)
    questions = [example("cat"), replace(example("cat", id="long"), question="cat " * 16)]
    expected = (
        "x.json: question long: the question has 16 tokens, which leaves no room for the passage in a window of 20; "
        "expected a shorter question or a larger --max-length"
    )
    assert task.misfits(questions) == ["", expected]
    tally = Tally("skip")
    assert task.fitting(questions, tally) == questions[:1] and tally.bad == [expected]
    assert refusal(lambda: task.fitting(questions, Tally())) == expected


def test_dev_answers_that_stand_elsewhere_are_said_and_scored(task: QuestionAnswering) -> None:
    questions = [example("cat"), replace(example("cat"), answers=(Answer("cat", 1), Answer("dogs", 0)), id="off"),
                 replace(example("cat"), answers=(Answer("hen", 4),))]  # fmt: skip
    assert task.checked(questions, training=False) == (
        questions,
        "2 questions with a wrong answer_start (1 with no answer that occurs anywhere in the passage), still counted, "
        "since scores compare only texts; the first: x.json: question q: the answer 'cat' should start at 1, but 'he ' "
        "is there",
    )
    assert task.checked(questions[:1], training=False) == (questions[:1], "")


def test_no_window_ends_with_less_than_a_token(tokenizer: Tokenizer) -> None:
    long = replace(example("cat"), question="cat " * 14)
    features = QuestionAnswering(READING, tokenizer).features([long])
    assert {feature.length for feature in features[:-1]} == {20}
    assert all(np.diff([feature.place[1][0, 0] for feature in features]) > 0)
