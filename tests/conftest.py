"""Fixtures that several folders use. Those of the session are made once; tests don't change them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from minibert import checkpoint
from minibert.heads import BertForPreTraining
from minibert.tokenizer import Tokenizer
from tests.helpers import TINY

SENTENCES = (
    "The cat sat on the mat and the dog sat on the cat.",
    "A dog ran to the house; the cats ran to the dogs.",
    "He bought milk, she bought bread, they went home running.",
)


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    """A tokenizer of exactly 80 tokens: the five special ones, letters, some words and pieces."""
    trained = Tokenizer.train(SENTENCES * 3, vocab_size=80)
    assert trained.vocab_size == 80
    return trained


@pytest.fixture
def model(tokenizer: Tokenizer) -> BertForPreTraining:
    """A tiny pretraining model with that vocabulary."""
    config = TINY.replace(vocab_size=tokenizer.vocab_size)
    return BertForPreTraining(config, generator=torch.Generator().manual_seed(3)).eval()


@pytest.fixture
def model_directory(model: BertForPreTraining, tokenizer: Tokenizer, tmp_path: Path) -> Path:
    """The directory of that model and tokenizer; a test may damage it."""
    checkpoint.save(model, tokenizer, tmp_path / "model")
    return tmp_path / "model"
