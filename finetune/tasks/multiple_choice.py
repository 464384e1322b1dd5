"""Multiple choice: which of several answers goes with a question (BERT section 4.4).

Questions may have different numbers of choices. For the encoder, all choices of a batch are S sequences, (S, T); this
module knows which belong together, and compares scores only within a question.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from finetune.data.data_options import ChoiceDataOptions
from finetune.data.examples import ChoiceExample
from finetune.tasks.task import Feature, Logits, Task, to_numpy
from minibert.heads import BertForMultipleChoice

Scores = NDArray[np.float32]  # (C,): the score of each choice of a question


class MultipleChoice(Task[ChoiceExample, Scores]):
    """The multiple-choice task. A prediction is the scores of a question's choices."""

    name = "multiple-choice"
    model_class = BertForMultipleChoice
    first_token_only = True
    data_options: ChoiceDataOptions

    def features(self, examples: Sequence[ChoiceExample], *, labelled: bool = True) -> list[Feature]:
        questions = [example.question for example in examples for _ in example.choices]
        choices = [choice for example in examples for choice in example.choices]
        found = self.tokenizer.encode(questions, choices, max_length=self.data_options.max_length)
        return [
            Feature(number, tuple(next(found) for _ in example.choices), example.answer)
            for number, example in enumerate(examples)
        ]

    # ------------------------------------------------------------------ learning

    def targets(self, features: Sequence[Feature], width: int) -> Tensor:
        """Return (B, 2): each question's number of choices, and which of them is right."""
        return torch.tensor([(len(feature.sequences), feature.target) for feature in features])

    def loss_sum(self, logits: Logits, targets: Tensor) -> Tensor:
        """Return the cross-entropy over each question's own choices. logits: (S,), the score of every choice."""
        counts, answers = targets.unbind(1)
        scores = logits.split(counts.tolist())
        return self.loss.sum(pad_sequence(list(scores), True, -torch.inf), answers)

    # ------------------------------------------------------------------ answers

    def outputs(self, logits: Logits, features: Sequence[Feature]) -> list[Scores]:
        ends = np.cumsum([len(feature.sequences) for feature in features])
        return np.split(to_numpy(logits), ends[:-1])

    def metrics(self, examples: Sequence[ChoiceExample], predictions: Sequence[Scores]) -> dict[str, float]:
        """Return the share of questions answered correctly."""
        right = [scores.argmax() == example.answer for example, scores in zip(examples, predictions, strict=True)]
        return {"accuracy": float(np.mean(right))}

    def nothing_learned(self, examples: Sequence[ChoiceExample], predictions: Sequence[Scores]) -> str:
        chance = float(np.mean([1 / len(example.choices) for example in examples]))
        worse = self.metrics(examples, predictions)["accuracy"] <= chance
        return f"accuracy is no better than chance ({chance:.4f})" if worse else ""

    def answer(self, example: ChoiceExample, prediction: Scores) -> dict[str, Any]:
        """Return the chosen answer and its index, and the score and probability of every choice."""
        best = int(prediction.argmax())
        shares = torch.from_numpy(prediction).softmax(-1).tolist()
        named = {} if example.id is None else {"id": example.id}
        return {**named, "question": example.question, "answer": best, "choice": example.choices[best],
                "scores": prediction.tolist(), "probabilities": shares}  # fmt: skip
