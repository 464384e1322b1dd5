"""Where the system has neither locks nor limits nor signal masks of its own: see `elsewhere.py`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import REPOSITORY
from tests.pretrain.running import DROPPING, documents, run_here, states, tree, write_shape, write_text


def elsewhere(killed_before: int, *args: object) -> tuple[int, str]:
    """The exit code and standard error of `python -m pretrain ARGS` there, killed before a step."""
    command = [sys.executable, "-m", "tests.elsewhere", *map(str, (killed_before, *args))]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stderr


@pytest.mark.slow
def test_everything_is_imported_and_a_killed_run_goes_on_as_if_it_had_not_been(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_text(tmp_path / "text.txt", documents(60))
    args = ("--corpus", tmp_path / "text.txt", "--vocab-size", 100, "--model", write_shape(tmp_path / "shape.json"),
            *DROPPING, "--steps", 5, "--save-every", 1)  # fmt: skip
    assert run_here(monkeypatch, *args, "--out", tmp_path / "here") == 0
    there = tmp_path / "there"
    there.mkdir()
    assert elsewhere(3, *args, "--out", there) == (9, "")
    assert states(there) == ["step-00000002", "step-00000003"]
    assert elsewhere(9, *args, "--out", there, "--resume") == (0, "")
    found, expected = tree(there), tree(tmp_path / "here")
    assert found.keys() == expected.keys()
    same = ("run.toml", "config.json", "model.safetensors", "tokenizer.json", "vocab.txt", "data/train/tokens.bin",
            "state/step-00000005/tensors.safetensors")  # fmt: skip
    assert [name for name in same if found[name] != expected[name]] == []
