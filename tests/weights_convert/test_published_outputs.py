"""Outputs of real weights that others have published, from the real weights: `make hub`, with a network.

The numbers are those of transformers' and Bumblebee's own tests. Everything but the download is tried here too, on a
model written in a test.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
import transformers
from torch import Tensor
from torch.nn import functional as F
from torch.testing import assert_close

import minibert
from minibert.errors import InputError
from minibert.heads import BertForMaskedLM, Model
from tests.weights_convert.reference_models import RELATIVES, SMALL, reference_model, write_directory
from weights_convert.convert import from_hf

TOLERANCE = 1e-4  # that of the tests in which they are published


@dataclass(frozen=True)
class Published:
    """What a model answers to one sequence, float32: three numbers of three tokens of its last hidden states or MLM
    logits.
    """

    input_ids: list[int]
    attention_mask: list[int]
    expected: list[list[float]]
    first: int = 1  # the token and the number with which that part begins

    @property
    def part(self) -> slice:
        """The tokens, and the numbers of each."""
        return slice(self.first, self.first + 3)


@dataclass(frozen=True)
class PublishedLong:
    """What a Longformer answers to a text, and to the same words again and again, float32."""

    words: list[int]
    repeats: int  # in the long text; its tokens 1, 4 and 21 are global, except in masked-LM figures
    state: list[float]  # the last five numbers of the first token's last hidden state in the short text
    total: float  # of the long text's last hidden states
    mean: float
    loss: float  # of the masked-LM head, if every token is to be predicted and none is masked
    scores_mean: float  # of its logits

    @property
    def short(self) -> Tensor:
        """(1, T) ids."""
        return torch.tensor([[0, *self.words, 2]])

    @property
    def long(self) -> Tensor:
        """(1, T) ids."""
        return torch.tensor([[0, *self.words * self.repeats, 2]])

    @property
    def long_mask(self) -> Tensor:
        """(1, T): 2 at global tokens, 1 at others."""
        return torch.ones_like(self.long).index_fill(1, torch.tensor([1, 4, 21]), 2)


IDS = [0, 345, 232, 328, 740, 140, 1695, 69, 6078, 1588, 2]
MASK = [0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]
HIDDEN = Published(IDS, MASK, [[0.4249, 0.1008, 0.7531], [0.3771, 0.1188, 0.7467], [0.4152, 0.1098, 0.7108]])
ALBERT = Published(IDS, MASK, [[-0.6513, 1.5035, -0.2766], [-0.6515, 1.5046, -0.2780], [-0.6512, 1.5049, -0.2784]])
DISTILBERT = Published(IDS, MASK, [[-0.1639, 0.3299, 0.1648], [-0.1746, 0.3289, 0.1710], [-0.1884, 0.3357, 0.1810]])
ROBERTA_IDS = [0, 31414, 232, 328, 740, 1140, 12695, 69, 46078, 1588, 2]
ROBERTA = Published(
    ROBERTA_IDS,
    [1] * 11,
    [[-0.0231, 0.0782, 0.0074], [-0.1854, 0.0540, -0.0175], [0.0548, 0.0799, 0.1687]],
    first=0,
)
ROBERTA_LOGITS = Published(
    ROBERTA_IDS,
    [1] * 11,
    [[33.8802, -4.3103, 22.7761], [4.6539, -2.8098, 13.6253], [1.8228, -3.6898, 8.8600]],
    first=0,
)
LONGFORMER = PublishedLong(
    [20920, 232, 328, 1437],
    1000,
    state=[0.0549, 0.1087, -0.1119, -0.0368, 0.0250],
    total=74585.8594,
    mean=0.0243,
    loss=0.0074,
    scores_mean=-3.0348,
)
LOGITS = Published(  # "[CLS] the capital of france is [MASK] . [SEP]"
    [101, 1996, 3007, 1997, 2605, 2003, 103, 1012, 102],
    [1] * 9,
    [[-14.7240, -14.2120, -14.6434], [-10.3125, -9.7459, -9.9923], [-15.1105, -14.8048, -14.9276]],
)


LONG = SMALL.replace(max_position_embeddings=64)  # of a model written here


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
    assert_close(hidden[0, published.part, published.part], torch.tensor(published.expected), rtol=0, atol=TOLERANCE)


@torch.inference_mode()
def assert_logits(model: Model, published: Published) -> None:
    assert isinstance(model, BertForMaskedLM)
    input_ids, attention_mask = tensors(published)
    positions = torch.arange(len(published.input_ids))[published.part]
    logits = model(input_ids, attention_mask=attention_mask, masked_positions=positions)
    assert_close(logits[:, published.part], torch.tensor(published.expected), rtol=0, atol=TOLERANCE)


@torch.inference_mode()
def assert_long(model: Model, published: PublishedLong) -> None:
    assert isinstance(model, BertForMaskedLM)
    state = model.encoder(published.short)[0, 0, -5:]
    assert_close(state, torch.tensor(published.state), rtol=0, atol=TOLERANCE)
    hidden = model.encoder(published.long, attention_mask=published.long_mask)
    assert_close(hidden.mean().item(), published.mean, rtol=0, atol=TOLERANCE)
    assert_close(hidden.sum().item(), published.total, rtol=1e-5, atol=TOLERANCE)  # a sum of 3 million numbers
    ids = published.long
    logits = model(ids, masked_positions=torch.arange(ids.size(1)))
    assert_close(F.cross_entropy(logits, ids[0]).item(), published.loss, rtol=0, atol=TOLERANCE)
    assert_close(logits.mean().item(), published.scores_mean, rtol=0, atol=TOLERANCE)


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


@pytest.mark.hub
@pytest.mark.parametrize(
    ("name", "published"), [("albert/albert-base-v2", ALBERT), ("distilbert/distilbert-base-uncased", DISTILBERT)]
)
def test_hidden_states_of_relatives(name: str, published: Published, tmp_path: Path) -> None:
    assert_hidden(converted(name, tmp_path / "model"), published)


@pytest.fixture(scope="module")
def roberta_base(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return converted("FacebookAI/roberta-base", tmp_path_factory.mktemp("hub") / "roberta-base")


@pytest.mark.hub
def test_roberta_base_hidden_states(roberta_base: Model) -> None:
    assert_hidden(roberta_base, ROBERTA)


@pytest.mark.hub
def test_roberta_base_masked_lm_logits(roberta_base: Model) -> None:
    assert_logits(roberta_base, ROBERTA_LOGITS)


@pytest.mark.hub
def test_longformer_base_long_texts(tmp_path: Path) -> None:
    assert_long(converted("allenai/longformer-base-4096", tmp_path / "model"), LONGFORMER)


# --- Without one -----------------------------------------------------------------------------------------------------


def published_by(reference: transformers.PreTrainedModel, part: str, *, first: int) -> Published:
    """What a small model of the reference answers, its first token masked out."""
    input_ids, attention_mask = [0, 34, 23, 2, 74, 14, 69, 3], [0, 1, 1, 1, 1, 1, 1, 1]
    place = slice(first, first + 3)
    with torch.no_grad():
        answer = reference(
            torch.tensor([input_ids]), attention_mask=torch.tensor([attention_mask]), output_hidden_states=True
        )
    found = answer.hidden_states[-1] if part == "hidden" else answer.logits
    return Published(input_ids, attention_mask, found[0, place, place].tolist(), first)


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("part", ["hidden", "logits"])
@pytest.mark.parametrize("kind", ["masked", *(f"{family} masked" for family in RELATIVES)])
def test_the_same_on_a_model_written_here(kind: str, part: str, first: int, tmp_path: Path) -> None:
    reference = reference_model(kind).float()
    published = published_by(reference, part, first=first)
    model = converted(str(write_directory(reference, tmp_path / "hf")), tmp_path / "ours")
    check = assert_hidden if part == "hidden" else assert_logits
    check(model, published)
    published.expected[1][2] += 3e-4
    with pytest.raises(AssertionError, match=r"1 / 9"):
        check(model, published)


def test_long_texts_on_a_model_written_here(tmp_path: Path) -> None:
    reference = reference_model("longformer masked", LONG).float()
    model = converted(str(write_directory(reference, tmp_path / "hf")), tmp_path / "ours")
    asked = PublishedLong([34, 23, 74, 14], 10, [], 0, 0, 0, 0)
    with torch.no_grad():
        state = reference.base_model(asked.short).last_hidden_state[0, 0, -5:]
        is_global = (asked.long_mask == 2).long()
        hidden = reference.base_model(asked.long, global_attention_mask=is_global).last_hidden_state
        answer = reference(asked.long, labels=asked.long)
    published = replace(
        asked,
        state=state.tolist(),
        total=hidden.sum().item(),
        mean=hidden.mean().item(),
        loss=answer.loss.item(),
        scores_mean=answer.logits.mean().item(),
    )
    assert_long(model, published)
    for name in ("total", "mean", "loss", "scores_mean"):
        with pytest.raises(AssertionError):
            assert_long(model, replace(published, **{name: getattr(published, name) + 0.01}))


def test_without_a_network_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object, **__: object) -> str:
        raise OSError("Name or service not known\nmore")

    monkeypatch.setattr("huggingface_hub.snapshot_download", unreachable)
    with pytest.raises(pytest.fail.Exception) as failure:
        converted("google-bert/bert-base-uncased", tmp_path / "ours")
    assert str(failure.value) == (
        "google-bert/bert-base-uncased: no such directory, and not available from the hub (Name or service not known)"
    )
