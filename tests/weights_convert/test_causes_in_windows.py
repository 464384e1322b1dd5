"""Sabotage of a Longformer's attention: one fault at a time. Each must be caught, at the right value, and its cause
named.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from minibert import windowed
from minibert.config import BertConfig
from minibert.heads import BertForQuestionAnswering, BertForSequenceClassification, Model
from minibert.model import DotProductAttention, visible_keys
from minibert.windowed import GLOBAL, PADDING, WindowedSelfAttention, picture
from tests.weights_convert.reference_models import edit_json, reference_model, write_directory
from tests.weights_convert.test_causes_in_code import Unscaled, become
from tests.weights_convert.test_causes_in_directories import Weights, edit_weights, shift_positions
from tests.weights_convert.test_causes_in_relatives import PaddingCounted, assert_caught
from weights_convert.convert import from_hf
from weights_convert.parity import verify

KINDS = ("longformer masked", "longformer single label", "longformer answers")
SHAPE = BertConfig(
    vocab_size=131,
    hidden_size=28,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=33,
    max_position_embeddings=43,
    attention_window=(4, 16),
)


@pytest.fixture(scope="module")
def hf_directories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A random model of each kind; tests don't change it."""
    return {
        kind: write_directory(reference_model(kind, SHAPE).float(), tmp_path_factory.mktemp("hf")) for kind in KINDS
    }


def projected(attention: WindowedSelfAttention, x: Tensor) -> list[Tensor]:
    """Query, key and value of the window, then the three of global tokens."""
    both = (attention.query_key_value(x), attention.global_query_key_value(x))
    return [attention.split_heads(each) for stacked in both for each in stacked.chunk(3, dim=-1)]


class Windows(WindowedSelfAttention):
    """The plain code, in parts of which subclasses replace one."""

    def context(self, x: Tensor, mask: Tensor | None) -> Tensor:
        assert mask is not None
        query, key, value, *of_global = projected(self, x)
        context = self.local(query, key, value, of_global[1], mask)
        if (mask == GLOBAL).any():
            far = self.far(*of_global, mask)
            context = torch.where((mask == GLOBAL)[:, None, :, None], far, context)
        return self.merge_heads(self.finish(context, mask))

    def local(self, query: Tensor, key: Tensor, value: Tensor, global_key: Tensor, mask: Tensor) -> Tensor:
        """What the tokens of a window gather."""
        return self.dot_product(query, key, value, self.seen(mask))

    def seen(self, mask: Tensor) -> Tensor:
        """Whom they attend to."""
        return picture(mask, self.window)

    def far(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
        """What global tokens gather."""
        return self.global_dot_product(query, key, value, visible_keys(mask != PADDING))

    def finish(self, context: Tensor, mask: Tensor) -> Tensor:
        """Nothing for padding."""
        return context.masked_fill((mask == PADDING)[:, None, :, None], 0)


class OneTooWide(Windows):
    def seen(self, mask: Tensor) -> Tensor:
        return picture(mask, self.window + 2)


class OneTooNarrow(Windows):
    def seen(self, mask: Tensor) -> Tensor:
        return picture(mask, self.window - 2)


class OneSided(Windows):
    """Takes the window for the tokens on one side, as the first repository did."""

    def seen(self, mask: Tensor) -> Tensor:
        return picture(mask, 2 * self.window)


class NoWindow(Windows):
    def seen(self, mask: Tensor) -> Tensor:
        return visible_keys(mask != PADDING)


class NoGlobalColumns(Windows):
    def seen(self, mask: Tensor) -> Tensor:
        return picture(mask.clamp(max=1), self.window)


class PaddingSeen(Windows):
    def seen(self, mask: Tensor) -> Tensor:
        return picture(mask.clamp(min=1), self.window)


class Causal(Windows):
    def seen(self, mask: Tensor) -> Tensor:
        return super().seen(mask).tril()


class CountedTwice(DotProductAttention):
    """Gives global tokens two columns in the softmax, where they are in the window as well."""

    near: Tensor
    is_global: Tensor

    def probabilities(self, query: Tensor, key: Tensor, mask: Tensor | None) -> Tensor:
        assert mask is not None
        found = super().probabilities(query, key, mask) * (1 + (self.near & self.is_global))
        return found / found.sum(-1, keepdim=True)


class GlobalColumnsTwice(Windows):
    def local(self, query: Tensor, key: Tensor, value: Tensor, global_key: Tensor, mask: Tensor) -> Tensor:
        self.dot_product.__class__ = CountedTwice
        self.dot_product.near = picture(mask.clamp(max=1), self.window)
        self.dot_product.is_global = (mask == GLOBAL)[:, None, None, :]
        return super().local(query, key, value, global_key, mask)


class GlobalKeys(Windows):
    """Takes the keys of global tokens from their own projection."""

    def local(self, query: Tensor, key: Tensor, value: Tensor, global_key: Tensor, mask: Tensor) -> Tensor:
        key = torch.where((mask == GLOBAL)[:, None, :, None], global_key, key)
        return super().local(query, key, value, global_key, mask)


class OneProjection(Windows):
    """Has global tokens attend with the projection of the others."""

    def context(self, x: Tensor, mask: Tensor | None) -> Tensor:
        self.global_query_key_value = self.query_key_value
        return super().context(x, mask)


class FarPaddingSeen(Windows):
    def far(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
        return self.global_dot_product(query, key, value, None)


class NoGlobalTokens(Windows):
    def context(self, x: Tensor, mask: Tensor | None) -> Tensor:
        assert mask is not None
        query, key, value, *_ = projected(self, x)
        return self.merge_heads(self.finish(self.dot_product(query, key, value, self.seen(mask)), mask))


class PaddingGathers(Windows):
    def finish(self, context: Tensor, mask: Tensor) -> Tensor:
        return context


def first_is_not_global(model: Model) -> None:
    assert isinstance(model, BertForSequenceClassification)
    model.global_tokens = lambda input_ids: torch.zeros_like(input_ids, dtype=torch.bool)  # type: ignore[method-assign]


def text_is_global(model: Model) -> None:
    assert isinstance(model, BertForQuestionAnswering)
    model.global_tokens = lambda ids: windowed.after_question(ids, 3)  # type: ignore[method-assign,assignment]


ATTENTION = [f"encoder.blocks.{number}.attention" for number in range(2)]
PROBABILITIES = "blocks.0.attention.probabilities"

# The kind, the fault -> how it is planted, the first value that must differ, the cause.
IN_CODE: dict[tuple[str, str], tuple[Callable[[Model], None], str, str]] = {
    ("longformer masked", "a window too wide"): (
        become(OneTooWide, *ATTENTION),
        PROBABILITIES,
        "the window is a token wider on each side",
    ),
    ("longformer answers", "a window too narrow"): (
        become(OneTooNarrow, ATTENTION[1]),
        "blocks.1.attention.probabilities",
        "the window is a token narrower on each side",
    ),
    ("longformer masked", "a window on each side"): (
        become(OneSided, ATTENTION[1]),
        "blocks.1.attention.probabilities",
        "the window is twice as wide: attention_window tokens on each side, not half as many",
    ),
    ("longformer masked", "no window"): (
        become(NoWindow, *ATTENTION),
        PROBABILITIES,
        "every token attends to all, not only to those in its window",
    ),
    ("longformer single label", "global tokens seen only nearby"): (
        become(NoGlobalColumns, *ATTENTION),
        PROBABILITIES,
        "global tokens outside the window are not attended to",
    ),
    ("longformer single label", "global columns twice"): (
        become(GlobalColumnsTwice, *ATTENTION),
        PROBABILITIES,
        "global tokens in the window are attended to twice",
    ),
    ("longformer answers", "padding seen"): (
        become(PaddingSeen, *ATTENTION),
        PROBABILITIES,
        "the attention mask is ignored: padding is attended to",
    ),
    ("longformer answers", "causal"): (
        become(Causal, *ATTENTION),
        PROBABILITIES,
        "attention is causal: no token attends to later ones",
    ),
    ("longformer masked", "scores not scaled"): (
        become(Unscaled, f"{ATTENTION[1]}.dot_product"),
        "blocks.1.attention.probabilities",
        "scores are not divided by the square root of the head's size",
    ),
    ("longformer masked", "keys of global tokens"): (
        become(GlobalKeys, *ATTENTION),
        "blocks.0.attention.key",
        "blocks.0.attention.key is computed with the projection of global_key at global tokens",
    ),
    ("longformer single label", "one projection"): (
        become(OneProjection, ATTENTION[1]),
        "blocks.1.attention.global_query",
        "blocks.1.attention.global_query is computed with the projection of query",
    ),
    ("longformer single label", "global tokens see padding"): (
        become(FarPaddingSeen, *ATTENTION),
        "blocks.0.attention.global_probabilities",
        "the attention mask is ignored: padding is attended to",
    ),
    ("longformer answers", "global scores not scaled"): (
        become(Unscaled, f"{ATTENTION[0]}.global_dot_product"),
        "blocks.0.attention.global_probabilities",
        "scores are not divided by the square root of the head's size",
    ),
    ("longformer masked", "no global attention"): (
        become(NoGlobalTokens, *ATTENTION),
        "blocks.0.attention.global_query",
        "minibert has no global token",
    ),
    ("longformer single label", "the first token is not global"): (
        first_is_not_global,
        "blocks.0.attention.global_query",
        "minibert has no global token",
    ),
    ("longformer answers", "the text is global, not the question"): (text_is_global, PROBABILITIES, ""),
    ("longformer single label", "padding gathers"): (
        become(PaddingGathers, *ATTENTION),
        "pooler.dense",
        "padding at the first position attends to tokens, but to none in the reference",
    ),
    ("longformer masked", "padding has positions"): (
        become(PaddingCounted, "encoder.embeddings"),
        "embeddings.position",
        "padding counts as a position",
    ),
}


@pytest.mark.parametrize(("kind", "fault"), IN_CODE)
def test_a_fault_in_code_is_caught_and_named(
    kind: str, fault: str, hf_directories: dict[str, Path], tmp_path: Path
) -> None:
    assert_caught(kind, hf_directories[kind], *IN_CODE[kind, fault], tmp_path / "ours")


def swap_projections(weights: Weights) -> None:
    place = "encoder.blocks.0.attention."
    for leaf in ("weight", "bias"):
        local, of_global = (f"{place}{name}query_key_value.{leaf}" for name in ("", "global_"))
        weights[local], weights[of_global] = weights[of_global], weights[local]


def copy_projections(weights: Weights) -> None:
    place = "encoder.blocks.1.attention."
    for leaf in ("weight", "bias"):
        weights[f"{place}global_query_key_value.{leaf}"] = weights[f"{place}query_key_value.{leaf}"].clone()


# The fault -> config fields, the change of the weights, the first value that must differ, the cause.
IN_DIRECTORY: dict[str, tuple[dict[str, object], Callable[[Weights], None] | None, str, str]] = {
    "other windows": (
        {"attention_window": [4, 12]},
        None,
        "blocks.1.attention.probabilities",
        "attention_window is 12, but the reference's is 16",
    ),
    "positions off by one": ({}, shift_positions, "embeddings.position", "positions are off by +1"),
    "projections swapped": (
        {},
        swap_projections,
        "blocks.0.attention.query",
        "blocks.0.attention.query and global_query are swapped",
    ),
    "global projections are copies": (
        {},
        copy_projections,
        "blocks.1.attention.global_query",
        "blocks.1.attention.global_query has the weights of the reference's blocks.1.attention.query",
    ),
}


@pytest.mark.parametrize("fault", IN_DIRECTORY)
def test_a_fault_in_a_directory_is_caught_and_named(
    fault: str, hf_directories: dict[str, Path], tmp_path: Path
) -> None:
    fields, edit, first, cause = IN_DIRECTORY[fault]
    from_hf(hf_directories["longformer masked"], tmp_path / "ours")
    edit_json(tmp_path / "ours" / "config.json", **fields)
    if edit is not None:
        edit_weights(tmp_path / "ours", edit)
    report = verify(hf_directories["longformer masked"], tmp_path / "ours", dtype="float64")
    assert report.first_divergent is not None
    assert (report.first_divergent.title, report.cause) == (first, cause)


@pytest.mark.parametrize("kind", KINDS)
def test_a_sound_directory_agrees(kind: str, hf_directories: dict[str, Path], tmp_path: Path) -> None:
    from_hf(hf_directories[kind], tmp_path / "ours")
    report = verify(hf_directories[kind], tmp_path / "ours", dtype="float64")
    assert (report.agrees, report.cause) == (True, None)
