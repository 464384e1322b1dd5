"""What happens before the first step."""

from __future__ import annotations

from pathlib import Path

import pytest

from minibert import checkpoint
from tests.finetune.running import file_name, run_here
from tests.pretrain.running import summary

pytestmark = pytest.mark.usefixtures("plain")


@pytest.mark.parametrize("seeds", [1, 2])
def test_the_starting_model_is_loaded_once_for_each_seed(
    seeds: int, base: Path, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[Path] = []
    load = checkpoint.load
    monkeypatch.setattr(checkpoint, "load", lambda directory: (loaded.append(Path(directory)), load(directory))[1])
    task = "text-classification"
    args = (task, "--model", base, "--train", files / file_name(task, "train"), "--out", tmp_path / "run")
    assert run_here(monkeypatch, *args, "--epochs", 1, "--seeds", seeds) == 0
    assert loaded.count(base) == seeds
    assert summary(tmp_path / "run")["epochs"] == 1
