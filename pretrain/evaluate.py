"""How well a model does on documents that training never saw.

The held-out pairs and their masks are drawn once, with a fixed seed and the paper's masking rate, whatever the run
trains with: figures of different runs on the same arrays can be compared. The loss per byte of the masked tokens can
also be compared across vocabularies: one that splits words finely has more tokens, each easier to predict. Tokens of
paragraphs that also occur word for word in the training documents are not scored.
"""

from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import nn

from minibert.errors import InputError
from minibert.training.device import Precision
from minibert.training.processes import Processes
from pretrain.arrays.shards import PreparedCorpus
from pretrain.batches.batch import BatchMaker, PretrainBatch
from pretrain.batches.masking import Masker
from pretrain.batches.pairs import PairObjective, PairOptions, PairPlan
from pretrain.loss import loss_sums, predict, right_answers

SEED = 20181011  # the day the paper appeared; any fixed number would do
MASK_RATE = 0.15
BATCH_SIZE = 32  # the logits of more would take more memory than a training step
MOST_TOKENS = 250_000  # of a larger held-out side a random part is enough: the error of the mean is below 0.01 nats


@dataclass(frozen=True)
class HeldOutFigures:
    """The held-out figures, as `summary.json` reports them."""

    mlm_loss: float  # nats per masked token
    mlm_loss_per_byte: float | None  # nats per UTF-8 byte of those tokens; None if all are unknown to the vocabulary
    mlm_accuracy: float
    nsp_accuracy: float | None = None  # None unless the model is trained on next-sentence prediction
    nsp_loss: float | None = None  # nats per pair
    sop_accuracy: float | None = None  # likewise for sentence order
    sop_loss: float | None = None

    def named(self) -> dict[str, float | None]:
        """Return the reported figures by name; those of sentence order only if it was trained on."""
        return {name: value for name, value in asdict(self).items() if value is not None or not name.startswith("sop")}


class HeldOut:
    """The held-out batches, made once and kept, and the unigram baseline on the same masked tokens."""

    def __init__(self, corpus: PreparedCorpus, *, seq_len: int, objective: PairObjective) -> None:
        """Raises InputError if nothing is left to score."""
        self.batches = _batches(corpus, PairOptions(seq_len, objective, separators=corpus.tokenizer.separators))
        self.objective = objective
        labels = np.concatenate([batch.masked_labels.numpy() for batch in self.batches])
        if not len(labels):
            raise InputError(
                f"{corpus.directory}: every held-out paragraph also occurs in the training documents, so nothing is "
                "left to evaluate on"
            )
        self.unigram_loss = unigram_loss(corpus.token_counts, labels)
        self.bytes_a_target = float(corpus.tokenizer.byte_lengths[labels].mean())

    def figures(
        self, model: nn.Module, *, device: torch.device, precision: Precision, processes: Processes
    ) -> HeldOutFigures:
        """Evaluate the model: every process takes its share of the batches, and all get the figures."""
        was_training = model.training
        model.eval()
        sums = np.zeros(6)
        with torch.inference_mode(), precision.autocast():
            for held in self.batches[processes.rank :: processes.world_size]:
                sums += batch_sums(model, held.to(device))
        model.train(was_training)
        mlm, nsp, mlm_right, nsp_right, masked, pairs = processes.sum(sums.tolist())
        name = self.objective
        of_pairs = {f"{name}_loss": nsp / pairs, f"{name}_accuracy": nsp_right / pairs} if name != "none" else {}
        return HeldOutFigures(
            mlm_loss=mlm / masked,
            mlm_loss_per_byte=mlm / masked / self.bytes_a_target if self.bytes_a_target else None,
            mlm_accuracy=mlm_right / masked,
            **of_pairs,
        )


def batch_sums(model: nn.Module, batch: PretrainBatch) -> list[float]:
    """Return the MLM and pair losses in nats, the correct predictions and the counts of both; the logits are freed."""
    answer = predict(model, batch)
    nats, right = loss_sums(answer, batch), right_answers(answer, batch)
    counts = len(batch.masked_labels), len(batch.next_sentence_labels)
    return [*map(float, nats), *map(float, right), *counts]


def _batches(corpus: PreparedCorpus, options: PairOptions) -> list[PretrainBatch]:
    arrays = corpus.heldout
    plan = PairPlan(arrays, options, seed=SEED)
    masker = Masker.of(corpus.tokenizer, rate=MASK_RATE, whole_words=False)
    scored = np.repeat(arrays.scored, np.diff(arrays.sentence_starts))
    maker = BatchMaker(arrays, corpus.tokenizer, options, masker, seed=SEED, scored=scored)
    pairs = min(sum(map(len, plan.epoch(0))), max(BATCH_SIZE, MOST_TOKENS // options.seq_len))
    parts = -(-pairs // BATCH_SIZE)
    return maker.micro_batches(plan, start=0, stop=pairs, parts=parts)


def unigram_loss(token_counts: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean loss, in nats, of always predicting the training text's token frequencies: the baseline to beat.

    token_counts: (V,) occurrences in the training text; 1 is added to each, so that no token is impossible; labels:
    (M,) the masked tokens.
    """
    counts = token_counts.astype(np.float64) + 1
    return float(np.log(counts.sum()) - np.log(counts[labels]).mean())
