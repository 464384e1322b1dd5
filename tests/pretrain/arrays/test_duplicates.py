"""Documents and paragraphs that repeat: found whatever the memory, counted, dropped from the second on."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pretrain.arrays.prepare
from pretrain.arrays import duplicates
from pretrain.arrays.prepare import PrepareOptions, prepare
from pretrain.arrays.shards import Duplicates, PreparedCorpus, TokenArrays, open_prepared
from pretrain.options import parse_options
from pretrain.run_directory import PretrainDirectory
from pretrain.setup import set_up
from tests.pretrain.running import Refused, run_here


def long(number: int) -> str:
    """A paragraph of 60 characters."""
    return f"Paragraph number {number:04}. It is just long enough to count.".ljust(60, "x")


def short(number: int) -> str:
    """A paragraph of 59 characters."""
    return long(number)[:59]


def prepared(directory: Path, texts: list[str], name: str = "arrays", **options: Any) -> PreparedCorpus:
    path = directory / f"{name}.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    fixed = {"corpus": (str(path),), "tokenizer_kind": "bpe", "vocab_size": 270, "workers": 1}
    prepare(PrepareOptions(**fixed | options), directory / name)
    return open_prepared(directory / name)


def numbers(corpus: PreparedCorpus, side: TokenArrays) -> list[list[int]]:
    """The numbers of each document's paragraphs."""
    starts = side.sentence_starts[side.document_starts]
    texts = (corpus.tokenizer.decode(part.tolist()) for part in np.split(side.tokens, starts[1:-1]))
    return [[int(found.replace(" ", "")) for found in re.findall(r"number ([\d ]+)", text)] for text in texts]


def both_sides(corpus: PreparedCorpus) -> list[list[int]]:
    return sorted(numbers(corpus, corpus.train) + numbers(corpus, corpus.heldout))


# What repeats: document 0 as a whole, with other white space; paragraph 2 in two documents, and within one; the
# document of paragraph 3, which is empty without it. Paragraphs that are shorter don't count.
TEXTS = [
    f"{long(0)}\n\n{short(1)}",
    f"{long(2)}\n\n{long(3)}\n\n{long(2)}",
    long(0).replace(" ", "  \n") + "\n\n" + short(1),
    long(3),
    f"{short(1)}\n\n{long(2)}\n\n{long(4)}",
    *(f"{long(number)}\n\n{short(1)}" for number in range(5, 12)),
]
KEPT = [[0, 1], [1, 4], [2, 3], *([number, 1] for number in range(5, 12))]


def test_what_repeats_is_counted_and_kept(tmp_path: Path) -> None:
    corpus = prepared(tmp_path, TEXTS)
    everything = 8 * (60 + 1 + 59) + 3 * 60 + 2 + 60 + 120 + (59 + 60 + 60 + 2)
    assert corpus.manifest.duplicates == Duplicates(1, 3, 120 + 3 * 60, everything)
    assert len(both_sides(corpus)) == len(TEXTS)


def test_the_first_in_the_order_of_the_corpus_stays_when_duplicates_are_dropped(tmp_path: Path) -> None:
    corpus = prepared(tmp_path, TEXTS, drop_duplicates=True)
    assert both_sides(corpus) == sorted(KEPT)
    assert corpus.manifest.duplicates == prepared(tmp_path, TEXTS, "not-dropped").manifest.duplicates
    assert corpus.manifest.options["drop_duplicates"] is True
    again = prepared(tmp_path, [*TEXTS[:2], *TEXTS[4:]], "without", drop_duplicates=True)
    assert again.manifest.train.words == corpus.manifest.train.words
    assert again.manifest.heldout == corpus.manifest.heldout  # and the choice of held-out documents is the same


def test_a_run_on_text_has_the_same_arrays(tmp_path: Path, shape: Path) -> None:
    dropped = prepared(tmp_path, TEXTS, drop_duplicates=True, tokenizer_kind="wordpiece", vocab_size=80).manifest
    given = ("--corpus", tmp_path / "arrays.jsonl", "--drop-duplicates", "--vocab-size", 80, "--model", shape)
    args = (*given, "--seq-len", 32, "--steps", 1, "--out", tmp_path / "run")
    run = PretrainDirectory(tmp_path / "run")
    set_up(run, parse_options([*map(str, args)]), None, processes=1)
    assert open_prepared(run.data).manifest.files == dropped.files
    assert "drop_duplicates = true\n" in run.configuration.read_text()


def test_no_file_but_the_arrays_is_left(tmp_path: Path) -> None:
    for drop in (False, True):
        directory = prepared(tmp_path, TEXTS, f"arrays-{drop}", drop_duplicates=drop).directory
        found = {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}
        assert found == {*open_prepared(directory).manifest.files, "manifest.json"}


def test_duplicates_do_not_depend_on_workers_chunks_or_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(0)
    texts = ["\n\n".join(long(rng.randrange(150)) for _ in range(rng.randint(1, 3))) for _ in range(200)]
    once = prepared(tmp_path, texts, "once", drop_duplicates=True).manifest
    monkeypatch.setattr(pretrain.arrays.prepare, "CHUNK_CHARACTERS", 1000)
    monkeypatch.setattr(duplicates, "_KEYS_AT_ONCE", 37)
    again = prepared(tmp_path, texts, "again", drop_duplicates=True, workers=2).manifest
    assert once.files == again.files
    assert once.duplicates == again.duplicates is not None


def test_too_few_documents_without_duplicates_are_refused(tmp_path: Path, refused: Refused) -> None:
    path = tmp_path / "text.jsonl"
    texts = [long(0), long(1), long(2), f"{long(0)}\n\n{long(1)}"]
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    message = refused("prepare", "--corpus", path, "--drop-duplicates", "--out", tmp_path / "arrays")
    assert message.startswith("only 3 documents without duplicates: next-sentence prediction needs at least two")


@pytest.mark.parametrize("args", [("--drop-duplicates",), ()])
def test_prepare_says_what_repeats_and_how_to_drop_it(
    args: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = tmp_path / "text.txt", tmp_path / "arrays"
    path.write_text("\n".join(long(number % 9) for number in range(12)))
    command = ("prepare", "--corpus", path, "--vocab-size", 80, "--document-per-line", "--out", out)
    assert run_here(monkeypatch, *command, *args) == 0
    shown = capsys.readouterr().out
    assert re.search(r"repeated +3 documents +0 paragraphs, 25\.00% of the text", shown)
    assert (", dropped" in shown) == bool(args)
    note = "note     25% of the text repeats earlier text word for word; --drop-duplicates keeps only the first copy"
    assert (note in shown) != bool(args)
