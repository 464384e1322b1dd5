"""Everything that the page shows, computed from a model and a text or pair: a dictionary of arrays and strings."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from minibert.config import BertConfig
from minibert.errors import InputError, plural
from minibert.exploring import compare
from minibert.exploring.attention import attention_of, opening_of, with_own_rows
from minibert.exploring.contributions import contributions
from minibert.exploring.predictions import predictions_of, questions_about
from minibert.exploring.saliency import saliency
from minibert.exploring.states import block_states, embedding_states
from minibert.exploring.tokens import described, encode, visible
from minibert.exploring.what_if import what_if
from minibert.heads import BertForMaskedLM, BertForPreTraining, Model, TaskModel
from minibert.tokenizer import Batch, Tokenizer
from minibert.tracing import states_between, trace
from minibert.windowed import GLOBAL

Other = tuple[Model, Tokenizer, str]  # a second model, its tokenizer and its name

MAX_TOKENS = 128  # the default; the page grows with its square


def make_record(
    model: Model,
    tokenizer: Tokenizer,
    text: str,
    second: str | None = None,
    *,
    name: str,
    other: Other | None = None,
    max_tokens: int = MAX_TOKENS,
    progress: bool = False,
) -> dict[str, Any]:
    """Return what `page.html_page` shows, for one text, or a pair of texts as [CLS] A [SEP] B [SEP].

    name: the model's, for the page's header; other: a second model of the same shape;
    progress: show a bar on standard error, if that is a terminal, while heads are switched off.

    Raises InputError if a text is empty or not valid Unicode, there are more tokens than `max_tokens` or than the model
    has positions, the model is in training mode, or the second model can't be compared.
    """
    batch, traced = traced_text(model, tokenizer, text, second, max_tokens)
    layers = model.config.num_hidden_layers
    record: dict[str, Any] = {
        "model": facts(model, name),
        "special_tokens": {"cls": tokenizer.special_tokens.cls, "sep": tokenizer.special_tokens.sep},
        "texts": [visible(given) for given in (text, second) if given is not None],
        "tokens": described(tokenizer, batch, text, second),
        "embeddings": embedding_states(traced),
        "blocks": block_states(model, traced),
        "attention": attention_of(traced, batch, tokenizer, layers),
    }
    pieces = [token["piece"] for token in record["tokens"]]
    record["opening"] = opening_of(record["attention"]["probabilities"], batch, tokenizer, pieces)
    questions = questions_about(model, tokenizer, batch)
    states = torch.cat([traced[place] for place in states_between(layers)])  # (L + 1, T, H)
    record["predictions"], chosen = predictions_of(model, states, questions)
    record["what_if"] = what_if(model, batch, states, questions, chosen, progress=progress)
    record["saliency"] = saliency(model, batch, questions, chosen)
    record["contributions"] = contributions(model, traced, questions, chosen)
    record["left_out"] = left_out(model, record, mask=tokenizer.special_tokens.mask)
    if other is not None:
        record["compare"] = compared(record, traced, text, second, other, max_tokens)
    return record


def traced_text(
    model: Model, tokenizer: Tokenizer, text: str, second: str | None, max_tokens: int
) -> tuple[Batch, dict[str, Tensor]]:
    """Return the batch of one, and every intermediate on it; a masked-LM head is asked at each [MASK].

    Raises InputError as `make_record` does, or if an intermediate is not finite, as after a diverged training run.
    """
    batch = encode(tokenizer, model.config, text, second, max_tokens=max_tokens)
    batch = batch.to(model.encoder.embeddings.token.weight.device)
    if isinstance(model, TaskModel):  # a Longformer's head has global tokens: in every pass that follows
        mask = model.with_global_tokens(batch.input_ids, batch.attention_mask)
        assert mask is not None
        batch = replace(batch, attention_mask=mask)
    masked_positions = (batch.input_ids == tokenizer.mask_id).flatten().nonzero().flatten()
    traced = trace(model, batch, masked_positions=masked_positions)
    for name, value in traced.items():
        if not value.isfinite().all():
            raise InputError(f"{name} contains NaN or infinity, expected finite values: has training diverged?")
    return batch, with_own_rows(traced, batch.attention_mask[0] == GLOBAL)


def facts(model: Model, name: str) -> dict[str, Any]:
    """Return what the page's header says about a model."""
    config = model.config
    return {
        "name": name,
        "architecture": type(model).__name__,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "layers": config.num_hidden_layers,
        "heads": config.num_attention_heads,
        "hidden": config.hidden_size,
        "head_size": config.hidden_size // config.num_attention_heads,
        "intermediate": config.intermediate_size,
        "activation": config.hidden_act,
    }


def left_out(model: Model, record: dict[str, Any], *, mask: str) -> list[str]:
    """Return what the page can't show of this model and text, and why; one sentence each."""
    kind = type(model).__name__
    asked = [prediction["head"] for prediction in record["predictions"]]
    sentences = left_out_of_windows(model.config, record["tokens"])
    if not asked and not isinstance(model, BertForMaskedLM | BertForPreTraining):
        reason = f"a {kind} has no head that can make a prediction for this text"
        return [*sentences, f"The predictions, how they form and what they depend on are left out: {reason}."]
    if isinstance(model, BertForMaskedLM | BertForPreTraining) and "heads.MaskedLMHead" not in asked:
        sentences.append(f"No token is predicted. Write {mask} in the text to get a prediction there.")
    if hasattr(model, "nsp_head") and "heads.NextSentenceHead" not in asked:
        sentences.append("The next-sentence prediction is left out, because it needs two texts.")
    return sentences


def left_out_of_windows(config: BertConfig, tokens: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what of a Longformer's attention the page can't show; one sentence each."""
    sentences = []
    sides = sorted({window // 2 for window in config.attention_window or (2 * len(tokens),)})
    if len(tokens) > sides[0] + 1:
        reach = f"{sides[0]} to {sides[-1]} tokens (depending on the block)" if sides[1:] else plural(sides[0], "token")
        sentences.append(
            f"A token attends to {reach} on each side and to the global tokens. The scores of all other tokens take no "
            "part in the softmax."
        )
    if any(token["global"] for token in tokens):
        sentences.append(
            "Global tokens have queries, keys and values of their own (global_query, global_key, global_value): "
            "their queries and scores are shown, but the values that they average are left out."
        )
    return sentences


def compared(
    record: dict[str, Any], traced: dict[str, Tensor], text: str, second: str | None, other: Other, max_tokens: int
) -> dict[str, Any]:
    """Return the part of the record about a second model: its attention and predictions, and the differences."""
    model, tokenizer, name = other
    batch, other_traced = traced_text(model, tokenizer, text, second, max_tokens)
    described_model = facts(model, name)
    pieces = [token["piece"] for token in record["tokens"]]
    other_pieces = [tokenizer.shown(token) for token in batch.input_ids[0].tolist()]
    compare.check_comparable(record["model"], described_model, pieces, other_pieces)
    layers = model.config.num_hidden_layers
    states = torch.cat([other_traced[place] for place in states_between(layers)])
    ours, theirs = record["attention"]["probabilities"], attention_of(other_traced, batch, tokenizer, layers)
    return {
        "model": described_model,
        "probabilities": theirs["probabilities"],
        "predictions": predictions_of(model, states, questions_about(model, tokenizer, batch))[0],
        **compare.differences(traced, other_traced, ours, theirs["probabilities"]),
    }
