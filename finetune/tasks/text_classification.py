"""Text classification: one class, several classes or a number for a text or a pair of texts (BERT section 4.1)."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from finetune.data.data_options import TextDataOptions
from finetune.data.examples import TextExample
from finetune.data.labels import count_labels, counted, find_labels, label_targets
from finetune.data.splits import hold_out, hold_out_groups
from finetune.data.texts import GRADES, is_grade
from finetune.scoring.confusion import draw_confusion
from finetune.scoring.metrics import ClassFigures, check_metric, text_figures, text_metrics
from finetune.scoring.ranking import mrr_by_chance, queries_in, ranking_metrics, with_ranks
from finetune.tasks.task import Feature, Logits, Task, to_numpy
from minibert.errors import InputError
from minibert.heads import BertForSequenceClassification
from minibert.tokenizer import Tokenizer

Scores = NDArray[np.float32]  # (C,): logits, or numbers


class TextClassification(Task[TextExample, Scores]):
    """The text-classification task. A prediction is the model's scores."""

    name = "text-classification"
    model_class = BertForSequenceClassification
    first_token_only = True
    data_options: TextDataOptions

    def __init__(self, data_options: TextDataOptions, tokenizer: Tokenizer, labels: tuple[str, ...] = ()) -> None:
        """Raises InputError if candidates are to be ranked, but a class is not a grade."""
        super().__init__(data_options, tokenizer, labels)
        words = [] if data_options.regression else [label for label in labels if not is_grade(label)]
        if self.ranks and words:
            raise InputError(f"--group-column: the model has the class {words[0]!r:.60}, {GRADES}")

    @property
    def ranks(self) -> bool:
        """Whether examples are candidates, to be ranked by the grade that is expected of them."""
        return self.data_options.group_column is not None

    @classmethod
    def found_in(
        cls, data_options: TextDataOptions, tokenizer: Tokenizer, examples: Sequence[TextExample], path: str
    ) -> Self:
        labels = ("score",) if data_options.regression else find_labels(examples, path)
        return cls(data_options, tokenizer, labels)

    def hold_out(
        self, examples: Sequence[TextExample], *, share: float, generator: np.random.Generator
    ) -> tuple[list[TextExample], list[TextExample]]:
        if self.ranks:
            return hold_out_groups(examples, share=share, generator=generator, group=lambda example: example.group)
        if self.data_options.regression:
            return super().hold_out(examples, share=share, generator=generator)
        return hold_out(examples, share=share, generator=generator, stratum=lambda example: example.label)

    def checked(self, examples: Sequence[TextExample], *, training: bool) -> tuple[list[TextExample], str]:
        self._targets(examples)
        if training and not self.data_options.regression:
            return list(examples), counted(examples, self.labels)
        return list(examples), queries_in(examples) if self.ranks and not training else ""

    def occurrences(self, examples: Sequence[TextExample]) -> Counter[str]:
        return Counter() if self.data_options.regression else count_labels(examples)

    def head(self) -> dict[str, Any]:
        return {"labels": self.labels, "problem_type": self.data_options.problem_type}

    def features(self, examples: Sequence[TextExample], *, labelled: bool = True) -> list[Feature]:
        pairs = None if self.data_options.text_pair_column is None else [example.pair or "" for example in examples]
        texts = [example.text for example in examples]
        targets = self._targets(examples) if labelled else [None] * len(examples)
        found = self.tokenizer.encode(texts, pairs, max_length=self.data_options.max_length)
        return [Feature(number, (encoding,), targets[number]) for number, encoding in enumerate(found)]

    def _targets(self, examples: Sequence[TextExample]) -> list[Any]:
        return label_targets(examples, self.labels, self.data_options.problem_type)

    # ------------------------------------------------------------------ learning

    def targets(self, features: Sequence[Feature], width: int) -> Tensor:
        """Return (B,) classes, or (B, C) numbers."""
        found = [feature.target for feature in features]
        if self.data_options.regression:
            return torch.tensor(found, dtype=torch.float32)[:, None]
        return torch.tensor(found, dtype=torch.float32 if self.data_options.multi_label else torch.int64)

    def count(self, targets: Tensor) -> float:
        return targets.numel() if self.data_options.multi_label else super().count(targets)

    def loss_sum(self, logits: Logits, targets: Tensor) -> Tensor:
        """Return the cross-entropy (binary for several labels), or the squared error of numbers."""
        if self.data_options.regression:
            return F.mse_loss(logits, targets.to(logits.dtype), reduction="sum")
        if self.data_options.multi_label:
            weights = self.loss.weights_for(logits)  # of a label that applies; PyTorch's mean isn't over them
            return F.binary_cross_entropy_with_logits(
                logits, targets.to(logits.dtype), pos_weight=weights, reduction="sum"
            )
        return self.loss.sum(logits, targets)

    # ------------------------------------------------------------------ answers

    def outputs(self, logits: Logits, features: Sequence[Feature]) -> list[Scores]:
        return list(to_numpy(logits))

    def metrics(self, examples: Sequence[TextExample], predictions: Sequence[Scores]) -> dict[str, float]:
        compared = self._compared(examples, predictions)
        ranking = ranking_metrics(examples, list(map(self.score, predictions))) if self.ranks else {}
        return text_metrics(self.data_options.problem_type, *compared, len(self.labels)) | ranking

    def score(self, prediction: Scores) -> float:
        """Return a candidate's score: the expected grade, or the number of a regression.

        In float64, as in float32 all that are nearly certain would be equal.
        """
        if self.data_options.regression:
            return float(prediction[0])
        grades = torch.tensor([float(label) for label in self.labels], dtype=torch.float64)
        return float(torch.from_numpy(prediction).double().softmax(-1) @ grades)

    def _compared(self, examples: Sequence[TextExample], predictions: Sequence[Scores]) -> tuple[list[Any], list[Any]]:
        """Return the targets, and the predictions in the same form."""
        scores = np.stack(predictions)
        if self.data_options.regression:
            answers = scores[:, 0]
        else:
            answers = (scores > 0).astype(int) if self.data_options.multi_label else scores.argmax(axis=1)
        return self._targets(examples), answers.tolist()

    def metric(self, name: str | None) -> str:
        return check_metric(self.data_options.problem_type, name, classes=len(self.labels), ranked=self.ranks)

    def nothing_learned(self, examples: Sequence[TextExample], predictions: Sequence[Scores]) -> str:
        if self.ranks:  # one class for every row, and scores close together, are usual if few candidates are relevant
            chance = mrr_by_chance(examples)
            reached = ranking_metrics(examples, list(map(self.score, predictions)))["mrr"]
            return f"mrr is no better than chance ({chance:.4f})" if reached <= chance and 0 < chance < 1 else ""
        targets, answers = self._compared(examples, predictions)
        if self.data_options.regression:
            return "the scores hardly differ from row to row" if np.ptp(answers) < np.ptp(targets) / 100 else ""
        if self.data_options.multi_label:
            return "" if np.any(answers) else "no label was predicted for any row"
        one = len(set(answers)) == 1 and len(set(targets)) > 1
        return f"the class {self.labels[answers[0]]!r} was predicted for every row" if one else ""

    def figures(self, examples: Sequence[TextExample], predictions: Sequence[Scores]) -> list[ClassFigures]:
        return text_figures(self.data_options.problem_type, *self._compared(examples, predictions), self.labels)

    def draw(self, path: Path, examples: Sequence[TextExample], predictions: Sequence[Scores]) -> bool:
        if self.data_options.problem_type != "single_label_classification":
            return False
        draw_confusion(path, *self._compared(examples, predictions), self.labels)
        return True

    def answer(self, example: TextExample, prediction: Scores) -> dict[str, Any]:
        """Return a label and the probability of each; all labels that apply; or a number. Candidates have a score."""
        asked = {"id": example.id, "group": example.group, "text": example.text, "pair": example.pair}
        asked = {name: value for name, value in asked.items() if value is not None}
        if self.data_options.regression:
            return {**asked, "score": self.score(prediction)}
        scores = torch.from_numpy(prediction)
        shares = (scores.sigmoid() if self.data_options.multi_label else scores.softmax(-1)).tolist()
        probabilities = dict(zip(self.labels, shares, strict=True))
        if self.data_options.multi_label:
            labels = [label for label, score in zip(self.labels, scores.tolist(), strict=True) if score > 0]
            return {**asked, "labels": labels, "probabilities": probabilities}
        score = {"score": self.score(prediction)} if self.ranks else {}
        return {**asked, "label": self.labels[int(prediction.argmax())], "probabilities": probabilities, **score}

    def together(self, answers: Iterable[dict[str, Any]]) -> Iterable[dict[str, Any]]:
        """Return candidates with their rank: all are held until the input ends, as a later one may be better."""
        return with_ranks(answers) if self.ranks else answers
