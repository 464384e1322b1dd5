"""Reading token arrays, and refusing those that are damaged or made with another tokenizer."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minibert.errors import InputError
from minibert.tokenizer import Tokenizer
from pretrain.arrays.prepare import PrepareOptions, prepare
from pretrain.arrays.shards import SideWriter, open_prepared


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Arrays of forty small documents; not to be changed."""
    folder = tmp_path_factory.mktemp("prepared")
    text = folder / "text.txt"
    text.write_text("\n\n".join(f"Cat number {i} sat here. Then it ran away!" for i in range(40)))
    prepare(PrepareOptions(corpus=(str(text),), vocab_size=60, workers=1), folder / "arrays")
    return folder / "arrays"


@pytest.fixture
def damaged(prepared: Path, tmp_path: Path) -> Path:
    """A copy of `prepared` to do harm to."""
    return shutil.copytree(prepared, tmp_path / "arrays")


def refusal(directory: Path, **options: Any) -> str:
    with pytest.raises(InputError) as error:
        open_prepared(directory, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def edit_manifest(directory: Path, **fields: Any) -> None:
    manifest = json.loads((directory / "manifest.json").read_text())
    (directory / "manifest.json").write_text(json.dumps(manifest | fields))


def test_opened_arrays_have_the_counts_of_the_manifest(prepared: Path) -> None:
    corpus = open_prepared(prepared)
    for side, counts in ((corpus.train, corpus.manifest.train), (corpus.heldout, corpus.manifest.heldout)):
        assert (side.documents, len(side.tokens)) == (counts.documents, counts.tokens)
        assert side.sentence_starts.shape == (counts.sentences + 1,)
        assert side.sentence_starts[-1] == len(side.tokens)
        assert side.document_starts[-1] == counts.sentences
        assert side.scored.shape == (counts.sentences,)
    assert corpus.train.documents + corpus.heldout.documents == 40
    assert corpus.token_counts.tolist() == np.bincount(corpus.train.tokens, minlength=60).tolist()


def test_every_training_sentence_is_scored(prepared: Path) -> None:
    assert open_prepared(prepared).train.scored.all()


def test_arrays_are_mapped_and_read_only(prepared: Path) -> None:
    corpus = open_prepared(prepared)
    for array in (corpus.train.tokens, corpus.heldout.sentence_starts, corpus.heldout.scored, corpus.train.scored):
        assert not array.flags.writeable
    assert isinstance(corpus.train.tokens.base, np.memmap)


def test_writer_appends_and_counts(tmp_path: Path) -> None:
    writer = SideWriter(tmp_path / "side", "<u2", vocab_size=10)
    writer.append(np.array([5, 6, 1], np.uint16), np.array([2, 1]), np.array([2]), words=2)
    writer.append(np.array([5, 9], np.uint16), np.array([1, 1]), np.array([1, 1]), words=2)
    assert np.fromfile(tmp_path / "side/tokens.bin", "<u2").tolist() == [5, 6, 1, 5, 9]
    assert np.fromfile(tmp_path / "side/sentence_starts.bin", "<i8").tolist() == [0, 2, 3, 4, 5]
    assert np.fromfile(tmp_path / "side/document_starts.bin", "<i8").tolist() == [0, 2, 3, 4]
    assert writer.token_counts.tolist() == [0, 1, 0, 0, 0, 2, 1, 0, 0, 1]
    counts = writer.counts(unk_id=1, scored_sentences=4)
    assert (counts.documents, counts.sentences, counts.tokens, counts.unknown_tokens) == (3, 4, 5, 1)
    assert counts.words == 4


def test_arrays_of_a_version_that_did_not_count_words_are_opened(damaged: Path) -> None:
    counts = json.loads((damaged / "manifest.json").read_text())["train"]
    del counts["words"]
    edit_manifest(damaged, train=counts)
    corpus = open_prepared(damaged)
    assert corpus.manifest.train.words is None
    assert corpus.manifest.heldout.words is not None


def test_refuses_a_directory_without_manifest(tmp_path: Path) -> None:
    assert refusal(tmp_path) == f"{tmp_path} was not made by prepare: it has no manifest.json"
    assert "not made by prepare" in refusal(tmp_path / "absent")


@pytest.mark.parametrize("content", ["{", "[]", "", '{"format": true}', "\xff"])
def test_refuses_a_manifest_that_is_none(damaged: Path, content: str) -> None:
    (damaged / "manifest.json").write_text(content, encoding="latin-1")
    assert str(damaged / "manifest.json") in refusal(damaged)


def test_other_files_that_a_manifest_names_are_left_alone(damaged: Path) -> None:
    files = json.loads((damaged / "manifest.json").read_text())["files"]
    edit_manifest(damaged, files=files | {name: {"bytes": 1, "sha256": ""} for name in ("../text.txt", "a\0b")})
    assert open_prepared(damaged).directory == damaged


REMEDY = "; make the arrays again, with another --out"


def test_refuses_another_format_version(damaged: Path) -> None:
    edit_manifest(damaged, format=2)
    assert refusal(damaged) == f"{damaged / 'manifest.json'}: format 2, expected 1{REMEDY}"


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"vocab_size": "60"}, "vocab_size must be of type int, not '60'"),
        ({"dtype": "<f4"}, "dtype"),
        ({"format": True}, "format must be of type int, not True"),
        ({"format": "1\n"}, "format '1\\n', expected 1; make the arrays again"),
        ({"train": {"documents": 3}}, "train.sentences must be of type int, not None"),
        ({"files": {}}, "field 'files' lacks tokenizer.json, train/token_counts.bin, "),
        ({"seconds": {"read": "long"}}, "seconds.read must be of type float, not 'long'"),
        ({"vocab_size": 10**9}, "token_counts.bin"),
    ],
)
def test_refuses_a_malformed_field_and_names_it(damaged: Path, fields: dict[str, Any], named: str) -> None:
    edit_manifest(damaged, **fields)
    assert named in refusal(damaged)


@pytest.mark.parametrize(
    "name", ["train/tokens.bin", "heldout/scored.bin", "train/token_counts.bin", "tokenizer.json", "vocab.txt"]
)
def test_refuses_a_missing_file(damaged: Path, name: str) -> None:
    (damaged / name).unlink()
    assert str(damaged / name) in refusal(damaged, check=False)


def test_refuses_a_truncated_file(damaged: Path) -> None:
    path = damaged / "train/tokens.bin"
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-2])
    expected = f"{path} is damaged: it has {size - 2:,} bytes, expected {size:,}{REMEDY}"
    assert refusal(damaged, check=False) == expected


def test_checksums_find_a_flipped_bit_when_asked(damaged: Path) -> None:
    path = damaged / "heldout/tokens.bin"
    content = bytearray(path.read_bytes())
    content[7] ^= 1
    path.write_bytes(content)
    assert refusal(damaged).startswith(f"{path} is damaged")
    open_prepared(damaged, check=False)


def test_refuses_another_tokenizer(damaged: Path) -> None:
    edit_manifest(damaged, tokenizer_fingerprint=Tokenizer.train(["quite another text"], vocab_size=60).fingerprint)
    assert refusal(damaged) == f"{damaged}: the arrays were made with a different tokenizer{REMEDY}"
