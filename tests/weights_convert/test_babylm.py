"""An export in the hands of a BabyLM pipeline: `AutoTokenizer` with offsets, `AutoModelForMaskedLM`, each token masked.

The loop is that of the challenge's evaluation of 2025 (sentence_zero_shot): a token counts if its offsets end after the
text's beginning, and the model gets ids and an attention mask, nothing else.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

import minibert
from minibert import checkpoint
from minibert.heads import BertForMaskedLM, BertForPreTraining, Model
from minibert.tokenizer import Tokenizer
from minibert.tokenizer.vocabulary import Kind
from tests.conftest import SENTENCES
from tests.helpers import FAMILY, TINY, randomize, seeded
from weights_convert.convert import to_hf

SIZES: dict[Kind, int] = {"wordpiece": 80, "bpe": 300, "unigram": 60}
TEXTS = ["The man went to the store.", "  he bought unbelievable bread !", "A café, 中国 zebra-like; 7 cats'"]


@pytest.fixture(params=["wordpiece nsp", "wordpiece", "bpe", "bpe roberta", "unigram"])
def directories(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Path]:
    """A random model with a trained vocabulary, and its export."""
    kind, _, shape = request.param.partition(" ")
    tokenizer = Tokenizer.train(SENTENCES, vocab_size=SIZES[kind], kind=kind)
    config = FAMILY["roberta"] if shape == "roberta" else TINY
    config = config.replace(vocab_size=tokenizer.vocab_size, pad_token_id=tokenizer.pad_id, max_position_embeddings=70)
    model = (BertForPreTraining if shape == "nsp" else BertForMaskedLM)(config, generator=seeded(1)).eval()
    randomize(model, seed=4)
    checkpoint.save(model, tokenizer, tmp_path / "ours")
    to_hf(tmp_path / "ours", tmp_path / "hf")
    return tmp_path / "ours", tmp_path / "hf"


def pipeline_scores(directory: Path) -> list[float]:
    """Each text's Σ log p(token | all others), as a user of transformers computes it."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
    model = transformers.AutoModelForMaskedLM.from_pretrained(directory).eval()
    return [pipeline_score(model, tokenizer, text) for text in TEXTS]


@torch.inference_mode()
def pipeline_score(model: Any, tokenizer: Any, text: str) -> float:
    encoded = tokenizer(text=text, return_offsets_mapping=True)
    tokens = torch.tensor(encoded["input_ids"])
    places = [place for place, (_, end) in enumerate(encoded["offset_mapping"]) if end > 0]
    masked = tokens.repeat(len(places), 1)
    masked[range(len(places)), places] = tokenizer.mask_token_id
    logits = model(input_ids=masked, attention_mask=torch.ones_like(masked)).logits
    log_probabilities = logits[range(len(places)), places].log_softmax(-1)
    return float(log_probabilities[range(len(places)), tokens[places]].sum())


@torch.inference_mode()
def our_score(model: Model, tokenizer: Tokenizer, text: str) -> float:
    """The same sum by minibert's model and tokenizer."""
    batch = tokenizer(text)
    total = 0.0
    for place in range(1, batch.input_ids.size(1) - 1):  # all but the special tokens at both ends
        masked = batch.input_ids.clone()
        masked[0, place] = tokenizer.mask_id
        hidden = model.encoder(masked, token_type_ids=batch.token_type_ids, attention_mask=batch.attention_mask)
        total += float(model.mlm_head(hidden[0, place]).log_softmax(-1)[batch.input_ids[0, place]])
    return total


def test_every_token_masked_in_turn_has_the_same_log_probability(directories: tuple[Path, Path]) -> None:
    ours, hf = directories
    model, tokenizer = minibert.load(ours)
    assert pipeline_scores(hf) == pytest.approx([our_score(model, tokenizer, text) for text in TEXTS], abs=1e-4)


def test_the_tokenizer_has_all_that_a_pipeline_asks_for(directories: tuple[Path, Path]) -> None:
    ours, hf = directories
    model, own = minibert.load(ours)
    for load in (transformers.AutoTokenizer, transformers.AutoProcessor):  # the pipeline of 2025 takes the second
        tokenizer = load.from_pretrained(hf, padding_side="right")
        special = (tokenizer.mask_token_id, tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.pad_token_id)
        assert tokenizer.is_fast
        assert special == (own.mask_id, own.cls_id, own.sep_id, own.pad_id)
        assert tokenizer.model_max_length == model.config.longest
        padded = tokenizer(TEXTS, padding=True, return_tensors="pt")
        assert padded["attention_mask"].sum(1).tolist() == [len(tokenizer(text)["input_ids"]) for text in TEXTS]


def test_an_export_saved_again_scores_the_same(directories: tuple[Path, Path], tmp_path: Path) -> None:
    _, hf = directories
    transformers.AutoModelForMaskedLM.from_pretrained(hf).save_pretrained(tmp_path / "again")
    transformers.AutoTokenizer.from_pretrained(hf).save_pretrained(tmp_path / "again")
    assert pipeline_scores(tmp_path / "again") == pipeline_scores(hf)
