"""Directories that other versions of transformers saved (`saved_by/make.py`): read, and back to the installed one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor

import minibert
from minibert.heads import Model
from minibert.tokenizer import Tokenizer
from tests.weights_convert.saved_by.make import FIRST, HERE, MODELS, PAIR, TEXTS, TOKENIZERS
from weights_convert.convert import from_hf, read_hf, to_hf

VERSIONS = ("4.30", "4.57", "5.23")
# Version, family, model; and the same of tokenizers, of which version 5 has the fast ones alone.
SAVED = [(version, family, suffix) for version in VERSIONS for family in MODELS for suffix in MODELS[family]]
FORMS = [
    (version, family, form)
    for version in VERSIONS
    for family in TOKENIZERS
    for form in TOKENIZERS[family]
    if version != "5.23" or form.startswith("fast")
]
SAVED += [("first", family, suffix) for family, suffix in FIRST.items()]
FORMS += [("first", family, "slow") for family in FIRST]


def directory_of(version: str, family: str, suffix: str, form: str, out: Path) -> Path:
    """A model and a tokenizer in one directory, as users have them."""
    for part in (suffix, form):
        shutil.copytree(HERE / version / family / part, out, dirs_exist_ok=True)
    return out


def first_form(version: str, family: str) -> str:
    """The tokenizer with whose ids the numbers of a model were made."""
    return next(form for of, kind, form in FORMS if (of, kind) == (version, family))


def first_suffix(version: str, family: str) -> str:
    return next(suffix for of, kind, suffix in SAVED if (of, kind) == (version, family))


def answers(version: str, family: str) -> dict[str, Any]:
    return json.loads((HERE / version / family / "answers.json").read_text(encoding="utf-8"))


def texts_for(mask: str) -> tuple[tuple[str, ...], ...]:
    """The texts, and the pair."""
    first, second, *pair = (text.replace("[MASK]", mask) for text in (*TEXTS, *PAIR))
    return (first,), (second,), tuple(pair)


def our_ids(tokenizer: Tokenizer) -> list[list[int]]:
    return [tokenizer(*texts).input_ids[0].tolist() for texts in texts_for(tokenizer.special_tokens.mask)]


def their_ids(directory: Path) -> list[list[int]]:
    tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
    return [tokenizer(*texts)["input_ids"] for texts in texts_for(tokenizer.mask_token)]


Numbers = dict[str, list[Tensor]]


def recorded(version: str, family: str, suffix: str) -> Numbers:
    numbers = answers(version, family)["numbers"][suffix]
    return {name: list(map(torch.tensor, of_texts)) for name, of_texts in numbers.items()}


@torch.inference_mode()
def our_numbers(model: Model, tokenizer: Tokenizer, names: tuple[str, ...]) -> Numbers:
    found: Numbers = {name: [] for name in names}
    for texts in texts_for(tokenizer.special_tokens.mask):
        batch = tokenizer(*texts)
        inputs: dict[str, Tensor] = {"input_ids": batch.input_ids, "token_type_ids": batch.token_type_ids}
        if hasattr(model, "mlm_head"):
            inputs["masked_positions"] = (batch.input_ids == tokenizer.mask_id).flatten().nonzero().flatten()
        answer = model(**inputs)
        for name, output in zip(names, answer if isinstance(answer, tuple) else (answer,), strict=True):
            found[name].append(output.flatten())
    return found


@torch.inference_mode()
def their_numbers(directory: Path, suffix: str, names: tuple[str, ...]) -> Numbers:
    task = suffix.removeprefix("Model")
    model = getattr(transformers, f"AutoModel{task}").from_pretrained(directory).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
    found: Numbers = {name: [] for name in names}
    for texts in texts_for(tokenizer.mask_token):
        inputs = tokenizer(*texts, return_tensors="pt")
        for name, output in model(**inputs).items():
            if output.shape[-1] == model.config.vocab_size:
                output = output[inputs["input_ids"] == tokenizer.mask_token_id]
            found[name].append(output.flatten())
    return found


def assert_agree(found: Numbers, expected: Numbers) -> None:
    """Within float32's bound of docs/verification.md."""
    for name in expected:
        for ours, theirs in zip(found[name], expected[name], strict=True):
            largest = theirs.abs().max().item() if len(theirs) else 0.0
            torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-5 * max(1.0, largest))


@pytest.mark.parametrize(("version", "family", "suffix"), SAVED)
def test_a_model_answers_as_the_version_that_saved_it(version: str, family: str, suffix: str, tmp_path: Path) -> None:
    directory = directory_of(version, family, suffix, first_form(version, family), tmp_path / "hf")
    conversion = read_hf(directory)
    expected = recorded(version, family, suffix)
    assert_agree(our_numbers(conversion.model, conversion.tokenizer, tuple(expected)), expected)


@pytest.mark.parametrize(("version", "family", "suffix"), SAVED)
def test_back_in_the_installed_version_it_answers_the_same(
    version: str, family: str, suffix: str, tmp_path: Path
) -> None:
    directory = directory_of(version, family, suffix, first_form(version, family), tmp_path / "hf")
    from_hf(directory, tmp_path / "ours")
    to_hf(tmp_path / "ours", tmp_path / "back")
    expected = recorded(version, family, suffix)
    assert_agree(their_numbers(tmp_path / "back", suffix, tuple(expected)), expected)


# Where our ids are not those of the version that saved: for the first text and the pair. To the fast ALBERTs of version
# 4 the space before an added token is a word of its own, to ours, as to version 5, white space alone parts words.
OTHERWISE: dict[tuple[str, str, str], tuple[str, str]] = {
    ("4.30", "albert", "fast-added"): (
        "[CLS] ▁t h e ▁b a k e r [X] covid ▁ , ▁ 2 , 0 00 ▁ ( t w o ) ▁ n ai ve . [SEP]",
        "[CLS] ▁t h e ▁ m a n [SEP] ▁s o l d ▁b r e a d ▁t o covid [MASK] [SEP]",
    ),
    ("4.57", "albert", "fast-added"): (
        "[CLS] ▁t h e ▁b a k e r [X] covid ▁ , ▁ 2 , 0 00 ( ▁t w o ) ▁ n ai ve . [SEP]",
        "[CLS] ▁t h e ▁ m a n [SEP] ▁s o l d ▁b r e a d ▁t o covid [MASK] [SEP]",
    ),
}


@pytest.mark.parametrize(("version", "family", "form"), FORMS)
def test_texts_get_the_ids_of_the_version_that_saved_the_tokenizer(
    version: str, family: str, form: str, tmp_path: Path
) -> None:
    directory = directory_of(version, family, first_suffix(version, family), form, tmp_path / "hf")
    from_hf(directory, tmp_path / "ours")
    tokenizer = minibert.load(tmp_path / "ours")[1]
    expected = answers(version, family)["ids"][form]
    if otherwise := OTHERWISE.get((version, family, form)):
        first, pair = ([tokenizer.token_to_id(token) for token in tokens.split(" ")] for tokens in otherwise)
        expected = [first, expected[1], pair]
    assert our_ids(tokenizer) == expected
    to_hf(tmp_path / "ours", tmp_path / "back")
    assert their_ids(tmp_path / "back") == expected


def test_where_ids_are_otherwise_they_are_those_of_the_installed_version() -> None:
    """Which can't read what version 4.30 wrote of an added token with flags."""
    directory = HERE / "4.57" / "albert" / "fast-added"
    assert their_ids(directory) == our_ids(Tokenizer.load(directory)) != answers("4.57", "albert")["ids"]["fast-added"]


@pytest.mark.parametrize(
    ("version", "family", "suffix", "expected"),
    [
        ("first", "bert", "ForPreTraining", ["bert.embeddings.LayerNorm.gamma", "bert.embeddings.LayerNorm.beta"]),
        ("first", "roberta", "ForMaskedLM", ["roberta.pooler.dense.weight", "roberta.embeddings.position_ids"]),
        ("first", "distilbert", "ForMaskedLM", ["vocab_projector.weight"]),
        ("first", "albert", "ForMaskedLM", ["albert.pooler.weight", "predictions.bias", "predictions.decoder.bias"]),
        ("4.30", "bert", "Model", ["embeddings.position_ids"]),
        ("4.30", "bert", "ForMaskedLM", ["cls.predictions.decoder.weight", "cls.predictions.decoder.bias"]),
        ("4.30", "albert", "ForPreTraining", ["albert.embeddings.position_ids", "predictions.decoder.weight"]),
    ],
)
def test_the_old_keys_are_among_them(version: str, family: str, suffix: str, expected: list[str]) -> None:
    keys = torch.load(HERE / version / family / suffix / "pytorch_model.bin", weights_only=True).keys()
    assert keys >= set(expected)
