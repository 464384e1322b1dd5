"""Sabotage: one fault at a time, planted in the code of a subclass. Each must be caught, at the right value, and its
cause named.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minibert import checkpoint
from minibert.fast import accelerate
from minibert.fast.unpadding import Unpadded
from minibert.heads import BertForPreTraining, Pooler, PreTrainingLogits
from minibert.model import Block, DotProductAttention, Embeddings, FeedForward, SelfAttention
from weights_convert.families import BERT
from weights_convert.parity import compare
from weights_convert.reference import load_reference


class PreNormBlock(Block):
    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        x = x + self.attention(self.attention_norm(x), mask)
        return x + self.feed_forward(self.feed_forward_norm(x))


class BlockWithoutResidual(Block):
    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        x = self.attention_norm(self.attention(x, mask))
        return self.feed_forward_norm(x + self.feed_forward(x))


class MaskIgnored(SelfAttention):
    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return super().forward(x, None)


class Unscaled(DotProductAttention):
    def forward(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=1.0)


class Causal(DotProductAttention):
    def forward(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        ahead = torch.ones(query.size(-2), key.size(-2), dtype=torch.bool).triu(1)
        mask = ~ahead if mask is None else mask & ~ahead
        # A row of which nothing is left looks at everything, or it would be no number.
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask | ~mask.any(-1, keepdim=True))


class SegmentsIgnored(Embeddings):
    def forward(self, input_ids: Tensor, *, token_type_ids: Tensor) -> Tensor:
        return super().forward(input_ids, token_type_ids=torch.zeros_like(token_type_ids))


class PositionsLeftOut(Embeddings):
    def forward(self, input_ids: Tensor, *, token_type_ids: Tensor) -> Tensor:
        self.position(torch.arange(input_ids.size(1)))
        return self.norm(self.token(input_ids) + self.segment(token_type_ids))


class PoolerWithoutTanh(Pooler):
    def forward(self, hidden: Tensor) -> Tensor:
        return self.dense(hidden[:, 0])


class SigmoidGelu(FeedForward):
    def forward(self, x: Tensor) -> Tensor:
        inner = self.inner(x)
        return self.output(inner * torch.sigmoid(1.702 * inner))


def become(faulty: type[nn.Module], *paths: str) -> Callable[[BertForPreTraining], None]:
    """Makes the modules at `paths` instances of a faulty subclass."""

    def plant(model: BertForPreTraining) -> None:
        for path in paths:
            model.get_submodule(path).__class__ = faulty

    return plant


def pool_the_mean(model: BertForPreTraining) -> None:
    def forward(input_ids: Tensor, *, masked_positions: Tensor, **others: Tensor) -> PreTrainingLogits:
        hidden = model.encoder(input_ids, **others)
        mlm = model.mlm_head(hidden.flatten(0, 1)[masked_positions])
        return PreTrainingLogits(mlm=mlm, nsp=model.nsp_head(model.pooler(hidden.mean(1, keepdim=True))))

    model.forward = forward  # type: ignore[method-assign]


def untie(model: BertForPreTraining) -> None:
    model.mlm_head.decoder.weight = nn.Parameter(model.mlm_head.decoder.weight.detach().flip(0))


def untie_a_copy(model: BertForPreTraining) -> None:
    model.mlm_head.decoder.weight = nn.Parameter(model.mlm_head.decoder.weight.detach().clone())


def without_decoder_bias(model: BertForPreTraining) -> None:
    model.mlm_head.decoder.bias = None


def freeze(model: BertForPreTraining) -> None:
    model.encoder.blocks[2].feed_forward.output.weight.requires_grad = False


BLOCKS = [f"encoder.blocks.{number}" for number in range(5)]

# What is wrong -> how it gets there, the first value that must differ, and the cause.
IN_CODE: dict[str, tuple[Callable[[BertForPreTraining], None], str, str]] = {
    "LayerNorm order": (
        become(PreNormBlock, *BLOCKS),
        "blocks.0.attention.query",
        "LayerNorm is before the sublayer (pre-norm), but after the sum (post-norm) in the reference",
    ),
    "no residual": (
        become(BlockWithoutResidual, *BLOCKS),
        "blocks.0.attention.sum",
        "the residual connection is missing",
    ),
    "mask ignored": (
        become(MaskIgnored, *(f"{block}.attention" for block in BLOCKS)),
        "blocks.0.attention.probabilities",
        "the attention mask is ignored: padding is attended to",
    ),
    "mask ignored in one block": (
        become(MaskIgnored, "encoder.blocks.4.attention"),
        "blocks.4.attention.probabilities",
        "the attention mask is ignored: padding is attended to",
    ),
    "scores not scaled": (
        become(Unscaled, *(f"{block}.attention.dot_product" for block in BLOCKS)),
        "blocks.0.attention.probabilities",
        "scores are not divided by the square root of the head's size",
    ),
    "causal attention": (
        become(Causal, *(f"{block}.attention.dot_product" for block in BLOCKS)),
        "blocks.0.attention.probabilities",
        "attention is causal: no token attends to later ones",
    ),
    "segment ids ignored": (
        become(SegmentsIgnored, "encoder.embeddings"),
        "embeddings.segment",
        "segment ids are ignored: everything is segment A",
    ),
    "positions left out": (
        become(PositionsLeftOut, "encoder.embeddings"),
        "embeddings.sum",
        "position embeddings are left out of the sum",
    ),
    "another GELU": (
        become(SigmoidGelu, "encoder.blocks.1.feed_forward"),
        "blocks.1.feed_forward.activation",
        "the activation is the sigmoid approximation of GELU, but the reference's is exact GELU",
    ),
    "pooler without tanh": (
        become(PoolerWithoutTanh, "pooler"),
        "pooler",
        "the activation is the identity, but the reference's is tanh",
    ),
    "pooler of the mean": (
        pool_the_mean,
        "pooler.dense",
        "the pooler reads the mean of all positions, but the reference's reads the first",
    ),
    "untied decoder": (untie, "mlm_head.decoder", "the decoder is not tied to the token embeddings"),
    "untied decoder of equal numbers": (
        untie_a_copy,
        "gradient of encoder.embeddings.token.weight",
        "the decoder is not tied to the token embeddings",
    ),
    "decoder without a bias": (without_decoder_bias, "mlm_head.decoder", "the bias of mlm_head.decoder is missing"),
    "a frozen weight": (
        freeze,
        "gradient of encoder.blocks.2.feed_forward.output.weight",
        "no gradient reaches encoder.blocks.2.feed_forward.output.weight: it is frozen, detached, or not used",
    ),
}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("fault", IN_CODE)
def test_a_fault_in_code_is_caught_and_named(fault: str, dtype: str, hf_directory: Path, directory: Path) -> None:
    plant, first, cause = IN_CODE[fault]
    model, _ = checkpoint.load(directory)
    assert isinstance(model, BertForPreTraining)
    model.to(getattr(torch, dtype))
    plant(model)
    rows, found = compare(model, lambda dtype: load_reference(hf_directory, BERT, model, dtype), dtype=dtype)
    assert next(row.title for row in rows if not row.agrees) == first
    assert found is not None and found.startswith(cause), found


def test_a_fault_in_what_is_left_out_is_caught_though_it_is_not_there_when_all_is_computed(
    hf_directory: Path, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _ = checkpoint.load(directory)
    assert isinstance(model, BertForPreTraining)
    accelerate(model).to(torch.float64)
    right = Unpadded.residual
    monkeypatch.setattr(Unpadded, "residual", lambda layout, x: right(layout, x).flip(0))
    rows, _ = compare(model, lambda dtype: load_reference(hf_directory, BERT, model, dtype), dtype="float64")
    assert next(row.title for row in rows if not row.agrees) == "loss"


@pytest.mark.parametrize("fault", ["mask ignored", "no residual", "segment ids ignored", "pooler without tanh"])
def test_faults_in_code_are_named_in_bfloat16_too(fault: str, hf_directory: Path, directory: Path) -> None:
    plant, first, cause = IN_CODE[fault]
    model, _ = checkpoint.load(directory)
    assert isinstance(model, BertForPreTraining)
    model.to(torch.bfloat16)
    plant(model)
    rows, found = compare(model, lambda dtype: load_reference(hf_directory, BERT, model, dtype), dtype="bfloat16")
    assert (next(row.title for row in rows if not row.agrees), found) == (first, cause)


class LeftPaddingSeen(SelfAttention):
    """Takes padding for real where it stands on the left, and there alone."""

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        is_left = mask is not None and not bool(mask[..., 0].all())
        return super().forward(x, None if is_left else mask)


class WrongWithoutAMask(SelfAttention):
    """Goes wrong where nothing is padded, in the last of the batches."""

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return super().forward(x if mask is not None else x.flip(1), mask)


@pytest.mark.parametrize(
    ("faulty", "first"),
    [(LeftPaddingSeen, "blocks.2.attention.probabilities"), (WrongWithoutAMask, "blocks.2.attention.query")],
)
def test_a_fault_under_one_kind_of_padding_is_caught(
    faulty: type[SelfAttention], first: str, hf_directory: Path, directory: Path
) -> None:
    model, _ = checkpoint.load(directory)
    model.double().encoder.blocks[2].attention.__class__ = faulty  # type: ignore[assignment]
    rows, _ = compare(model, lambda dtype: load_reference(hf_directory, BERT, model, dtype), dtype="float64")
    assert next(row.title for row in rows if not row.agrees) == first
