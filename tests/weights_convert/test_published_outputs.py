"""Outputs of real weights that others have published, from the real weights: `make hub`, with a network.

The numbers are those of transformers' and Bumblebee's own tests. Everything but the download is tried here too, on a
model written in a test.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import transformers
from torch import Tensor
from torch.testing import assert_close

import minibert
from minibert.errors import InputError
from minibert.heads import BertForMaskedLM, Model
from tests.weights_convert.reference_models import reference_model, write_directory
from weights_convert.convert import from_hf

TOLERANCE = 1e-4  # that of the tests in which they are published


@dataclass(frozen=True)
class Published:
    """What a model answers to one sequence, float32: the part [1:4, 1:4] of its last hidden states or MLM logits."""

    input_ids: list[int]
    attention_mask: list[int]
    expected: list[list[float]]


HIDDEN = Published(
    [0, 345, 232, 328, 740, 140, 1695, 69, 6078, 1588, 2],
    [0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1],
    [[0.4249, 0.1008, 0.7531], [0.3771, 0.1188, 0.7467], [0.4152, 0.1098, 0.7108]],
)
LOGITS = Published(  # "[CLS] the capital of france is [MASK] . [SEP]"
    [101, 1996, 3007, 1997, 2605, 2003, 103, 1012, 102],
    [1] * 9,
    [[-14.7240, -14.2120, -14.6434], [-10.3125, -9.7459, -9.9923], [-15.1105, -14.8048, -14.9276]],
)


def converted(name: str, out: Path) -> Model:
    """The model of a directory or of the hub, as a user gets it."""
    try:
        from_hf(name, out)
    except InputError as error:
        problem = str(error)
    else:
        return minibert.load(out)[0]
    pytest.fail(problem, pytrace=False)  # out here, or pytest would show the errors that led to it as well


@torch.inference_mode()
def assert_hidden(model: Model, published: Published) -> None:
    input_ids, attention_mask = tensors(published)
    hidden = model.encoder(input_ids, attention_mask=attention_mask)
    assert_close(hidden[0, 1:4, 1:4], torch.tensor(published.expected), rtol=0, atol=TOLERANCE)


@torch.inference_mode()
def assert_logits(model: Model, published: Published) -> None:
    assert isinstance(model, BertForMaskedLM)
    input_ids, attention_mask = tensors(published)
    logits = model(input_ids, attention_mask=attention_mask, masked_positions=torch.tensor([1, 2, 3]))
    assert_close(logits[:, 1:4], torch.tensor(published.expected), rtol=0, atol=TOLERANCE)


def tensors(published: Published) -> tuple[Tensor, Tensor]:
    return torch.tensor([published.input_ids]), torch.tensor([published.attention_mask], dtype=torch.bool)


# --- With a network --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bert_base_uncased(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return converted("google-bert/bert-base-uncased", tmp_path_factory.mktemp("hub") / "bert-base-uncased")


@pytest.mark.hub
def test_bert_base_uncased_hidden_states(bert_base_uncased: Model) -> None:
    assert_hidden(bert_base_uncased, HIDDEN)


@pytest.mark.hub
def test_bert_base_uncased_masked_lm_logits(bert_base_uncased: Model) -> None:
    assert_logits(bert_base_uncased, LOGITS)


# --- Without one -----------------------------------------------------------------------------------------------------


def published_by(reference: transformers.PreTrainedModel, part: str) -> Published:
    """What a small model of the reference answers, its first token masked out."""
    input_ids, attention_mask = [0, 34, 23, 2, 74, 14, 69, 3], [0, 1, 1, 1, 1, 1, 1, 1]
    with torch.no_grad():
        answer = reference(
            torch.tensor([input_ids]), attention_mask=torch.tensor([attention_mask]), output_hidden_states=True
        )
    found = answer.hidden_states[-1] if part == "hidden" else answer.logits
    return Published(input_ids, attention_mask, found[0, 1:4, 1:4].tolist())


@pytest.mark.parametrize("part", ["hidden", "logits"])
def test_the_same_on_a_model_written_here(part: str, tmp_path: Path) -> None:
    reference = reference_model("masked").float()
    published = published_by(reference, part)
    model = converted(str(write_directory(reference, tmp_path / "hf")), tmp_path / "ours")
    check = assert_hidden if part == "hidden" else assert_logits
    check(model, published)
    published.expected[1][2] += 3e-4
    with pytest.raises(AssertionError, match=r"1 / 9"):
        check(model, published)


def test_without_a_network_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object, **__: object) -> str:
        raise OSError("Name or service not known\nmore")

    monkeypatch.setattr("huggingface_hub.snapshot_download", unreachable)
    with pytest.raises(pytest.fail.Exception) as failure:
        converted("google-bert/bert-base-uncased", tmp_path / "ours")
    assert str(failure.value) == (
        "google-bert/bert-base-uncased: no such directory, and not to be had from the hub (Name or service not known)"
    )
