"""BERT and its relatives in the reference: its names for their weights, modules, classes and config fields.

Every difference between the families' directories is here or in the fields of `BertConfig`: the encoder and the heads
are the same code (docs/family.md). The reference's modules and keys are named as in a model with heads ("bert.…");
names in an encoder's own files are completed to that first.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from minibert.config import BertConfig
from minibert.errors import InputError
from minibert.verification.names import values_of

# minibert's module -> the reference's modules whose weights, stacked, are its weight; biases likewise.
Table = Mapping[str, tuple[str, ...]]
# minibert's intermediate (see `minibert.tracing`) -> the reference's module that has it, and where: "output", "input",
# or the number of one of its outputs.
Places = Mapping[str, tuple[str, str | int]]

ENCODERS = ("Bert", "BertWithPooler")  # both are the reference's plain model, without its pooler or with it
TASK_MODELS = ("BertForMaskedLM", "BertForSequenceClassification", "BertForTokenClassification",
               "BertForQuestionAnswering", "BertForMultipleChoice")  # fmt: skip
# minibert's intermediate -> the module whose input it is.
GIVEN = {
    "embeddings.sum": "encoder.embeddings.norm",
    "blocks.{}.attention.context": "encoder.blocks.{}.attention.output",
    "blocks.{}.attention.sum": "encoder.blocks.{}.attention_norm",
    "blocks.{}.feed_forward.activation": "encoder.blocks.{}.feed_forward.output",
    "blocks.{}.feed_forward.sum": "encoder.blocks.{}.feed_forward_norm",
    "mlm_head.activation": "mlm_head.norm",
}


@dataclass(frozen=True)
class Names:
    """The names of one reference class for its weights and intermediates."""

    table: Table
    places: Places


@dataclass(frozen=True)
class Family:
    """A kind of model in the reference."""

    model_type: str  # as in `config.json`; also the encoder's name in a model with a head
    class_prefix: str  # what the names of its classes begin with
    classes: tuple[str, ...]  # minibert's classes that it has
    encoder_parts: str  # a pattern: what keys in an encoder's own files, which lack its name, begin with
    decoder: str  # the masked-LM head's last layer, whose weight is the token embedding
    table: Table
    places: Places  # besides the inputs and outputs of the table's modules
    defaults: BertConfig  # the values of fields that a config lacks; for those in `fixed`, of all configs
    fixed: Mapping[str, Any]  # minibert's fields that have only one value in it
    fields: Mapping[str, str] = field(default_factory=dict)  # minibert's field -> its name there, if that differs
    constants: Mapping[str, Any] = field(default_factory=dict)  # further fields there -> the only value supported
    others: Mapping[str, Names] = field(default_factory=dict)  # minibert's class -> the names that differ in it
    drops_as_hidden: tuple[str, ...] = ()  # minibert's classes that have no `classifier_dropout` of their own there
    masked_lm_act: str | None = None  # the masked-LM head's activation, if it is not `hidden_act`
    pair_objective: str = "nsp"  # the objective of its pretraining class for pairs

    def names_in(self, architecture: str) -> Names:
        """Return the names in the reference's class for one of minibert's."""
        own = self.others.get(architecture, Names({}, {}))
        table = {**self.table, **own.table}
        places: dict[str, tuple[str, str | int]] = {
            ours.removeprefix("encoder."): (theirs[0], "output") for ours, theirs in table.items() if len(theirs) == 1
        }
        for stacked, modules in table.items():
            if len(modules) > 1:
                places |= {part: (module, "output") for part, module in zip(values_of(stacked), modules, strict=True)}
        places |= {ours: (table[module][0], "input") for ours, module in GIVEN.items()}
        places["mlm_head"], places["mlm_head.decoder"] = places["mlm_head.decoder"], (self.decoder, "output")
        places["classifier"] = places["classifier.dense"]
        return Names(table, {**places, **self.places, **own.places})

    def reference_class(self, architecture: str) -> str:
        """Return the name of the reference's class for one of minibert's.

        Raises InputError if it has none.
        """
        if architecture not in self.classes:
            raise InputError(
                f"transformers has no {self.class_named(architecture)} for a {architecture}; for "
                f"{self.model_type} it has {', '.join(self.reference_classes)}"
            )
        return self.class_named(architecture)

    @property
    def reference_classes(self) -> tuple[str, ...]:
        """All of its classes that minibert supports."""
        return tuple(dict.fromkeys(map(self.class_named, self.classes)))

    def class_named(self, architecture: str) -> str:
        """Return the name that its class for one of minibert's has, or would have."""
        if architecture in ENCODERS:
            return f"{self.class_prefix}Model"
        return self.class_prefix + architecture.removeprefix("Bert")

    def our_class(self, reference_class: str) -> str | None:
        """Return minibert's class for one of the reference; None for its plain model, which may be either encoder."""
        found = [name for name in self.classes if self.class_named(name) == reference_class]
        return found[0] if found[0] not in ENCODERS else None

    def in_table_spelling(self, key: str) -> str:
        """Return a file's key as the table spells it; a key that it doesn't know stays unknown."""
        for pattern, replacement in (
            (rf"^(?=({self.encoder_parts})\.)", f"{self.model_type}."),  # of an encoder without a head
            (r"LayerNorm\.gamma$", "LayerNorm.weight"),  # converted from the original TensorFlow weights
            (r"LayerNorm\.beta$", "LayerNorm.bias"),
            (rf"^{re.escape(self.decoder)}\.bias$", f"{self.table['mlm_head.decoder'][0]}.bias"),
        ):
            key = re.sub(pattern, replacement, key)
        return key

    @property
    def tied(self) -> dict[str, str]:
        """A key -> the key whose numbers it repeats."""
        return {f"{self.decoder}.weight": f"{self.table['encoder.embeddings.token'][0]}.weight"}

    @property
    def dropped(self) -> dict[str, str]:
        """Keys that hold no weights -> why they are left out."""
        return {
            f"{self.model_type}.embeddings.position_ids": "a buffer: positions are counted in the forward pass",
            f"{self.model_type}.embeddings.token_type_ids": "a buffer: all segments are A if none are given",
        }


# --- The reference's names -------------------------------------------------------------------------------------------

# minibert's module -> its names in BERT, RoBERTa, Longformer, DistilBERT, ALBERT; "" if there is none. In an encoder:
_EMBEDDINGS = {
    "token": 5 * ("embeddings.word_embeddings",),
    "position": 5 * ("embeddings.position_embeddings",),
    "segment": (*3 * ("embeddings.token_type_embeddings",), "", "embeddings.token_type_embeddings"),
    "norm": 5 * ("embeddings.LayerNorm",),
    "projection": ("", "", "", "", "encoder.embedding_hidden_mapping_in"),
}
# In a block; several names are modules whose weights are stacked.
_BLOCKS = {
    "attention.query_key_value": (*3 * ("attention.self.query attention.self.key attention.self.value",),
                                  "attention.q_lin attention.k_lin attention.v_lin",
                                  "attention.query attention.key attention.value"),
    "attention.global_query_key_value": (
        "", "", "attention.self.query_global attention.self.key_global attention.self.value_global", "", ""),
    "attention.output": (*3 * ("attention.output.dense",), "attention.out_lin", "attention.dense"),
    "attention_norm": (*3 * ("attention.output.LayerNorm",), "sa_layer_norm", "attention.LayerNorm"),
    "feed_forward.inner": (*3 * ("intermediate.dense",), "ffn.lin1", "ffn"),
    "feed_forward.output": (*3 * ("output.dense",), "ffn.lin2", "ffn_output"),
    "feed_forward_norm": (*3 * ("output.LayerNorm",), "output_layer_norm", "full_layer_layer_norm"),
}  # fmt: skip
# Outside the encoder. Of the decoder only the bias is its own: the weight is the token embedding, see `Family.tied`.
_HEADS = {
    "pooler.dense": ("bert.pooler.dense", "roberta.pooler.dense", "longformer.pooler.dense", "pre_classifier",
                     "albert.pooler"),
    "mlm_head.dense": ("cls.predictions.transform.dense", *2 * ("lm_head.dense",), "vocab_transform",
                       "predictions.dense"),
    "mlm_head.norm": ("cls.predictions.transform.LayerNorm", *2 * ("lm_head.layer_norm",), "vocab_layer_norm",
                      "predictions.LayerNorm"),
    "mlm_head.decoder": ("cls.predictions", *2 * ("lm_head",), "vocab_projector", "predictions"),
    # Only BERT's and ALBERT's are ever read; RoBERTa's and Longformer's are dropped.
    "nsp_head": (*3 * ("cls.seq_relationship",), "", "sop_classifier.classifier"),
    "classifier.dense": 5 * ("classifier",),
    "span_head": 5 * ("qa_outputs",),
}  # fmt: skip


def _table(column: int, *, encoder: str, block: str) -> Table:
    """Return a family's column. Names in its encoder begin with `encoder`, those in a block with `block`."""
    table = {}
    for ours, theirs, rows in (
        ("encoder.embeddings.", f"{encoder}.", _EMBEDDINGS),
        ("encoder.blocks.{}.", f"{block}.", _BLOCKS),
        ("", "", _HEADS),
    ):
        for name, row in rows.items():
            if row[column]:
                table[ours + name] = tuple(theirs + each for each in row[column].split())
    return table


_PLAIN: dict[str, Any] = {
    "positions_skip_padding": False,
    "embedding_size": None,
    "share_layers": False,
    "span_dropout": 0.0,
    "pooler_act": "tanh",
    "pooler_input_dropout": False,
    "attention_window": None,
    "sep_token_id": None,
}


def _without(entries: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {each: value for each, value in entries.items() if each not in names}


# --- BERT ------------------------------------------------------------------------------------------------------------


def _places_of_bert(encoder: str) -> Places:
    return {
        "embeddings": (f"{encoder}.embeddings", "output"),
        "blocks.{}.attention.probabilities": (f"{encoder}.encoder.layer.{{}}.attention.self", 1),
        "blocks.{}": (f"{encoder}.encoder.layer.{{}}", "output"),
        "pooler": (f"{encoder}.pooler", "output"),
    }


BERT = Family(
    model_type="bert",
    class_prefix="Bert",
    classes=(*ENCODERS, "BertForPreTraining", "BertForMaskedLM", "BertForNextSentencePrediction", *TASK_MODELS[1:]),
    encoder_parts="embeddings|encoder|pooler",
    decoder="cls.predictions.decoder",
    table=_table(0, encoder="bert", block="bert.encoder.layer.{}"),
    places=_places_of_bert("bert"),
    defaults=BertConfig(),
    fixed=_PLAIN,
)


# --- RoBERTa: BERT's encoder under another name, and heads of its own ------------------------------------------------

ROBERTA = Family(
    model_type="roberta",
    class_prefix="Roberta",
    classes=(*ENCODERS, *TASK_MODELS),
    encoder_parts="embeddings|encoder|pooler",
    decoder="lm_head.decoder",
    table=_table(1, encoder="roberta", block="roberta.encoder.layer.{}"),
    places=_places_of_bert("roberta"),
    others={
        "BertForSequenceClassification": Names(
            table={"pooler.dense": ("classifier.dense",), "classifier.dense": ("classifier.out_proj",)},
            places={"pooler": ("classifier.out_proj", "input")},
        )
    },
    defaults=BertConfig(vocab_size=50265, pad_token_id=1, positions_skip_padding=True, pooler_input_dropout=True),
    fixed=_PLAIN | {"positions_skip_padding": True, "pooler_input_dropout": True},
    drops_as_hidden=("BertForMultipleChoice",),
    masked_lm_act="gelu",
)


# --- Longformer: RoBERTa, with attention in windows and further projections for global tokens ------------------------

USUAL_WINDOW = 512  # if a config gives none

LONGFORMER = Family(
    model_type="longformer",
    class_prefix="Longformer",
    classes=(*ENCODERS, *TASK_MODELS),
    encoder_parts="embeddings|encoder|pooler",
    decoder="lm_head.decoder",
    table=_table(2, encoder="longformer", block="longformer.encoder.layer.{}"),
    places={
        **_places_of_bert("longformer"),
        "blocks.{}.attention.global_probabilities": ("longformer.encoder.layer.{}.attention.self", 2),
        "blocks.{}.attention.global_context": ("longformer.encoder.layer.{}.attention.output.dense", "input"),
        "blocks.{}": ("longformer.encoder.layer.{}", 0),
    },
    others=ROBERTA.others,
    defaults=BertConfig(
        pad_token_id=1,
        positions_skip_padding=True,
        pooler_input_dropout=True,
        attention_window=12 * (USUAL_WINDOW,),
        sep_token_id=2,
    ),
    fixed=_without(_PLAIN, "attention_window", "sep_token_id")
    | {"positions_skip_padding": True, "pooler_input_dropout": True},
    # The first repository's fields of other kinds of attention, which transformers doesn't have.
    constants={"attention_mode": "longformer", "ignore_attention_mask": False},
    drops_as_hidden=("BertForSequenceClassification", "BertForTokenClassification", "BertForMultipleChoice"),
    masked_lm_act="gelu",
)


# --- DistilBERT: no segments, no pooler but a classifier's own, and another name for everything ----------------------

_LAYER = "distilbert.transformer.layer.{}"

DISTILBERT = Family(
    model_type="distilbert",
    class_prefix="DistilBert",
    classes=("Bert", *TASK_MODELS),
    encoder_parts="embeddings|transformer",
    decoder="vocab_projector",
    table=_table(3, encoder="distilbert", block=_LAYER),
    places={
        "embeddings": ("distilbert.embeddings", "output"),
        "blocks.{}.attention.probabilities": (f"{_LAYER}.attention", 1),
        "blocks.{}": (_LAYER, "output"),
    },
    others=dict.fromkeys(
        ("BertForSequenceClassification", "BertForMultipleChoice"), Names({}, {"pooler": ("classifier", "input")})
    ),
    defaults=BertConfig(
        num_hidden_layers=6, type_vocab_size=0, classifier_dropout=0.2, span_dropout=0.1, pooler_act="relu"
    ),
    fixed=_without(_PLAIN, "span_dropout") | {"type_vocab_size": 0, "pooler_act": "relu", "layer_norm_eps": 1e-12},
    fields={
        "hidden_size": "dim",
        "num_hidden_layers": "n_layers",
        "num_attention_heads": "n_heads",
        "intermediate_size": "hidden_dim",
        "hidden_act": "activation",
        "hidden_dropout_prob": "dropout",
        "attention_probs_dropout_prob": "attention_dropout",
        "classifier_dropout": "seq_classif_dropout",
        "span_dropout": "qa_dropout",
    },
    drops_as_hidden=("BertForTokenClassification",),
)


# --- ALBERT: small embeddings, one block for all layers, sentence order ----------------------------------------------

_BLOCK = "albert.encoder.albert_layer_groups.0.albert_layers.0"  # the only one

ALBERT = Family(
    model_type="albert",
    class_prefix="Albert",
    classes=(*ENCODERS, "BertForPreTraining", *TASK_MODELS),
    encoder_parts="embeddings|encoder|pooler|pooler_activation",
    decoder="predictions.decoder",
    table=_table(4, encoder="albert", block=_BLOCK),
    places={
        "embeddings": ("albert.encoder.embedding_hidden_mapping_in", "output"),
        "blocks.{}.attention.probabilities": (f"{_BLOCK}.attention", 1),
        "blocks.{}": (_BLOCK, "output"),
        "pooler": ("albert.pooler_activation", "output"),
    },
    defaults=BertConfig(
        vocab_size=30000,
        hidden_size=4096,
        num_attention_heads=64,
        intermediate_size=16384,
        hidden_act="gelu_new",
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        embedding_size=128,
        share_layers=True,
        classifier_dropout=0.1,
    ),
    fixed=_without(_PLAIN, "embedding_size") | {"share_layers": True},
    fields={"classifier_dropout": "classifier_dropout_prob"},
    constants={"num_hidden_groups": 1, "inner_group_num": 1},
    pair_objective="sop",
)

FAMILIES = {family.model_type: family for family in (BERT, ROBERTA, DISTILBERT, ALBERT, LONGFORMER)}


def family_of(config: BertConfig) -> Family:
    """Return the family that has models of this config.

    Raises InputError if there is none; the message names the fields that differ from the nearest family.
    """
    if config.share_layers or config.embedding_size is not None:
        family = ALBERT
    elif config.attention_window is not None:
        family = LONGFORMER
    elif config.positions_skip_padding:
        family = ROBERTA
    else:
        family = BERT if config.type_vocab_size else DISTILBERT
    apart = [f"{name} is {getattr(config, name)!r}, not {value!r}" for name, value in family.fixed.items()
             if getattr(config, name) != value]  # fmt: skip
    if family is ALBERT and config.embedding_size is None:
        apart.append("there is no embedding_size")
    if apart:
        raise InputError(f"transformers has no such model: the nearest is {family.model_type}, but {'; '.join(apart)}")
    return family
