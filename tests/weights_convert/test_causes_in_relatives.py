"""Sabotage in each relative of BERT: one fault at a time, in a converted directory or in the code. Each must be caught,
at the right value, and its cause named.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from minibert import checkpoint
from minibert.heads import Model
from minibert.model import Embeddings, position_ids
from tests.weights_convert.reference_models import SMALL, edit_json, family_of_kind, reference_model, write_directory
from tests.weights_convert.test_causes_in_code import (
    BlockWithoutResidual,
    Causal,
    MaskIgnored,
    PoolerWithoutTanh,
    PreNormBlock,
    SegmentsIgnored,
    Unscaled,
    become,
)
from tests.weights_convert.test_causes_in_directories import (
    Weights,
    drop_block,
    edit_weights,
    set_to,
    shift_positions,
    swap_norms,
    transpose,
)
from weights_convert.convert import from_hf
from weights_convert.families import FAMILIES
from weights_convert.parity import compare, verify
from weights_convert.reference import load_reference

KINDS = ("roberta masked", "roberta single label", "distilbert masked", "distilbert single label", "albert pretraining")
LAYERS = 3
BLOCKS = [f"encoder.blocks.{number}" for number in range(LAYERS)]


@pytest.fixture(scope="module")
def hf_directories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A random model of each kind; tests don't change it."""
    shape = SMALL.replace(num_hidden_layers=LAYERS)
    return {
        kind: write_directory(reference_model(kind, shape).float(), tmp_path_factory.mktemp("hf")) for kind in KINDS
    }


def converted(hf: Path, out: Path) -> Path:
    from_hf(hf, out)
    return out


# --- In directories --------------------------------------------------------------------------------------------------


def swap_query_and_key(weights: Weights) -> None:
    for leaf in ("weight", "bias"):
        name = f"encoder.blocks.0.attention.query_key_value.{leaf}"
        query, key, value = weights[name].chunk(3)
        weights[name] = torch.cat([key, query, value])


def nudge(name: str) -> Callable[[Weights], None]:
    def edit(weights: Weights) -> None:
        weights[name] = weights[name] + 0.5

    return edit


Edit = Callable[[Weights], None]

# The kind, where the fault is -> config fields, the change of the weights, the first value that must differ, the cause.
IN_DIRECTORY: dict[tuple[str, str], tuple[dict[str, object], Edit | None, str, str]] = {
    ("roberta masked", "positions as BERT counts them"): (
        {"positions_skip_padding": False},
        None,
        "embeddings.position",
        "positions count padding, from 0, as BERT's do",
    ),
    ("roberta masked", "positions off by one"): ({}, shift_positions, "embeddings.position", "positions are off by +1"),
    ("roberta masked", "LayerNorm eps"): (
        {"layer_norm_eps": 1e-5},
        None,
        "embeddings.norm",
        "LayerNorm eps is 1e-05, but the reference's is 1e-12",
    ),
    ("roberta masked", "no decoder bias"): (
        {},
        set_to("mlm_head.decoder.bias", 0.0),
        "mlm_head.decoder",
        "the bias of mlm_head.decoder is missing",
    ),
    ("roberta masked", "a block dropped"): (
        {"num_hidden_layers": 2},
        lambda weights: drop_block(weights, 1),
        "blocks.1.attention.query",
        "block 1 has the weights of the reference's block 2: block 1 was left out",
    ),
    ("roberta single label", "another activation of the pooler"): (
        {"pooler_act": "relu"},
        None,
        "pooler",
        "the activation is ReLU, but the reference's is tanh",
    ),
    ("distilbert masked", "LayerNorm eps"): (
        {"layer_norm_eps": 1e-5},
        None,
        "embeddings.norm",
        "LayerNorm eps is 1e-05, but the reference's is 1e-12",
    ),
    ("distilbert masked", "query and key swapped"): (
        {},
        swap_query_and_key,
        "blocks.0.attention.query",
        "blocks.0.attention.query and key are swapped",
    ),
    ("distilbert masked", "LayerNorms swapped"): (
        {},
        swap_norms,
        "blocks.1.attention_norm",
        "blocks.1.attention_norm and feed_forward_norm are swapped",
    ),
    ("distilbert masked", "a transposed square weight"): (
        {},
        transpose,
        "blocks.1.attention.output",
        "the weight of blocks.1.attention.output is transposed",
    ),
    ("distilbert masked", "positions skip padding"): (
        {"positions_skip_padding": True, "pad_token_id": 0},
        None,
        "embeddings.position",
        "positions are off by +1",
    ),
    ("distilbert single label", "the pooler of BERT"): (
        {"pooler_act": "tanh"},
        None,
        "pooler",
        "the activation is tanh, but the reference's is ReLU",
    ),
    ("distilbert single label", "other weights"): (
        {},
        nudge("classifier.dense.weight"),
        "classifier.dense",
        "the weights of classifier.dense differ by up to 5.0e-01",
    ),
    ("albert pretraining", "exact GELU"): (
        {"hidden_act": "relu"},
        None,
        "blocks.0.feed_forward.activation",
        "the activation is ReLU, but the reference's is exact GELU",
    ),
    ("albert pretraining", "a layer too few"): (
        {"num_hidden_layers": 2},
        None,
        "blocks.2.attention.query",
        "minibert has 2 blocks, but the reference has 3",
    ),
    ("albert pretraining", "query and key swapped"): (
        {},
        swap_query_and_key,
        "blocks.0.attention.query",
        "blocks.0.attention.query and key are swapped",
    ),
    ("albert pretraining", "no bias of the projection"): (
        {},
        set_to("encoder.embeddings.projection.bias", 0.0),
        "embeddings.projection",
        "the bias of embeddings.projection is missing",
    ),
    ("albert pretraining", "other weights"): (
        {},
        nudge("nsp_head.weight"),
        "nsp_head",
        "the weights of nsp_head differ by up to 5.0e-01",
    ),
}


@pytest.mark.parametrize(("kind", "fault"), IN_DIRECTORY)
def test_a_fault_in_a_directory_is_caught_and_named(
    kind: str, fault: str, hf_directories: dict[str, Path], tmp_path: Path
) -> None:
    fields, edit, first, cause = IN_DIRECTORY[kind, fault]
    directory = converted(hf_directories[kind], tmp_path / "ours")
    edit_json(directory / "config.json", **fields)
    if edit is not None:
        edit_weights(directory, edit)
    report = verify(hf_directories[kind], directory, dtype="float64")
    assert report.first_divergent is not None
    assert report.first_divergent.title == first
    assert report.cause is not None and report.cause.startswith(cause), report.cause


@pytest.mark.parametrize("kind", KINDS)
def test_a_sound_directory_agrees(kind: str, hf_directories: dict[str, Path], tmp_path: Path) -> None:
    report = verify(hf_directories[kind], converted(hf_directories[kind], tmp_path / "ours"), dtype="float64")
    assert (report.agrees, report.cause) == (True, None)


# --- In the code -----------------------------------------------------------------------------------------------------


class PaddingCounted(Embeddings):
    """RoBERTa's positions, but padding has some too."""

    def forward(self, input_ids: Tensor, *, token_type_ids: Tensor) -> Tensor:
        places = torch.arange(input_ids.size(1)) + 2
        x = self.token(input_ids) + self.position(places.expand_as(input_ids))
        assert self.segment is not None
        return self.dropout(self.norm(x + self.segment(token_type_ids)))


class ProjectionBeforeNorm(Embeddings):
    """Scales what it projects, as if LayerNorm had not been."""

    def forward(self, input_ids: Tensor, *, token_type_ids: Tensor) -> Tensor:
        assert self.segment is not None and self.projection is not None
        x = self.token(input_ids) + self.position(position_ids(input_ids, None)) + self.segment(token_type_ids)
        self.norm(x)
        return self.projection(x)


def without_sharing(model: Model) -> None:
    """Gives the second layer a block of its own."""
    blocks = model.encoder.blocks
    blocks[1] = copy.deepcopy(blocks[1])
    with torch.no_grad():
        blocks[1].attention.query_key_value.weight[0] += 0.25


def not_trained_as_one(model: Model) -> None:
    """The second layer has the numbers of the others, but they are its own."""
    model.encoder.blocks[1] = copy.deepcopy(model.encoder.blocks[1])


IN_CODE: dict[tuple[str, str], tuple[Callable[[Model], None], str, str]] = {
    ("roberta masked", "padding has positions"): (
        become(PaddingCounted, "encoder.embeddings"),
        "embeddings.position",
        "padding counts as a position",
    ),
    ("roberta masked", "no residual"): (
        become(BlockWithoutResidual, *BLOCKS),
        "blocks.0.attention.sum",
        "the residual connection is missing",
    ),
    ("roberta single label", "mask ignored"): (
        become(MaskIgnored, *(f"{block}.attention" for block in BLOCKS)),
        "blocks.0.attention.probabilities",
        "the attention mask is ignored: padding is attended to",
    ),
    ("roberta single label", "pooler without tanh"): (
        become(PoolerWithoutTanh, "pooler"),
        "pooler",
        "the activation is the identity, but the reference's is tanh",
    ),
    ("distilbert masked", "LayerNorm order"): (
        become(PreNormBlock, *BLOCKS),
        "blocks.0.attention.query",
        "LayerNorm is before the sublayer (pre-norm), but after the sum (post-norm) in the reference",
    ),
    ("distilbert masked", "scores not scaled"): (
        become(Unscaled, "encoder.blocks.2.attention.dot_product"),
        "blocks.2.attention.probabilities",
        "scores are not divided by the square root of the head's size",
    ),
    ("albert pretraining", "causal attention"): (
        become(Causal, "encoder.blocks.0.attention.dot_product"),
        "blocks.0.attention.probabilities",
        "attention is causal: no token attends to later ones",
    ),
    ("albert pretraining", "segment ids ignored"): (
        become(SegmentsIgnored, "encoder.embeddings"),
        "embeddings.segment",
        "segment ids are ignored: everything is segment A",
    ),
    ("albert pretraining", "projected before LayerNorm"): (
        become(ProjectionBeforeNorm, "encoder.embeddings"),
        "embeddings.projection",
        "its input differs, although everything compared before it agrees",
    ),
    ("albert pretraining", "a layer with weights of its own"): (
        without_sharing,
        "blocks.1.attention.query",
        "the weights of blocks.1.attention.query differ by up to 2.5e-01",
    ),
    ("albert pretraining", "a layer that learns on its own"): (
        not_trained_as_one,
        "gradient of encoder.blocks.0.attention.query_key_value.weight",
        "",
    ),
}


def assert_caught(kind: str, hf: Path, plant: Callable[[Model], None], first: str, cause: str, out: Path) -> None:
    """Plant a fault in the model converted from `hf`: `first` is the first row that differs; cause "": none is named"""
    family = FAMILIES[family_of_kind(kind)]
    model, _ = checkpoint.load(converted(hf, out))
    plant(model.double())
    rows, found = compare(model, lambda dtype: load_reference(hf, family, model, dtype), dtype="float64")
    assert next(row.title for row in rows if not row.agrees) == first
    assert (found or "").startswith(cause) and bool(found) == bool(cause), found


@pytest.mark.parametrize(("kind", "fault"), IN_CODE)
def test_a_fault_in_code_is_caught_and_named(
    kind: str, fault: str, hf_directories: dict[str, Path], tmp_path: Path
) -> None:
    assert_caught(kind, hf_directories[kind], *IN_CODE[kind, fault], tmp_path / "ours")
