"""The map of names: total both ways, through every spelling that files have."""

from __future__ import annotations

import pytest
import torch
import transformers
from torch import Tensor
from torch.testing import assert_close

from minibert.architectures import ARCHITECTURES
from minibert.checkpoint import assign_weights
from minibert.config import BertConfig
from minibert.heads import Model
from minibert.verification.names import parameters_of
from tests.helpers import FAMILY, HEADS, TINY, refusal, seeded, tiny_model
from tests.reference import reference_config
from tests.weights_convert.reference_models import KINDS, SMALL, family_of_kind, reference_model, shape_of_kind
from weights_convert import key_map
from weights_convert.families import ALBERT, BERT, DISTILBERT, FAMILIES, ROBERTA, Family
from weights_convert.key_map import Ledger, match, to_keys, to_parameters, without_prefix

DECODER = "cls.predictions.decoder.weight"
TOKENS = "bert.embeddings.word_embeddings.weight"


def keys_and_values(kind: str) -> dict[str, Tensor]:
    """A state dict of the reference, as plain tensors of their own."""
    return {key: tensor.detach().clone() for key, tensor in reference_model(kind).state_dict().items()}


def empty(architecture: str, config: BertConfig = SMALL) -> Model:
    with torch.device("meta"):
        return ARCHITECTURES[architecture](config, **HEADS.get(architecture, {}))


def matched(
    tensors: dict[str, Tensor], architecture: str, config: BertConfig = SMALL, *, new_head: bool = False
) -> Ledger:
    """The ledger; what holds for every one is made sure of."""
    model = empty(architecture, config)
    ledger = match(tensors, model, new_head=new_head, source="file")
    used = [key for keys in ledger.mapped.values() for key in keys]
    assert len(used) == len(set(used))
    assert sorted([*used, *ledger.tied, *ledger.dropped]) == sorted(tensors)
    assert sorted([*ledger.mapped, *ledger.fresh]) == sorted(parameters_of(model))
    return ledger


def filled(tensors: dict[str, Tensor], architecture: str, config: BertConfig = SMALL) -> dict[str, Tensor]:
    """The parameters that a file gives a model of ours."""
    model = empty(architecture, config)
    parameters = to_parameters(tensors, matched(tensors, architecture, config), model, None)
    assign_weights(model, parameters, source="file")
    return dict(model.named_parameters())


def refused(tensors: dict[str, Tensor], architecture: str = "BertForPreTraining") -> str:
    return refusal(lambda: match(tensors, empty(architecture), new_head=False, source="file"))


# --- The table -------------------------------------------------------------------------------------------------------


def keys_of(parameter: str, family: Family = BERT, architecture: str = "Bert") -> tuple[str, ...]:
    return key_map.keys_of(parameter, family.names_in(architecture).table)


def test_names_by_hand() -> None:
    assert keys_of("encoder.blocks.10.attention.query_key_value.bias") == (
        "bert.encoder.layer.10.attention.self.query.bias",
        "bert.encoder.layer.10.attention.self.key.bias",
        "bert.encoder.layer.10.attention.self.value.bias",
    )
    assert keys_of("encoder.embeddings.segment.weight") == ("bert.embeddings.token_type_embeddings.weight",)
    assert keys_of("encoder.blocks.0.feed_forward.output.weight") == ("bert.encoder.layer.0.output.dense.weight",)
    assert keys_of("mlm_head.decoder.bias") == ("cls.predictions.bias",)
    assert keys_of("classifier.dense.weight") == ("classifier.weight",)


def test_names_of_relatives_by_hand() -> None:
    assert keys_of("encoder.blocks.3.attention.output.bias", ROBERTA) == (
        "roberta.encoder.layer.3.attention.output.dense.bias",
    )
    assert keys_of("pooler.dense.weight", ROBERTA) == ("roberta.pooler.dense.weight",)
    assert keys_of("pooler.dense.weight", ROBERTA, "BertForSequenceClassification") == ("classifier.dense.weight",)
    assert keys_of("mlm_head.norm.weight", ROBERTA) == ("lm_head.layer_norm.weight",)
    assert keys_of("encoder.blocks.3.attention.query_key_value.weight", DISTILBERT) == (
        "distilbert.transformer.layer.3.attention.q_lin.weight",
        "distilbert.transformer.layer.3.attention.k_lin.weight",
        "distilbert.transformer.layer.3.attention.v_lin.weight",
    )
    assert keys_of("pooler.dense.weight", DISTILBERT) == ("pre_classifier.weight",)
    assert keys_of("encoder.blocks.0.feed_forward.inner.bias", ALBERT) == (
        "albert.encoder.albert_layer_groups.0.albert_layers.0.ffn.bias",
    )
    assert keys_of("encoder.embeddings.projection.weight", ALBERT) == (
        "albert.encoder.embedding_hidden_mapping_in.weight",
    )
    assert keys_of("nsp_head.weight", ALBERT) == ("sop_classifier.classifier.weight",)


@pytest.mark.parametrize("kind", list(KINDS))
def test_every_class_of_the_reference_is_covered_exactly(kind: str) -> None:
    name, fields, ours = KINDS[kind]
    with torch.device("meta"):
        shape, family = shape_of_kind(kind, TINY), FAMILIES[family_of_kind(kind)]
        reference = getattr(transformers, name)(reference_config(shape, family.model_type, **fields))
        arguments = HEADS.get(ours, {}) | ({"labels": list(reference.config.id2label.values())} if fields else {})
        model = ARCHITECTURES[ours](shape, **arguments)
    keys = {key for parameter in parameters_of(model) for key in keys_of(parameter, family, ours)}
    if name.endswith("Model"):
        keys = {key.removeprefix(f"{family.model_type}.") for key in keys}
    assert keys == {key for key, _ in reference.named_parameters()}  # there too a tied one is named once


@pytest.mark.parametrize(
    ("family", "architecture"),
    [(family, architecture) for family in FAMILIES for architecture in FAMILIES[family].classes],
)
def test_to_keys_and_back_is_nothing(family: str, architecture: str) -> None:
    config = FAMILY[family].replace(vocab_size=80)
    model = tiny_model(architecture, config)
    back = filled(to_keys(model), architecture, config)
    assert_close(back, dict(model.named_parameters()), rtol=0, atol=0)


def test_query_key_and_value_are_stacked_in_this_order() -> None:
    tensors = keys_and_values("encoder")
    fused = filled(tensors, "BertWithPooler")["encoder.blocks.1.attention.query_key_value.weight"]
    for number, name in enumerate(("query", "key", "value")):
        part = tensors[f"encoder.layer.1.attention.self.{name}.weight"]
        assert_close(fused[24 * number : 24 * (number + 1)].detach(), part, rtol=0, atol=0)


# --- Spellings -------------------------------------------------------------------------------------------------------


def respelled(tensors: dict[str, Tensor], old: str, new: str) -> dict[str, Tensor]:
    changed = {key.replace(old, new): tensor for key, tensor in tensors.items()}
    assert changed.keys() != tensors.keys()
    return changed


def test_the_prefix_may_be_there_or_not() -> None:
    bare = keys_and_values("encoder")
    expected = filled(bare, "BertWithPooler")
    prefixed = {f"bert.{key}": tensor for key, tensor in bare.items()}
    assert_close(filled(prefixed, "BertWithPooler"), expected, rtol=0, atol=0)
    headed = respelled(keys_and_values("pretraining"), "bert.", "")
    assert_close(
        filled(headed, "BertForPreTraining"), filled(keys_and_values("pretraining"), "BertForPreTraining"),
        rtol=0, atol=0,
    )  # fmt: skip


def test_layer_norms_may_have_gamma_and_beta() -> None:
    tensors = keys_and_values("pretraining")
    old = respelled(respelled(tensors, "LayerNorm.weight", "LayerNorm.gamma"), "LayerNorm.bias", "LayerNorm.beta")
    assert_close(filled(old, "BertForPreTraining"), filled(tensors, "BertForPreTraining"), rtol=0, atol=0)


def test_buffers_are_dropped() -> None:
    tensors = keys_and_values("encoder")
    tensors["embeddings.position_ids"] = torch.arange(16)[None]
    tensors["embeddings.token_type_ids"] = torch.zeros(1, 16, dtype=torch.int64)
    assert matched(tensors, "BertWithPooler").dropped == {
        "embeddings.position_ids": "a buffer: positions are counted in the forward pass",
        "embeddings.token_type_ids": "a buffer: all segments are A if none are given",
    }


@pytest.mark.parametrize("family", ["roberta", "distilbert", "albert"])
def test_the_files_of_a_relatives_encoder_lack_its_name_or_have_it(family: str) -> None:
    config = FAMILY[family].replace(vocab_size=80)
    model = tiny_model("Bert", config)
    bare = to_keys(model)
    assert all(key.startswith(("embeddings.", "encoder.", "transformer.")) for key in bare)
    prefixed = {f"{family}.{key}": tensor for key, tensor in bare.items()}
    prefixed[f"{family}.embeddings.position_ids"] = torch.arange(16)[None]
    assert_close(filled(prefixed, "Bert", config), filled(bare, "Bert", config), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("family", "decoder", "bias"),
    [
        ("roberta", "lm_head.decoder", "lm_head.bias"),
        ("distilbert", "vocab_projector", "vocab_projector.bias"),
        ("albert", "predictions.decoder", "predictions.bias"),
    ],
)
def test_a_relatives_decoder_may_be_there_or_not_but_not_of_its_own(family: str, decoder: str, bias: str) -> None:
    config = FAMILY[family].replace(vocab_size=80)
    tensors = to_keys(tiny_model("BertForMaskedLM", config))
    expected = filled(tensors, "BertForMaskedLM", config)
    tensors[f"{decoder}.weight"] = tensors[f"{family}.embeddings.word_embeddings.weight"].clone()
    tensors[f"{decoder}.bias"] = tensors[bias].clone()
    assert_close(filled(tensors, "BertForMaskedLM", config), expected, rtol=0, atol=0)
    tensors[f"{decoder}.weight"][3, 3] += 1
    message = refusal(lambda: matched(tensors, "BertForMaskedLM", config))
    assert message.startswith(
        f"file: {decoder}.weight differs from {family}.embeddings.word_embeddings.weight: an untied"
    )


def test_heads_that_a_relatives_class_has_not_are_dropped() -> None:
    tensors = to_keys(tiny_model("BertForSequenceClassification", FAMILY["roberta"]))
    assert matched(tensors, "Bert", FAMILY["roberta"]).dropped == {
        "classifier.dense.bias": "Bert has no pooler",
        "classifier.dense.weight": "Bert has no pooler",
        "classifier.out_proj.bias": "Bert has no classifier",
        "classifier.out_proj.weight": "Bert has no classifier",
    }


def test_another_number_of_a_relatives_layers_is_said_in_one_line() -> None:
    tensors = to_keys(tiny_model("Bert", FAMILY["distilbert"].replace(num_hidden_layers=3)))
    assert refusal(lambda: matched(tensors, "Bert", FAMILY["distilbert"])) == (
        "file: keys of 3 layers (transformer.layer.2 is the last), but n_layers is 2"
    )


WRAPPERS = ["module.", "_orig_mod.", "_orig_mod.module.", "bert.", "0.auto_model."]


@pytest.mark.parametrize("prefix", WRAPPERS)
@pytest.mark.parametrize("kind", ["pretraining", "tokens", "roberta masked", "distilbert tokens", "albert choices"])
def test_a_prefix_that_all_keys_share_is_taken_off(kind: str, prefix: str) -> None:
    tensors = keys_and_values(kind)
    wrapped = {f"{prefix}{key}": tensor for key, tensor in tensors.items()}
    stripped, found = without_prefix(wrapped, FAMILIES[family_of_kind(kind)])
    assert found == prefix
    assert stripped == tensors  # the very same tensors


@pytest.mark.parametrize(
    ("before", "prefix"),
    [("", ""), ("bert.", ""), ("bert.bert.", "bert."), ("module.", "module."), ("module.bert.", "module.")],
)
def test_of_an_encoder_no_more_is_taken_off_than_is_needed(before: str, prefix: str) -> None:
    wrapped = {f"{before}{key}": tensor for key, tensor in keys_and_values("encoder").items()}
    stripped, found = without_prefix(wrapped, BERT)
    assert found == prefix
    assert list(stripped) == [key.removeprefix(prefix) for key in wrapped]


@pytest.mark.parametrize("odd", ["module.adapter.weight", "adapter.weight", "module.bert.embeddings.LayerNorm.scale"])
def test_a_prefix_stays_where_not_every_key_is_known_without_it(odd: str) -> None:
    wrapped = {f"module.{key}": tensor for key, tensor in keys_and_values("masked").items()} | {odd: torch.zeros(1)}
    stripped, found = without_prefix(wrapped, BERT)
    assert (stripped, found) == (wrapped, "")
    message = refused(stripped, "BertForMaskedLM")
    assert message.startswith("file: missing bert.embeddings.word_embeddings.weight, ")
    assert message.endswith(" more")
    assert len(message) < 5000


# --- The decoder -----------------------------------------------------------------------------------------------------


def test_the_decoder_may_be_there_twice_once_or_under_either_name() -> None:
    tensors = keys_and_values("masked")
    assert DECODER in tensors and "cls.predictions.decoder.bias" in tensors and "cls.predictions.bias" in tensors
    expected = filled(tensors, "BertForMaskedLM")
    assert matched(tensors, "BertForMaskedLM").tied == {
        "cls.predictions.decoder.bias": "cls.predictions.bias",
        DECODER: TOKENS,
    }
    for left_out in (
        [DECODER],
        ["cls.predictions.decoder.bias"],
        ["cls.predictions.bias"],
        [DECODER, "cls.predictions.decoder.bias"],
    ):
        fewer = {key: tensor for key, tensor in tensors.items() if key not in left_out}
        assert_close(filled(fewer, "BertForMaskedLM"), expected, rtol=0, atol=0)


def test_a_tie_is_named_as_the_file_names_it() -> None:
    tensors = respelled(keys_and_values("masked"), "bert.", "")
    assert matched(tensors, "BertForMaskedLM").tied[DECODER] == "embeddings.word_embeddings.weight"


def test_an_untied_decoder_is_refused() -> None:
    tensors = keys_and_values("pretraining")
    tensors[DECODER][3, 3] += 1
    assert refused(tensors) == (
        f"file: {DECODER} differs from {TOKENS}: an untied decoder (tie_word_embeddings is false), "
        "which minibert does not support"
    )


def test_an_untied_decoder_that_nobody_uses_is_dropped() -> None:
    tensors = keys_and_values("pretraining")
    tensors[DECODER][3, 3] += 1
    assert matched(tensors, "BertWithPooler").dropped[DECODER] == "BertWithPooler has no mlm_head"


def test_two_values_for_one_parameter_are_refused() -> None:
    tensors = keys_and_values("pretraining")
    tensors["cls.predictions.decoder.bias"] = tensors["cls.predictions.bias"] + 1
    assert refused(tensors) == (
        "file: cls.predictions.decoder.bias differs from cls.predictions.bias: one parameter, two values"
    )


# --- Heads -----------------------------------------------------------------------------------------------------------


def test_heads_that_the_class_has_not_are_dropped() -> None:
    tensors = keys_and_values("pretraining")
    tensors["classifier.weight"] = torch.zeros(2, 24)
    tensors["qa_outputs.bias"] = torch.zeros(2)
    assert matched(tensors, "BertForMaskedLM").dropped == {
        "bert.pooler.dense.bias": "BertForMaskedLM has no pooler",
        "bert.pooler.dense.weight": "BertForMaskedLM has no pooler",
        "classifier.weight": "BertForMaskedLM has no classifier",
        "cls.seq_relationship.bias": "BertForMaskedLM has no nsp_head",
        "cls.seq_relationship.weight": "BertForMaskedLM has no nsp_head",
        "qa_outputs.bias": "BertForMaskedLM has no span_head",
    }


def test_a_missing_pooler_or_head_is_an_error_or_drawn() -> None:
    lacking = ("bert.pooler.dense.bias", "bert.pooler.dense.weight", "cls.seq_relationship.bias")
    tensors = {key: tensor for key, tensor in keys_and_values("pretraining").items() if key not in lacking}
    assert refused(tensors) == (
        "file: missing bert.pooler.dense.weight, bert.pooler.dense.bias, cls.seq_relationship.bias "
        "(use --new-head to initialise a missing head)"
    )
    ledger = matched(tensors, "BertForPreTraining", new_head=True)
    assert ledger.fresh == ["pooler.dense.weight", "pooler.dense.bias", "nsp_head.bias"]
    parameters = to_parameters(tensors, ledger, empty("BertForPreTraining"), seeded(1))
    assert_close(parameters["nsp_head.weight"], tensors["cls.seq_relationship.weight"], rtol=0, atol=0)
    assert parameters["nsp_head.bias"].tolist() == [0, 0]
    assert float(parameters["pooler.dense.weight"].std()) == pytest.approx(0.02, rel=0.1)


def test_a_new_head_draws_the_decoders_bias_alone() -> None:
    tensors = keys_and_values("encoder")
    ledger = matched(tensors, "BertForMaskedLM", new_head=True)
    parameters = to_parameters(tensors, ledger, empty("BertForMaskedLM"), seeded(1))
    assert sorted(name for name in parameters if name.startswith("mlm_head.decoder")) == ["mlm_head.decoder.bias"]
    model = empty("BertForMaskedLM")
    assign_weights(model, parameters, source="file")
    assert model.mlm_head.decoder.weight is model.encoder.embeddings.token.weight


def test_no_part_of_the_encoder_is_drawn() -> None:
    tensors = keys_and_values("encoder")
    del tensors["embeddings.LayerNorm.bias"]
    message = refusal(lambda: match(tensors, empty("BertWithPooler"), new_head=True, source="file"))
    assert message == "file: missing bert.embeddings.LayerNorm.bias"


# --- What does not fit -----------------------------------------------------------------------------------------------


def test_every_unknown_and_missing_key_is_named() -> None:
    tensors = keys_and_values("pretraining")
    tensors["adapter.down"] = tensors.pop("bert.encoder.layer.0.attention.self.key.bias")
    tensors["bert.encoder.layer.1.crossattention.self.key.bias"] = torch.zeros(24)
    assert refused(tensors) == (
        "file: missing bert.encoder.layer.0.attention.self.key.bias; "
        "unknown adapter.down, bert.encoder.layer.1.crossattention.self.key.bias"
    )


def test_another_number_of_layers_is_said_in_one_line() -> None:
    tensors = keys_and_values("encoder")
    tensors["encoder.layer.2.output.dense.bias"] = torch.zeros(24)
    assert refused(tensors, "BertWithPooler") == (
        "file: keys of 3 layers (encoder.layer.2 is the last), but num_hidden_layers is 2"
    )


@pytest.mark.parametrize(
    ("key", "shape", "message"),
    [
        (
            "bert.embeddings.word_embeddings.weight",
            (79, 24),
            "bert.embeddings.word_embeddings.weight is (79, 24), but encoder.embeddings.token.weight is (80, 24)",
        ),
        (
            "bert.encoder.layer.0.intermediate.dense.weight",
            (24, 56),
            "bert.encoder.layer.0.intermediate.dense.weight is (24, 56), "
            "but encoder.blocks.0.feed_forward.inner.weight is (56, 24)",
        ),
        (
            "bert.encoder.layer.1.attention.self.key.weight",
            (24, 23),
            "bert.encoder.layer.1.attention.self.key.weight is (24, 23), "
            "but each of the 3 parts of encoder.blocks.1.attention.query_key_value.weight is (24, 24)",
        ),
        (
            "cls.seq_relationship.bias",
            (3,),
            "cls.seq_relationship.bias is (3,), but nsp_head.bias is (2,)",
        ),
    ],
)
def test_another_shape_is_named_on_both_sides(key: str, shape: tuple[int, ...], message: str) -> None:
    tensors = {name: tensor for name, tensor in keys_and_values("pretraining").items() if name != DECODER}
    tensors[key] = torch.zeros(shape)
    assert refused(tensors) == f"file: {message}"


def test_parts_of_one_matrix_have_one_type() -> None:
    tensors = keys_and_values("encoder")
    tensors["encoder.layer.0.attention.self.key.bias"] = torch.zeros(24, dtype=torch.float16)
    assert refused(tensors, "BertWithPooler") == (
        "file: encoder.layer.0.attention.self.query.bias, encoder.layer.0.attention.self.key.bias, "
        "encoder.layer.0.attention.self.value.bias differ in type, "
        "but encoder.blocks.0.attention.query_key_value.bias has one type"
    )


# --- The ledger for people -------------------------------------------------------------------------------------------


def test_the_ledger_says_once_what_holds_for_every_block() -> None:
    tensors = keys_and_values("masked")
    tensors["bert.embeddings.position_ids"] = torch.arange(16)[None]
    lines = list(matched(tensors, "BertForMaskedLM").lines())
    assert lines[0] == "mapped: 42 keys to 34 parameters"  # 5 + 5 + 2·16 of theirs; 5 + 5 + 2·12 of ours
    assert (
        "  encoder.blocks.{}.attention.query_key_value.weight <- bert.encoder.layer.{}.attention.self.query.weight | "
        "bert.encoder.layer.{}.attention.self.key.weight | bert.encoder.layer.{}.attention.self.value.weight"
        "   (2 blocks)"
    ) in lines
    assert "  mlm_head.decoder.bias <- cls.predictions.bias" in lines
    assert lines[-6:] == [
        "tied: 2",
        "  cls.predictions.decoder.bias is cls.predictions.bias",
        f"  {DECODER} is {TOKENS}",
        "dropped: 1",
        "  bert.embeddings.position_ids: a buffer: positions are counted in the forward pass",
        "newly initialised: none",
    ]


def test_the_ledger_has_the_keys_of_a_single_block_as_they_are() -> None:
    ledger = matched(keys_and_values("albert masked"), "BertForMaskedLM", shape_of_kind("albert masked", SMALL))
    inner = "albert.encoder.albert_layer_groups.0.albert_layers.0.ffn"
    assert f"  encoder.blocks.0.feed_forward.inner.weight <- {inner}.weight" in list(ledger.lines())
