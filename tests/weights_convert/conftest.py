"""What the tests of causes share: a model of the reference, and its conversion, in which the tests plant faults."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.weights_convert.reference_models import SMALL, reference_model, write_directory
from weights_convert.convert import from_hf


@pytest.fixture(scope="session")
def hf_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Hugging Face directory of a random pretraining model of five blocks; tests don't change it."""
    model = reference_model("pretraining", SMALL.replace(num_hidden_layers=5))
    return write_directory(model.float(), tmp_path_factory.mktemp("hf"))


@pytest.fixture
def directory(hf_directory: Path, tmp_path: Path) -> Path:
    """The model directory converted from it; a test may damage it."""
    from_hf(hf_directory, tmp_path / "ours")
    return tmp_path / "ours"
