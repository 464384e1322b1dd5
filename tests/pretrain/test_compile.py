"""`torch.compile` stands outside of a run's time, changes nothing of its steps, and is done without where it fails.

The compiler itself is pretended: what is asked of it here holds for any.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from pretrain.options import parse_options
from pretrain.setup import is_compiled
from tests.pretrain.running import run_here, summary, weights

pytestmark = pytest.mark.usefixtures("plain")


@pytest.fixture
def pretend(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., Any] | None], None]:
    """Has the runs to come compiled by a function that is called at the first pass, before what it was to compile."""

    def set_compiler(compiler: Callable[..., Any] | None) -> None:
        def compile(function: Callable[..., Any], **_: object) -> Callable[..., Any]:
            calls: list[int] = []

            def compiled(*inputs: Any) -> Any:
                if not calls and compiler is not None:
                    compiler()
                calls.append(1)
                return function(*inputs)

            return compiled

        monkeypatch.setattr("torch.compile", compile)
        monkeypatch.setattr("pretrain.train.is_compiled", lambda *_: compiler is not None)

    return set_compiler


@pytest.fixture
def args(common: tuple[object, ...]) -> tuple[object, ...]:
    """A short run with dropout, in micro-batches."""
    return *common, "--steps", 4, "--accumulate", 2


def test_compiling_takes_none_of_the_runs_time_and_changes_no_step(
    args: tuple[object, ...], pretend: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(None)
    assert run_here(monkeypatch, *args, "--out", tmp_path / "plain") == 0
    pretend(lambda: time.sleep(3))
    assert run_here(monkeypatch, *args, "--out", tmp_path / "compiled") == 0
    assert weights(tmp_path / "compiled") == weights(tmp_path / "plain")
    assert summary(tmp_path / "compiled")["seconds"] < 3


def fail() -> None:
    raise RuntimeError("no header file\nand a long trace")


def test_where_it_fails_a_run_goes_on_without(
    args: tuple[object, ...], pretend: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    pretend(None)
    assert run_here(monkeypatch, *args, "--out", tmp_path / "plain") == 0
    pretend(fail)
    assert run_here(monkeypatch, *args, "--out", tmp_path / "failed") == 0
    assert "\nnot compiled: torch.compile failed: no header file\n" in capsys.readouterr().out
    assert weights(tmp_path / "failed") == weights(tmp_path / "plain")


def test_where_it_was_asked_for_and_fails_the_run_stops(
    args: tuple[object, ...], pretend: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    pretend(fail)
    assert run_here(monkeypatch, *args, "--out", tmp_path / "run", "--compile", "yes") == 3
    assert capsys.readouterr().err == "error: --compile yes: torch.compile failed: no header file\n"


def test_a_run_may_go_on_compiled_or_not(
    args: tuple[object, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is finished whatever --compile says, and one of a version without the option is as well."""
    out = tmp_path / "run"
    assert run_here(monkeypatch, *args, "--out", out) == 0
    assert "compile" not in (out / "run.toml").read_text(encoding="utf-8")
    assert run_here(monkeypatch, *args, "--out", out, "--compile", "no") == 0
    assert "is finished" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("length", "compile", "compiled"),
    [
        ("--minutes 9.9", "auto", False), ("--minutes 10", "auto", True), ("--minutes 10", "no", False),
        ("--steps 1000000", "auto", False), ("--steps 1", "yes", True),
    ],
)  # fmt: skip
def test_long_runs_on_a_gpu_are_compiled(
    monkeypatch: pytest.MonkeyPatch, length: str, compile: str, compiled: bool
) -> None:
    options = parse_options(["--data", "d", "--out", "o", *length.split(), "--compile", compile])
    monkeypatch.setattr("pretrain.setup.missing_for_compiling", lambda device: None)
    assert is_compiled(options, torch.device("cuda", 0)) is compiled
    if compile != "yes":
        monkeypatch.setattr("pretrain.setup.missing_for_compiling", lambda device: "a C compiler")
        assert is_compiled(options, torch.device("cuda", 0)) is False
