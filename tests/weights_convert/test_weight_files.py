"""Weight files in all their forms; a file that would run code runs none."""

from __future__ import annotations

import json
import os
import pickle
import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.testing import assert_close

from tests.helpers import contents, refusal, seeded
from weights_convert.weight_files import find_weights, read_weights


@pytest.fixture
def tensors() -> dict[str, Tensor]:
    generator = seeded(1)
    return {
        "a.weight": torch.randn(3, 4, generator=generator),
        "a.bias": torch.randn(3, generator=generator).half(),
        "b.weight": torch.randn(2, 2, generator=generator).bfloat16(),
    }


def write_shards(tensors: dict[str, Tensor], directory: Path, name: str) -> Path:
    """One tensor a shard, and the index."""
    stem, suffix = name.split(".")
    places = {key: f"{stem}-{i:05}-of-00003.{suffix}" for i, key in enumerate(tensors, start=1)}
    for key, place in places.items():
        write(suffix, {key: tensors[key]}, directory / place)
    (directory / f"{name}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return directory / f"{name}.index.json"


def write(suffix: str, tensors: dict[str, Tensor], path: Path) -> None:
    save_file(tensors, path) if suffix == "safetensors" else torch.save(tensors, path)


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
@pytest.mark.parametrize("sharded", [False, True], ids=["whole", "sharded"])
def test_every_form_gives_the_same_tensors(
    name: str, sharded: bool, tensors: dict[str, Tensor], tmp_path: Path
) -> None:
    if sharded:
        write_shards(tensors, tmp_path, name)
    else:
        write(name.split(".")[1], tensors, tmp_path / name)
    found = read_weights(find_weights(tmp_path))
    assert_close(found, tensors, rtol=0, atol=0)  # types too


def test_a_bin_of_the_old_format_is_read(tensors: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save(tensors, tmp_path / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    assert_close(read_weights(tmp_path / "pytorch_model.bin"), tensors, rtol=0, atol=0)


def test_safetensors_are_preferred(tensors: dict[str, Tensor], tmp_path: Path) -> None:
    for name in ("pytorch_model.bin.index.json", "pytorch_model.bin", "model.safetensors.index.json"):
        (tmp_path / name).write_text("")
        assert find_weights(tmp_path) == tmp_path / name
    save_file(tensors, tmp_path / "model.safetensors")
    assert find_weights(tmp_path) == tmp_path / "model.safetensors"


def test_no_weights_is_said(tmp_path: Path) -> None:
    assert refusal(lambda: find_weights(tmp_path)) == (
        f"{tmp_path}: no weights; expected model.safetensors, model.safetensors.index.json, pytorch_model.bin or "
        "pytorch_model.bin.index.json"
    )


# --- Code ------------------------------------------------------------------------------------------------------------


class Bomb:
    """Makes a file where it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch '{self.marker}'",)


def test_the_bomb_is_live(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps({"a.weight": Bomb(tmp_path / "ran")}))
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("form", "problem"),
    [
        ("zip", f"it names {os.name}.system, and no code in a file is run"),
        ("old", f"it names {os.name}.system, and no code in a file is run"),
        (2, f"it names {os.name}.system, and no code in a file is run"),
        (4, "damaged, or more than tensors"),
    ],
    ids=["zip", "old", "pickle protocol 2", "pickle protocol 4"],
)
def test_code_in_a_bin_is_refused_and_never_run(form: str | int, problem: str, tmp_path: Path) -> None:
    path, content = tmp_path / "pytorch_model.bin", {"a.weight": Bomb(tmp_path / "ran")}
    if isinstance(form, int):
        path.write_bytes(pickle.dumps(content, protocol=form))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == "zip")
    with warnings.catch_warnings(record=True) as seen:
        assert refusal(lambda: read_weights(path)) == f"{path}: refused: {problem}"
    assert seen == []
    assert sorted(contents(tmp_path)) == ["pytorch_model.bin"]


# --- Damage ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
@pytest.mark.parametrize("kept", [0, 5, 100, -10])
def test_truncated_weights_are_refused(name: str, kept: int, tensors: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / name
    write(name.split(".")[1], tensors, path)
    path.write_bytes(path.read_bytes()[:kept])
    assert refusal(lambda: read_weights(path)).startswith(f"{path}: ")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ([torch.zeros(1)], "expected named tensors, found list"),
        ({"step": 7, "a.weight": torch.zeros(1)}, "expected nothing but named tensors, found step"),
        ({3: torch.zeros(1)}, "expected nothing but named tensors, found 3"),
    ],
)
def test_a_bin_of_something_else_is_refused(content: object, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "pytorch_model.bin"
    torch.save(content, path)
    assert refusal(lambda: read_weights(path)) == f"{path}: {problem}"


def test_a_missing_shard_is_named(tensors: dict[str, Tensor], tmp_path: Path) -> None:
    index = write_shards(tensors, tmp_path, "model.safetensors")
    shard = tmp_path / "model-00002-of-00003.safetensors"
    shard.unlink()
    assert refusal(lambda: read_weights(index)) == f"{shard}: missing"


def test_a_shard_that_the_index_does_not_describe_is_named(tensors: dict[str, Tensor], tmp_path: Path) -> None:
    index = write_shards(tensors, tmp_path, "model.safetensors")
    shard = tmp_path / "model-00002-of-00003.safetensors"
    save_file({"a.other": load_file(shard)["a.bias"]}, shard)
    assert refusal(lambda: read_weights(index)) == (
        f"{shard}: does not hold what model.safetensors.index.json lists for it: a.bias, a.other"
    )


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{", "no readable index of shards, a JSON object with weight_map"),
        ("[]", "no readable index of shards, a JSON object with weight_map"),
        ("{}", "no readable index of shards, a JSON object with weight_map"),
        ('{"weight_map": []}', "weight_map must give for each key the name of a file beside it"),
        ('{"weight_map": {"a": 1}}', "weight_map must give for each key the name of a file beside it"),
        ('{"weight_map": {"a": "../x.bin"}}', "weight_map must give for each key the name of a file beside it"),
    ],
)
def test_a_bad_index_is_named(content: str, problem: str, tmp_path: Path) -> None:
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(content)
    assert refusal(lambda: read_weights(index)) == f"{index}: {problem}"
