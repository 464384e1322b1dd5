"""The tokens that a masked-LM head predicts for [MASK] (Devlin et al. 2018, section 3.1, task 1)."""

from typing import NamedTuple

import torch
from torch import Tensor

from minibert.errors import InputError
from minibert.fast.dropout import without_dropout
from minibert.heads import BertForMaskedLM, BertForPreTraining, Model
from minibert.tokenizer import Batch, Tokenizer


class Filling(NamedTuple):
    """One prediction for a [MASK]."""

    token: str  # in readable form, see `Tokenizer.shown`
    probability: float


@torch.inference_mode()
def fill_mask(model: Model, tokenizer: Tokenizer, text: str, *, top_k: int = 5) -> list[list[Filling]]:
    """Return the `top_k` most likely tokens, best first, for each [MASK] in the order of the text.

        [[(token, probability), *others]] = minibert.fill_mask(model, tokenizer, "The man went to the [MASK].")

    The model computes on its own device and in its own number format.

    Raises InputError if the text has no [MASK] or more tokens than the model has positions, the model has no masked-LM
    head, or `top_k` is out of range.
    """
    if not isinstance(model, BertForPreTraining | BertForMaskedLM):
        raise InputError(f"a {type(model).__name__} has no masked-LM head")
    if not 1 <= top_k <= tokenizer.vocab_size:
        raise InputError(f"top_k must be from 1 to {tokenizer.vocab_size}, not {top_k}")
    batch = tokenizer(text)
    if not (batch.input_ids == tokenizer.mask_id).any():
        mask = tokenizer.special_tokens.mask
        raise InputError(f"no {mask} in the text {text!r}: put it where a word is to be predicted")
    with without_dropout(model):
        probabilities = mask_probabilities(model, batch.to(next(model.parameters()).device), tokenizer)
    best = probabilities.topk(top_k)
    return [
        [Filling(tokenizer.shown(token), probability) for token, probability in zip(ids, shares, strict=True)]
        for ids, shares in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]


def mask_probabilities(model: BertForPreTraining | BertForMaskedLM, batch: Batch, tokenizer: Tokenizer) -> Tensor:
    """Return the probability of every token for each [MASK], in the order of the text: (M, V) in float32."""
    masked_positions = (batch.input_ids == tokenizer.mask_id).flatten().nonzero().flatten()
    answer = model(
        batch.input_ids,
        token_type_ids=batch.token_type_ids,
        attention_mask=batch.attention_mask,
        masked_positions=masked_positions,
    )
    logits = answer.mlm if isinstance(model, BertForPreTraining) else answer
    return logits[:, : tokenizer.vocab_size].float().softmax(-1)
