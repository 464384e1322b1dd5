"""Whole runs of a tiny model: what they leave behind, and that they learn."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import minibert
from minibert.heads import BertForMaskedLM, BertForPreTraining
from minibert.model import Bert
from minibert.training.device import choose_precision
from minibert.training.processes import Processes, seed_dropout
from pretrain import train as train_module
from pretrain.arrays.prepare import PrepareOptions, prepare
from pretrain.arrays.shards import open_prepared
from pretrain.batches.batch import PretrainBatch
from pretrain.evaluate import HeldOut
from pretrain.options import parse_options
from pretrain.run_directory import PretrainDirectory
from pretrain.setup import set_up
from pretrain.train import Pretraining, PretrainProgress
from tests.helpers import FAMILY
from tests.pretrain.running import (
    documents,
    metrics,
    run_here,
    start,
    states,
    summary,
    weights,
    write_shape,
    write_text,
)
from tests.pretrain.test_resume import run_until

MODEL_FILES = {"config.json", "model.safetensors", "tokenizer.json", "vocab.txt"}
RUN_FILES = MODEL_FILES | {"run.toml", "state", "metrics.jsonl", "curves.png", "summary.json"}
SMALL = ("--seq-len", "32", "--batch-size", "8", "--dtype", "float32")


@pytest.fixture(scope="module")
def run(arrays: Path, shape: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of 12 steps with dropout, in a directory whose parents were not there."""
    out = tmp_path_factory.mktemp("runs") / "new" / "run"
    with pytest.MonkeyPatch.context() as patch:
        code = run_here(patch, "--data", arrays, "--out", out, "--model", shape, *SMALL, "--steps", 12, "--dropout",
                        0.1, "--save-every", 4, "--log-every", 3, "--evaluations", 4)  # fmt: skip
    assert code == 0
    return out


def started(arrays: Path, shape: Path, out: Path, *args: object) -> Pretraining:
    """A run before its first step."""
    options = parse_options([*map(str, ("--data", arrays, "--out", out, "--model", shape, *SMALL, *args))])
    directory = PretrainDirectory(out)
    set_up(directory, options, None, processes=1)
    return Pretraining(directory, options, None, Processes())


# --- What a run leaves -----------------------------------------------------------------------------------------------


def test_a_run_leaves_the_files_of_the_contract(run: Path) -> None:
    assert {path.name for path in run.iterdir()} == RUN_FILES
    assert [path.name for path in run.parent.iterdir()] == ["run"]
    assert states(run) == ["step-00000008", "step-00000012"]


def test_a_run_on_text_keeps_its_token_arrays(
    text: Path, shape: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert run_here(monkeypatch, "--corpus", text, "--vocab-size", 100, "--out", out, "--model", shape, *SMALL,
                    "--steps", 2) == 0  # fmt: skip
    assert {path.name for path in out.iterdir()} == RUN_FILES | {"data"}
    assert open_prepared(out / "data").train.documents == 54
    shown = capsys.readouterr()
    assert shown.err == ""
    assert "54 documents" in shown.out and "mlm_accuracy" in shown.out and str(out / "curves.png") in shown.out


def test_the_summary_has_the_promised_figures(run: Path, arrays: Path) -> None:
    figures = summary(run)
    assert set(figures) >= {
        "steps", "tokens", "words", "passes", "fill", "seconds", "tokens_per_second", "parameters", "vocab_size",
        "mlm_loss", "mlm_loss_per_byte", "mlm_accuracy", "nsp_accuracy", "unigram_loss", "peak_rss_bytes", "dtype",
        "device", "seed",
    }  # fmt: skip
    model, tokenizer = minibert.load(run)
    assert figures["steps"] == 12
    assert 12 * 8 * 5 <= figures["tokens"] <= 12 * 8 * 32
    assert 0.5 < figures["fill"] <= 1
    assert figures["tokens_per_second"] == pytest.approx(figures["tokens"] / figures["seconds"])
    assert figures["parameters"] == sum(parameter.numel() for parameter in model.parameters())
    assert figures["vocab_size"] == 100 >= tokenizer.vocab_size
    assert (figures["dtype"], figures["seed"]) == ("float32", 0)
    assert figures["peak_rss_bytes"] > 2**20 and figures["device"]


def test_the_summarys_figures_are_those_of_the_saved_model(run: Path, arrays: Path) -> None:
    model, _ = minibert.load(run)
    heldout = HeldOut(open_prepared(arrays), seq_len=32, objective="nsp")
    cpu = torch.device("cpu")
    again = heldout.figures(model, device=cpu, precision=choose_precision("float32", cpu), processes=Processes())
    figures = summary(run)
    assert again.named() == pytest.approx({name: figures[name] for name in again.named()}, abs=1e-6)
    assert heldout.unigram_loss == figures["unigram_loss"]


def test_a_gpus_share_of_its_ceiling_is_in_the_summary(monkeypatch: pytest.MonkeyPatch) -> None:
    """6e12 operations in 2 seconds on two GPUs that can do 4e12 a second each; a processor has no such figure."""
    monkeypatch.setattr(train_module, "measured_peak", lambda dtype, device: 4e12)
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda device: 5_000)
    run = SimpleNamespace(
        device=torch.device("cuda", 0),
        precision=choose_precision("bfloat16", torch.device("cuda", 0)),
        processes=SimpleNamespace(world_size=2),
        progress=PretrainProgress(seconds=2.0, operations=6e12),
    )
    found = Pretraining.gpu_figures(run)  # type: ignore[arg-type]
    assert found == {"peak_gpu_bytes": 5_000, "model_flops_utilization": 0.375}
    run.device = torch.device("cpu")
    assert Pretraining.gpu_figures(run) == {}  # type: ignore[arg-type]


def test_the_log_has_a_line_every_so_many_steps_and_the_evaluations(run: Path) -> None:
    lines = metrics(run)
    training = [line for line in lines if "mlm_loss" in line]
    heldout = [line for line in lines if "heldout_mlm_loss" in line]
    assert [line["step"] for line in training] == [3, 6, 9, 12]
    assert [line["step"] for line in heldout] == [3, 6, 9, 12]
    assert len(lines) == 8
    for line in training:
        assert set(line) == {"step", "seconds", "tokens", "words", "mlm_loss", "nsp_loss", "gradient_norm",
                             "learning_rate", "tokens_per_second"}  # fmt: skip
        assert all(math.isfinite(value) for value in line.values())
    assert 3 < training[0]["mlm_loss"] < 6 and 0.4 < training[0]["nsp_loss"] < 1.2
    assert training[-1]["tokens"] == summary(run)["tokens"]
    assert heldout[-1]["heldout_mlm_loss"] == summary(run)["mlm_loss"]


def test_the_curves_are_a_png(run: Path) -> None:
    assert (run / "curves.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_the_model_opens_with_its_own_dropout(run: Path) -> None:
    model, tokenizer = minibert.load(run)
    assert isinstance(model, BertForPreTraining) and not model.training
    assert (model.config.hidden_dropout_prob, model.config.attention_probs_dropout_prob) == (0.1, 0.1)
    assert (model.config.hidden_size, model.config.pad_token_id) == (32, tokenizer.pad_id)


def test_pretraining_dropout_does_not_become_the_models(
    arrays: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plain: None
) -> None:
    shape = write_shape(tmp_path / "shape.json", hidden_dropout_prob=0.25, attention_probs_dropout_prob=0.05)
    for dropout in ("0", "0.5"):
        out = tmp_path / dropout
        assert run_here(monkeypatch, "--data", arrays, "--out", out, "--model", shape, *SMALL, "--steps", 2,
                        "--dropout", dropout) == 0  # fmt: skip
        config = minibert.load(out)[0].config
        assert (config.hidden_dropout_prob, config.attention_probs_dropout_prob) == (0.25, 0.05)
    assert weights(tmp_path / "0") != weights(tmp_path / "0.5")


def test_without_nsp_a_masked_lm_model_is_saved(
    arrays: Path, shape: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run_here(monkeypatch, "--data", arrays, "--out", tmp_path / "run", "--model", shape, *SMALL, "--steps", 2,
                    "--no-nsp") == 0  # fmt: skip
    assert isinstance(minibert.load(tmp_path / "run")[0], BertForMaskedLM)
    assert summary(tmp_path / "run")["nsp_accuracy"] is None
    assert "nsp" not in (tmp_path / "run" / "metrics.jsonl").read_text().replace('nsp_loss": null', "").replace(
        'nsp_accuracy": null', ""
    )


def test_sentence_order_is_learned_and_reported_as_such(
    arrays: Path, shape: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run_here(monkeypatch, "--data", arrays, "--out", tmp_path / "run", "--model", shape, *SMALL, "--steps", 2,
                    "--pair-objective", "sop") == 0  # fmt: skip
    model, _ = minibert.load(tmp_path / "run")
    assert isinstance(model, BertForPreTraining) and model.pair_objective == "sop"
    figures, lines = summary(tmp_path / "run"), metrics(tmp_path / "run")
    assert figures["nsp_accuracy"] is None and 0 <= figures["sop_accuracy"] <= 1
    assert 0.4 < figures["sop_loss"] < 1.2
    (training,) = [line for line in lines if "mlm_loss" in line]
    assert training["nsp_loss"] is None and 0.4 < training["sop_loss"] < 1.2
    assert lines[-1]["heldout_sop_accuracy"] == figures["sop_accuracy"]


@pytest.mark.parametrize("family", ["roberta", "distilbert", "albert"])
@pytest.mark.parametrize("objective", ["nsp", "sop", "none"])
def test_every_relative_is_pretrained(
    family: str, objective: str, arrays: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shape, config = tmp_path / "shape.json", FAMILY[family].replace(vocab_size=200, max_position_embeddings=34)
    shape.write_text(json.dumps(config.to_dict()))
    assert run_here(monkeypatch, "--data", arrays, "--out", tmp_path / "run", "--model", shape, *SMALL, "--steps", 2,
                    "--pair-objective", objective) == 0  # fmt: skip
    model, tokenizer = minibert.load(tmp_path / "run")
    assert model.config == config.replace(pad_token_id=tokenizer.pad_id)
    assert isinstance(model, BertForMaskedLM if objective == "none" else BertForPreTraining)


def test_a_preset_takes_the_tokenizers_vocabulary(
    arrays: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plain: None
) -> None:
    assert run_here(monkeypatch, "--data", arrays, "--out", tmp_path / "run", "--model", "tiny", *SMALL, "--steps",
                    1) == 0  # fmt: skip
    model, tokenizer = minibert.load(tmp_path / "run")
    assert model.config.vocab_size == tokenizer.vocab_size


# --- Learning --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(("optimizer", "nats"), [("muon", 1.8), ("adamw", 1.2)])
def test_what_can_be_learnt_is_learnt(
    shape: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plain: None, optimizer: str, nats: float
) -> None:
    corpus = write_text(tmp_path / "text.txt", documents(400, seed=1))
    prepare(PrepareOptions(corpus=(str(corpus),), vocab_size=100, workers=1), tmp_path / "arrays")
    rate = {"muon": 2e-3, "adamw": 4e-3}[optimizer]
    assert run_here(monkeypatch, "--data", tmp_path / "arrays", "--out", tmp_path / "run", "--model", shape,
                    *SMALL[:2], "--batch-size", 32, "--dtype", "float32", "--steps", 600, "--optimizer", optimizer,
                    "--learning-rate", rate, "--dropout", 0,
                    *(("--block-learning-rate", 5e-3) if optimizer == "muon" else ())) == 0  # fmt: skip
    figures = summary(tmp_path / "run")
    assert figures["mlm_loss"] < figures["unigram_loss"] - nats  # knowing the topic alone brings about 1.4
    assert figures["mlm_accuracy"] > (0.6 if optimizer == "muon" else 0.2)
    assert figures["nsp_accuracy"] > 0.7  # a random B has the topic of A in one of four cases: 0.875 can be had


def test_the_loss_goes_down(
    arrays: Path, shape: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plain: None
) -> None:
    assert run_here(monkeypatch, "--data", arrays, "--out", tmp_path / "run", "--model", shape, *SMALL, "--steps", 300,
                    "--learning-rate", 5e-3, "--evaluations", 1) == 0  # fmt: skip
    figures = summary(tmp_path / "run")
    assert figures["mlm_loss"] < figures["unigram_loss"] - 0.5


def test_the_rate_rises_and_falls_as_the_options_say(
    arrays: Path, shape: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plain: None
) -> None:
    assert run_here(monkeypatch, "--data", arrays, "--out", tmp_path / "run", "--model", shape, *SMALL, "--steps", 10,
                    "--log-every", 1, "--learning-rate", 0.01, "--warmup-share", 0.4, "--decay-share", 0.4,
                    "--evaluations", 1) == 0  # fmt: skip
    rates = [line["learning_rate"] / 0.01 for line in metrics(tmp_path / "run") if "learning_rate" in line]
    # At the middle of each step of the run's ten.
    expected = [0.125, 0.375, 0.625, 0.875, 1, 1, 0.875, 0.625, 0.375, 0.125]
    assert rates == pytest.approx(expected)


# --- What decides the result -----------------------------------------------------------------------------------------


def test_the_seed_decides_and_reporting_does_not(
    run: Path, arrays: Path, shape: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plain: None
) -> None:
    common = ("--data", arrays, "--model", shape, *SMALL, "--steps", 12, "--dropout", 0.1)
    assert run_here(monkeypatch, *common, "--out", tmp_path / "same", "--log-every", 5, "--evaluations", 1) == 0
    assert run_here(monkeypatch, *common, "--out", tmp_path / "other", "--seed", 1) == 0
    assert weights(tmp_path / "same") == weights(run)
    assert weights(tmp_path / "other") != weights(run)


def test_the_saved_configuration_trains_the_same_model(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plain: None
) -> None:
    assert run_here(monkeypatch, "--recipe", run / "run.toml", "--out", tmp_path / "again") == 0
    assert weights(tmp_path / "again") == weights(run)


@pytest.mark.parametrize("option", [("--whole-word-mask",), ("--mask-rate", 0.15), ("--short-share", 0.9),
                                    ("--clip-norm", 0), ("--optimizer", "adamw", "--learning-rate", 3e-3),
                                    ("--first-weights", "random")])  # fmt: skip
def test_options_change_the_result(
    run: Path, arrays: Path, shape: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plain: None,
    option: tuple[object, ...],
) -> None:  # fmt: skip
    assert run_here(monkeypatch, "--data", arrays, "--model", shape, *SMALL, "--steps", 12, "--dropout", 0.1, *option,
                    "--out", tmp_path / "run") == 0  # fmt: skip
    assert weights(tmp_path / "run") != weights(run)
    assert math.isfinite(summary(tmp_path / "run")["mlm_loss"])


def test_dropout_differs_from_step_to_step_and_between_processes() -> None:
    seeds = set()
    for seed, step, rank in itertools.product(range(3), range(50), range(4)):
        seed_dropout(seed, step, Processes(rank=rank))
        seeds.add(torch.initial_seed())
    assert len(seeds) == 3 * 50 * 4


def test_a_run_goes_on_when_nobody_reads_what_it_prints(arrays: Path, shape: Path, tmp_path: Path) -> None:
    process = start("--data", arrays, "--model", shape, *SMALL, "--steps", 3, "--out", tmp_path / "run")
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()  # before its first line
    assert (process.stderr.read(), process.wait()) == ("", 0)
    process.stderr.close()
    assert summary(tmp_path / "run")["steps"] == 3


# --- Phases and length -----------------------------------------------------------------------------------------------


def seen_batches(run: Pretraining) -> list[tuple[int, int]]:
    """Trains to the end, noting the phase and the longest sequence of each step."""
    seen: list[tuple[int, int]] = []
    step = run.step

    def noted(stop: Any) -> Any:
        batches = run.micro_batches(run.progress.pairs)
        seen.append((run.progress.phase, max(batch.input_ids.shape[1] for batch in batches)))
        return step(stop)

    run.step = noted  # type: ignore[method-assign]
    run.go()
    return seen


def test_phases_lengthen_the_sequences_at_their_share_of_the_run(
    arrays: Path, shape: Path, tmp_path: Path, plain: None, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "phases.toml"
    recipe.write_text("phases = [[16, 0.5], [32, 0.5]]\n")
    args = ("--data", arrays, "--out", tmp_path / "run", "--model", shape, "--batch-size", 8, "--dtype", "float32")
    options = parse_options([*map(str, (*args, "--recipe", recipe, "--steps", 10))])
    directory = PretrainDirectory(tmp_path / "run")
    set_up(directory, options, None, processes=1)
    seen = seen_batches(Pretraining(directory, options, None, Processes()))
    assert [phase for phase, _ in seen] == [0] * 5 + [1] * 5
    assert {length for phase, length in seen if phase == 0} == {16}
    assert {length for phase, length in seen if phase == 1} == {32}
    assert "step 5: now sequences of 32 tokens" in capsys.readouterr().out


def test_a_run_of_minutes_ends_by_its_training_time(
    arrays: Path, shape: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plain: None
) -> None:
    assert run_here(monkeypatch, "--data", arrays, "--out", tmp_path / "run", "--model", shape, *SMALL, "--minutes",
                    0.03, "--evaluations", 3) == 0  # fmt: skip
    figures = summary(tmp_path / "run")
    assert 1.8 <= figures["seconds"] < 3
    assert figures["steps"] > 5
    rates = [line["learning_rate"] for line in metrics(tmp_path / "run") if "learning_rate" in line]
    assert rates[-1] < 0.1 * max(rates)
    assert len([line for line in metrics(tmp_path / "run") if "heldout_mlm_loss" in line]) == 3


def test_evaluations_are_spread_over_the_run(
    common: tuple[object, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plain: None
) -> None:
    """After a resume too, which may ask for another number of them."""

    def evaluated(name: str, evaluations: int, *more: object) -> list[int]:
        args = (*common, "--steps", 20, "--evaluations", evaluations, "--out", tmp_path / name, *more)
        assert run_here(monkeypatch, *args) == 0
        return [line["step"] for line in metrics(tmp_path / name) if "heldout_mlm_loss" in line]

    assert evaluated("five", 5) == [4, 8, 12, 16, 20]
    assert evaluated("one", 1) == [20]
    for evaluations, rest in ((10, [12, 14, 16, 18, 20]), (20, [*range(12, 21)]), (5, [16, 20]), (2, [20])):
        args = (*common, "--steps", 20, "--evaluations", 10, "--out", tmp_path / f"to-{evaluations}")
        assert run_until(11, *args, kill=False) == 130  # saved at step 12, before its evaluation
        assert evaluated(f"to-{evaluations}", evaluations, "--resume") == [2, 4, 6, 8, 10, *rest]


# --- Batches ---------------------------------------------------------------------------------------------------------


def same(a: list[PretrainBatch], b: list[PretrainBatch]) -> bool:
    def equal(x: Any, y: Any) -> bool:
        return torch.equal(x, y) if isinstance(x, torch.Tensor) else x == y

    return len(a) == len(b) and all(
        equal(ours, theirs) for x, y in zip(a, b, strict=True) for ours, theirs in zip(x, y, strict=True)
    )


def test_batches_made_ahead_are_those_made_on_demand(arrays: Path, shape: Path, tmp_path: Path) -> None:
    ahead, direct = (started(arrays, shape, tmp_path / name, "--steps", 40, "--accumulate", 2) for name in "ab")
    for pairs in range(0, 40 * 8, 8):
        assert same(ahead.batches.get(pairs, then=pairs + 8), direct.micro_batches(pairs))
    assert same(ahead.batches.get(16, then=24), direct.micro_batches(16))  # back again
    assert direct.plan.epoch_of(39 * 8) > 0  # more than one epoch was seen
    ahead.batches.close()


def test_nothing_masked_is_left_to_chance_of_the_padding(arrays: Path, shape: Path, tmp_path: Path) -> None:
    """Whole words: what is asked for lies in the text, never in special tokens or padding."""
    run = started(arrays, shape, tmp_path / "run", "--steps", 5, "--whole-word-mask")
    tokenizer = run.corpus.tokenizer
    special = {tokenizer.pad_id, tokenizer.cls_id, tokenizer.sep_id}
    for batch in run.micro_batches(0):
        assert not special & set(batch.masked_labels.tolist())


# --- From another model ----------------------------------------------------------------------------------------------


def test_init_goes_on_from_a_models_weights(
    run: Path, arrays: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plain: None,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert run_here(monkeypatch, "--data", arrays, "--init", run, "--out", tmp_path / "on", *SMALL, "--steps", 1,
                    "--learning-rate", 1e-12, "--optimizer", "adamw") == 0  # fmt: skip
    assert "fresh" not in capsys.readouterr().out
    before, after = minibert.load(run)[0], minibert.load(tmp_path / "on")[0]
    assert after.config == before.config
    for name, parameter in before.named_parameters():
        torch.testing.assert_close(after.get_parameter(name), parameter, rtol=0, atol=1e-9)


def test_init_evaluates_before_the_first_step_too(
    run: Path, arrays: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plain: None,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert run_here(monkeypatch, "--data", arrays, "--init", run, "--out", tmp_path / "on", *SMALL, "--steps", 2,
                    "--evaluations", 1) == 0  # fmt: skip
    held_out = [line for line in metrics(tmp_path / "on") if "heldout_mlm_loss" in line]
    assert [line["step"] for line in held_out] == [0, 2]
    before = held_out[0]
    for name in ("mlm_loss", "mlm_accuracy", "nsp_loss", "nsp_accuracy"):
        assert before[f"heldout_{name}"] == pytest.approx(summary(run)[name], abs=1e-6)
    assert (
        f"before   mlm_loss {before['heldout_mlm_loss']:.4f}, "
        f"mlm_loss_per_byte {before['heldout_mlm_loss_per_byte']:.4f}, "
        f"mlm_accuracy {before['heldout_mlm_accuracy']:.4f}, "
        f"nsp_accuracy {before['heldout_nsp_accuracy']:.4f}, nsp_loss {before['heldout_nsp_loss']:.4f} (held out)"
    ) in capsys.readouterr().out.splitlines()


def test_init_says_what_it_leaves(
    run: Path, arrays: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plain: None,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert run_here(monkeypatch, "--data", arrays, "--init", run, "--out", tmp_path / "on", *SMALL, "--steps", 1,
                    "--no-nsp") == 0  # fmt: skip
    assert (
        f"left     in {run}, not part of this run: nsp_head.bias, nsp_head.weight, pooler.dense.bias, "
        "pooler.dense.weight"
    ) in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("kind", [Bert, BertForMaskedLM])
def test_init_says_which_parts_are_fresh(
    arrays: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plain: None, capsys: pytest.CaptureFixture[str],
    kind: type[Bert | BertForMaskedLM], run: Path,
) -> None:  # fmt: skip
    trained, tokenizer = minibert.load(run)
    source = kind(trained.config, generator=torch.Generator().manual_seed(5))
    minibert.save(source, tokenizer, tmp_path / "source")
    assert run_here(monkeypatch, "--data", arrays, "--init", tmp_path / "source", "--out", tmp_path / "on", *SMALL,
                    "--steps", 1, "--learning-rate", 1e-12, "--optimizer", "adamw") == 0  # fmt: skip
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("fresh"))
    assert "nsp_head" in line and "pooler" in line
    assert ("mlm_head" in line) == (kind is Bert)
    assert "encoder" not in line
    on = minibert.load(tmp_path / "on")[0]
    for name, parameter in source.encoder.named_parameters():
        torch.testing.assert_close(on.encoder.get_parameter(name), parameter, rtol=0, atol=1e-9)
