"""Token classification: a tag for each word, or for each character of a text to be cut into words, and what the tags
mark (BERT section 5.3).

A word's label belongs to its first piece. A sentence that is too long for one window has several, which overlap; each
word is trained and predicted in the window that shows the most context around it.
"""

from collections import Counter
from collections.abc import Container, Iterator, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from finetune.data.conll import with_names
from finetune.data.data_options import TagDataOptions
from finetune.data.examples import TaggedExample
from finetune.data.sentences import cut_clusters
from finetune.data.tags import (
    OUTSIDE,
    WORD_SCHEMES,
    WordScheme,
    are_classes,
    check_tags,
    check_word_tags,
    is_tag,
    other_name,
    plain,
    tag_classes,
    tag_ids,
    tag_labels,
)
from finetune.scoring.metrics import ClassFigures, check_metric, entity_figures
from finetune.scoring.tag_scores import TagKind, spans, tag_kind, tag_metrics, words_of
from finetune.tasks.task import Feature, Logits, Task, outputs_by_example, to_numpy
from minibert.errors import InputError, plural
from minibert.files import writing
from minibert.files.text import read_lines
from minibert.heads import BertForTokenClassification
from minibert.tokenizer import Tokenizer
from minibert.tokenizer.vocabulary import in_running_text

NO_VALUE = "_"  # as CoNLL-U has it
WORD_LIST = "words.txt"  # beside the model: the words that it was trained on, for the recall of others
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
    known: frozenset[str] = frozenset()  # in word segmentation, the words that were trained on

    def __init__(self, data_options: TagDataOptions, tokenizer: Tokenizer, labels: tuple[str, ...] = ()) -> None:
        """Raises InputError if texts are to be cut into words, but the labels are not the tags of the scheme."""
        super().__init__(data_options, tokenizer, labels)
        scheme = data_options.scheme
        if data_options.cuts_words and tuple(map(plain, labels)) != tuple(map(plain, WORD_SCHEMES[scheme].tags)):
            expected = ", ".join(WORD_SCHEMES[scheme].tags)
            raise InputError(f"--scheme {scheme}: the model's labels are {', '.join(labels):.60}, expected {expected}")

    @classmethod
    def found_in(
        cls, data_options: TagDataOptions, tokenizer: Tokenizer, examples: Sequence[TaggedExample], path: str
    ) -> Self:
        data_options = with_names(data_options, path)
        if data_options.cuts_words:
            check_word_tags(examples, data_options.scheme, fix=data_options.fix_tags)
            return cls(data_options, tokenizer, WORD_SCHEMES[data_options.scheme].tags)
        if data_options.scheme == "none" or are_classes(examples, data_options.scheme, fix=data_options.fix_tags):
            labels = tag_classes(examples, path, sure=data_options.scheme == "none")
            return cls(replace(data_options, scheme="none"), tokenizer, labels)
        checked, scheme = check_tags(examples, data_options.scheme, fix=data_options.fix_tags)
        return cls(replace(data_options, scheme=scheme), tokenizer, tag_labels(checked, scheme, path))

    @property
    def kind(self) -> TagKind:
        """What the tags mark; for a model that was trained elsewhere, its labels tell."""
        if self.data_options.scheme == "auto":
            return "entities" if all(map(is_tag, self.labels)) else "classes"
        return tag_kind(self.data_options)

    def checked(self, examples: Sequence[TaggedExample], *, training: bool) -> tuple[list[TaggedExample], str]:
        if self.kind == "classes":
            tag_ids(examples, self.labels)
            why = ", as none has a prefix such as B- before a type" if are_classes(examples) else ""
            return list(examples), f"tags are {len(self.labels)} classes{why}" if training else ""
        if self.kind == "words":
            checked = check_word_tags(examples, self.data_options.scheme, fix=self.data_options.fix_tags)
            return checked, plural(len(different_words(checked)), "different word") if training else ""
        checked, scheme = check_tags(examples, self.data_options.scheme, fix=self.data_options.fix_tags)
        self._tag_ids(checked)
        other = f", written as {name}" if (name := other_name(examples)) else ""
        return checked, f"tags are {scheme.upper()}{other}" if training else ""

    def _tag_ids(self, examples: Sequence[TaggedExample]) -> list[list[int]]:
        """Return the ids of checked tags; a model that was trained elsewhere may have other names for them."""
        return tag_ids(examples, self.labels if self.kind == "classes" else list(map(plain, self.labels)))

    def occurrences(self, examples: Sequence[TaggedExample]) -> Counter[str]:
        tags = Counter(tag for example in examples for tag in example.tags or ())
        if self.kind == "classes":
            return tags
        names = dict(zip(map(plain, self.labels), self.labels, strict=True))
        found = Counter[str]()
        for tag, count in tags.items():
            found[names.get(plain(tag), tag)] += count
        return found

    def support(self, examples: Sequence[TaggedExample]) -> Counter[str]:
        return Counter(span.type for example in examples for span in spans(self.kind, example, example.tags or ()))

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
        """Return the tags of each sentence: each word's likeliest, or the likeliest that cut a text into words. A word
        without pieces is O, or _ if tags are classes."""
        found = outputs_by_example(features, outputs)
        unseen = NO_VALUE if self.kind == "classes" else OUTSIDE
        predictions = []
        for number, example in enumerate(examples):
            shares = np.ones((len(example.words), len(self.labels)), np.float32)
            seen = np.zeros(len(example.words), bool)
            for feature, scores in found[number]:
                shares[feature.place[0]] = torch.from_numpy(scores).softmax(-1).numpy()
                seen[feature.place[0]] = True
            if self.kind == "words":
                starts = {start for start, _ in cut_clusters(example.text)}
                inside = {place for place, (start, _) in enumerate(example.offsets) if start not in starts}
                scheme = WORD_SCHEMES[self.data_options.scheme]
                chosen = cutting_tags(shares, example.offsets, scheme, uncut=inside)
                tags = [self.labels[label] for label in chosen]
            else:
                chosen = shares.argmax(axis=1)
                tags = [self.labels[label] if there else unseen for label, there in zip(chosen, seen, strict=True)]
            predictions.append(Tagged(tuple(tags), tuple(shares[np.arange(len(tags)), chosen].tolist())))
        return predictions

    def metrics(self, examples: Sequence[TaggedExample], predictions: Sequence[Tagged]) -> dict[str, float]:
        """Return the metrics of whole entities or words, or of classes: see `tag_metrics`."""
        return tag_metrics(self.kind, *self._spans(examples, predictions))

    def metric(self, name: str | None) -> str:
        return check_metric(f"tags: {self.kind}", name)

    def nothing_learned(self, examples: Sequence[TaggedExample], predictions: Sequence[Tagged]) -> str:
        golds, found = self._spans(examples, predictions)
        if self.kind == "entities":
            return "no entity was found" if any(golds) and not any(found) else ""
        tags, told = ({tag for one in some for tag in one.tags or ()} for some in (examples, predictions))
        return f"every word was given the tag {told.pop()!r}" if len(tags) > 1 and len(told) == 1 else ""

    def figures(self, examples: Sequence[TaggedExample], predictions: Sequence[Tagged]) -> list[ClassFigures]:
        return entity_figures(*self._spans(examples, predictions))

    def _spans(self, examples: Sequence[TaggedExample], predictions: Sequence[Tagged]) -> tuple[Any, Any]:
        """Return what the tags of each sentence mark, really and as predicted."""
        golds = [spans(self.kind, example, example.tags or (), self.known) for example in examples]
        found = zip(examples, predictions, strict=True)
        return golds, [spans(self.kind, example, prediction.tags, self.known) for example, prediction in found]

    def answer(self, example: TaggedExample, prediction: Tagged) -> dict[str, Any]:
        """Return a tag per word, and the entities; or the words of a text. [start, end) are characters of `text`."""
        named = {} if example.id is None else {"id": example.id}
        tags = {**named, "text": example.text, "words": list(example.words), "tags": list(prediction.tags)}
        if self.kind == "classes":
            return tags
        found = []
        for kind, first, last in spans(self.kind, example, prediction.tags):
            start, end = example.offsets[first][0], example.offsets[last - 1][1]
            score = float(np.mean(prediction.probabilities[first:last]))
            found.append({"type": kind, "text": example.text[start:end], "start": start, "end": end, "score": score})
        if self.kind == "entities":
            return tags | {"entities": found}
        return {**named, "text": example.text, "words": [word["text"] for word in found],
                "offsets": [[word["start"], word["end"]] for word in found]}  # fmt: skip

    # ------------------------------------------------------------------ word lists

    def with_words(self, examples: Sequence[TaggedExample]) -> Self:
        found = copy(self)
        found.known = different_words(examples) if self.kind == "words" else frozenset()
        return found

    def write_beside(self, directory: Path) -> None:
        if self.kind == "words":
            writing.write_whole_text(directory / WORD_LIST, "".join(f"{word}\n" for word in sorted(self.known)))

    def read_beside(self, directory: Path) -> None:
        path = directory / WORD_LIST
        if self.kind == "words" and path.is_file():
            self.known = frozenset(line.rstrip("\n") for _, line in read_lines(str(path)))


def different_words(examples: Sequence[TaggedExample]) -> frozenset[str]:
    """Return the words that the tags of checked examples cut the texts into."""
    return frozenset(word for example in examples for word in words_of(example))


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


def cutting_tags(
    shares: NDArray[np.float32], offsets: Sequence[tuple[int, int]], scheme: WordScheme, *, uncut: Container[int] = ()
) -> NDArray[np.intp]:
    """Return the tags, as indices, of highest probability among those that cut a text into words (Viterbi 1967).

    shares: (n, C) the probabilities of each character's tags. White space in the text, where `offsets` have a gap, ends
    a word: there the tags after it start anew. uncut: where no word begins, as the character before goes on.
    """

    def allowed(before: str, after: str) -> NDArray[np.float64]:
        pairs = [[f"{one}{other}" in scheme.pairs for other in after] for one in before]
        return np.where(pairs, 0.0, -np.inf)

    tags = "".join(scheme.tags)
    inside, begins, ends = allowed(tags, tags), allowed("^", tags)[0], allowed(tags, "$")[:, 0]
    across, within = ends[:, None] + begins, np.where(np.isfinite(begins), -np.inf, inside)
    scores = np.log(np.maximum(shares, 1e-30, dtype=np.float64))
    best, back = begins + scores[0], []  # (C,) the best path to each tag, and where it comes from
    for place in range(1, len(scores)):
        gap = offsets[place][0] > offsets[place - 1][1]
        follows = best[:, None] + (across if gap else within if place in uncut else inside)
        back.append(follows.argmax(axis=0))
        best = follows.max(axis=0) + scores[place]
    path = [int((best + ends).argmax())]
    for origin in reversed(back):
        path.append(int(origin[path[-1]]))
    return np.array(path[::-1], np.intp)
