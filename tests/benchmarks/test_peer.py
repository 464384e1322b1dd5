"""The peer's run: interrupted after an epoch, it goes on to the same figures."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from benchmarks.data import write_files
from benchmarks.peers.transformers_trainer import last_checkpoint, train
from benchmarks.tasks import FinetuneWork
from tests.benchmarks.conftest import FOLDERS


@pytest.mark.slow
def test_an_interrupted_run_goes_on_after_its_last_whole_checkpoint(hf_model: Path, data: Path, tmp_path: Path) -> None:
    learned, dev = write_files("stsb", data / FOLDERS["stsb"], tmp_path, train_limit=12)
    work = FinetuneWork(
        task="stsb", model=str(hf_model), train=str(learned), dev=str(dev), epochs=3, learning_rate=1e-2, batch_size=4,
        device="cpu",
    )  # fmt: skip
    out = tmp_path / "run"
    whole = train(work, 0, out)
    assert sorted(path.name for path in out.iterdir()) == ["checkpoint-3", "checkpoint-6", "checkpoint-9"]
    (out / "checkpoint-9" / "watch.json").unlink()  # half written
    shutil.rmtree(out / "checkpoint-6")
    assert last_checkpoint(out) == out / "checkpoint-3"
    again = train(work, 0, out)
    assert again.metrics == whole.metrics
    assert again.work == whole.work
    assert last_checkpoint(out) == out / "checkpoint-9"
