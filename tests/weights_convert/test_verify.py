"""verify: every class agrees with the reference value by value; what the report says; what bad input gets."""

from __future__ import annotations

import copy
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest
import torch
import transformers

from minibert import checkpoint
from minibert.architectures import new_model
from minibert.config import PRESETS, BertConfig
from minibert.errors import InputError
from minibert.heads import Model
from minibert.verification.differences import Row
from tests.helpers import REPOSITORY, randomize, refusal
from tests.reference import reference_config
from tests.weights_convert.reference_models import (
    BERTS,
    KINDS,
    ODD,
    SMALL,
    edit_json,
    real_directory,
    reference_model,
    write_directory,
)
from weights_convert.__main__ import main
from weights_convert.config_map import describe
from weights_convert.convert import from_hf
from weights_convert.key_map import match, to_parameters
from weights_convert.parity import compare, train_both, verify


def converted(reference: transformers.PreTrainedModel, kind: str) -> Model:
    """Our model of the reference's weights, without a directory between."""
    described = describe(json.loads(reference.config.to_json_string()))
    architecture = KINDS[kind][2]
    with torch.device("meta"):
        model = new_model(architecture, described.config_in(architecture), described.head(architecture))
    tensors = reference.state_dict()
    ledger = match(tensors, model, new_head=False, source="the reference")
    checkpoint.assign_weights(
        model,
        {name: tensor.clone() for name, tensor in to_parameters(tensors, ledger, model, None).items()},
        source="the reference",
    )
    return model.eval()


def shape_id(value: object) -> str:
    return value if isinstance(value, str) else "tiny" if value is SMALL else "odd"


def assert_agrees(rows: list[Row]) -> None:
    assert [(row.title, row.max, row.mean, row.tolerance, row.note) for row in rows if not row.agrees] == []


def assert_same_numbers(kind: str, shape: BertConfig) -> None:
    """In float64, then in float32."""
    reference = reference_model(kind, shape)
    reference.set_attn_implementation("eager")
    ours = converted(reference, kind)
    for dtype in ("float64", "float32"):
        ours.to(getattr(torch, dtype))
        rows, _ = compare(ours, lambda dtype: reference.to(dtype), dtype=dtype)
        assert_agrees(rows)


@pytest.mark.parametrize(
    ("kind", "shape"), [*((kind, SMALL) for kind in BERTS), *((kind, ODD) for kind in KINDS)], ids=shape_id
)
def test_every_class_gives_the_references_numbers(kind: str, shape: BertConfig) -> None:
    assert_same_numbers(kind, shape)


@pytest.mark.slow
@pytest.mark.parametrize(  # `parity_table` has every class in all of base's blocks: half a minute each
    ("kind", "blocks"),
    [("pretraining", 12), ("roberta single label", 2), ("distilbert masked", 2), ("albert pretraining", 2)],
)
def test_classes_give_the_references_numbers_in_bases_shape(kind: str, blocks: int) -> None:
    assert_same_numbers(kind, PRESETS["base"].replace(num_hidden_layers=blocks))


@pytest.mark.parametrize(
    "kind", [*BERTS, "roberta masked", "distilbert masked", "albert pretraining", "longformer answers"]
)
def test_every_class_agrees_in_bfloat16(kind: str) -> None:
    reference = reference_model(kind)
    reference.set_attn_implementation("eager")
    ours = converted(reference, kind).to(torch.bfloat16)
    rows, _ = compare(ours, lambda dtype: copy.deepcopy(reference).to(dtype), dtype="bfloat16")
    assert_agrees(rows)


@pytest.mark.parametrize("shape", [SMALL, pytest.param(ODD, marks=pytest.mark.slow)], ids=["tiny", "odd"])
@pytest.mark.parametrize(
    "kind", [*BERTS, "roberta masked", "distilbert single label", "albert pretraining", "longformer masked"]
)
def test_a_hundred_steps_of_training_stay_together(kind: str, shape: BertConfig) -> None:
    reference = reference_model(kind, shape)
    losses = train_both(converted(reference, kind), reference, steps=100)
    assert len(losses) == 100
    assert max(abs(ours - theirs) for ours, theirs in losses) <= 1e-8
    again = range(0, 100, 5 if kind.startswith("longformer") else 3)[-1]  # the last step on the first batch
    assert losses[again][0] < losses[0][0] - 0.001  # something was learned


def test_the_rows_are_in_the_order_of_the_computation() -> None:
    reference = reference_model("pretraining")
    reference.set_attn_implementation("eager")
    rows, cause = compare(converted(reference, "pretraining"), lambda dtype: reference, dtype="float64")
    names = [row.title for row in rows]
    assert names[:6] == [f"embeddings.{part}" for part in ("token", "segment", "position", "sum", "norm")] + [
        "embeddings"
    ]
    assert names[6:20] == [
        *(f"blocks.0.attention.{part}" for part in ("query", "key", "value", "probabilities", "context", "output")),
        "blocks.0.attention.sum",
        "blocks.0.attention_norm",
        *(f"blocks.0.feed_forward.{part}" for part in ("inner", "activation", "output", "sum")),
        "blocks.0.feed_forward_norm",
        "blocks.0",
    ]
    assert names[34:44] == [
        "pooler.dense",
        "pooler",
        "mlm_head.dense",
        "mlm_head.activation",
        "mlm_head.norm",
        "mlm_head.decoder",
        "mlm_head",
        "nsp_head",
        "loss",
        "gradient of encoder.embeddings.token.weight",
    ]
    parameters = {name for name, _ in converted(reference, "pretraining").named_parameters()}
    assert {row.name for row in rows if row.kind == "gradient"} == parameters
    assert {row.name for row in rows if row.kind == "weight"} == parameters
    assert len(rows) == 43 + 2 * len(parameters)
    assert cause is None


def test_a_difference_is_measured_by_hand() -> None:
    reference = reference_model("encoder")
    reference.set_attn_implementation("eager")
    ours = converted(reference, "encoder")
    with torch.no_grad():
        ours.encoder.embeddings.segment.weight[0, 0] += 0.5
    rows, cause = compare(ours, lambda dtype: reference, dtype="float64")
    (row,) = [row for row in rows if row.name == "embeddings.segment"]
    assert row.max == pytest.approx(0.5)
    assert 0 < row.mean < 0.5 / 24  # one column of 24, in some of the tokens
    assert row.relative == pytest.approx(0.5 / reference.embeddings.token_type_embeddings.weight.abs().max().item())
    assert (row.agrees, row.tolerance) == (False, 1e-10)
    assert cause == "the weights of embeddings.segment differ by up to 5.0e-01"


def test_what_is_not_a_number_differs() -> None:
    reference = reference_model("encoder")
    reference.set_attn_implementation("eager")
    ours = converted(reference, "encoder")
    with torch.no_grad():
        ours.encoder.blocks[1].attention.output.bias[3] = math.nan
    rows, _ = compare(ours, lambda dtype: reference, dtype="float64")
    first = next(row for row in rows if not row.agrees)
    assert (first.name, first.max) == ("blocks.1.attention.output", math.inf)


# --- Directories and the report --------------------------------------------------------------------------------------


@pytest.fixture
def hf_directory(tmp_path: Path) -> Path:
    return write_directory(reference_model("pretraining").float(), tmp_path / "hf")


def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: object) -> tuple[int, str, str]:
    """The exit code, standard output and standard error of `python -m weights_convert verify WORDS`."""
    monkeypatch.setattr(sys, "argv", ["weights_convert", "verify", *map(str, words)])
    capsys.readouterr()
    try:
        main()
        code = 0
    except SystemExit as ending:
        code = int(ending.code or 0)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_the_command_agrees(
    hf_directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    report = tmp_path / "report.json"
    code, out, err = run(
        capsys, monkeypatch, hf_directory, "--dtype", "float64", "--steps", 3, "--json", report, "--device", "cpu"
    )
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[1].startswith(f"model:     {hf_directory}, converted, a BertForPreTraining of ")
    assert [line for line in lines if line.startswith("blocks.1.attention.probabilities ")]
    assert lines[-1].startswith("3 AdamW steps on the same batches: the losses agree, from ")
    assert lines[-2] == "all 119 values, gradients and weights agree in float64"
    content = json.loads(report.read_text())
    assert (content["agrees"], content["first_divergent"], content["cause"]) == (True, None, None)
    assert (len(content["rows"]), len(content["steps"]), content["dtype"]) == (119, 3, "float64")


def test_the_command_says_where_it_begins_to_differ(
    hf_directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from_hf(hf_directory, tmp_path / "ours")
    edit_json(tmp_path / "ours" / "config.json", hidden_act="relu")
    report = tmp_path / "report.json"
    code, out, err = run(capsys, monkeypatch, hf_directory, tmp_path / "ours", "--json", report)
    assert code == 1
    assert err == f"error: {tmp_path / 'ours'} does not give the same numbers as {hf_directory}: see the table\n"
    marked = [line.split()[0] for line in out.splitlines() if "differs first" in line]
    assert marked == ["blocks.0.feed_forward.activation"]
    assert out.splitlines()[-1] == "likely cause: the activation is ReLU, but the reference's is exact GELU"
    content = json.loads(report.read_text())
    assert (content["agrees"], content["first_divergent"]) == (False, "blocks.0.feed_forward.activation")
    assert content["cause"] == "the activation is ReLU, but the reference's is exact GELU"


def test_the_seed_decides_the_batches(hf_directory: Path) -> None:
    first, again, other = (verify(hf_directory, seed=seed, steps=1).losses for seed in (0, 0, 1))
    assert first == again
    assert abs(first[0][1] - other[0][1]) > 1e-3


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
def test_an_encoder_without_a_pooler_agrees(dtype: Literal["float64", "float32", "bfloat16"], tmp_path: Path) -> None:
    reference = transformers.BertModel(reference_config(SMALL), add_pooling_layer=False).double()
    randomize(reference, seed=11)
    report = verify(write_directory(reference.float(), tmp_path / "hf"), dtype=dtype)
    assert (report.architecture, report.agrees) == ("Bert", True)
    assert report.rows[-1].name == "encoder.blocks.1.feed_forward_norm.bias"


def test_half_precision_files_are_verified_in_full(tmp_path: Path) -> None:
    directory = write_directory(reference_model("masked").half(), tmp_path / "hf")
    assert verify(directory, dtype="float64").agrees


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "seed"), [("float64", 7), ("float32", 0), ("bfloat16", 0)])
def test_real_weights_agree(dtype: Literal["float64", "float32", "bfloat16"], seed: int) -> None:
    report = verify(real_directory(), dtype=dtype, seed=seed)
    assert_agrees(report.rows)
    assert report.parameters == 22_713_216


# --- Bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere/at/all"], "nowhere/at/all: no such directory"),
        (["{hf}", "{hf}"], "{hf}/config.json: this is a Hugging Face config; "),
        (["{hf}", "{tmp}/nothing"], "{tmp}/nothing is not a model directory: it has no config.json"),
        (["{hf}", "--steps", "-1"], "--steps must be at least 0, not -1"),
        (["{hf}", "--seed", "-1"], "--seed must be from 0 to 4294967295, not -1"),
        (["{hf}", "--steps", "2", "--dtype", "bfloat16"], "--steps needs float32 or float64"),
        (["{hf}", "--seed", "18446744073709551615"], "--seed must be from 0 to 4294967295, not 18446744073709551615"),
        (["{hf}", "--json", "{tmp}/no/report.json"], "{tmp}/no/report.json: there is no directory {tmp}/no"),
        (["{hf}", "--json", "{tmp}"], "{tmp} is a directory, expected a file to write"),
        (["{hf}", "--dtype", "float16"], "--dtype: expected one of bfloat16, float32, float64, found"),
    ],
)
def test_bad_input_is_one_line(
    words: list[str],
    message: str,
    hf_directory: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    places = {"hf": hf_directory, "tmp": tmp_path}
    code, out, err = run(capsys, monkeypatch, *(word.format(**places) for word in words))
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert message.format(**places) in err


def test_two_classes_are_not_compared(hf_directory: Path, tmp_path: Path) -> None:
    from_hf(write_directory(reference_model("masked").float(), tmp_path / "masked"), tmp_path / "ours")
    message = refusal(lambda: verify(hf_directory, tmp_path / "ours"))
    assert message == (
        f"{hf_directory} holds the class BertForPreTraining, {tmp_path / 'ours'} the class BertForMaskedLM, "
        "so they cannot be compared"
    )


def test_another_width_is_not_compared(hf_directory: Path, tmp_path: Path) -> None:
    wide = reference_model("pretraining", SMALL.replace(hidden_size=30, num_attention_heads=3)).float()
    from_hf(write_directory(wide, tmp_path / "wide"), tmp_path / "ours")
    message = refusal(lambda: verify(hf_directory, tmp_path / "ours"))
    assert message == "hidden_size: 30 in minibert, 24 in the reference, so they cannot be compared"


def test_other_labels_are_not_compared(tmp_path: Path) -> None:
    hf = write_directory(reference_model("single label").float(), tmp_path / "hf")
    from_hf(write_directory(reference_model("many labels").float(), tmp_path / "four"), tmp_path / "ours")
    message = refusal(lambda: verify(hf, tmp_path / "ours"))
    assert message == "labels: 4 in minibert, 3 in the reference, so they cannot be compared"


def test_a_pooler_that_was_lost_is_a_difference(tmp_path: Path) -> None:
    hf = write_directory(reference_model("encoder").float(), tmp_path / "hf")
    from_hf(hf, tmp_path / "whole")
    model, tokenizer = checkpoint.load(tmp_path / "whole")
    checkpoint.save(model.encoder, tokenizer, tmp_path / "ours")
    report = verify(hf, tmp_path / "ours", dtype="float64")
    assert report.first_divergent is not None
    assert (report.first_divergent.title, report.first_divergent.note, report.cause) == (
        "pooler.dense",
        "not in minibert",
        "minibert has no pooler",
    )


def test_a_reader_that_leaves_does_not_change_the_verdict(
    hf_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from_hf(hf_directory, tmp_path / "ours")
    edit_json(tmp_path / "ours" / "config.json", hidden_act="relu")
    command = (
        f"{sys.executable} -m weights_convert verify {hf_directory} {tmp_path / 'ours'} | true; exit ${{PIPESTATUS[0]}}"
    )
    result = subprocess.run(["bash", "-c", command], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert (result.returncode, len(result.stderr.splitlines())) == (1, 1)


def test_without_transformers_there_is_no_reference(hf_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(InputError, match=r"verify needs transformers, .*; run make venv in minibert's checkout"):
        verify(hf_directory)


def test_weights_that_the_reference_misses_are_named(tmp_path: Path) -> None:
    directory = write_directory(reference_model("pretraining").float(), tmp_path / "hf")
    from_hf(directory, tmp_path / "ours")
    tensors = checkpoint.load_file(directory / "model.safetensors")
    del tensors["bert.pooler.dense.bias"]
    checkpoint.safetensors_bytes(tensors)
    (directory / "model.safetensors").write_bytes(checkpoint.safetensors_bytes(tensors, metadata={"format": "pt"}))
    message = refusal(lambda: verify(directory, tmp_path / "ours"))
    assert message == f"{directory}: the reference cannot find bert.pooler.dense.bias"
