"""Vocabularies of BERT's relatives, made in the tests by the libraries that the relatives themselves were made with."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import sentencepiece
import tokenizers
from tokenizers import models, pre_tokenizers, trainers

ROBERTA_SPECIALS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
ALBERT_SPECIALS = ("[CLS]", "[SEP]", "[MASK]")
# The pieces that ALBERT's trainer was given: always cut out of a word.
ALBERT_GIVEN = ("(", ")", '"', "-", ".", "–", "£", "€")


def as_published(token: str) -> dict[str, Any]:
    """How a published config writes the mask: it takes the space before it."""
    flags = {"lstrip": True, "rstrip": False, "normalized": False, "single_word": False}
    return {"__type": "AddedToken", "content": token, **flags}


def write_config(directory: Path, **options: Any) -> Path:
    (directory / "tokenizer_config.json").write_text(json.dumps(options), encoding="utf-8")
    return directory


def roberta_files(directory: Path, texts: Sequence[str], size: int, **options: Any) -> Path:
    """vocab.json and merges.txt, learned by the `tokenizers` library, and a config with these options."""
    directory.mkdir(parents=True, exist_ok=True)
    learner = tokenizers.Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=list(ROBERTA_SPECIALS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    learner.train_from_iterator(texts, trainer)
    learner.model.save(str(directory))
    return write_config(directory, mask_token=as_published("<mask>"), **options)


def albert_files(directory: Path, texts: Sequence[str], size: int, given: Sequence[str] = (), **options: Any) -> Path:
    """spiece.model, learned by SentencePiece with the settings of ALBERT's, and a config with these options."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "spiece.model").open("wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(texts),
            model_writer=file,
            vocab_size=size,
            model_type="unigram",
            pad_id=0,
            unk_id=1,
            bos_id=-1,
            eos_id=-1,
            control_symbols=list(ALBERT_SPECIALS),
            user_defined_symbols=list(given),
            hard_vocab_limit=False,
            num_threads=1,
            minloglevel=2,
        )
    return write_config(directory, mask_token=as_published("[MASK]"), **options)
