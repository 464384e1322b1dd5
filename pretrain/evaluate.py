"""How well a model does on documents that training never saw.

The held-out pairs and their masks are drawn once, with a fixed seed and at the paper's rate, whatever the run trains
with: figures of different runs on the same arrays compare. A loss over the bytes of the tokens asked for compares
across vocabularies as well: whoever cuts words finely has more tokens, each easier to tell. Tokens of paragraphs that
also stand word for word in the training documents are seen but not asked for.
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

SEED = 20181011  # the day the paper appeared: of no meaning, but always the same
MASK_RATE = 0.15
BATCH_SIZE = 32  # logits of more would take more memory than a training step
MOST_TOKENS = 250_000  # of a very large held-out side a random part is enough: the error of the mean is below 0.01 nats


@dataclass(frozen=True)
class HeldOutFigures:
    """What `summary.json` reports."""

    mlm_loss: float  # nats a masked token
    mlm_loss_per_byte: float | None  # nats a UTF-8 byte of those tokens; None where all are unknown to the vocabulary
    mlm_accuracy: float
    nsp_accuracy: float | None = None  # None where next-sentence prediction is not learned
    nsp_loss: float | None = None  # nats a pair
    sop_accuracy: float | None = None  # the same of sentence order
    sop_loss: float | None = None

    def named(self) -> dict[str, float | None]:
        """By name, as they are reported; those of sentence order only where that is learned."""
        return {name: value for name, value in asdict(self).items() if value is not None or not name.startswith("sop")}


class HeldOut:
    """The held-out batches, made once and kept, and the baseline on the same targets."""

    def __init__(self, corpus: PreparedCorpus, *, seq_len: int, objective: PairObjective) -> None:
        """Raises InputError: nothing is left to score."""
        self.batches = _batches(corpus, PairOptions(seq_len, objective, separators=corpus.tokenizer.separators))
        self.objective = objective
        labels = np.concatenate([batch.masked_labels.numpy() for batch in self.batches])
        if not len(labels):
            raise InputError(f"{corpus.directory}: every held-out paragraph also stands in the training documents")
        self.unigram_loss = unigram_loss(corpus.token_counts, labels)
        self.bytes_a_target = float(corpus.tokenizer.byte_lengths[labels].mean())

    def figures(
        self, model: nn.Module, *, device: torch.device, precision: Precision, processes: Processes
    ) -> HeldOutFigures:
        """Evaluates; every process takes its share of the batches, and all get the figures."""
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
    """MLM and NSP nats, right answers to each, and how many of each. In the end the logits are gone."""
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
    """Mean loss, in nats, of always answering with the training text's token frequencies: the baseline to beat.

    token_counts: (V,) occurrences in the training text, each counted once more so that none is impossible;
    labels: (M,) the tokens that were to be told.
    """
    counts = token_counts.astype(np.float64) + 1
    return float(np.log(counts.sum()) - np.log(counts[labels]).mean())
