"""How transformers' own examples prepare each task and read the model's answers: with its tokenizer, its model classes
and its collators. Our readers read the files; none of our other code is used."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from transformers import (
    AutoModelForMultipleChoice,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    DataCollatorForMultipleChoice,
    DataCollatorForTokenClassification,
    DataCollatorWithPadding,
)

from benchmarks.tasks import BENCHMARK_TASKS, FinetuneWork
from finetune.data.examples import QuestionExample

N_BEST = 20
MOST_TOKENS = 30  # in an answer
OUTSIDE = "O"


@dataclass(frozen=True)
class PeerFeature:
    """The model's input made from an example, or from one window of it."""

    example: int  # the number of the example
    inputs: dict[str, Any]  # input_ids and so on, and the targets
    place: Any = None  # what `Recipe.answers` needs to put the answer together

    @property
    def lengths(self) -> list[int]:
        """The number of tokens of each of its sequences: one or, in multiple choice, one for each choice."""
        ids = self.inputs["input_ids"]
        return [len(one) for one in ids] if isinstance(ids[0], list) else [len(ids)]


class Recipe(ABC):
    """One task, done as in transformers' examples."""

    def __init__(self, work: FinetuneWork, train: Sequence[Any]) -> None:
        self.work = work
        self.tokenizer = AutoTokenizer.from_pretrained(work.model)
        self.max_length = BENCHMARK_TASKS[work.task].max_length
        self.collate: Any = DataCollatorWithPadding(self.tokenizer)

    @abstractmethod
    def model(self) -> Any:
        """Return the pretrained encoder with a fresh head."""

    @abstractmethod
    def features(self, examples: Sequence[Any]) -> list[PeerFeature]:
        """Return the features of labelled examples, in their order."""

    @abstractmethod
    def answers(self, examples: Sequence[Any], features: Sequence[PeerFeature], outputs: Sequence[Any]) -> list[Any]:
        """Return an answer for each example, as `benchmarks.scores` takes it; outputs: the logits of each feature."""

    def encoded(self, *texts: Any, **options: Any) -> Any:
        """Tokenize texts, cut off at the maximum length."""
        return self.tokenizer(*texts, truncation=options.pop("truncation", True), max_length=self.max_length, **options)


def inputs_of(encoded: Any, number: int) -> dict[str, Any]:
    """Return what the model reads of one sequence."""
    return {name: encoded[name][number] for name in ("input_ids", "token_type_ids", "attention_mask")}


class Texts(Recipe):
    """As in run_glue: one class or number for each text."""

    def __init__(self, work: FinetuneWork, train: Sequence[Any]) -> None:
        super().__init__(work, train)
        self.labels = [] if work.task == "stsb" else sorted({example.label for example in train})

    def model(self) -> Any:
        fields = {"num_labels": len(self.labels)} if self.labels else {"num_labels": 1, "problem_type": "regression"}
        return AutoModelForSequenceClassification.from_pretrained(self.work.model, **fields)

    def features(self, examples: Sequence[Any]) -> list[PeerFeature]:
        texts = [[example.text for example in examples]]
        if examples[0].pair is not None:
            texts.append([example.pair for example in examples])
        encoded = self.encoded(*texts)
        targets = [self.labels.index(e.label) if self.labels else float(e.label) for e in examples]
        return [PeerFeature(i, {**inputs_of(encoded, i), "labels": targets[i]}) for i in range(len(examples))]

    def answers(self, examples: Sequence[Any], features: Sequence[PeerFeature], outputs: Sequence[Any]) -> list[Any]:
        return [self.labels[int(row.argmax())] if self.labels else float(row[0]) for row in outputs]


class Tags(Recipe):
    """As in run_ner: a word's label is on its first piece."""

    def __init__(self, work: FinetuneWork, train: Sequence[Any]) -> None:
        super().__init__(work, train)
        self.labels = sorted({tag for example in train for tag in example.tags})
        self.collate = DataCollatorForTokenClassification(self.tokenizer)

    def model(self) -> Any:
        return AutoModelForTokenClassification.from_pretrained(self.work.model, num_labels=len(self.labels))

    def features(self, examples: Sequence[Any]) -> list[PeerFeature]:
        encoded = self.encoded([list(example.words) for example in examples], is_split_into_words=True)
        ids = {label: number for number, label in enumerate(self.labels)}
        found = []
        for number, example in enumerate(examples):
            words = encoded.word_ids(number)
            first = [word is not None and word != before for before, word in zip([None, *words], words, strict=False)]
            targets = [
                ids.get(example.tags[word], 0) if begins else -100 for word, begins in zip(words, first, strict=True)
            ]
            place = {words[position]: position for position, begins in enumerate(first) if begins}
            found.append(PeerFeature(number, {**inputs_of(encoded, number), "labels": targets}, place))
        return found

    def answers(self, examples: Sequence[Any], features: Sequence[PeerFeature], outputs: Sequence[Any]) -> list[Any]:
        """Return the label of each word; a word without a piece is O."""
        answers = []
        for example, feature, scores in zip(examples, features, outputs, strict=True):
            best = scores.argmax(-1)
            answers.append(
                [
                    self.labels[best[feature.place[word]]] if word in feature.place else OUTSIDE
                    for word in range(len(example.words))
                ]
            )
        return answers


class Questions(Recipe):
    """As in run_qa: windows with a stride; the best pair of the 20 best beginnings and the 20 best ends."""

    def model(self) -> Any:
        return AutoModelForQuestionAnswering.from_pretrained(self.work.model)

    def features(self, examples: Sequence[QuestionExample]) -> list[PeerFeature]:
        encoded = self.encoded(
            [example.question.lstrip() for example in examples],
            [example.context for example in examples],
            truncation="only_second",
            stride=BENCHMARK_TASKS[self.work.task].stride,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )
        found = []
        for window, number in enumerate(encoded["overflow_to_sample_mapping"]):
            parts, offsets = encoded.sequence_ids(window), encoded["offset_mapping"][window]
            first = parts.index(1)
            last = len(parts) - 1 - parts[::-1].index(1)
            begin, end = answer_tokens(examples[number], offsets, first, last)
            inputs = {**inputs_of(encoded, window), "start_positions": begin, "end_positions": end}
            found.append(PeerFeature(number, inputs, (first, last, offsets)))
        return found

    def answers(self, examples: Sequence[Any], features: Sequence[PeerFeature], outputs: Sequence[Any]) -> list[Any]:
        best = [(-np.inf, "")] * len(examples)
        for feature, (starts, ends) in zip(features, outputs, strict=True):
            score, (begin, end) = best_span(starts, ends, feature.place)
            if score > best[feature.example][0]:
                best[feature.example] = score, examples[feature.example].context[begin:end]
        return [text for _, text in best]


def answer_tokens(example: QuestionExample, offsets: Sequence[Any], first: int, last: int) -> tuple[int, int]:
    """Return the tokens at which the answer begins and ends, or twice that of [CLS] if the window does not hold it all.

    first, last: the first and the last token of the passage in the window.
    """
    text, start = example.answers[0]
    if offsets[first][0] > start or offsets[last][1] < start + len(text):
        return 0, 0
    begin = max(token for token in range(first, last + 1) if offsets[token][0] <= start)
    end = min(token for token in range(first, last + 1) if offsets[token][1] >= start + len(text))
    return begin, end


def best_span(starts: Any, ends: Any, place: Any) -> tuple[float, tuple[int, int]]:
    """Return the best answer of a window: its score, and the characters where it begins and ends."""
    first, last, offsets = place
    best, span = -np.inf, (0, 0)
    for begin in np.argsort(-starts)[:N_BEST].tolist():
        for end in np.argsort(-ends)[:N_BEST].tolist():
            inside = first <= begin <= end <= last and end - begin < MOST_TOKENS
            if inside and starts[begin] + ends[end] > best:
                best, span = float(starts[begin] + ends[end]), (offsets[begin][0], offsets[end][1])
    return best, span


class Choices(Recipe):
    """As in run_swag: a sequence for each choice."""

    def __init__(self, work: FinetuneWork, train: Sequence[Any]) -> None:
        super().__init__(work, train)
        self.collate = DataCollatorForMultipleChoice(self.tokenizer)

    def model(self) -> Any:
        return AutoModelForMultipleChoice.from_pretrained(self.work.model)

    def features(self, examples: Sequence[Any]) -> list[PeerFeature]:
        count = len(examples[0].choices)
        questions = [example.question for example in examples for _ in example.choices]
        encoded = self.encoded(questions, [choice for example in examples for choice in example.choices])
        return [
            PeerFeature(
                i,
                {name: encoded[name][i * count : (i + 1) * count] for name in inputs_of(encoded, 0)}
                | {"labels": example.answer},
            )
            for i, example in enumerate(examples)
        ]

    def answers(self, examples: Sequence[Any], features: Sequence[PeerFeature], outputs: Sequence[Any]) -> list[Any]:
        return [int(row.argmax()) for row in outputs]


RECIPES: dict[str, type[Recipe]] = {
    "cola": Texts,
    "stsb": Texts,
    "wnut17": Tags,
    "squad": Questions,
    "choices": Choices,
}
