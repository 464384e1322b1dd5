"""Weight files in all their forms; a file that would run code runs none."""

from __future__ import annotations

import copy
import json
import os
import pickle
import warnings
import zipfile
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
        ("zip", f"it names {os.name}.system, but no code is run"),
        ("old", f"it names {os.name}.system, but no code is run"),
        (2, f"it names {os.name}.system, but no code is run"),
        (4, "it is damaged, or holds more than tensors"),
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
    message = refusal(lambda: read_weights(path))
    assert message.startswith(str(path))
    assert "is damaged" in message


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
    assert refusal(lambda: read_weights(index)) == f"{shard} is missing"


def test_a_shard_that_the_index_does_not_describe_is_named(tensors: dict[str, Tensor], tmp_path: Path) -> None:
    index = write_shards(tensors, tmp_path, "model.safetensors")
    shard = tmp_path / "model-00002-of-00003.safetensors"
    save_file({"a.other": load_file(shard)["a.bias"]}, shard)
    assert refusal(lambda: read_weights(index)) == (
        f"{shard} does not hold what model.safetensors.index.json lists for it: a.bias, a.other"
    )


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{", "not readable as an index of shards, a JSON object with weight_map"),
        ("[]", "not readable as an index of shards, a JSON object with weight_map"),
        ("{}", "not readable as an index of shards, a JSON object with weight_map"),
        ('{"weight_map": []}', "weight_map must give for each key the name of a .safetensors file beside it, found []"),
        ("[" * 100_000, "not readable as an index of shards, a JSON object with weight_map"),
    ],
)
def test_a_bad_index_is_named(content: str, problem: str, tmp_path: Path) -> None:
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(content)
    assert refusal(lambda: read_weights(index)) == f"{index}: {problem}"


@pytest.mark.parametrize(
    "name",
    [
        "", ".", "..", "/etc/passwd", "../x.safetensors", "a/b.safetensors", "a\\b.safetensors", "c:x.safetensors",
        "a\0.safetensors", "a\n.safetensors", "\ud800.safetensors", ".safetensors", "model.bin",
        1, None, ["a.safetensors"],
    ],
)  # fmt: skip
def test_a_shard_is_a_file_beside_the_index_and_of_its_form(name: object, tmp_path: Path) -> None:
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "b.safetensors", "b": name}}))
    said = f"{index}: weight_map must give for each key the name of a .safetensors file beside it, found {name!r}"
    assert refusal(lambda: read_weights(index)) == said


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("folder.safetensors", "is a directory, expected a file"),
        ("pipe.safetensors", "is a named pipe, expected a file"),
        ("device.safetensors", "is a device, expected a file"),
        ("loop.safetensors", "cannot be read (Too many levels of symbolic links)"),
        ("x" * 300 + ".safetensors", "cannot be read (File name too long)"),
        ("none.safetensors", "is missing"),
    ],
)
def test_a_shard_that_is_no_file_is_named(name: str, problem: str, tmp_path: Path) -> None:
    (tmp_path / "folder.safetensors").mkdir()
    os.mkfifo(tmp_path / "pipe.safetensors")
    (tmp_path / "device.safetensors").symlink_to("/dev/zero")
    (tmp_path / "loop.safetensors").symlink_to("loop.safetensors")
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": name}}))
    assert refusal(lambda: read_weights(index)) == f"{tmp_path / name} {problem}"


def test_an_index_of_no_sensible_size_is_not_read(tmp_path: Path) -> None:
    index = tmp_path / "model.safetensors.index.json"
    with index.open("wb") as file:
        file.truncate(2**40)  # takes no room
    assert refusal(lambda: read_weights(index)) == f"{index} has more than 134,217,728 bytes, expected a smaller file"


def test_odd_keys_are_listed_up_to_a_number(tmp_path: Path) -> None:
    save_file({"": torch.zeros(1)}, tmp_path / "a.safetensors")
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {f"key {i:02}": "a.safetensors" for i in range(20)}}))
    assert refusal(lambda: read_weights(index)).endswith(
        "a.safetensors does not hold what model.safetensors.index.json lists for it: , key 00, key 01, key 02, "
        "key 03, key 04, key 05, key 06, key 07, key 08, ..."
    )


@pytest.mark.parametrize("trick", ["packed", "overlapping"])
def test_a_bin_that_unpacks_to_more_than_it_holds_is_refused(trick: str, tmp_path: Path) -> None:
    torch.save({f"{i}": torch.zeros(1000) for i in range(2)}, tmp_path / "plain.bin")
    path = tmp_path / "pytorch_model.bin"
    with zipfile.ZipFile(tmp_path / "plain.bin") as plain, zipfile.ZipFile(path, "w") as archive:
        for part in plain.infolist():
            packed = zipfile.ZIP_DEFLATED if trick == "packed" else zipfile.ZIP_STORED
            archive.writestr(part.filename, plain.read(part), packed)
        if trick == "overlapping":
            first = archive.getinfo("plain/data/0")
            for place in range(3):
                again = copy.copy(first)
                again.filename = f"{first.filename}{place}"
                archive.filelist.append(again)
    assert refusal(lambda: read_weights(path)) == (
        f"{path}: refused: it unpacks to more data than it holds, which no weights file does"
    )
