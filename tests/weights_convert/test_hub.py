"""Hub names, with a hub that stands in for the real one: no test uses a network unless it is marked `hub`."""

from __future__ import annotations

import fnmatch
import shutil
import sys
from pathlib import Path

import huggingface_hub
import pytest

from tests.helpers import contents, refusal
from weights_convert.hub import directory_named


class Hub:
    """Has one model, "somebody/tiny-bert", and a cache."""

    def __init__(self, model: Path, cache: Path) -> None:
        self.model, self.cache = model, cache

    def snapshot_download(self, name: str, *, allow_patterns: list[str]) -> str:
        if name != "somebody/tiny-bert":
            raise OSError(f"404: no model {name}\nCheck the name.")
        self.cache.mkdir(exist_ok=True)
        for name in contents(self.model):
            if any(fnmatch.fnmatch(name, pattern) for pattern in allow_patterns):
                (self.cache / name).parent.mkdir(exist_ok=True)
                shutil.copy(self.model / name, self.cache / name)
        return str(self.cache)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    (tmp_path / "model").mkdir()
    for name in ("config.json", "vocab.txt", "README.md", "flax_model.msgpack", "pytorch_model.bin"):
        (tmp_path / "model" / name).write_text(name)
    found = Hub(tmp_path / "model", tmp_path / "cache")
    monkeypatch.setattr(huggingface_hub, "snapshot_download", found.snapshot_download)
    return found


def test_a_directory_is_itself(hub: Hub, tmp_path: Path) -> None:
    assert directory_named(tmp_path / "model") == tmp_path / "model"
    assert not hub.cache.exists()


def test_what_conversion_needs_is_downloaded(hub: Hub) -> None:
    wanted = ["added_tokens.json", "model.safetensors", "special_tokens_map.json", "tokenizer.json"]
    for name in wanted:
        (hub.model / name).write_text("")
    assert directory_named("somebody/tiny-bert") == hub.cache
    assert sorted(contents(hub.cache)) == sorted(["config.json", "vocab.txt", *wanted])


def test_what_sentence_transformers_keeps_is_downloaded(hub: Hub) -> None:
    wanted = ["config_sentence_transformers.json", "modules.json", "sentence_bert_config.json"]
    for name in [*wanted, "1_Pooling/config.json"]:
        (hub.model / name).parent.mkdir(exist_ok=True)
        (hub.model / name).write_text("")
    directory_named("somebody/tiny-bert")
    assert sorted(contents(hub.cache)) == sorted(
        ["1_Pooling/config.json", "config.json", "pytorch_model.bin", "vocab.txt", *wanted]
    )


def test_shards_are_downloaded(hub: Hub) -> None:
    shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json"]
    for name in shards:
        (hub.model / name).write_text("")
    directory_named("somebody/tiny-bert")
    assert sorted(contents(hub.cache)) == ["config.json", *shards, "vocab.txt"]


def test_a_bin_is_downloaded_where_there_is_nothing_else(hub: Hub) -> None:
    directory_named("somebody/tiny-bert")
    assert sorted(contents(hub.cache)) == ["config.json", "pytorch_model.bin", "vocab.txt"]


def test_a_name_that_the_hub_has_not_is_one_line(hub: Hub) -> None:
    assert refusal(lambda: directory_named("somebody/other")) == (
        "somebody/other: no such directory, and not available from the hub (404: no model somebody/other)"
    )


@pytest.mark.parametrize("name", ["/no/such/place", "a/b/c", "../up", ".", "a b"])
def test_a_path_is_not_asked_for(name: str, hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(Path, "is_dir", lambda path: False)
    assert refusal(lambda: directory_named(name)) == f"{name}: no such directory"


def test_with_a_slash_at_its_end_a_name_is_a_path_and_that_is_said(hub: Hub) -> None:
    assert refusal(lambda: directory_named("somebody/tiny-bert/")) == (
        "somebody/tiny-bert/: no such directory; somebody/tiny-bert, without the slash, is looked for on the hub, "
        "which needs the optional dependency `hub`: pip install -e '.[hub]' in minibert's checkout"
    )


def test_without_the_extra_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert refusal(lambda: directory_named("somebody/tiny-bert")) == (
        "somebody/tiny-bert: no such directory, and looking for it on the hub needs the optional dependency `hub`: "
        "pip install -e '.[hub]' in minibert's checkout"
    )
