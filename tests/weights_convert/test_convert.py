"""Conversion there and back: the same numbers, the same bits, the same tokens; whole or not at all."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch.testing import assert_close

import minibert
from minibert import checkpoint
from minibert.architectures import head_fields
from minibert.config import BertConfig
from minibert.console import cli
from minibert.files import writing
from minibert.tokenizer import Tokenizer
from tests.helpers import FAMILY, REPOSITORY, contents, full_disk, randomize, refusal, seeded, tiny_model
from tests.weights_convert.reference_models import (
    KINDS,
    ODD,
    SMALL,
    edit_json,
    family_of_kind,
    our_answers,
    real_directory,
    reference_answers,
    reference_model,
    shape_of_kind,
    write_directory,
    write_vocabulary,
)
from weights_convert.convert import from_hf, read_hf, to_hf

DTYPES = [torch.float32, torch.float16, torch.bfloat16]


def assert_loads_completely(directory: Path, reference: transformers.PreTrainedModel) -> None:
    """`from_pretrained` finds every key and no other, and the same bits as in `reference`."""
    task = re.sub(r"^(Bert|Roberta|DistilBert|Albert|Longformer)(Model)?", "", type(reference).__name__)
    auto = getattr(transformers, f"AutoModel{task}")
    loaded, report = auto.from_pretrained(directory, output_loading_info=True, dtype="auto")
    assert type(loaded) is type(reference)
    assert {name: list(found) for name, found in report.items() if found} == {}
    expected = reference.state_dict()
    assert {key: tensor.dtype for key, tensor in loaded.state_dict().items()} == {
        key: tensor.dtype for key, tensor in expected.items()
    }
    assert_close(loaded.state_dict(), expected, rtol=0, atol=0)


# --- From Hugging Face -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [SMALL, ODD], ids=["small", "odd"])
@pytest.mark.parametrize("kind", list(KINDS))
def test_every_class_answers_as_the_reference(kind: str, shape: BertConfig, tmp_path: Path) -> None:
    reference = reference_model(kind, shape)
    from_hf(write_directory(reference, tmp_path / "hf"), tmp_path / "ours")
    model, _ = minibert.load(tmp_path / "ours")
    assert type(model).__name__ == KINDS[kind][2]
    dropout = {"single label": 0.25}.get(kind, model.config.classifier_dropout)
    assert model.config == shape_of_kind(kind, shape).replace(classifier_dropout=dropout)
    found, expected = our_answers(model, kind), reference_answers(reference, kind)
    assert found.keys() == expected.keys()
    for name in expected:
        assert_close(found[name], expected[name], rtol=0, atol=1e-10, msg=lambda text, name=name: f"{name}: {text}")


SHARED = REPOSITORY.parent / "shared" / "data"
# The published configs of BERT's shape in the shared data, and the vocabulary of each.
BERT_SHAPED = {
    "bert-base-uncased": "uncased",
    "bert-large-uncased": "uncased",
    "bert-base-cased": "cased",
    "bert-base-chinese": "chinese",
    "chinese-roberta-wwm-ext": "chinese",
    "bert-base-multilingual-cased": "multilingual-cased",
}


@pytest.mark.parametrize("name", BERT_SHAPED)
def test_a_published_config_loads_with_its_vocabulary(name: str, tmp_path: Path) -> None:
    config = SHARED / "configs" / f"{name}.json"
    vocabulary = SHARED / "vocab" / f"bert-base-{BERT_SHAPED[name]}-vocab.txt"
    for path in (config, vocabulary):
        if not path.is_file():
            pytest.skip(f"{path} is missing (shared data of the project's developers)")
    # All that the file says but for the sizes, which would make a gigabyte of random weights.
    fields = json.loads(config.read_text())
    fields |= {"hidden_size": 24, "num_attention_heads": 3, "intermediate_size": 56, "num_hidden_layers": 2}
    (class_name,) = fields.get("architectures", ["BertModel"])
    made = transformers.BertConfig(**(fields | {"attn_implementation": "eager"}))
    reference = getattr(transformers, class_name)(made).double().eval()
    randomize(reference, seed=11)
    reference.save_pretrained(tmp_path / "hf")
    (tmp_path / "hf" / "config.json").write_text(json.dumps(fields))
    (tmp_path / "hf" / "vocab.txt").write_bytes(vocabulary.read_bytes())
    conversion = read_hf(tmp_path / "hf")
    model, tokenizer = conversion.model, conversion.tokenizer
    assert tokenizer.vocab_size == model.config.vocab_size == fields["vocab_size"]
    batch = tokenizer(["A naïve cat sat on 北京.", "[MASK]"], ["He ran", "他跑了"])
    others = {"token_type_ids": batch.token_type_ids, "attention_mask": batch.attention_mask}
    with torch.no_grad():
        hidden = model.encoder(batch.input_ids, **others)
        expected = reference.base_model(batch.input_ids, **others).last_hidden_state
    assert_close(hidden[batch.attention_mask], expected[batch.attention_mask], rtol=0, atol=1e-10)


def as_published_first(directory: Path) -> None:
    """A .bin with LayerNorm's first names, position numbers and what is tied, and a config that names no class."""
    old = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    tensors = reference_model("pretraining").float().state_dict()
    tensors = {re.sub("|".join(old), lambda match: old[match[0]], key): tensor for key, tensor in tensors.items()}
    tensors["bert.embeddings.position_ids"] = torch.arange(16)[None]
    torch.save(tensors, directory / "pytorch_model.bin")
    (directory / "model.safetensors").unlink()
    edit_json(directory / "config.json", architectures=None, model_type=None)


def as_shards(directory: Path) -> None:
    """Several .safetensors and their index."""
    (directory / "model.safetensors").unlink()
    reference_model("pretraining").float().save_pretrained(directory, max_shard_size="20KB")
    assert len(list(directory.glob("model-*.safetensors"))) > 1


def as_bin_shards(directory: Path) -> None:
    """Two .bin and their index."""
    tensors = load_file(directory / "model.safetensors")
    (directory / "model.safetensors").unlink()
    places = {key: f"pytorch_model-{number % 2}.bin" for number, key in enumerate(tensors)}
    for place in set(places.values()):
        torch.save({key: tensors[key] for key in tensors if places[key] == place}, directory / place)
    (directory / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": places}))


@pytest.mark.parametrize("form", [as_published_first, as_shards, as_bin_shards])
def test_every_form_of_a_directory_gives_the_same_bytes(form: Callable[[Path], None], tmp_path: Path) -> None:
    directory = write_directory(reference_model("pretraining").float(), tmp_path / "hf")
    from_hf(directory, tmp_path / "one")
    form(directory)
    from_hf(directory, tmp_path / "two")
    assert contents(tmp_path / "two") == contents(tmp_path / "one")


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "_orig_mod.module.", "bert."])
def test_what_a_wrapper_wrote_before_every_key_is_taken_off(prefix: str, tmp_path: Path) -> None:
    directory = write_directory(reference_model("pretraining").float(), tmp_path / "hf")
    assert from_hf(directory, tmp_path / "one").prefix == ""
    tensors = load_file(directory / "model.safetensors")
    save_file({f"{prefix}{key}": tensor for key, tensor in tensors.items()}, directory / "model.safetensors")
    assert from_hf(directory, tmp_path / "two").prefix == prefix
    assert contents(tmp_path / "two") == contents(tmp_path / "one")


@pytest.mark.parametrize("activation", ["gelu_python", "gelu_accurate", "gelu_pytorch_tanh", "gelu_python_tanh"])
def test_an_activation_under_another_name_is_the_same(activation: str, tmp_path: Path) -> None:
    config = reference_model("masked").config
    config.hidden_act = activation
    reference = transformers.BertForMaskedLM(config).double().eval()
    model = read_hf(write_directory(reference, tmp_path / "hf")).model
    assert_close(
        our_answers(model, "masked")["logits"], reference_answers(reference, "masked")["logits"], rtol=0, atol=1e-10
    )


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (
            "single label",
            {
                "labels": ("bad", "fair", "good"),
                "problem_type": "single_label_classification",
            },
        ),
        (
            "many labels",
            {
                "labels": ("LABEL_0", "LABEL_1", "LABEL_2", "LABEL_3"),
                "problem_type": "multi_label_classification",
            },
        ),
        ("regression", {"labels": ("LABEL_0",), "problem_type": "regression"}),
        ("tokens", {"labels": ("O", "B-X", "I-X")}),
        ("choices", {}),
        ("answers", {}),
    ],
)
def test_labels_come_along(kind: str, fields: dict[str, object], tmp_path: Path) -> None:
    directory = write_directory(reference_model(kind), tmp_path / "hf")
    assert head_fields(read_hf(directory).model) == fields


@pytest.mark.parametrize("kind", ["encoder", "roberta encoder", "albert encoder"])
def test_an_encoder_without_a_pooler_is_a_bare_one(kind: str, tmp_path: Path) -> None:
    with_pooler = reference_model(kind)
    reference = type(with_pooler)(with_pooler.config, add_pooling_layer=False).double().eval()
    conversion = read_hf(write_directory(reference, tmp_path / "hf"))
    assert type(conversion.model).__name__ == "Bert"
    expected = reference_answers(reference, kind)["last_hidden_state"]
    assert_close(our_answers(conversion.model, kind)["last_hidden_state"], expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("kind", "architecture"),
    [
        ("encoder", "BertWithPooler"),
        ("pretraining", "BertForPreTraining"),
        ("masked", "BertForMaskedLM"),
        ("next sentence", "BertForNextSentencePrediction"),
        ("answers", "BertForQuestionAnswering"),
        ("roberta encoder", "BertWithPooler"),
        ("roberta masked", "BertForMaskedLM"),
        ("distilbert encoder", "Bert"),
        ("distilbert masked", "BertForMaskedLM"),
        ("albert encoder", "BertWithPooler"),
        ("albert pretraining", "BertForPreTraining"),
        ("albert answers", "BertForQuestionAnswering"),
    ],
)
def test_without_architectures_the_weights_tell_the_class(kind: str, architecture: str, tmp_path: Path) -> None:
    directory = write_directory(reference_model(kind), tmp_path / "hf")
    edit_json(directory / "config.json", architectures=None)  # as in the first published files
    if family_of_kind(kind) != "roberta":  # which then is told by the number of its positions
        edit_json(directory / "config.json", model_type=None)
    assert type(read_hf(directory).model).__name__ == architecture


def test_a_missing_head_is_drawn_where_that_is_asked_for(tmp_path: Path) -> None:
    directory = write_directory(reference_model("encoder").to(torch.bfloat16), tmp_path / "hf")
    edit_json(directory / "config.json", architectures=["BertForTokenClassification"], id2label={"0": "O", "1": "X"})
    assert "classifier.weight" in refusal(lambda: read_hf(directory))
    conversion = read_hf(directory, new_head=seeded(5))
    assert conversion.ledger.fresh == ["classifier.dense.weight", "classifier.dense.bias"]
    weight, bias = conversion.model.classifier.dense.parameters()
    assert (weight.dtype, tuple(weight.shape), bias.tolist()) == (torch.bfloat16, (2, 24), [0, 0])
    expected = torch.empty(2, 24).normal_(std=0.02, generator=seeded(5)).bfloat16()
    assert_close(weight.detach(), expected, rtol=0, atol=0)


def test_truncation_and_padding_of_the_tokenizer_are_taken_out(tokenizer: Tokenizer, tmp_path: Path) -> None:
    directory = write_directory(reference_model("encoder"), tmp_path / "hf")
    tokenizer.save(directory)
    truncation = {"max_length": 4, "strategy": "LongestFirst", "stride": 0, "direction": "Right"}
    padding = {"strategy": {"Fixed": 4}, "direction": "Right", "pad_to_multiple_of": None}
    padding |= {"pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"}
    edit_json(directory / "tokenizer.json", truncation=truncation, padding=padding)
    from_hf(directory, tmp_path / "ours")
    saved = json.loads((tmp_path / "ours" / "tokenizer.json").read_text())
    assert (saved["truncation"], saved["padding"]) == (None, None)
    text = "The cat sat on the mat and the dog sat on the cat."
    assert minibert.load(tmp_path / "ours")[1](text).input_ids.tolist() == tokenizer(text).input_ids.tolist()


def test_options_of_the_tokenizer_are_kept(tmp_path: Path) -> None:
    directory = write_directory(reference_model("encoder"), tmp_path / "hf")
    options = {"do_lower_case": False, "strip_accents": True, "tokenize_chinese_chars": False}
    (directory / "tokenizer_config.json").write_text(json.dumps(options))
    from_hf(directory, tmp_path / "ours")
    normalization = minibert.load(tmp_path / "ours")[1].normalization
    assert (normalization.lowercase, normalization.strip_accents, normalization.chinese_chars) == (False, True, False)


def test_added_tokens_of_the_tokenizer_come_along(tmp_path: Path) -> None:
    directory = write_directory(reference_model("encoder", SMALL.replace(vocab_size=82)), tmp_path / "hf")
    write_vocabulary(directory, 80)
    (directory / "added_tokens.json").write_text('{"covid": 80, "[X]": 81}')
    (directory / "special_tokens_map.json").write_text('{"extra_special_tokens": ["[X]"], "mask_token": "[MASK]"}')
    from_hf(directory, tmp_path / "ours")
    to_hf(tmp_path / "ours", tmp_path / "back")
    text = "Covid word1 [X] [x] [MASK]"
    expected = [2, 80, 6, 81, 1, 1, 1, 4, 3]
    assert minibert.load(tmp_path / "ours")[1](text).input_ids.tolist() == [expected]
    for place in (directory, tmp_path / "back"):
        assert transformers.AutoTokenizer.from_pretrained(place)(text)["input_ids"] == expected


@pytest.mark.parametrize("kind", ["masked", "roberta masked", "distilbert masked", "albert pretraining"])
def test_rows_without_a_token_stay_and_are_never_predicted(kind: str, tmp_path: Path) -> None:
    reference = reference_model(kind)
    with torch.no_grad():  # rows 50 to 79 would be the best answers by far
        reference.get_output_embeddings().bias[50:] += 100
    directory = write_directory(reference, tmp_path / "hf")
    write_vocabulary(directory, 50, pad=reference.config.pad_token_id)
    from_hf(directory, tmp_path / "ours")
    model, tokenizer = minibert.load(tmp_path / "ours")
    assert (model.config.vocab_size, tokenizer.vocab_size) == (80, 50)
    (answers,) = minibert.fill_mask(model, tokenizer, "word1 [MASK] word2", top_k=50)
    assert sum(answer.probability for answer in answers) == pytest.approx(1)
    to_hf(tmp_path / "ours", tmp_path / "back")
    assert_loads_completely(tmp_path / "back", reference)
    from_hf(tmp_path / "back", tmp_path / "again")
    assert contents(tmp_path / "again") == contents(tmp_path / "ours")


def test_a_roberta_that_does_not_know_its_tokenizers_padding_is_refused(tmp_path: Path) -> None:
    directory = write_directory(reference_model("roberta encoder"), tmp_path / "hf")
    write_vocabulary(directory, 80, pad=0)
    assert refusal(lambda: read_hf(directory)) == (
        f"{directory / 'config.json'}: pad_token_id, after which positions begin, is 1, but the tokenizer's [PAD] is 0"
    )


# --- And back --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kind", list(KINDS))
def test_there_and_back_gives_the_same_bits(kind: str, dtype: torch.dtype, tmp_path: Path) -> None:
    reference = reference_model(kind).to(dtype)
    from_hf(write_directory(reference, tmp_path / "hf"), tmp_path / "ours")
    model, _ = minibert.load(tmp_path / "ours")
    assert {parameter.dtype for parameter in model.parameters()} == {dtype}
    to_hf(tmp_path / "ours", tmp_path / "back")
    assert_loads_completely(tmp_path / "back", reference)


@pytest.mark.parametrize("kind", list(KINDS))
def test_labels_come_back(kind: str, tmp_path: Path) -> None:
    reference = reference_model(kind)
    from_hf(write_directory(reference, tmp_path / "hf"), tmp_path / "ours")
    to_hf(tmp_path / "ours", tmp_path / "back")
    back = transformers.AutoConfig.from_pretrained(tmp_path / "back")
    assert back.architectures == [type(reference).__name__]
    if "labels" in head_fields(minibert.load(tmp_path / "ours")[0]):
        assert back.label2id == {label: i for i, label in back.id2label.items()}
    same = {"bert": ("classifier_dropout", "hidden_act", "layer_norm_eps", "type_vocab_size"),
            "roberta": ("hidden_act", "layer_norm_eps", "type_vocab_size", "pad_token_id"),
            "distilbert": ("dim", "n_layers", "activation", "qa_dropout"),
            "albert": ("embedding_size", "hidden_act", "classifier_dropout_prob"),
            "longformer": ("attention_window", "sep_token_id", "pad_token_id")}[family_of_kind(kind)]  # fmt: skip
    for name in ("id2label", *same):
        assert getattr(back, name) == getattr(reference.config, name), name


def test_a_bare_encoder_loads_without_a_pooler(tokenizer: Tokenizer, tmp_path: Path) -> None:
    checkpoint.save(tiny_model("Bert", SMALL), tokenizer, tmp_path / "ours")
    to_hf(tmp_path / "ours", tmp_path / "hf")
    _, report = transformers.AutoModel.from_pretrained(
        tmp_path / "hf", add_pooling_layer=False, output_loading_info=True
    )
    assert {name: list(found) for name, found in report.items() if found} == {}
    from_hf(tmp_path / "hf", tmp_path / "again")
    assert contents(tmp_path / "again") == contents(tmp_path / "ours")


@pytest.mark.parametrize("family", ["roberta", "distilbert", "albert"])
def test_a_bare_relative_loads_and_comes_back(family: str, tokenizer: Tokenizer, tmp_path: Path) -> None:
    config = FAMILY[family].replace(vocab_size=80, pad_token_id=tokenizer.pad_id)
    checkpoint.save(tiny_model("Bert", config), tokenizer, tmp_path / "ours")
    to_hf(tmp_path / "ours", tmp_path / "hf")
    options = {} if family == "distilbert" else {"add_pooling_layer": False}
    _, report = transformers.AutoModel.from_pretrained(tmp_path / "hf", **options, output_loading_info=True)
    assert {name: list(found) for name, found in report.items() if found} == {}
    from_hf(tmp_path / "hf", tmp_path / "again")
    assert contents(tmp_path / "again") == contents(tmp_path / "ours")


def test_a_relative_without_segments_is_given_none(tokenizer: Tokenizer, tmp_path: Path) -> None:
    for family, longest in (("roberta", 17), ("distilbert", 16)):
        config = FAMILY[family].replace(vocab_size=80, pad_token_id=tokenizer.pad_id)
        model = tiny_model("BertForMaskedLM", config)
        checkpoint.save(model, tokenizer, tmp_path / family)
        to_hf(tmp_path / family, tmp_path / f"{family} hf")
        reference = transformers.AutoTokenizer.from_pretrained(tmp_path / f"{family} hf")
        assert list(reference("the cat", "sat")) == ["input_ids", "attention_mask"]
        assert reference.model_max_length == longest


def test_a_directory_for_transformers_holds_these_files(model_directory: Path, tmp_path: Path) -> None:
    to_hf(model_directory, tmp_path / "hf")
    assert sorted(contents(tmp_path / "hf")) == [
        "README.md",
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "vocab.txt",
    ]


def test_transformers_tokenizer_gives_the_same_ids(model_directory: Path, tokenizer: Tokenizer, tmp_path: Path) -> None:
    to_hf(model_directory, tmp_path / "hf")
    reference = transformers.AutoTokenizer.from_pretrained(tmp_path / "hf")
    first = ["The [MASK] sat; the DOG ran.", "he bought milk", "Café 中国 ##x"]
    second = ["they went home", "the house the house the house the house", "b"]
    ours = tokenizer(first, second, max_length=16)
    expected = reference(first, second, truncation=True, padding=True, return_tensors="pt")  # to 16 by itself
    assert ours.input_ids.tolist() == expected["input_ids"].tolist()
    assert ours.token_type_ids.tolist() == expected["token_type_ids"].tolist()
    assert ours.attention_mask.long().tolist() == expected["attention_mask"].tolist()


def test_the_longest_word_comes_along(model_directory: Path, tmp_path: Path) -> None:
    path = model_directory / "tokenizer.json"
    content = json.loads(path.read_text())
    content["model"]["max_input_chars_per_word"] = 4
    path.write_text(json.dumps(content))
    config = json.loads((model_directory / "config.json").read_text()) | {"tokenizer_sha256": writing.sha256(path)}
    (model_directory / "config.json").write_text(json.dumps(config))
    minibert.save(*minibert.load(model_directory), model_directory)
    to_hf(model_directory, tmp_path / "hf")
    reference = transformers.AutoTokenizer.from_pretrained(tmp_path / "hf")
    tokenizer = minibert.load(model_directory)[1]
    assert tokenizer.max_word_chars == 4
    first, second = ["the house they sat"], ["bread [MASK]"]
    expected = reference(first, second, truncation=True, return_offsets_mapping=True)
    batch = tokenizer(first, second)
    assert batch.input_ids.tolist() == expected["input_ids"]
    assert batch.input_ids[0].tolist().count(tokenizer.unk_id) == 2
    assert batch.token_type_ids.tolist() == expected["token_type_ids"]
    assert batch.offsets.tolist() == [list(map(list, expected["offset_mapping"][0]))]
    from_hf(tmp_path / "hf", tmp_path / "again")
    assert contents(tmp_path / "again") == contents(model_directory) | {
        "tokenizer.json": contents(tmp_path / "hf")["tokenizer.json"]  # written as we write it
    }


def test_a_tokenizer_that_transformers_has_not_is_refused(model_directory: Path, tmp_path: Path) -> None:
    (model_directory / "tokenizer_config.json").write_text('{"clean_text": false}')
    assert refusal(lambda: to_hf(model_directory, tmp_path / "new" / "hf")) == (
        f"{model_directory}: the tokenizer's clean_text is false; transformers' BertTokenizer always cleans"
    )
    assert not (tmp_path / "new").exists()


# --- Whole or not at all ---------------------------------------------------------------------------------------------


def test_an_output_that_is_there_stays_as_it_is(model_directory: Path, tmp_path: Path) -> None:
    directory = write_directory(reference_model("encoder"), tmp_path / "hf")
    (tmp_path / "out").mkdir()
    before = contents(tmp_path)
    expected = f"{tmp_path / 'out'} already exists; choose a new directory"
    assert refusal(lambda: from_hf(directory, tmp_path / "out")) == expected
    assert refusal(lambda: to_hf(model_directory, tmp_path / "out")) == expected
    assert contents(tmp_path) == before


def test_a_full_disk_leaves_nothing(model_directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    directory = write_directory(reference_model("encoder"), tmp_path / "hf")
    before = contents(tmp_path)
    out = tmp_path / "new" / "out"
    capsys.readouterr()  # the reference's progress bar
    for command in (lambda: from_hf(directory, out), lambda: to_hf(model_directory, out)):
        with pytest.raises(SystemExit) as ending, full_disk():
            cli.run(command)
        assert (ending.value.code, len(capsys.readouterr().err.splitlines())) == (3, 1)
    assert contents(tmp_path) == before
    assert not (tmp_path / "new").exists()


# --- Real weights ----------------------------------------------------------------------------------------------------


TEXTS = ["A man is playing a guitar.", "Paris is the capital of France; Berlin, of Germany.", "naïve café 中国"]


def test_real_weights_give_the_references_numbers(tmp_path: Path) -> None:
    from_hf(real_directory(), tmp_path / "ours")
    model, tokenizer = minibert.load(tmp_path / "ours")
    reference = transformers.AutoModel.from_pretrained(real_directory(), attn_implementation="eager").eval()
    reference_tokenizer = transformers.AutoTokenizer.from_pretrained(real_directory())
    batch = tokenizer(TEXTS)
    encoded = reference_tokenizer(TEXTS, padding=True, return_tensors="pt")
    assert batch.input_ids.tolist() == encoded["input_ids"].tolist()
    for dtype, tolerance in ((torch.float64, 1e-10), (torch.float32, 2e-5)):
        with torch.no_grad():
            hidden, pooled = model.to(dtype)(batch.input_ids, attention_mask=batch.attention_mask)
            expected = reference.to(dtype)(**encoded)
        real = batch.attention_mask
        assert_close(hidden[real], expected.last_hidden_state[real], rtol=0, atol=tolerance)
        assert_close(pooled, expected.pooler_output, rtol=0, atol=tolerance)


def test_real_weights_there_and_back_are_the_same_bits(tmp_path: Path) -> None:
    from_hf(real_directory(), tmp_path / "ours")
    to_hf(tmp_path / "ours", tmp_path / "back")
    assert_loads_completely(tmp_path / "back", transformers.AutoModel.from_pretrained(real_directory()))
