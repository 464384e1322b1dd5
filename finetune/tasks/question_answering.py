"""Question answering: where in a passage the answer begins and ends (BERT sections 4.2 and 4.3).

A passage that is too long for the model is seen through several overlapping windows; the best answer of all windows
counts. Its text is copied from the original passage, by its characters.
"""

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from finetune.data.data_options import QuestionDataOptions
from finetune.data.examples import Id, QuestionExample
from finetune.data.splits import hold_out_groups
from finetune.data.squad import count_absent, without_misplaced
from finetune.scoring.squad_scores import best_threshold, squad_scores
from finetune.tasks.task import Feature, Logits, Task, outputs_by_example, to_numpy
from finetune.tasks.token_classification import window_bounds
from minibert.errors import plural
from minibert.heads import BertForQuestionAnswering

NO_ANSWER = 0  # the position of [CLS], which stands for "not in this window"


class Span(NamedTuple):
    """A possible answer: [start, end) in characters of the passage, and the sum of its start and end logits."""

    start: int
    end: int
    score: float


class Found(NamedTuple):
    """The prediction for a question."""

    spans: tuple[Span, ...]  # the best first, at least one
    text: str  # of the best span
    no_answer_score: float  # the score of no answer minus that of the best span


class Encoded(NamedTuple):
    """A tokenized text, without special tokens."""

    ids: NDArray[np.int32]  # (T,)
    offsets: NDArray[np.int64]  # (T, 2) characters


class QuestionAnswering(Task[QuestionExample, Found]):
    """The question-answering task. A feature's `place` is (position of the passage's first token, offsets (t, 2))."""

    name = "question-answering"
    model_class = BertForQuestionAnswering
    windowed = True
    data_options: QuestionDataOptions

    def hold_out(
        self, examples: Sequence[QuestionExample], *, share: float, generator: np.random.Generator
    ) -> tuple[list[QuestionExample], list[QuestionExample]]:
        """Split by article, so that no passage is on both sides; by passage if there is only one article."""
        articles = {example.title for example in examples}

        def group(example: QuestionExample) -> str:
            return example.title if len(articles) > 1 else example.context

        return hold_out_groups(examples, share=share, generator=generator, group=group)

    def checked(self, examples: Sequence[QuestionExample], *, training: bool) -> tuple[list[QuestionExample], str]:
        """Keep for training the questions whose answer is where it should be; keep all for scoring."""
        kept, first = without_misplaced(examples)
        misplaced = len(examples) - len(kept)
        if not misplaced:
            return kept, ""
        if training:
            return kept, f"{plural(misplaced, 'question')} left out of training: {first}"
        return list(examples), (
            f"{plural(misplaced, 'question')} with a wrong answer_start ({count_absent(examples):,} with no answer "
            f"that occurs anywhere in the passage), still counted, since scores compare only texts; the first: {first}"
        )

    def misfits(self, examples: Sequence[QuestionExample]) -> list[str]:
        """Return why a question leaves no room for the passage; "" if it doesn't."""
        questions = self._encode([example.question for example in examples])
        return [self._misfit(example, len(questions[example.question].ids)) for example in examples]

    def _misfit(self, example: QuestionExample, tokens: int) -> str:
        if self._room(tokens) >= 2:
            return ""
        return (
            f"{example.where}: the question has {plural(tokens, 'token')}, which leaves no room for the passage in a "
            f"window of {self.data_options.max_length}; expected a shorter question or a larger --max-length"
        )

    def _room(self, tokens: int) -> int:
        """Return how many tokens of the passage fit in a window beside a question of `tokens` tokens."""
        max_length = self.data_options.max_length
        assert max_length is not None  # `fitted` saw to it
        return max_length - tokens - self.tokenizer.special_count(pair=True)

    def features(self, examples: Sequence[QuestionExample], *, labelled: bool = True) -> list[Feature]:
        questions = self._encode([example.question for example in examples])
        contexts = self._encode([example.context for example in examples])
        return [
            feature
            for number, each in enumerate(examples)
            for feature in self._windows(number, each, questions[each.question], contexts[each.context], labelled)
        ]

    def _encode(self, texts: Sequence[str]) -> dict[str, Encoded]:
        """Encode each distinct text once, as a passage has many questions."""
        different = list(dict.fromkeys(texts))
        found = self.tokenizer.encode_with_offsets(different)
        return {text: Encoded(*each) for text, each in zip(different, found, strict=True)}

    def _windows(
        self, number: int, example: QuestionExample, question: Encoded, context: Encoded, labelled: bool
    ) -> Iterator[Feature]:
        stride = self.data_options.stride
        assert stride is not None  # `fitted` saw to it
        room = self._room(len(question.ids))
        assert room >= 2  # `fitting` saw to it
        answer = self._answer_tokens(example, context) if labelled else None
        special = self.tokenizer.special_count(pair=True)
        first = len(question.ids) + special - 1  # after all special tokens but the last
        for start, end in window_bounds(len(context.ids), room, min(stride, room // 2)):
            inside = answer is not None and start <= answer[0] and answer[1] < end
            target = (answer[0] - start + first, answer[1] - start + first) if answer and inside else (NO_ANSWER,) * 2
            tokens = self.tokenizer.lay_out(question.ids, context.ids[start:end])
            yield Feature(number, (tokens,), target, (first, context.offsets[start:end]))

    def _answer_tokens(self, example: QuestionExample, context: Encoded) -> tuple[int, int] | None:
        """Return the first and last token of the first gold answer; None if there is no answer."""
        if not example.answers:
            return None
        text, start = example.answers[0]
        touched = np.flatnonzero((context.offsets[:, 0] < start + len(text)) & (context.offsets[:, 1] > start))
        return (int(touched[0]), int(touched[-1])) if len(touched) else None

    # ------------------------------------------------------------------ learning

    def targets(self, features: Sequence[Feature], width: int) -> Tensor:
        """Return (B, 3): the positions of the answer's first and last token, and the length without padding."""
        return torch.tensor([(*feature.target, feature.length) for feature in features])

    def loss_sum(self, logits: Logits, targets: Tensor) -> Tensor:
        """Return the sum over the batch of the mean of start's and end's cross-entropy. Padding is masked out, so that
        a question's loss does not depend on its batch."""
        first, last, length = targets.unbind(1)
        padding = torch.arange(logits.start.size(1), device=length.device) >= length[:, None]
        begin = self.loss.sum(logits.start.masked_fill(padding, -torch.inf), first)
        end = self.loss.sum(logits.end.masked_fill(padding, -torch.inf), last)
        return (begin + end) / 2

    # ------------------------------------------------------------------ answers

    def outputs(self, logits: Logits, features: Sequence[Feature]) -> list[tuple[float, list[Span]]]:
        """Return each window's score of no answer, and its best spans."""
        starts, ends = to_numpy(logits.start), to_numpy(logits.end)
        found = []
        for row, feature in enumerate(features):
            first, offsets = feature.place
            inside = slice(first, first + len(offsets))
            spans = best_spans(
                starts[row, inside], ends[row, inside], offsets, most=self.data_options.max_answer_length,
                count=self.data_options.n_best,
            )  # fmt: skip
            found.append((float(starts[row, NO_ANSWER] + ends[row, NO_ANSWER]), spans))
        return found

    def predictions(
        self, examples: Sequence[QuestionExample], features: Sequence[Feature], outputs: Sequence[Any]
    ) -> list[Found]:
        """Return the best spans of all windows; a question has no answer only if no window shows one."""
        by_example = outputs_by_example(features, outputs)
        predictions = []
        for number, example in enumerate(examples):
            answers = [answer for _, answer in by_example[number]]
            best: dict[tuple[int, int], Span] = {}  # the same span may be in two windows
            for span in (span for _, spans in answers for span in spans):
                place = span.start, span.end
                if place not in best or span.score > best[place].score:
                    best[place] = span
            spans = tuple(heapq.nlargest(self.data_options.n_best, best.values(), key=lambda span: span.score))
            text = example.context[spans[0].start : spans[0].end] if spans else ""
            top = spans[0].score if spans else -np.inf
            predictions.append(Found(spans, text, min(no_answer for no_answer, _ in answers) - top))
        return predictions

    def metrics(self, examples: Sequence[QuestionExample], predictions: Sequence[Found]) -> dict[str, float]:
        """Return exact and f1, with the threshold if there is one; also by kind if some questions have no answer."""
        texts, no_answer = _by_id(examples, predictions)
        answered = all(example.answers for example in examples)
        figures = squad_scores(
            examples, texts, version_2=not answered, no_answer_scores=no_answer,
            threshold=self.data_options.no_answer_threshold,
        )  # fmt: skip
        if answered:
            return figures
        best = best_threshold(examples, texts, no_answer)
        return figures | {"best_f1": best.best, "best_f1_threshold": best.threshold}

    def nothing_learned(self, examples: Sequence[QuestionExample], predictions: Sequence[Found]) -> str:
        wanted = [found for example, found in zip(examples, predictions, strict=True) if example.answers]
        return "no question was answered" if wanted and all(map(self._unanswered, wanted)) else ""

    def _unanswered(self, found: Found) -> bool:
        threshold = self.data_options.no_answer_threshold
        return not found.spans or (threshold is not None and found.no_answer_score > threshold)

    def tuned(self, examples: Sequence[QuestionExample], predictions: Sequence[Found], metric: str) -> Self:
        """Return the task with the no-answer threshold that is best on these examples, if some have no answer."""
        if self.data_options.no_answer_threshold is not None or all(example.answers for example in examples):
            return self
        threshold = best_threshold(examples, *_by_id(examples, predictions), metric).threshold
        return self.with_data_options(replace(self.data_options, no_answer_threshold=threshold))

    def answer(self, example: QuestionExample, prediction: Found) -> dict[str, Any]:
        """Return the answer with its characters, "" for no answer, and the n best spans with their probabilities."""
        scores = torch.tensor([span.score for span in prediction.spans], dtype=torch.float64)
        candidates = [
            {"text": example.context[span.start : span.end], **span._asdict(), "probability": share}
            for span, share in zip(prediction.spans, scores.softmax(-1).tolist(), strict=True)
        ]
        best = {"answer": "", "start": None, "end": None, "score": None}
        if not self._unanswered(prediction):
            best = {"answer": prediction.text, **{name: candidates[0][name] for name in ("start", "end", "score")}}
        sureness = prediction.no_answer_score if prediction.spans else None  # infinite, which JSON cannot express
        return {"id": example.id, "question": example.question, **best, "no_answer_score": sureness,
                "n_best": candidates}  # fmt: skip


def _by_id(examples: Sequence[QuestionExample], predictions: Sequence[Found]) -> tuple[dict[Id, str], dict[Id, float]]:
    """Return texts and no-answer scores, as `squad_scores` takes them."""
    found = {example.id: prediction for example, prediction in zip(examples, predictions, strict=True)}
    return {id: one.text for id, one in found.items()}, {id: one.no_answer_score for id, one in found.items()}


def best_spans(
    starts: NDArray[np.float32], ends: NDArray[np.float32], offsets: NDArray[np.int64], *, most: int, count: int
) -> list[Span]:
    """Return the `count` best spans of at most `most` tokens.

    starts, ends: (t,) scores of the passage's tokens; offsets: (t, 2) their characters.
    """
    size = len(starts)
    if not size:
        return []
    lengths = min(most, size)
    scores = np.full((lengths, size), -np.inf, np.float32)  # row d: spans of d + 1 tokens; column: their first token
    for longer in range(lengths):
        scores[longer, : size - longer] = starts[: size - longer] + ends[longer:]
    flat = scores.ravel()
    chosen = np.argpartition(-flat, min(count, len(flat)) - 1)[:count]
    chosen = chosen[np.argsort(-flat[chosen], kind="stable")]
    spans = []
    for longer, first in zip(*np.unravel_index(chosen, scores.shape), strict=True):
        if np.isfinite(scores[longer, first]):
            last = first + longer
            spans.append(Span(int(offsets[first, 0]), int(offsets[last, 1]), float(scores[longer, first])))
    return spans
