"""What the tests of whole runs share: a model that knows nothing, and a file of each task. Tests don't change them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.finetune.running import TASKS, file_name, write_model, write_task


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny encoder's model directory."""
    return write_model(tmp_path_factory.mktemp("base") / "model")


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For each task train, dev and test: `files / file_name(task, "train")`."""
    directory = tmp_path_factory.mktemp("files")
    for task in TASKS:
        for seed, (stem, count) in enumerate({"train": 96, "dev": 40, "test": 40}.items()):
            write_task(task, directory / file_name(task, stem), count, seed)
    return directory


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs in this process draw no picture, which takes longer than the training."""
    monkeypatch.setattr("finetune.finish.draw_run", lambda *_, **__: None)
    monkeypatch.setattr("finetune.tasks.text_classification.draw_confusion", lambda *_, **__: None)
