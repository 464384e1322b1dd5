"""Text classification: one class, several classes or a number for a text or a pair of texts (BERT section 4.1)."""

from collections import Counter
from collections.abc import Sequence
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
from finetune.data.splits import hold_out
from finetune.scoring.confusion import draw_confusion
from finetune.scoring.metrics import ClassFigures, check_metric, text_figures, text_metrics
from finetune.tasks.task import Feature, Logits, Task, to_numpy
from minibert.heads import BertForSequenceClassification
from minibert.tokenizer import Tokenizer

Scores = NDArray[np.float32]  # (C,): logits, or numbers


class TextClassification(Task[TextExample, Scores]):
    """The text-classification task. A prediction is the model's scores."""

    name = "text-classification"
    model_class = BertForSequenceClassification
    first_token_only = True
    data_options: TextDataOptions

    @classmethod
    def found_in(
        cls, data_options: TextDataOptions, tokenizer: Tokenizer, examples: Sequence[TextExample], path: str
    ) -> Self:
        labels = ("score",) if data_options.regression else find_labels(examples, path)
        return cls(data_options, tokenizer, labels)

    def hold_out(
        self, examples: Sequence[TextExample], *, share: float, generator: np.random.Generator
    ) -> tuple[list[TextExample], list[TextExample]]:
        if self.data_options.regression:
            return super().hold_out(examples, share=share, generator=generator)
        return hold_out(examples, share=share, generator=generator, stratum=lambda example: example.label)

    def checked(self, examples: Sequence[TextExample], *, training: bool) -> tuple[list[TextExample], str]:
        self._targets(examples)
        return list(examples), counted(examples, self.labels) if training and not self.data_options.regression else ""

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
        return text_metrics(self.data_options.problem_type, *self._compared(examples, predictions), len(self.labels))

    def _compared(self, examples: Sequence[TextExample], predictions: Sequence[Scores]) -> tuple[list[Any], list[Any]]:
        """Return the targets, and the predictions in the same form."""
        scores = np.stack(predictions)
        if self.data_options.regression:
            answers = scores[:, 0]
        else:
            answers = (scores > 0).astype(int) if self.data_options.multi_label else scores.argmax(axis=1)
        return self._targets(examples), answers.tolist()

    def metric(self, name: str | None) -> str:
        return check_metric(self.data_options.problem_type, name, classes=len(self.labels))

    def nothing_learned(self, examples: Sequence[TextExample], predictions: Sequence[Scores]) -> str:
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
        """Return a label and the probability of each; all labels that apply; or a number."""
        asked = {"id": example.id, "text": example.text, "pair": example.pair}
        asked = {name: value for name, value in asked.items() if value is not None}
        if self.data_options.regression:
            return {**asked, "score": float(prediction[0])}
        scores = torch.from_numpy(prediction)
        shares = (scores.sigmoid() if self.data_options.multi_label else scores.softmax(-1)).tolist()
        probabilities = dict(zip(self.labels, shares, strict=True))
        if self.data_options.multi_label:
            labels = [label for label, score in zip(self.labels, scores.tolist(), strict=True) if score > 0]
            return {**asked, "labels": labels, "probabilities": probabilities}
        return {**asked, "label": self.labels[int(prediction.argmax())], "probabilities": probabilities}
