"""Sabotage: one fault at a time, planted in a converted directory. Each must be caught, at the right value, and its
cause named.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from minibert import checkpoint
from minibert.files import writing
from tests.weights_convert.reference_models import edit_json
from weights_convert.families import BERT
from weights_convert.parity import compare, verify
from weights_convert.reference import ReferenceModel, load_reference

Weights = dict[str, Tensor]


def edit_weights(directory: Path, edit: Callable[[Weights], None]) -> None:
    """Changes the weights and their checksum."""
    path = directory / "model.safetensors"
    weights = load_file(path)
    edit(weights)
    path.write_bytes(safetensors_bytes({name: tensor.contiguous() for name, tensor in weights.items()}))
    edit_json(directory / "config.json", weights_sha256=writing.sha256(path))


def swap_query_and_key(weights: Weights) -> None:
    for leaf in ("weight", "bias"):
        name = f"encoder.blocks.3.attention.query_key_value.{leaf}"
        query, key, value = weights[name].chunk(3)
        weights[name] = torch.cat([key, query, value])


def swap_norms(weights: Weights) -> None:
    for leaf in ("weight", "bias"):
        first, second = (f"encoder.blocks.1.{norm}.{leaf}" for norm in ("attention_norm", "feed_forward_norm"))
        weights[first], weights[second] = weights[second], weights[first]


def drop_block(weights: Weights, number: int) -> None:
    blocks = {name: weights.pop(name) for name in list(weights) if ".blocks." in name}
    for name, tensor in blocks.items():
        block = int(name.split(".")[2])
        if block != number:
            weights[name.replace(f".{block}.", f".{block - (block > number)}.", 1)] = tensor


def shift_positions(weights: Weights) -> None:
    table = weights["encoder.embeddings.position.weight"]
    weights["encoder.embeddings.position.weight"] = table.roll(-1, dims=0)


def transpose(weights: Weights) -> None:
    name = "encoder.blocks.1.attention.output.weight"
    weights[name] = weights[name].T


def set_to(name: str, number: float) -> Callable[[Weights], None]:
    def edit(weights: Weights) -> None:
        weights[name] = torch.full_like(weights[name], number)

    return edit


# Where the fault is -> config fields, the change of the weights, the first value that must differ, and the cause.
IN_DIRECTORY: dict[str, tuple[dict[str, object], Callable[[Weights], None] | None, str, str]] = {
    "LayerNorm eps": (
        {"layer_norm_eps": 1e-5},
        None,
        "embeddings.norm",
        "LayerNorm eps is 1e-05, but the reference's is 1e-12",
    ),
    "tanh GELU": (
        {"hidden_act": "gelu_new"},
        None,
        "blocks.0.feed_forward.activation",
        "the activation is the tanh approximation of GELU, but the reference's is exact GELU",
    ),
    "query and key swapped": (
        {},
        swap_query_and_key,
        "blocks.3.attention.query",
        "blocks.3.attention.query and key are swapped",
    ),
    "LayerNorms swapped": (
        {},
        swap_norms,
        "blocks.1.attention_norm",
        "blocks.1.attention_norm and feed_forward_norm are swapped",
    ),
    "a block dropped": (
        {"num_hidden_layers": 4},
        lambda weights: drop_block(weights, 2),
        "blocks.2.attention.query",
        "block 2 has the weights of the reference's block 3: block 2 was left out",
    ),
    "the last block dropped": (
        {"num_hidden_layers": 4},
        lambda weights: drop_block(weights, 4),
        "blocks.4.attention.query",
        "minibert has 4 blocks, but the reference has 5",
    ),
    "positions off by one": ({}, shift_positions, "embeddings.position", "positions are off by +1"),
    "a transposed square weight": (
        {},
        transpose,
        "blocks.1.attention.output",
        "the weight of blocks.1.attention.output is transposed",
    ),
    "no decoder bias": (
        {},
        set_to("mlm_head.decoder.bias", 0.0),
        "mlm_head.decoder",
        "the bias of mlm_head.decoder is missing",
    ),
    "no LayerNorm weight": (
        {},
        set_to("encoder.blocks.2.feed_forward_norm.weight", 1.0),
        "blocks.2.feed_forward_norm",
        "the weight of blocks.2.feed_forward_norm is missing",
    ),
    "no bias in the feed-forward layer": (
        {},
        set_to("encoder.blocks.4.feed_forward.inner.bias", 0.0),
        "blocks.4.feed_forward.inner",
        "the bias of blocks.4.feed_forward.inner is missing",
    ),
    "other weights": (
        {},
        set_to("nsp_head.bias", 9.0),
        "nsp_head",
        "the weights of nsp_head differ by up to",
    ),
}


@pytest.mark.parametrize("fault", IN_DIRECTORY)
def test_a_fault_in_a_directory_is_caught_and_named(fault: str, hf_directory: Path, directory: Path) -> None:
    fields, edit, first, cause = IN_DIRECTORY[fault]
    edit_json(directory / "config.json", **fields)
    if edit is not None:
        edit_weights(directory, edit)
    report = verify(hf_directory, directory, dtype="float64")
    assert report.first_divergent is not None
    assert report.first_divergent.title == first
    assert report.cause is not None and report.cause.startswith(cause), report.cause


@pytest.mark.parametrize(
    "fault", ["a transposed square weight", "query and key swapped", "positions off by one", "a block dropped"]
)
def test_faults_in_a_directory_are_named_in_bfloat16_too(fault: str, hf_directory: Path, directory: Path) -> None:
    fields, edit, first, cause = IN_DIRECTORY[fault]
    edit_json(directory / "config.json", **fields)
    assert edit is not None
    edit_weights(directory, edit)
    report = verify(hf_directory, directory, dtype="bfloat16")
    assert report.first_divergent is not None
    assert (report.first_divergent.title, report.cause) == (first, cause)


def test_weights_that_no_batch_reaches_are_compared_too(hf_directory: Path, directory: Path) -> None:
    def spoil(weights: Weights) -> None:
        weights["encoder.embeddings.position.weight"][14:] = 7.0

    edit_weights(directory, spoil)
    model, _ = checkpoint.load(directory)
    limits = model.config.replace(max_position_embeddings=12)  # as of a model with more positions than the batches have

    def load(dtype: torch.dtype) -> ReferenceModel:
        reference = load_reference(hf_directory, BERT, model, dtype)
        reference.config.max_position_embeddings = limits.max_position_embeddings
        return reference

    rows, cause = compare(model.double(), load, dtype="float64")
    assert [row.title for row in rows if not row.agrees] == ["weight of encoder.embeddings.position.weight"]
    assert cause == (
        "encoder.embeddings.position.weight differs in 2 of 16 rows, which no token or position of the batches uses"
    )


def test_another_number_of_heads(hf_directory: Path, directory: Path) -> None:
    edit_json(directory / "config.json", num_attention_heads=6)
    report = verify(hf_directory, directory, dtype="float64")
    assert report.first_divergent is not None
    assert (report.first_divergent.title, report.cause) == (
        "blocks.0.attention.query",
        "minibert has 6 attention heads, but the reference has 3",
    )


def test_a_block_too_many(hf_directory: Path, directory: Path) -> None:
    def repeat_the_last(weights: Weights) -> None:
        last = {name: tensor for name, tensor in weights.items() if ".blocks.4." in name}
        weights |= {name.replace(".4.", ".5.", 1): tensor.clone() for name, tensor in last.items()}

    edit_json(directory / "config.json", num_hidden_layers=6)
    edit_weights(directory, repeat_the_last)
    report = verify(hf_directory, directory, dtype="float64")
    assert report.first_divergent is not None
    assert (report.first_divergent.title, report.first_divergent.note, report.cause) == (
        "blocks.5.attention.query",
        "not in the reference",
        "minibert has 6 blocks, but the reference has 5",
    )


def test_another_padding_token_shows_in_the_gradients(hf_directory: Path, directory: Path) -> None:
    edit_json(directory / "config.json", pad_token_id=3)
    report = verify(hf_directory, directory, dtype="float64")
    assert report.cause == "pad_token_id, whose row is not trained as an input, is 3, but the reference's is 0"


def test_numbers_that_are_none_are_traced_to_their_weights(hf_directory: Path, directory: Path) -> None:
    edit_weights(directory, set_to("encoder.blocks.1.attention.output.bias", float("nan")))
    for dtype in ("float64", "bfloat16"):
        report = verify(hf_directory, directory, dtype=dtype)
        assert report.first_divergent is not None
        assert (report.first_divergent.title, report.cause) == (
            "blocks.1.attention.output",
            "minibert's weights of blocks.1.attention.output are not all finite",
        )


def test_weights_that_hardly_differ_are_named(hf_directory: Path, directory: Path) -> None:
    def nudge(weights: Weights) -> None:
        weights["encoder.blocks.2.feed_forward.inner.weight"] *= 1 + 3e-6

    edit_weights(directory, nudge)
    report = verify(hf_directory, directory, dtype="float64")
    assert report.first_divergent is not None
    assert report.first_divergent.title == "blocks.2.feed_forward.inner"
    assert report.cause is not None
    assert report.cause.startswith("the weights of blocks.2.feed_forward.inner differ by up to")


def test_a_sound_directory_agrees(hf_directory: Path, directory: Path) -> None:
    edit_weights(directory, lambda weights: None)
    report = verify(hf_directory, directory, dtype="float64")
    assert (report.agrees, report.cause) == (True, None)


def test_a_smaller_vocabulary_is_a_difference(hf_directory: Path, directory: Path) -> None:
    def cut(weights: Weights) -> None:
        for name in ("encoder.embeddings.token.weight", "mlm_head.decoder.bias"):
            weights[name] = weights[name][:70]

    edit_json(directory / "config.json", vocab_size=70, tokenizer_sha256=None)
    for name in ("vocab.txt", "tokenizer.json"):
        (directory / name).unlink()
    (directory / "vocab.txt").write_text("".join(f"{word}\n" for word in _words(hf_directory)[:70]))
    edit_weights(directory, cut)
    report = verify(hf_directory, directory, dtype="float64")
    assert report.first_divergent is not None
    assert (report.first_divergent.name, report.first_divergent.note) == (
        "mlm_head.decoder",
        "(51, 70) against (51, 80)",
    )
    assert report.cause == "mlm_head.decoder.weight has shape (70, 24), but the reference's has (80, 24)"


def _words(directory: Path) -> list[str]:
    return (directory / "vocab.txt").read_text().split()
