"""The reference implementation in our shapes: its configuration, and its weights under our names."""

from __future__ import annotations

from typing import Any

import torch
import transformers
from transformers.models.bert.modeling_bert import BertLayer

from minibert.config import BertConfig
from minibert.heads import BertForPreTraining
from minibert.model import Bert, Block

COMMON = (
    "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act",
    "hidden_dropout_prob", "attention_probs_dropout_prob", "max_position_embeddings", "type_vocab_size",
    "initializer_range", "layer_norm_eps", "pad_token_id", "classifier_dropout",
)  # fmt: skip


def reference_config(config: BertConfig, family: str = "bert", **fields: Any) -> transformers.PreTrainedConfig:
    """The same shape for transformers, with attention written out; `fields` are those of heads."""
    shape = {name: getattr(config, name) for name in COMMON}
    eager: dict[str, Any] = {"attn_implementation": "eager"}
    if family == "distilbert":
        return transformers.DistilBertConfig(
            vocab_size=config.vocab_size,
            dim=config.hidden_size,
            n_layers=config.num_hidden_layers,
            n_heads=config.num_attention_heads,
            hidden_dim=config.intermediate_size,
            activation=config.hidden_act,
            dropout=config.hidden_dropout_prob,
            attention_dropout=config.attention_probs_dropout_prob,
            max_position_embeddings=config.max_position_embeddings,
            pad_token_id=config.pad_token_id,
            seq_classif_dropout=config.classifier_dropout,
            qa_dropout=config.span_dropout,
            **fields,
            **eager,
        )
    if family == "albert":
        shape |= {"embedding_size": config.embedding_size}
        shape |= {"classifier_dropout_prob": shape.pop("classifier_dropout")}
        return transformers.AlbertConfig(**(shape | fields | eager))
    if family == "longformer":
        shape |= {"attention_window": list(config.attention_window or ()), "sep_token_id": config.sep_token_id}
        del shape["classifier_dropout"]  # which it doesn't have
        return transformers.LongformerConfig(**(shape | fields | eager))
    made = {"bert": transformers.BertConfig, "roberta": transformers.RobertaConfig}[family]
    return made(**(shape | fields | eager))


def copy_layer(reference: BertLayer, ours: Block) -> None:
    """Gives a block of ours the reference's weights."""
    attention = reference.attention.self
    separate = (attention.query, attention.key, attention.value)
    with torch.no_grad():
        ours.attention.query_key_value.weight.copy_(torch.cat([linear.weight for linear in separate]))
        ours.attention.query_key_value.bias.copy_(torch.cat([linear.bias for linear in separate]))
    ours.attention.output.load_state_dict(reference.attention.output.dense.state_dict())
    ours.attention_norm.load_state_dict(reference.attention.output.LayerNorm.state_dict())
    ours.feed_forward.inner.load_state_dict(reference.intermediate.dense.state_dict())
    ours.feed_forward.output.load_state_dict(reference.output.dense.state_dict())
    ours.feed_forward_norm.load_state_dict(reference.output.LayerNorm.state_dict())


def copy_encoder(reference: transformers.BertModel, ours: Bert) -> None:
    """Gives an encoder of ours the reference's weights."""
    embeddings = reference.embeddings
    ours.embeddings.token.load_state_dict(embeddings.word_embeddings.state_dict())
    ours.embeddings.position.load_state_dict(embeddings.position_embeddings.state_dict())
    ours.embeddings.segment.load_state_dict(embeddings.token_type_embeddings.state_dict())
    ours.embeddings.norm.load_state_dict(embeddings.LayerNorm.state_dict())
    for layer, block in zip(reference.encoder.layer, ours.blocks, strict=True):
        copy_layer(layer, block)


def copy_pretraining_model(reference: transformers.BertForPreTraining, ours: BertForPreTraining) -> None:
    """Gives a whole model of ours the reference's weights; the decoder's matrix is the token embedding in both."""
    copy_encoder(reference.bert, ours.encoder)
    ours.pooler.dense.load_state_dict(reference.bert.pooler.dense.state_dict())
    ours.mlm_head.dense.load_state_dict(reference.cls.predictions.transform.dense.state_dict())
    ours.mlm_head.norm.load_state_dict(reference.cls.predictions.transform.LayerNorm.state_dict())
    ours.nsp_head.load_state_dict(reference.cls.seq_relationship.state_dict())
    with torch.no_grad():
        ours.mlm_head.decoder.bias.copy_(reference.cls.predictions.bias)
