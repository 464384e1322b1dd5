"""How long a run is, and what its recipe leaves to rules: filled in at the start, recorded, and kept by a resume."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from minibert.training.device import choose_precision
from minibert.training.processes import Processes
from pretrain.arrays.shards import open_prepared
from pretrain.options import PretrainOptions
from pretrain.passes import backward_pass
from pretrain.planning import Settled, as_saved, measured_speed, settle, step_tokens
from pretrain.rules import RULES, left_to_rules
from pretrain.run_directory import PretrainDirectory
from tests.pretrain.running import Refused, metrics, run_here, summary
from tests.pretrain.test_resume import run_until

pytestmark = pytest.mark.usefixtures("plain")


def options(arrays: Path, shape: Path, **fields: object) -> PretrainOptions:
    return PretrainOptions(**{"out": "x", "data": str(arrays), "model": str(shape), "phases": ((32, 1.0),)} | fields)  # type: ignore[arg-type]


def saved(run: Path) -> dict[str, object]:
    return tomllib.loads((run / "run.toml").read_text(encoding="utf-8"))


def settled(asked: PretrainOptions) -> Settled:
    cpu = torch.device("cpu")
    return settle(asked, open_prepared(str(asked.data)), cpu, choose_precision("float32", cpu), Processes())


@pytest.mark.parametrize(("seq_len", "objective"), [(16, "none"), (32, "nsp")])
def test_passes_are_as_many_tokens_as_the_text_has(
    arrays: Path, shape: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seq_len: int, objective: str
) -> None:
    assert run_here(monkeypatch, "--data", arrays, "--model", shape, "--seq-len", seq_len, "--batch-size", 8,
                    "--passes", 2, "--pair-objective", objective, "--out", tmp_path / "run") == 0  # fmt: skip
    assert summary(tmp_path / "run")["passes"] == pytest.approx(2, rel=0.04)  # of so few batches
    assert saved(tmp_path / "run")["passes"] == 2


def test_the_tokens_of_a_step_are_the_mean_over_phases(arrays: Path, shape: Path) -> None:
    corpus = open_prepared(arrays)
    short, long = (step_tokens(options(arrays, shape, steps=1, phases=((size, 1.0),)), corpus) for size in (16, 32))
    both = step_tokens(options(arrays, shape, steps=1, phases=((16, 0.75), (32, 0.25))), corpus)
    assert both == pytest.approx([0.75 * a + 0.25 * b for a, b in zip(short, long, strict=True)])
    assert short.whole - short.text == 64 * 3  # of 64 pairs: [CLS] and two [SEP]


def test_a_run_with_all_its_rates_measures_nothing(arrays: Path, shape: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pretrain.planning.measured_speed", lambda *_, **__: pytest.fail("measured"))
    given = dict.fromkeys(RULES, 0.125)
    assert settled(options(arrays, shape, minutes=2.0, **given)).lines == [
        "rates    AdamW 0.125, Muon 0.125, dropout 0.125"
    ]


def test_minutes_become_tokens_by_the_speed(arrays: Path, shape: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pretrain.planning.measured_speed", lambda *_, **__: 1000.0)
    found = settled(options(arrays, shape, minutes=2.0))
    assert found.steps is None and found.lines[0].startswith("length   2 minutes at 1,000 tokens/s: 120,000 tokens, ")
    assert found.note.startswith("By rule, for 2 minutes at 1,000 tokens/s, 120,000 tokens, ")


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
    assert f"rates    AdamW 0.5, Muon {recorded['block_learning_rate']:g} (by rule)\n" in shown
    assert "length   6 steps: " in shown
    assert "note     the rules' measurements do not cover a hidden size of 32 (measured: 128 to 256), " in shown
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
    what = r"[\d,]+ tokens/s, [\d,]+ tokens, [\d.]+ passes over the text: learning_rate, block_learning_rate\."
    assert re.fullmatch(f"# By rule, for 0.01 minutes at {what}", comment), comment
    first = next(line for line in metrics(tmp_path / "run") if "mlm_loss" in line)
    assert first["step"] == 1  # the measured steps are not the run's


@pytest.mark.parametrize(("share", "sequences"), [(slice(None), 8), (slice(1, None, 2), 4)])
def test_the_speed_is_that_of_the_processes_share(
    arrays: Path, shape: Path, monkeypatch: pytest.MonkeyPatch, share: slice, sequences: int
) -> None:
    sizes = []

    def recording(*args: Any, **kwargs: Any) -> Callable[..., Any]:
        backward = backward_pass(*args, **kwargs)
        return lambda batch, counts: (sizes.append(len(batch.lengths)), backward(batch, counts))

    monkeypatch.setattr("pretrain.planning.backward_pass", recording)
    monkeypatch.setattr("pretrain.planning.MEASURED_SECONDS", 0.01)
    asked, cpu = options(arrays, shape, minutes=1.0, batch_size=8), torch.device("cpu")
    precision = choose_precision("float32", cpu)
    assert measured_speed(asked, open_prepared(arrays), device=cpu, precision=precision, share=share) > 0
    assert set(sizes) == {sequences} and len(sizes) >= 2


def test_a_damaged_rate_of_a_saved_configuration_is_named(
    common: tuple[object, ...], tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch,
    refused: Refused,
) -> None:  # fmt: skip
    run = tmp_path_factory.mktemp("runs") / "run"
    assert run_here(monkeypatch, *common, "--steps", 2, "--out", run) == 0
    content = (run / "run.toml").read_text(encoding="utf-8")
    (run / "run.toml").write_text(re.sub("(?m)^learning_rate = .*", 'learning_rate = "high"', content))
    message = refused(*common, "--steps", 2, "--out", run, "--resume")
    assert message.startswith(f"{run / 'run.toml'}: learning_rate must be of type float")


def test_a_run_of_an_earlier_version_can_go_on(
    common: tuple[object, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its run.toml lacks options that it did not have, and has a rate of Muon's that AdamW does not use."""
    args = (*common, "--steps", 6, "--optimizer", "adamw", "--learning-rate", 1e-3, "--save-every", 2)
    run = tmp_path / "run"
    assert run_until(4, *args, "--out", run) == -9
    lines = (run / "run.toml").read_text(encoding="utf-8").splitlines()
    lines = [line for line in lines if not line.startswith("drop_duplicates")] + ["block_learning_rate = 0.005"]
    (run / "run.toml").write_text("\n".join(lines), encoding="utf-8")
    assert run_here(monkeypatch, *args, "--out", run, "--resume") == 0
