"""A run that can't fit is refused before anything is made; one that meets the end of memory keeps its state."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

import pretrain.setup
from minibert.training import room
from pretrain.batches.pairs import PairObjective, PairOptions
from pretrain.setup import mean_length
from pretrain.train import Pretraining
from tests.helpers import numbered
from tests.pretrain.running import Refused, finished, run_here, start, states, summary, write_shape

pytestmark = pytest.mark.usefixtures("plain")


@pytest.fixture
def never_prepares(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is refused before the text is prepared."""

    def prepared(*_: object) -> None:
        raise AssertionError("the text was prepared")

    monkeypatch.setattr(pretrain.setup, "prepare", prepared)


@pytest.mark.usefixtures("never_prepares")
@pytest.mark.parametrize(
    ("fields", "figures"),
    [
        ({"hidden_size": 10**6}, "weights 40,001.8, optimizer 48,002.6, gradients 40,001.8"),
        ({"intermediate_size": 10**9}, "weights 520.0, optimizer 528.0"),
        ({"max_position_embeddings": 2**31}, "weights 274.9, optimizer 549.8, gradients 274.9"),
        ({"max_position_embeddings": 2**62}, "weights 10^11"),
        ({"vocab_size": 2**31}, "weights 283.5"),
        ({"vocab_size": 2**64}, "weights 10^12"),
        ({"embedding_size": 10**30}, "weights 10^23"),
        ({"type_vocab_size": 10**400}, "weights 10^39"),
    ],
)
def test_a_model_that_no_machine_holds(
    refused: Refused, out: Path, tmp_path: Path, text: Path, fields: dict[str, int], figures: str
) -> None:
    model = write_shape(tmp_path / "p.json", **fields)
    message = refused("--corpus", text, "--vocab-size", 100, "--model", model, "--seq-len", 32, "--batch-size", 8,
                      "--steps", 1, "--dtype", "float32", "--out", out)  # fmt: skip
    assert "GB of memory is needed" in message and "this machine has" in message and "a smaller --model" in message
    assert figures in message


@pytest.mark.usefixtures("never_prepares")
@pytest.mark.parametrize("size", [10**9, 10**12, 10**17])
def test_a_batch_that_no_machine_holds(refused: Refused, out: Path, text: Path, shape: Path, size: int) -> None:
    common = ("--corpus", text, "--vocab-size", 100, "--model", shape, "--seq-len", 32, "--steps", 1, "--out", out)
    assert "activations" in refused(*common, "--batch-size", size)
    assert "batches" in refused(*common, "--batch-size", size, "--accumulate", size)


def test_the_real_vocabulary_counts_once_it_is_there(
    refused: Refused, out: Path, text: Path, shape: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What was said before the text was prepared was a guess; the refusal after it takes all of it away again."""
    check = pretrain.setup.check_memory
    seen = []

    def noted(config: Any, *args: Any, **options: Any) -> str | None:
        seen.append(config.vocab_size)
        if options.get("corpus") is not None:
            monkeypatch.setattr(room, "machine_memory", lambda: 1_000_000)
        return check(config, *args, **options)

    monkeypatch.setattr(pretrain.setup, "check_memory", noted)
    model = write_shape(tmp_path / "p.json", vocab_size=None)
    common = ("--corpus", text, "--model", model, "--seq-len", 32, "--batch-size", 8, "--steps", 1, "--out", out)
    assert "this machine has 0.0 GB" in refused(*common, "--vocab-size", 10**7)
    assert seen[0] == 30522 and seen[1] < 1000


def test_a_run_that_nearly_fills_the_memory_says_so(
    common: tuple[object, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(psutil.Process, "memory_info", lambda _: SimpleNamespace(rss=10**9))
    monkeypatch.setattr(room, "machine_memory", lambda: int(1.15e9))
    assert run_here(monkeypatch, *common, "--steps", 1, "--out", tmp_path / "run") == 0
    notes = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note") and "memory" in line]
    assert len(notes) == 1 and re.search(r"at least 1\.0 GB of memory is needed \(the program 1\.0", notes[0])


@pytest.mark.slow
@pytest.mark.parametrize(
    "more", [(), ("--accumulate", 4), ("--optimizer", "adamw", "--learning-rate", 3e-3), ("--dropout", 0.1)]
)
def test_a_run_needs_what_was_said_and_little_more(
    arrays: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: tuple[object, ...]
) -> None:
    """An estimate from below, since it would else refuse what runs; and near it. Libraries take 0.2 GB of this."""
    model = write_shape(tmp_path / "p.json", hidden_size=256, num_attention_heads=4, intermediate_size=1024)
    common = ("--data", arrays, "--model", model, "--seq-len", 32, "--batch-size", 512, "--steps", 2,
              "--dtype", "float32", *more)  # fmt: skip
    finished(start(*common, "--out", tmp_path / "run"))
    said: list[int] = []

    def note(parts: dict[str, int], *_: Any, **__: Any) -> None:
        said.append(sum(size for name, size in parts.items() if name != "the program") + 260_000_000)

    monkeypatch.setattr(pretrain.setup, "check_room", note)
    monkeypatch.setattr(Pretraining, "go", lambda _: None)
    run_here(monkeypatch, *common, "--out", tmp_path / "other")
    assert 0.5 < said[-1] / summary(tmp_path / "run")["peak_rss_bytes"] < 1


@pytest.mark.parametrize(
    ("seq_len", "objective", "length"),
    [(22, "none", 22), (102, "none", 37), (103, "sop", 38)],  # of documents of 20, 5 and 80 tokens
)
def test_sequences_are_as_long_as_their_documents_let_them_be(
    seq_len: int, objective: PairObjective, length: int
) -> None:
    arrays = numbered([[10, 10], [5], [40, 40]] if seq_len > 22 else [[10, 10], [20]])
    assert mean_length(arrays, PairOptions(seq_len, objective, short_share=0.0)) == length


@pytest.mark.slow
def test_one_process_out_of_memory_ends_all_in_a_line_each(
    common: tuple[object, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(FAILING)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    _, err = finished(start(*common, "--steps", 9, "--save-every", 2, "--out", tmp_path / "run", processes=2), code=1)
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 2 and "[rank" not in err  # which is how torch begins the lines of a worker's traceback
    assert any("step 6: out of memory" in line for line in errors)
    assert any("another process of this run has ended" in line for line in errors)
    assert states(tmp_path / "run")[-1] == "step-00000004"


FAILING = """
import os
if os.environ.get("RANK") == "1":
    import pretrain.train
    step = pretrain.train.Pretraining.step
    def failing(self, stop):
        if self.progress.step == 5:
            raise MemoryError
        return step(self, stop)
    pretrain.train.Pretraining.step = failing
"""


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried")]
)
def test_an_allocation_that_fails_keeps_the_state(
    common: tuple[object, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
) -> None:
    step = Pretraining.step

    def failing(self: Pretraining, stop: Any) -> Any:
        if self.progress.step == 5:
            raise error
        return step(self, stop)

    run = tmp_path / "run"
    monkeypatch.setattr(Pretraining, "step", failing)
    arguments = (*common, "--steps", 8, "--save-every", 2, "--out", run)
    assert run_here(monkeypatch, *arguments) == 3
    shown = capsys.readouterr().err
    assert len(shown.splitlines()) == 1
    assert f"step 6: out of memory; last good state: {run}/state/step-00000004; continue with --resume" in shown
    assert states(run) == ["step-00000002", "step-00000004"]
    monkeypatch.setattr(Pretraining, "step", step)
    assert run_here(monkeypatch, *arguments, "--resume") == 0
