"""What the tests of whole runs share: a text, its token arrays, a config file. Tests don't change them."""

from __future__ import annotations

from pathlib import Path

import pytest

from pretrain.arrays.prepare import PrepareOptions, prepare
from tests.pretrain.running import DROPPING, Refused, documents, run_here, tree, write_shape, write_text


@pytest.fixture(scope="session")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text file of 60 documents on four topics."""
    return write_text(tmp_path_factory.mktemp("text") / "text.txt", documents(60))


@pytest.fixture(scope="session")
def arrays(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The token arrays of that text."""
    directory = tmp_path_factory.mktemp("arrays") / "arrays"
    prepare(PrepareOptions(corpus=(str(text),), vocab_size=100, workers=1), directory)
    return directory


@pytest.fixture(scope="session")
def shape(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The config file of a tiny model."""
    return write_shape(tmp_path_factory.mktemp("shape") / "shape.json")


@pytest.fixture
def common(arrays: Path, shape: Path) -> tuple[object, ...]:
    """The options that all runs share in a test that stops, resumes or damages them."""
    return "--data", arrays, "--model", shape, *DROPPING, "--log-every", 1, "--evaluations", 2


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep runs in this process from drawing pictures, which takes longer than the training."""
    monkeypatch.setattr("pretrain.train.draw_run", lambda *_, **__: None)


@pytest.fixture
def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Refused:
    """A function that runs a command, which must be refused, and returns its one line. tmp_path must not change."""

    def run(*args: object) -> str:
        before = tree(tmp_path)
        capsys.readouterr()
        code = run_here(monkeypatch, *args)
        shown = capsys.readouterr()
        assert code == 2, shown.err
        assert len(shown.err.splitlines()) == 1, shown.err
        assert shown.err.startswith("error: ")
        assert tree(tmp_path) == before
        return shown.err.removeprefix("error: ").rstrip("\n")

    return run


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A path whose parents don't exist yet."""
    return tmp_path / "not" / "there" / "run"
