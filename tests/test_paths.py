"""Paths that are none, or of what is no file: refused in one line, before anything is read, made or waited for."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from finetune.inference_options import EvaluateOptions, parse_use
from minibert import checkpoint
from minibert.config import BertConfig
from minibert.errors import InputError
from minibert.files import writing
from minibert.tokenizer import Tokenizer
from minibert.training.state import load_newest_state, save_state
from pretrain.arrays.prepare import PrepareOptions, prepare
from pretrain.arrays.shards import open_prepared
from pretrain.options import read_recipe
from pretrain.run_directory import PretrainDirectory
from tests.helpers import refusal
from weights_convert.config_map import read_config
from weights_convert.hub import directory_named

TAKES_A_PATH: dict[str, Callable[[str], object]] = {
    "a model to load": checkpoint.load,
    "a model to use": lambda path: parse_use(EvaluateOptions, "evaluate", [path or "", "--data", "a.csv"]),
    "a tokenizer": Tokenizer.load,
    "token arrays": open_prepared,
    "a Hugging Face directory": directory_named,
    "a directory to write": writing.check_new,
    "a file to write": lambda path: writing.check_writable(Path(path) if path else path),  # type: ignore[arg-type]
    "token arrays to write": lambda path: prepare(PrepareOptions(corpus=("pydocs",)), path),
    "a run": lambda path: PretrainDirectory(Path(path)).status(None) if path else writing.check_new(path),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("name", TAKES_A_PATH)
def test_a_path_that_is_none(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    take = TAKES_A_PATH[name]
    assert refusal(lambda: take("")) == "expected a path, found an empty name"
    assert refusal(lambda: take("a\0b")) == "a\0b: not a usable path (embedded null byte)"
    assert refusal(lambda: take("x" * 300)) == f"{'x' * 300}: not a usable path (File name too long)"
    if name != "a directory to write":
        assert refusal(lambda: take("loop")) == "loop: not a usable path (Too many levels of symbolic links)"
    assert os.listdir() == ["loop"]


READS_A_FILE: dict[str, tuple[str, Callable[[Path], object]]] = {
    "a model's config": ("config.json", lambda path: checkpoint.read_description(path.parent)),
    "a config to pretrain with": ("config.json", BertConfig.from_json),
    "a Hugging Face config": ("config.json", read_config),
    "a recipe": ("recipe.toml", lambda path: read_recipe(str(path))),
    "a manifest": ("manifest.json", lambda path: open_prepared(path.parent)),
    "a tokenizer": ("tokenizer.json", Tokenizer.load),
    "a vocabulary": ("vocab.txt", Tokenizer.load),
    "a SentencePiece model": ("spiece.model", Tokenizer.load),
}


@pytest.mark.parametrize("name", READS_A_FILE)
def test_what_is_no_file_or_far_too_large_is_not_read(name: str, tmp_path: Path) -> None:
    file_name, read = READS_A_FILE[name]
    path = tmp_path / file_name
    os.mkfifo(path)
    assert refusal(lambda: read(path)) == f"{path} is a named pipe, expected a file"
    path.unlink()
    path.symlink_to("/dev/zero")
    assert refusal(lambda: read(path)) == f"{path} is a device, expected a file"
    path.unlink()
    with path.open("wb") as file:
        file.truncate(2**40)  # takes no room
    assert refusal(lambda: read(path)).startswith(f"{path} has more than 1")


def test_an_array_that_is_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    for name in ("state.json", "tensors.safetensors"):
        whole, odd = (save_state(tmp_path / "state", step, {}, {}) for step in (1, 2))
        record = json.loads((odd / "state.json").read_text())
        (odd / name).unlink()
        os.mkfifo(odd / name)
        reports: list[str] = []
        state = load_newest_state(tmp_path / "state", reports.append)
        assert state is not None and state.step == 1 and whole.is_dir()
        assert len(reports) == 1 and reports[0].startswith(f"{odd}: damaged, skipped: ")
        assert record["step"] == 2


def test_a_toml_that_is_nested_too_deep(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("steps = " + "[" * 100_000)
    with pytest.raises(InputError, match="not readable as TOML"):
        read_recipe(str(tmp_path / "a.toml"))
