"""Token classification: a tag for each word, and the entities that the tags spell (BERT section 5.3).

A word's label belongs to its first piece. A sentence that is too long for one window has several, which overlap; each
word is trained and predicted in the window that shows the most context around it.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from finetune.data.data_options import TagDataOptions
from finetune.data.examples import TaggedExample
from finetune.data.tags import (
    OUTSIDE,
    Entity,
    check_tags,
    entities,
    is_tag,
    other_name,
    plain,
    tag_classes,
    tag_ids,
    tag_labels,
)
from finetune.scoring.metrics import ClassFigures, check_metric, entity_figures, entity_metrics
from finetune.tasks.task import Feature, Logits, Task, outputs_by_example, to_numpy
from minibert.heads import BertForTokenClassification
from minibert.tokenizer import Tokenizer
from minibert.tokenizer.vocabulary import in_running_text

NOT_SCORED = -100  # at pieces that are not a word's first, at padding, and at words that belong to another window


class Tagged(NamedTuple):
    """The prediction for a sentence: a tag for each word, and its probability."""

    tags: tuple[str, ...]
    probabilities: tuple[float, ...]


class TokenClassification(Task[TaggedExample, Tagged]):
    """The token-classification task. A feature's `place` is (indices of its words, positions of their first pieces)."""

    name = "token-classification"
    model_class = BertForTokenClassification
    windowed = True
    data_options: TagDataOptions

    @classmethod
    def found_in(
        cls, data_options: TagDataOptions, tokenizer: Tokenizer, examples: Sequence[TaggedExample], path: str
    ) -> Self:
        if data_options.scheme == "none":
            return cls(data_options, tokenizer, tag_classes(examples, path))
        checked, scheme = check_tags(examples, data_options.scheme, fix=data_options.fix_tags)
        return cls(replace(data_options, scheme=scheme), tokenizer, tag_labels(checked, scheme, path))

    @property
    def spells_entities(self) -> bool:
        """Whether the tags follow a scheme; for a model that was trained elsewhere, whether all its labels do."""
        if self.data_options.scheme == "auto":
            return all(map(is_tag, self.labels))
        return self.data_options.scheme != "none"

    def checked(self, examples: Sequence[TaggedExample], *, training: bool) -> tuple[list[TaggedExample], str]:
        if not self.spells_entities:
            tag_ids(examples, self.labels)
            return list(examples), "tags follow no scheme; each is a class" if training else ""
        checked, scheme = check_tags(examples, self.data_options.scheme, fix=self.data_options.fix_tags)
        self._tag_ids(checked)
        other = f", written as {name}" if (name := other_name(examples)) else ""
        return checked, f"tags are {scheme.upper()}{other}" if training else ""

    def _tag_ids(self, examples: Sequence[TaggedExample]) -> list[list[int]]:
        """Return the ids of checked tags; a model that was trained elsewhere may have other names for them."""
        return tag_ids(examples, list(map(plain, self.labels)) if self.spells_entities else self.labels)

    def occurrences(self, examples: Sequence[TaggedExample]) -> Counter[str]:
        return Counter(tag for example in examples for tag in example.tags or ())

    def head(self) -> dict[str, Any]:
        return {"labels": self.labels}

    def features(self, examples: Sequence[TaggedExample], *, labelled: bool = True) -> list[Feature]:
        words = sorted({word for example in examples for word in example.words})
        # Some words have no pieces at all, such as a lone variation selector.
        pieces = dict(zip(words, self.tokenizer.encode_plain(in_running_text(words)), strict=True))
        tags = self._tag_ids(examples) if labelled else [[0] * len(example.words) for example in examples]
        return [
            feature
            for number, example in enumerate(examples)
            for feature in self._windows(number, [pieces[word] for word in example.words], tags[number])
        ]

    def _windows(self, number: int, words: Sequence[Sequence[int]], tags: Sequence[int]) -> Iterator[Feature]:
        max_length, stride = self.data_options.max_length, self.data_options.stride
        assert max_length is not None and stride is not None  # `fitted` saw to it
        ids = np.array([piece for word in words for piece in word], np.int64)
        lengths = np.array([len(word) for word in words])
        first_pieces = np.cumsum(lengths) - lengths
        there = np.flatnonzero(lengths)  # words that have a piece
        windows = window_bounds(len(ids), max_length - 2, stride)
        owner = best_window(first_pieces[there], windows)
        for window, (start, end) in enumerate(windows):
            mine = there[owner == window]
            positions = first_pieces[mine] - start + 1  # after [CLS]
            target = np.array(tags, np.int64)[mine]
            yield Feature(number, (self.tokenizer.lay_out(ids[start:end]),), target, (mine, positions))

    # ------------------------------------------------------------------ learning

    def targets(self, features: Sequence[Feature], width: int) -> Tensor:
        """Return (B, T) classes, NOT_SCORED where nothing is predicted."""
        found = torch.full((len(features), width), NOT_SCORED)
        for row, feature in enumerate(features):
            found[row, torch.from_numpy(feature.place[1])] = torch.from_numpy(feature.target)
        return found

    def count(self, targets: Tensor) -> float:
        return super().count(targets[targets != NOT_SCORED])

    def loss_sum(self, logits: Logits, targets: Tensor) -> Tensor:
        """Return the cross-entropy at the first pieces of words."""
        scored = targets != NOT_SCORED
        return self.loss.sum(logits[scored], targets[scored])

    # ------------------------------------------------------------------ answers

    def outputs(self, logits: Logits, features: Sequence[Feature]) -> list[NDArray[np.float32]]:
        """Return the scores of each feature's words, (words, C)."""
        scores = to_numpy(logits)
        return [scores[row, feature.place[1]] for row, feature in enumerate(features)]

    def predictions(
        self, examples: Sequence[TaggedExample], features: Sequence[Feature], outputs: Sequence[Any]
    ) -> list[Tagged]:
        """Return the tags of each sentence; a word without pieces is O."""
        found = outputs_by_example(features, outputs)
        predictions = []
        for number, example in enumerate(examples):
            tags, sure = [OUTSIDE] * len(example.words), [1.0] * len(example.words)
            for feature, scores in found[number]:
                shares, labels = torch.from_numpy(scores).softmax(-1).max(-1)
                for word, label, share in zip(feature.place[0].tolist(), labels.tolist(), shares.tolist(), strict=True):
                    tags[word], sure[word] = self.labels[label], share
            predictions.append(Tagged(tuple(tags), tuple(sure)))
        return predictions

    def metrics(self, examples: Sequence[TaggedExample], predictions: Sequence[Tagged]) -> dict[str, float]:
        """Return the metrics of whole entities; if tags spell none, the share of words whose tag is right."""
        metrics = entity_metrics(*self._entities(examples, predictions))
        return metrics if self.spells_entities else {"accuracy": metrics["recall"]}

    def metric(self, name: str | None) -> str:
        return check_metric(self.name if self.spells_entities else "tags of no scheme", name)

    def nothing_learned(self, examples: Sequence[TaggedExample], predictions: Sequence[Tagged]) -> str:
        golds, found = self._entities(examples, predictions)
        if self.spells_entities:
            return "no entity was found" if any(golds) and not any(found) else ""
        tags, told = ({entity.type for one in some for entity in one} for some in (golds, found))
        return f"every word was given the tag {told.pop()!r}" if len(tags) > 1 and len(told) == 1 else ""

    def figures(self, examples: Sequence[TaggedExample], predictions: Sequence[Tagged]) -> list[ClassFigures]:
        return entity_figures(*self._entities(examples, predictions))

    def _entities(self, examples: Sequence[TaggedExample], predictions: Sequence[Tagged]) -> tuple[Any, Any]:
        read = entities if self.spells_entities else words_for_themselves
        golds = [read(example.tags or ()) for example in examples]
        return golds, [read(prediction.tags) for prediction in predictions]

    def answer(self, example: TaggedExample, prediction: Tagged) -> dict[str, Any]:
        """Return a tag per word, and the entities with their [start, end) in characters of `text`."""
        found = []
        for entity in entities(prediction.tags):
            start, end = example.offsets[entity.start][0], example.offsets[entity.end - 1][1]
            score = float(np.mean(prediction.probabilities[entity.start : entity.end]))
            found.append(
                {"type": entity.type, "text": example.text[start:end], "start": start, "end": end, "score": score}
            )
        named = {} if example.id is None else {"id": example.id}
        return {**named, "text": example.text, "words": list(example.words), "tags": list(prediction.tags),
                "entities": found}  # fmt: skip


def words_for_themselves(tags: Sequence[str]) -> list[Entity]:
    """Turn every word into an entity of its own, to score tags that spell no entities."""
    return [Entity(tag, word, word + 1) for word, tag in enumerate(tags)]


def window_bounds(length: int, room: int, stride: int) -> list[tuple[int, int]]:
    """Return [start, end) of windows of `room` tokens that cover a text; each shares `stride` tokens with the next."""
    bounds = [(0, min(room, length))]
    while bounds[-1][1] < length:
        start = bounds[-1][0] + room - stride
        bounds.append((start, min(start + room, length)))
    return bounds


def best_window(positions: NDArray[Any], windows: Sequence[tuple[int, int]]) -> NDArray[np.intp]:
    """Return for each position the first window that maximizes the smaller of its left and right contexts."""
    before = np.array([positions - start for start, _ in windows])
    after = np.array([end - 1 - positions for _, end in windows])
    return np.minimum(before, after).argmax(axis=0)
