"""Model directories: what comes back, what is refused, and what is left behind when writing fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch.nn import DataParallel
from torch.testing import assert_close

from minibert import checkpoint
from minibert.architectures import ARCHITECTURES, OPTIONAL_HEAD_FIELDS, head_fields
from minibert.config import TextVectors
from minibert.console import cli
from minibert.files import writing
from minibert.heads import BertForMaskedLM, BertForPreTraining
from minibert.model import Bert
from minibert.tokenizer import Tokenizer
from tests.helpers import FAMILY, HEADS, REPOSITORY, TINY, contents, full_disk, refusal, seeded, tiny_model

FILES = ["config.json", "model.safetensors", "tokenizer.json", "vocab.txt"]


def edit_config(directory: Path, **fields: Any) -> None:
    """Changes fields of config.json; None takes one away."""
    path = directory / "config.json"
    config = json.loads(path.read_text()) | fields
    path.write_text(json.dumps({name: value for name, value in config.items() if value is not None}))


def edit_weights(directory: Path, edit: Callable[[dict[str, torch.Tensor]], object]) -> None:
    """Changes the weights as somebody would who writes no checksum."""
    tensors = load_file(directory / "model.safetensors")
    edit(tensors)
    save_file(tensors, directory / "model.safetensors")
    edit_config(directory, weights_sha256=None)


# --- There and back --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", list(ARCHITECTURES))
def test_a_model_comes_back_as_it_was(architecture: str, tokenizer: Tokenizer, tmp_path: Path) -> None:
    model = tiny_model(architecture, TINY.replace(vocab_size=80, hidden_act="relu", layer_norm_eps=1e-5))
    checkpoint.save(model, tokenizer, tmp_path / "model")
    loaded, loaded_tokenizer = checkpoint.load(tmp_path / "model")
    assert type(loaded).__name__ == architecture
    assert loaded.config == model.config
    assert head_fields(loaded) == head_fields(model) == HEADS.get(architecture, {})
    assert_close(loaded.state_dict(), model.state_dict(), rtol=0, atol=0)
    assert loaded_tokenizer.fingerprint == tokenizer.fingerprint


@pytest.mark.parametrize("architecture", [name for name, said in OPTIONAL_HEAD_FIELDS.items() if "trained_on" in said])
def test_what_a_head_was_trained_on_stands_in_the_config(
    architecture: str, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    model = tiny_model(architecture, TINY.replace(vocab_size=80))
    said = {"task": "some-task", "text_column": "review", "max_length": 12, "delimiter": None}
    setattr(model, "trained_on", said)  # noqa: B010 - the classes with a head have it, the others don't
    checkpoint.save(model, tokenizer, tmp_path / "model")
    assert head_fields(checkpoint.load(tmp_path / "model")[0])["trained_on"] == said
    config = tmp_path / "model" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"trained_on": 7}))
    assert "config.json: trained_on must be of type dict, not 7" in refusal(lambda: checkpoint.load(tmp_path / "model"))


def test_a_directory_holds_these_files(model_directory: Path) -> None:
    assert sorted(path.name for path in model_directory.iterdir()) == FILES
    assert [path.name for path in model_directory.parent.iterdir()] == ["model"]


def test_the_config_names_the_architecture_the_fields_and_the_checksum(model_directory: Path) -> None:
    fields = json.loads((model_directory / "config.json").read_text())
    assert fields.pop("architecture") == "BertForPreTraining"
    assert fields.pop("weights_sha256") == writing.sha256(model_directory / "model.safetensors")
    assert fields.pop("tokenizer_sha256") == writing.sha256(model_directory / "tokenizer.json")
    assert fields == TINY.replace(vocab_size=80).to_dict()


def test_a_tied_matrix_is_saved_once(model_directory: Path) -> None:
    names = load_file(model_directory / "model.safetensors").keys()
    assert "encoder.embeddings.token.weight" in names
    assert "mlm_head.decoder.weight" not in names


def test_a_loaded_model_is_tied(model_directory: Path) -> None:
    model, _ = checkpoint.load(model_directory)
    assert isinstance(model, BertForPreTraining)
    assert model.mlm_head.decoder.weight is model.encoder.embeddings.token.weight


def test_loading_draws_nothing_and_does_without_the_compiler(model_directory: Path) -> None:
    code = f"import sys, minibert\nminibert.load({str(model_directory)!r})\nprint('torch._dynamo' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("False\n", "")


def test_a_loaded_model_is_in_evaluation_mode_and_can_be_trained(model_directory: Path) -> None:
    model, _ = checkpoint.load(model_directory)
    assert not any(module.training for module in model.modules())
    assert all(parameter.requires_grad and parameter.device.type == "cpu" for parameter in model.parameters())


def test_a_directory_may_be_without_a_checksum(model_directory: Path, model: BertForPreTraining) -> None:
    edit_config(model_directory, weights_sha256=None, tokenizer_sha256=None)
    assert_close(checkpoint.load(model_directory)[0].state_dict(), model.state_dict(), rtol=0, atol=0)


def compiled(model: torch.nn.Module) -> Any:
    return torch.compile(model, backend="eager")


@pytest.mark.parametrize("wrap", [compiled, DataParallel, lambda model: compiled(DataParallel(model))])
def test_a_wrapped_model_is_saved_as_itself(
    wrap: Callable[[Any], Any], model: BertForPreTraining, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    checkpoint.save(model, tokenizer, tmp_path / "plain")
    checkpoint.save(wrap(model), tokenizer, tmp_path / "wrapped")
    assert contents(tmp_path / "wrapped") == contents(tmp_path / "plain")


def test_a_model_may_have_more_embeddings_than_the_tokenizer_has_tokens(tokenizer: Tokenizer, tmp_path: Path) -> None:
    checkpoint.save(Bert(TINY.replace(vocab_size=88), generator=seeded(1)), tokenizer, tmp_path / "padded")
    model, loaded = checkpoint.load(tmp_path / "padded")
    assert (model.config.vocab_size, loaded.vocab_size) == (88, 80)


COPY = """
import sys
from minibert import checkpoint
checkpoint.save(*checkpoint.load(sys.argv[1]), sys.argv[2])
"""


@pytest.mark.slow
def test_every_process_saves_the_same_bytes(model_directory: Path, tmp_path: Path) -> None:
    for number in ("1", "2"):
        command = [sys.executable, "-c", COPY, str(model_directory), str(tmp_path / number)]
        subprocess.run(command, cwd=REPOSITORY, env=os.environ | {"PYTHONHASHSEED": number}, check=True)
    assert contents(tmp_path / "1") == contents(tmp_path / "2") == contents(model_directory)


def test_saving_again_gives_the_same_bytes(model_directory: Path, tmp_path: Path) -> None:
    checkpoint.save(*checkpoint.load(model_directory), tmp_path / "again")
    assert contents(tmp_path / "again") == contents(model_directory)


# --- What is refused -------------------------------------------------------------------------------------------------


def test_truncated_weights_are_refused(model_directory: Path) -> None:
    weights = model_directory / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    expected = f"{weights} is damaged: its SHA-256 differs from the one in config.json"
    assert refusal(lambda: checkpoint.load(model_directory)) == expected


def test_truncated_weights_without_a_checksum_are_refused(model_directory: Path) -> None:
    edit_config(model_directory, weights_sha256=None)
    weights = model_directory / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    assert refusal(lambda: checkpoint.load(model_directory)).startswith(f"{weights} is damaged (")


def test_a_flipped_bit_is_refused(model_directory: Path) -> None:
    weights = model_directory / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1000] ^= 1
    weights.write_bytes(content)
    expected = f"{weights} is damaged: its SHA-256 differs from the one in config.json"
    assert refusal(lambda: checkpoint.load(model_directory)) == expected


def test_a_changed_tokenizer_is_refused(model_directory: Path) -> None:
    path = model_directory / "tokenizer.json"
    path.write_text(path.read_text().replace('"lowercase": true', '"lowercase": false'))
    expected = f"{path} is damaged: its SHA-256 differs from the one in config.json"
    assert refusal(lambda: checkpoint.load(model_directory)) == expected


def test_missing_weights_are_named(model_directory: Path) -> None:
    (model_directory / "model.safetensors").unlink()
    assert refusal(lambda: checkpoint.load(model_directory)) == (
        f"{model_directory / 'model.safetensors'} is missing; "
        "a model directory holds config.json, model.safetensors and tokenizer.json"
    )


def test_a_missing_tokenizer_is_named(model_directory: Path) -> None:
    for name in ("tokenizer.json", "vocab.txt"):
        (model_directory / name).unlink()
    assert refusal(lambda: checkpoint.load(model_directory)).startswith(f"{model_directory}: expected tokenizer.json")


def test_a_vocabulary_in_place_of_the_tokenizer_is_none(model_directory: Path) -> None:
    path = model_directory / "tokenizer.json"
    path.unlink()
    expected = f"{path} is missing; a model directory holds config.json, model.safetensors and tokenizer.json"
    assert refusal(lambda: checkpoint.load(model_directory)) == expected


def test_a_directory_without_a_config_is_no_model_directory(tmp_path: Path) -> None:
    expected = f"{tmp_path} is not a model directory: it has no config.json"
    assert refusal(lambda: checkpoint.load(tmp_path)) == expected


def test_an_unfinished_run_is_called_one(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    expected = f"{tmp_path} holds an unfinished run; continue with --resume"
    assert refusal(lambda: checkpoint.load(tmp_path)) == expected


def test_missing_and_surplus_tensors_are_named(model_directory: Path) -> None:
    def edit(tensors: dict[str, torch.Tensor]) -> None:
        tensors["pooler.weight"] = tensors.pop("pooler.dense.weight")
        del tensors["nsp_head.bias"]

    edit_weights(model_directory, edit)
    assert refusal(lambda: checkpoint.load(model_directory)) == (
        f"{model_directory / 'model.safetensors'}: missing nsp_head.bias, pooler.dense.weight; unknown pooler.weight"
    )


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("hidden_size", 3 * 10**6, "encoder.embeddings.token.weight is (80, 24), expected (80, 3000000)"),
        ("max_position_embeddings", 2**31, "encoder.embeddings.position.weight is (16, 24), expected (2147483648, 24)"),
        ("vocab_size", 2**62, "config.json: vocab_size 4611686018427387904 is too large"),
        ("intermediate_size", 10**30, f"config.json: intermediate_size {10**30} is too large"),
        ("num_hidden_layers", 40, " and 416 more"),
    ],
)
def test_sizes_that_the_weights_dont_have_are_refused_without_memory_for_them(
    field: str, value: int, message: str, model_directory: Path
) -> None:
    path = model_directory / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: value}))
    assert message in refusal(lambda: checkpoint.load(model_directory))


def test_a_tensor_of_another_shape_is_named_with_both(model_directory: Path) -> None:
    edit_weights(model_directory, lambda tensors: tensors.update({"nsp_head.weight": torch.zeros(3, 24)}))
    assert refusal(lambda: checkpoint.load(model_directory)) == (
        f"{model_directory / 'model.safetensors'}: nsp_head.weight is (3, 24), expected (2, 24)"
    )


def test_a_tensor_of_integers_is_named(model_directory: Path) -> None:
    edit_weights(
        model_directory, lambda tensors: tensors.update({"nsp_head.weight": torch.zeros(2, 24, dtype=torch.int64)})
    )
    message = refusal(lambda: checkpoint.load(model_directory))
    assert message.startswith(f"{model_directory / 'model.safetensors'}: nsp_head.weight is ")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not readable as JSON (Expecting property name"),
        ("[]", "architecture must be one of Bert, BertWithPooler, BertForPreTraining, "),
        ("{}", "architecture must be one of Bert, BertWithPooler, BertForPreTraining, "),
        ('{"model_type": "bert"}', "this is a Hugging Face config; convert it with python -m weights_convert "),
        ('{"architecture": "GPT"}', "architecture must be one of Bert, BertWithPooler, BertForPreTraining, "),
        ('{"architecture": ["Bert"]}', "architecture must be one of Bert, BertWithPooler, BertForPreTraining, "),
        ('{"architecture": "Bert", "layers": 4}', "unknown config field layers; the fields are "),
        ('{"architecture": "Bert", "hidden_size": 5}', "hidden_size 5 is not a multiple of num_attention_heads 12"),
    ],
)
def test_a_bad_config_is_named(content: str, message: str, model_directory: Path) -> None:
    path = model_directory / "config.json"
    path.write_text(content)
    assert refusal(lambda: checkpoint.load(model_directory)).startswith(f"{path}: {message}")


@pytest.fixture
def classifier_directory(tokenizer: Tokenizer, tmp_path: Path) -> Path:
    """A classifier of three labels, saved; free to be damaged."""
    model = tiny_model("BertForSequenceClassification", TINY.replace(vocab_size=80))
    checkpoint.save(model, tokenizer, tmp_path / "classifier")
    return tmp_path / "classifier"


def test_labels_and_problem_type_stand_in_the_config(classifier_directory: Path) -> None:
    fields = json.loads((classifier_directory / "config.json").read_text())
    assert fields["labels"] == ["bad", "fair", "good"]
    assert fields["problem_type"] == "single_label_classification"


def test_a_label_of_half_a_surrogate_pair_is_refused(classifier_directory: Path) -> None:
    edit_config(classifier_directory, labels=["bad", "fair", "\ud800"])
    expected = f"{classifier_directory / 'config.json'}: not readable as JSON ('utf-8' codec can't encode character "
    assert refusal(lambda: checkpoint.load(classifier_directory)).startswith(expected)


def test_labels_that_contradict_the_weights_are_refused(classifier_directory: Path) -> None:
    edit_config(classifier_directory, labels=["bad", "good"])
    assert refusal(lambda: checkpoint.load(classifier_directory)) == (
        f"{classifier_directory / 'model.safetensors'}: classifier.dense.weight is (3, 24), expected (2, 24)"
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"labels": None}, "missing labels, which a BertForSequenceClassification needs"),
        (
            {"labels": None, "problem_type": None},
            "missing labels, problem_type, which a BertForSequenceClassification needs",
        ),
        ({"labels": []}, "labels must be a list of at least one string, not []"),
        ({"labels": "bad"}, "labels must be a list of at least one string, not 'bad'"),
        ({"labels": ["bad", 2, "good"]}, "labels must be a list of at least one string, not ['bad', 2, 'good']"),
        (
            {"labels": ["bad", "good", "bad"]},
            "labels must differ from one another; repeated: bad",
        ),
        (
            {"problem_type": "ranking"},
            "problem_type must be one of single_label_classification, multi_label_classification, regression, "
            "not 'ranking'",
        ),
    ],
)
def test_a_bad_head_field_is_named(fields: dict[str, Any], message: str, classifier_directory: Path) -> None:
    edit_config(classifier_directory, **fields)
    expected = f"{classifier_directory / 'config.json'}: {message}"
    assert refusal(lambda: checkpoint.load(classifier_directory)) == expected


def test_what_was_saved_before_there_were_relatives_loads_as_it_was(classifier_directory: Path) -> None:
    fields = json.loads((classifier_directory / "config.json").read_text())
    for name in ("positions_skip_padding", "embedding_size", "share_layers", "span_dropout", "pooler_act",
                 "pooler_input_dropout"):  # fmt: skip
        del fields[name]
    fields["classifier_dropout"] = 0.25  # it stood there as the head's
    (classifier_directory / "config.json").write_text(json.dumps(fields))
    model, _ = checkpoint.load(classifier_directory)
    assert model.config == TINY.replace(vocab_size=80, classifier_dropout=0.25)


def test_a_pretraining_model_says_what_it_learned_of_pairs(tokenizer: Tokenizer, tmp_path: Path) -> None:
    for objective, said in (("nsp", None), ("sop", "sop")):
        model = BertForPreTraining(TINY.replace(vocab_size=80), pair_objective=objective)
        checkpoint.save(model, tokenizer, tmp_path / objective)
        assert json.loads((tmp_path / objective / "config.json").read_text()).get("pair_objective") == said
        loaded, _ = checkpoint.load(tmp_path / objective)
        assert isinstance(loaded, BertForPreTraining) and loaded.pair_objective == objective


@pytest.mark.parametrize(
    ("objective", "message"),
    [("mlm", "pair_objective must be one of nsp, sop, not 'mlm'"), (1, "pair_objective must be of type str, not 1")],
)
def test_another_pair_objective_is_refused(objective: object, message: str, model_directory: Path) -> None:
    edit_config(model_directory, pair_objective=objective)
    assert refusal(lambda: checkpoint.load(model_directory)) == f"{model_directory / 'config.json'}: {message}"


@pytest.mark.parametrize("architecture", ["Bert", "BertForMaskedLM", "BertForSequenceClassification"])
def test_layers_that_share_a_block_are_saved_once_and_shared_again(
    architecture: str, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    model = tiny_model(architecture, FAMILY["albert"].replace(vocab_size=80))
    checkpoint.save(model, tokenizer, tmp_path / "model")
    names = load_file(tmp_path / "model" / "model.safetensors")
    assert any("blocks.0." in name for name in names) and not any("blocks.1." in name for name in names)
    loaded, _ = checkpoint.load(tmp_path / "model")
    assert loaded.encoder.blocks[0] is loaded.encoder.blocks[1]
    assert_close(dict(loaded.named_parameters()), dict(model.named_parameters()), rtol=0, atol=0)


def test_a_class_without_labels_takes_none(model_directory: Path) -> None:
    edit_config(model_directory, labels=["bad", "good"])
    message = refusal(lambda: checkpoint.load(model_directory))
    assert message.startswith(f"{model_directory / 'config.json'}: unknown config field labels; the fields are ")


def test_what_is_said_of_vectors_comes_back(model: BertForPreTraining, tokenizer: Tokenizer, tmp_path: Path) -> None:
    checkpoint.save(model, tokenizer, tmp_path / "model")
    assert "text_vectors" not in json.loads((tmp_path / "model" / "config.json").read_text())
    assert checkpoint.load(tmp_path / "model")[0].encoder.text_vectors is None
    model.encoder.text_vectors = TextVectors("cls", normalize=True, max_length=9)
    checkpoint.save(model, tokenizer, tmp_path / "model")
    assert checkpoint.load(tmp_path / "model")[0].encoder.text_vectors == model.encoder.text_vectors


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("cls", "text_vectors must be an object with keys max_length, normalize, not_done, pooling, not 'cls'"),
        (
            {"size": 3},
            "text_vectors must be an object with keys max_length, normalize, not_done, pooling, not {'size': 3}",
        ),
        ({"pooling": "sum"}, "the pooling must be mean, cls or max, not 'sum'"),
        ({"max_length": 8.0}, "max_length must be of type int | None, not 8.0"),
    ],
)
def test_vectors_that_we_do_not_make_are_refused(said: object, message: str, model_directory: Path) -> None:
    edit_config(model_directory, text_vectors=said)
    assert refusal(lambda: checkpoint.load(model_directory)) == f"{model_directory / 'config.json'}: {message}"


def test_a_config_that_is_not_utf_8_is_named(model_directory: Path) -> None:
    path = model_directory / "config.json"
    path.write_bytes(b'{"architecture": "\xff"}')
    assert refusal(lambda: checkpoint.load(model_directory)).startswith(f"{path}: not readable as JSON (")


def test_a_tokenizer_larger_than_the_saved_models_vocabulary_is_refused(
    model_directory: Path, tokenizer: Tokenizer
) -> None:
    larger = Tokenizer.load(model_directory)
    assert larger.add_tokens(["zebra"]) == 1
    larger.save(model_directory)
    assert refusal(lambda: checkpoint.load(model_directory)) == (
        f"{model_directory / 'config.json'}: vocab_size is 80, but the tokenizer has 81 tokens: the last ones would "
        "have no embedding"
    )


def test_a_tokenizer_larger_than_the_models_vocabulary_is_not_saved(tokenizer: Tokenizer, tmp_path: Path) -> None:
    model = Bert(TINY.replace(vocab_size=79), generator=seeded(1))
    message = refusal(lambda: checkpoint.save(model, tokenizer, tmp_path / "model"))
    assert message == "vocab_size is 79, but the tokenizer has 80 tokens: the last ones would have no embedding"
    assert list(tmp_path.iterdir()) == []


# --- Whole or not at all ---------------------------------------------------------------------------------------------


def test_saving_over_a_run_replaces_the_model_files_alone(
    model_directory: Path, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    (model_directory / "metrics.jsonl").write_text("{}\n")
    (model_directory / "state").mkdir()
    (model_directory / "state" / "5").write_text("state")
    other = BertForMaskedLM(TINY.replace(vocab_size=80), generator=seeded(99))
    checkpoint.save(other, tokenizer, model_directory)
    assert sorted(contents(model_directory)) == sorted([*FILES, "metrics.jsonl", "state/5"])
    assert (model_directory / "metrics.jsonl").read_text() == "{}\n"
    assert_close(checkpoint.load(model_directory)[0].state_dict(), other.state_dict(), rtol=0, atol=0)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_path_through_a_file_is_an_os_error(model: BertForPreTraining, tokenizer: Tokenizer, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    with pytest.raises(OSError):
        checkpoint.save(model, tokenizer, tmp_path / "file" / "model")
    assert contents(tmp_path) == {"file": b"text"}


def test_a_file_is_not_replaced_by_a_directory(model: BertForPreTraining, tokenizer: Tokenizer, tmp_path: Path) -> None:
    (tmp_path / "model").write_text("text")
    with pytest.raises(OSError):
        checkpoint.save(model, tokenizer, tmp_path / "model")
    assert contents(tmp_path) == {"model": b"text"}


def test_a_model_can_be_saved_into_the_working_directory(
    model: BertForPreTraining, tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    checkpoint.save(model, tokenizer, ".")
    assert sorted(contents(tmp_path / "here")) == FILES


def test_a_full_disk_while_saving_is_an_os_error(
    model: BertForPreTraining, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    with pytest.raises(OSError), full_disk():
        checkpoint.save(model, tokenizer, tmp_path / "model")


def test_a_full_disk_while_saving_is_one_line_and_exit_code_3(
    model: BertForPreTraining, tokenizer: Tokenizer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ending, full_disk():
        cli.run(lambda: checkpoint.save(model, tokenizer, tmp_path / "model"))
    assert ending.value.code == 3
    assert capsys.readouterr().err == f"error: {tmp_path / 'model'}: File too large\n"


@pytest.mark.parametrize("place", ["model", "new/model"], ids=["", "and its parents"])
def test_a_full_disk_while_saving_leaves_nothing(
    place: str, model: BertForPreTraining, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    with pytest.raises((OSError, SafetensorError)), full_disk():
        checkpoint.save(model, tokenizer, tmp_path / place)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_while_saving_leaves_the_old_model(
    model_directory: Path, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    before = contents(tmp_path)
    other = BertForMaskedLM(TINY.replace(vocab_size=80), generator=seeded(99))
    with pytest.raises((OSError, SafetensorError)), full_disk():
        checkpoint.save(other, tokenizer, model_directory)
    assert contents(tmp_path) == before


def test_assigning_weights_names_their_source(model: BertForPreTraining) -> None:
    assert refusal(lambda: checkpoint.assign_weights(model, {}, source="nowhere")).startswith(
        "nowhere: missing encoder.blocks.0.attention.output.bias, "
    )
