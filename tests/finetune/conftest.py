"""What the tests of whole runs share: an untrained model, and files for each task. Tests don't change them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.finetune.running import SHORT, TASKS, arguments, file_name, run_here, write_model, write_task


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model directory of a tiny encoder."""
    return write_model(tmp_path_factory.mktemp("base") / "model")


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with train, dev and test files for each task: `files / file_name(task, "train")`."""
    directory = tmp_path_factory.mktemp("files")
    for task in TASKS:
        for seed, (stem, count) in enumerate({"train": 96, "dev": 40, "test": 40}.items()):
            write_task(task, directory / file_name(task, stem), count, seed)
    return directory


@pytest.fixture(scope="session")
def runs(base: Path, files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of each task, hardly trained."""
    directory = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        for task in TASKS:
            assert run_here(patch, *arguments(task, base, files, directory / task), *SHORT) == 0
    return directory


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep runs in this process from drawing pictures, which takes longer than the training."""
    monkeypatch.setattr("finetune.finish.draw_run", lambda *_, **__: None)
    monkeypatch.setattr("finetune.tasks.text_classification.draw_confusion", lambda *_, **__: None)
