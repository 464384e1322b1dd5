"""Held-out figures: what is asked, of whom, and that they don't depend on how it is cut into batches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from minibert.heads import BertForMaskedLM, BertForPreTraining
from minibert.tokenizer import Tokenizer
from minibert.training.device import Precision
from minibert.training.processes import Processes
from pretrain import evaluate
from pretrain.arrays.shards import Manifest, PreparedCorpus, SideCounts, TokenArrays
from pretrain.evaluate import HeldOut, HeldOutFigures, unigram_loss
from tests.helpers import TINY, arrays_of, refusal, seeded

CPU = torch.device("cpu")
FLOAT64 = Precision(torch.float64, "float64", "cpu")


def documents(count: int) -> list[list[list[int]]]:
    rng = np.random.default_rng(4)
    return [[rng.integers(5, 80, size=rng.integers(2, 9)).tolist() for _ in range(6)] for _ in range(count)]


def corpus_of(tokenizer: Tokenizer, heldout: TokenArrays) -> PreparedCorpus:
    counts = SideCounts(0, 0, 0, 0, 0)
    manifest = Manifest(1, {}, 80, tokenizer.fingerprint, "<u2", counts, counts, {}, {}, 0.0, 0)
    token_counts = np.arange(80, dtype=np.int64)
    return PreparedCorpus(Path("arrays"), manifest, arrays_of(documents(2)), heldout, tokenizer, token_counts)


@pytest.fixture
def corpus(tokenizer: Tokenizer) -> PreparedCorpus:
    return corpus_of(tokenizer, arrays_of(documents(40)))


def model_with(architecture: type[BertForPreTraining | BertForMaskedLM]) -> BertForPreTraining | BertForMaskedLM:
    model = architecture(TINY.replace(vocab_size=80, initializer_range=0.3), generator=seeded(1)).double()
    return model.train()  # with dropout, if it were used


def figures(heldout: HeldOut, model: nn.Module, processes: Processes | None = None) -> HeldOutFigures:
    return heldout.figures(model, device=CPU, precision=FLOAT64, processes=processes or Processes())


def targets(heldout: HeldOut) -> int:
    return sum(len(batch.masked_labels) for batch in heldout.batches)


def pairs(heldout: HeldOut) -> int:
    return sum(len(batch.next_sentence_labels) for batch in heldout.batches)


# --- The baseline ----------------------------------------------------------------------------------------------------


def test_the_unigram_loss_by_hand() -> None:
    counts = np.array([1, 3, 0])  # one more of each: 2, 4, 1 of 7
    expected = -(2 * math.log(2 / 7) + math.log(4 / 7) + math.log(1 / 7)) / 4
    assert unigram_loss(counts, np.array([0, 1, 2, 0])) == pytest.approx(expected, rel=1e-12)


def test_the_unigram_loss_is_on_the_same_targets(corpus: PreparedCorpus) -> None:
    heldout = HeldOut(corpus, seq_len=16, objective="nsp")
    labels = torch.cat([batch.masked_labels for batch in heldout.batches]).numpy()
    assert heldout.unigram_loss == pytest.approx(float(np.mean(-np.log((labels + 1) / 3240))), rel=1e-12)


# --- The figures -----------------------------------------------------------------------------------------------------


def test_figures_are_means_over_all_targets(corpus: PreparedCorpus) -> None:
    heldout, model = HeldOut(corpus, seq_len=16, objective="nsp"), model_with(BertForPreTraining)
    found = figures(heldout, model)
    model.eval()
    losses, right, nsp_losses, nsp_right = [], [], [], []
    with torch.no_grad():
        for batch in heldout.batches:
            answer = model(
                batch.input_ids,
                token_type_ids=batch.token_type_ids,
                attention_mask=batch.attention_mask,
                masked_positions=batch.masked_positions,
            )
            mlm = answer.mlm[: len(batch.masked_labels)]
            losses += (-mlm.log_softmax(-1)[range(len(mlm)), batch.masked_labels]).tolist()
            right += (mlm.argmax(-1) == batch.masked_labels).tolist()
            classes = batch.next_sentence_labels
            nsp_losses += (-answer.nsp.log_softmax(-1)[range(len(classes)), classes]).tolist()
            nsp_right += (answer.nsp.argmax(-1) == classes).tolist()
    assert found.mlm_loss == pytest.approx(np.mean(losses), rel=1e-12)
    assert found.mlm_accuracy == np.mean(right)
    assert found.nsp_loss == pytest.approx(np.mean(nsp_losses), rel=1e-12)
    assert found.nsp_accuracy == np.mean(nsp_right)


def test_the_loss_per_byte_is_the_summed_loss_over_the_bytes_of_the_targets(
    corpus: PreparedCorpus, tokenizer: Tokenizer
) -> None:
    heldout = HeldOut(corpus, seq_len=16, objective="nsp")
    labels = torch.cat([batch.masked_labels for batch in heldout.batches]).tolist()
    found = figures(heldout, model_with(BertForPreTraining))
    characters = sum(len(tokenizer.id_to_token(label).removeprefix("##").encode()) for label in labels)
    assert found.mlm_loss_per_byte == pytest.approx(found.mlm_loss * len(labels) / characters, rel=1e-12)


def test_targets_that_are_all_unknown_have_no_loss_per_byte(tokenizer: Tokenizer) -> None:
    unknown = tokenizer.unk_id
    heldout = HeldOut(corpus_of(tokenizer, arrays_of([[[unknown] * 5] * 4] * 9)), seq_len=16, objective="none")
    assert figures(heldout, model_with(BertForMaskedLM)).mlm_loss_per_byte is None


def test_a_model_without_the_next_sentence_head_has_no_figures_of_it(corpus: PreparedCorpus) -> None:
    found = figures(HeldOut(corpus, seq_len=16, objective="none"), model_with(BertForMaskedLM))
    assert (found.nsp_loss, found.nsp_accuracy) == (None, None)
    assert found.mlm_loss > 0


def test_figures_do_not_depend_on_the_number_of_batches(
    corpus: PreparedCorpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_with(BertForPreTraining)
    few = HeldOut(corpus, seq_len=16, objective="nsp")
    monkeypatch.setattr(evaluate, "BATCH_SIZE", 7)
    many = HeldOut(corpus, seq_len=16, objective="nsp")
    assert len(many.batches) > 4 * len(few.batches)
    assert (targets(many), pairs(many)) == (targets(few), pairs(few))
    one, other = figures(few, model), figures(many, model)
    assert other.mlm_loss == pytest.approx(one.mlm_loss, rel=1e-12)
    assert other.nsp_loss == pytest.approx(one.nsp_loss, rel=1e-12)
    assert (other.mlm_accuracy, other.nsp_accuracy) == (one.mlm_accuracy, one.nsp_accuracy)


@dataclass(frozen=True)
class OneOfSeveral(Processes):
    """A process whose sums are written down instead of exchanged."""

    said: list[list[float]] = field(default_factory=list)

    def sum(self, values: Sequence[float]) -> list[float]:
        self.said.append(list(values))
        return list(values)


def test_the_sums_of_all_processes_are_those_of_one(corpus: PreparedCorpus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "BATCH_SIZE", 7)
    heldout, model = HeldOut(corpus, seq_len=16, objective="nsp"), model_with(BertForPreTraining)
    said: list[list[float]] = []
    for rank in range(3):
        figures(heldout, model, OneOfSeveral(rank=rank, world_size=3, said=said))
    figures(heldout, model, OneOfSeveral(said=said))
    assert len(said) == 4
    np.testing.assert_allclose(np.sum(said[:3], axis=0), said[3], rtol=1e-12)


def test_evaluation_drops_nothing_and_leaves_training_on(corpus: PreparedCorpus) -> None:
    heldout, model = HeldOut(corpus, seq_len=16, objective="nsp"), model_with(BertForPreTraining)
    assert figures(heldout, model) == figures(heldout, model)
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    model.eval()
    figures(heldout, model)
    assert not model.training


# --- The targets -----------------------------------------------------------------------------------------------------


def test_the_targets_are_always_the_same(corpus: PreparedCorpus) -> None:
    one, two = (HeldOut(corpus, seq_len=16, objective="nsp") for _ in range(2))
    for a, b in zip(one.batches, two.batches, strict=True):
        assert a.input_ids.tolist() == b.input_ids.tolist()
        assert a.masked_positions.tolist() == b.masked_positions.tolist()
        assert a.masked_labels.tolist() == b.masked_labels.tolist()


def test_fifteen_percent_of_the_text_are_targets(tokenizer: Tokenizer) -> None:
    heldout = HeldOut(corpus_of(tokenizer, arrays_of(documents(300))), seq_len=64, objective="nsp")
    text = sum(batch.tokens - 3 * len(batch.input_ids) for batch in heldout.batches)
    assert targets(heldout) / text == pytest.approx(0.15, abs=0.005)


def test_one_epoch_of_the_held_out_side_is_evaluated(tokenizer: Tokenizer) -> None:
    arrays = arrays_of([[[token] * 3 for token in range(5, 80)]])  # one document: each sentence a token of its own
    heldout = HeldOut(corpus_of(tokenizer, arrays), seq_len=16, objective="none")
    text = torch.cat([batch.input_ids.flatten() for batch in heldout.batches])
    labels = torch.cat([batch.masked_labels for batch in heldout.batches])
    assert set(range(5, 80)) <= set(text.tolist()) | set(labels.tolist())
    assert sum(batch.tokens - 2 * len(batch.input_ids) for batch in heldout.batches) <= 75 * 3


def test_sentences_that_are_not_scored_are_not_asked_for(tokenizer: Tokenizer) -> None:
    seen_in_training, new = list(range(5, 40)), list(range(40, 80))
    text = [[seen_in_training[d : d + 5], new[d : d + 5]] * 3 for d in range(30)]
    heldout = HeldOut(corpus_of(tokenizer, arrays_of(text, scored=[False, True] * 90)), seq_len=32, objective="nsp")
    labels = torch.cat([batch.masked_labels for batch in heldout.batches])
    assert int(labels.min()) >= 40
    assert len(labels) > 30


def test_nothing_to_score_is_refused(tokenizer: Tokenizer) -> None:
    text = documents(4)
    corpus = corpus_of(tokenizer, arrays_of(text, scored=[False] * 24))
    assert refusal(lambda: HeldOut(corpus, seq_len=16, objective="nsp")) == (
        "arrays: every held-out paragraph also occurs in the training documents, so nothing is left to evaluate on"
    )


def test_of_a_large_held_out_side_a_part_is_evaluated(corpus: PreparedCorpus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "MOST_TOKENS", 80 * 16)
    assert pairs(HeldOut(corpus, seq_len=16, objective="nsp")) == 80
    monkeypatch.setattr(evaluate, "MOST_TOKENS", 5)
    assert pairs(HeldOut(corpus, seq_len=16, objective="nsp")) == 32  # a whole batch at least
