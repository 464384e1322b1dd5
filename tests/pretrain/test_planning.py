"""How long a run is, and what its recipe leaves to rules: filled in at the start, recorded, and kept by a resume."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import torch

from minibert.training.device import choose_precision
from pretrain.arrays.shards import open_prepared
from pretrain.options import PretrainOptions
from pretrain.planning import as_saved, measured_speed, plan_of, step_tokens, steps_of
from pretrain.rules import left_to_rules
from pretrain.run_directory import PretrainDirectory
from tests.pretrain.running import Refused, metrics, run_here, summary

pytestmark = pytest.mark.usefixtures("plain")

RATES = ("learning_rate", "block_learning_rate", "dropout")


def options(arrays: Path, shape: Path, **fields: object) -> PretrainOptions:
    return PretrainOptions(**{"out": "x", "data": str(arrays), "model": str(shape), "phases": ((32, 1.0),)} | fields)  # type: ignore[arg-type]


def saved(run: Path) -> dict[str, object]:
    return tomllib.loads((run / "run.toml").read_text(encoding="utf-8"))


def test_passes_are_as_many_tokens_as_the_text_has(
    arrays: Path, shape: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run_here(monkeypatch, "--data", arrays, "--model", shape, "--seq-len", 32, "--batch-size", 8, "--passes", 3,
                    "--no-nsp", "--out", tmp_path / "run") == 0  # fmt: skip
    corpus = open_prepared(arrays)
    asked = options(arrays, shape, passes=3.0, batch_size=8, pair_objective="none")
    assert summary(tmp_path / "run")["steps"] == steps_of(asked, corpus)
    sequences = 8 * summary(tmp_path / "run")["steps"]
    text = summary(tmp_path / "run")["tokens"] - 2 * sequences  # [CLS] and [SEP]
    assert text / len(corpus.train.tokens) == pytest.approx(3, rel=0.05)
    assert saved(tmp_path / "run")["passes"] == 3


def test_the_tokens_of_a_step_are_the_mean_over_phases(arrays: Path, shape: Path) -> None:
    corpus = open_prepared(arrays)
    short, long = (step_tokens(options(arrays, shape, steps=1, phases=((size, 1.0),)), corpus) for size in (16, 32))
    both = step_tokens(options(arrays, shape, steps=1, phases=((16, 0.75), (32, 0.25))), corpus)
    assert both == pytest.approx([0.75 * a + 0.25 * b for a, b in zip(short, long, strict=True)])
    assert short[0] - short[1] == 64 * 3  # of 64 pairs: [CLS] and two [SEP]


def test_a_plan_in_minutes_counts_by_the_speed(arrays: Path, shape: Path) -> None:
    plan = plan_of(options(arrays, shape, minutes=2.0), open_prepared(arrays), tokens_per_second=1000.0)
    assert (plan.hidden_size, plan.tokens, plan.trained) == (32, pytest.approx(120_000), False)
    by_steps = options(arrays, shape, steps=50)
    plan = plan_of(by_steps, open_prepared(arrays), tokens_per_second=None)
    assert plan.tokens == pytest.approx(50 * step_tokens(by_steps, open_prepared(arrays))[0])


def test_what_is_left_to_rules_is_recorded_and_kept(
    common: tuple[object, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    given = [part for part in common if part not in ("--dropout", "0.1")]
    assert run_here(monkeypatch, *given, "--steps", 6, "--learning-rate", 0.5, "--out", run) == 0
    recorded = saved(run)
    assert recorded["learning_rate"] == 0.5 and recorded["dropout"] == 0.0
    assert isinstance(recorded["block_learning_rate"], float)
    shown = capsys.readouterr().out
    rates = f"AdamW 0.5, Muon {recorded['block_learning_rate']:g}, dropout 0"
    assert f"rates    {rates} (by rule: block_learning_rate, dropout)" in shown
    assert "length   6 steps: " in shown
    assert "note     the rules were not measured with hidden size 32 (measured: 128 to 256), step tokens" in shown
    again = as_saved(PretrainOptions(steps=6, model="x"), PretrainDirectory(run))
    assert left_to_rules(again) == [] and again.learning_rate == 0.5
    assert as_saved(PretrainOptions(steps=6, learning_rate=0.25), PretrainDirectory(run)).learning_rate == 0.25
    capsys.readouterr()
    assert run_here(monkeypatch, *given, "--steps", 6, "--out", run, "--resume") == 0
    assert "this run is finished" in capsys.readouterr().out


def test_a_resume_with_other_rates_is_refused(
    common: tuple[object, ...], tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch,
    refused: Refused,
) -> None:  # fmt: skip
    run = tmp_path_factory.mktemp("runs") / "run"
    assert run_here(monkeypatch, *common, "--steps", 2, "--block-learning-rate", 0.5, "--out", run) == 0
    message = refused(*common, "--steps", 2, "--block-learning-rate", 0.25, "--out", run, "--resume")
    assert "different configuration: block_learning_rate is 0.25, was 0.5" in message


def test_a_run_of_minutes_measures_its_speed_first(
    common: tuple[object, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run_here(monkeypatch, *common, "--minutes", 0.01, "--out", tmp_path / "run") == 0
    comment = (tmp_path / "run" / "run.toml").read_text(encoding="utf-8").splitlines()[1]
    assert re.fullmatch(
        r"# By rule, for 0\.01 minutes at [\d,]+ tokens/s: [\d.e-]+ million tokens, [\d.e-]+ passes over the text: "
        r"learning_rate, block_learning_rate\.", comment
    ), comment  # fmt: skip
    first = next(line for line in metrics(tmp_path / "run") if "mlm_loss" in line)
    assert first["step"] == 1  # the measured steps are not the run's


def test_the_speed_is_that_of_the_processes_share(arrays: Path, shape: Path) -> None:
    asked, corpus = options(arrays, shape, minutes=1.0, batch_size=8), open_prepared(arrays)
    device = torch.device("cpu")
    for share in (slice(None), slice(1, None, 2)):
        speed = measured_speed(asked, corpus, device=device, precision=choose_precision("float32", device), share=share)
        assert 100 < speed < 1e8
