"""`prepare`: known text -> known arrays, the held-out choice, and that nothing is left half-written."""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock
from hypothesis import given, settings
from hypothesis import strategies as st

import pretrain.arrays.prepare
from minibert.errors import InputError
from minibert.tokenizer import Tokenizer
from minibert.tokenizer.vocabulary import Kind
from pretrain.arrays.encoding import Encoder
from pretrain.arrays.prepare import PrepareOptions, prepare
from pretrain.arrays.shards import PreparedCorpus, TokenArrays, open_prepared

WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "the",
    "cat",
    "dog",
    "sat",
    "ran",
    "here",
    "no",
    "##w",
    ".",
    "猫",
    "。",
]


@pytest.fixture
def vocabulary(tmp_path: Path) -> str:
    """A tokenizer whose ids are the places in WORDS."""
    directory = tmp_path / "vocabulary"
    directory.mkdir()
    (directory / "vocab.txt").write_text("".join(f"{word}\n" for word in WORDS), encoding="utf-8")
    return str(directory)


@pytest.fixture(scope="module", params=["wordpiece", "bpe", "unigram"])
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a trained tokenizer."""
    directory = tmp_path_factory.mktemp("trained")
    text = "The quick brown fox, naïve as ever, 猫が here! #1 ##2 don't"
    Tokenizer.train([text] * 3, vocab_size=300, kind=request.param).save(directory)
    return directory


def write_corpus(path: Path, documents: list[str]) -> str:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in documents), encoding="utf-8")
    return str(path)


def prepared(tmp_path: Path, documents: list[str], name: str = "arrays", **options: Any) -> PreparedCorpus:
    corpus = write_corpus(tmp_path / f"{name}.jsonl", documents)
    prepare(PrepareOptions(**{"corpus": (corpus,), "vocab_size": 100, "workers": 1} | options), tmp_path / name)
    return open_prepared(tmp_path / name)


def refusal(tmp_path: Path, documents: list[str], **options: Any) -> str:
    corpus = write_corpus(tmp_path / "corpus.jsonl", documents)
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(InputError) as error:
        prepare(PrepareOptions(corpus=(corpus,), workers=1, **options), tmp_path / "new" / "arrays")
    assert sorted(os.listdir(tmp_path)) == before
    assert "\n" not in str(error.value)
    return str(error.value)


def sentences(side: TokenArrays) -> list[list[list[int]]]:
    """Documents -> sentences -> ids."""
    each = np.split(side.tokens, side.sentence_starts[1:-1])
    return [[each[s].tolist() for s in range(*bounds)] for bounds in itertools.pairwise(side.document_starts)]


def texts(corpus: PreparedCorpus, side: TokenArrays) -> list[str]:
    return [corpus.tokenizer.decode([i for sentence in document for i in sentence]) for document in sentences(side)]


def numbered(count: int) -> list[str]:
    return [f"Number {i} sat here. Then number {i} ran." for i in range(count)]


# -- Content --------------------------------------------------------------------------------------------------------


def test_known_sentences_become_known_arrays(tmp_path: Path, vocabulary: str) -> None:
    documents = ["The cat sat. The dog ran here.\n\nNow!", "The 猫 sat. 猫。猫猫。", "No cat.", "No dog."]
    corpus = prepared(tmp_path, documents, tokenizer=vocabulary)
    assert sorted(sentences(corpus.train) + sentences(corpus.heldout)) == [
        [[5, 6, 8, 13], [5, 7, 9, 10, 13], [11, 12, 1]],
        [[5, 14, 8, 13], [14, 15], [14, 14, 15]],
        [[11, 6, 13]],
        [[11, 7, 13]],
    ]
    assert corpus.train.tokens.dtype == np.uint16


def test_counts_are_those_of_the_training_side(tmp_path: Path, vocabulary: str) -> None:
    corpus = prepared(tmp_path, ["Cat. Cat. Dog ran.", "Bird ran here.", "No cat.", "No dog."], tokenizer=vocabulary)
    flat = [i for document in sentences(corpus.train) for sentence in document for i in sentence]
    assert corpus.token_counts.tolist() == [flat.count(i) for i in range(len(WORDS))]
    train, heldout = corpus.manifest.train, corpus.manifest.heldout
    assert (train.documents, heldout.documents) == (2, 2)
    assert train.unknown_tokens + heldout.unknown_tokens == 1
    assert train.tokens == len(flat)
    assert train.words is not None and heldout.words is not None
    assert train.words + heldout.words == 4 + 3 + 2 + 2


def test_documents_stay_in_the_order_of_the_corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrain.arrays.prepare, "CHUNK_CHARACTERS", 200)  # several chunks for either worker
    corpus = prepared(tmp_path, numbered(60), workers=2, vocab_size=60)
    for side in (corpus.train, corpus.heldout):
        order = [int(text.split("number")[1].split("sat")[0].replace(" ", "")) for text in texts(corpus, side)]
        assert order == sorted(order)


def test_sentences_without_a_token_are_dropped_and_then_empty_documents(tmp_path: Path, vocabulary: str) -> None:
    documents = ["The cat.\n\n\u200b\n\nThe dog.", "\u200b\u200b", "No cat.", "No dog.", "Cat ran.", "Dog ran."]
    corpus = prepared(tmp_path, documents, tokenizer=vocabulary)
    everything = sentences(corpus.train) + sentences(corpus.heldout)
    assert [[5, 6, 13], [5, 7, 13]] in everything
    assert len(everything) == 5


def test_a_sentence_per_line(tmp_path: Path, vocabulary: str) -> None:
    documents = ["The cat. The dog.\nNo", "Dog sat.\nDog", "No cat.", "No dog."]
    corpus = prepared(tmp_path, documents, tokenizer=vocabulary, sentence_per_line=True)
    assert [[5, 6, 13, 5, 7, 13], [11]] in sentences(corpus.train) + sentences(corpus.heldout)


def test_large_vocabularies_get_wider_tokens(tmp_path: Path) -> None:
    directory = tmp_path / "large"
    directory.mkdir()
    words = [*WORDS, *(f"word{i}" for i in range(2**16))]
    (directory / "vocab.txt").write_text("".join(f"{word}\n" for word in words), encoding="utf-8")
    corpus = prepared(tmp_path, ["Word65535 sat.", "Cat sat.", "Word65534 ran.", "No."], tokenizer=str(directory))
    assert corpus.train.tokens.dtype == np.uint32
    everything = sentences(corpus.train) + sentences(corpus.heldout)
    assert [[len(WORDS) + 65535, 8, 13]] in everything


def test_the_vocabulary_is_trained_on_the_training_side_alone(tmp_path: Path) -> None:
    alphabet = [chr(i) for i in range(ord("一"), ord("一") + 40)]
    corpus = prepared(tmp_path, [f"{character}来。{character}去。" for character in alphabet])
    known = [character for character in alphabet if corpus.tokenizer.token_to_id(character) is not None]
    assert len(known) == corpus.train.documents
    assert corpus.manifest.heldout.unknown_tokens == 2 * corpus.heldout.documents


def test_the_result_does_not_depend_on_the_number_of_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrain.arrays.prepare, "CHUNK_CHARACTERS", 500)
    alone, together = (prepared(tmp_path, numbered(200), f"arrays{workers}", workers=workers) for workers in (1, 3))
    assert alone.manifest.files == together.manifest.files


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text().map(lambda text: " ".join(text.split())), max_size=5))
def test_remembered_words_change_no_id(trained: Path, texts: list[str]) -> None:
    encoder, tokenizer = Encoder(trained), Tokenizer.load(trained)
    for _ in range(2):  # the second time from memory
        tokens, lengths, _ = encoder(texts, "<u2")
        parts = np.split(tokens, np.cumsum(lengths))[:-1]
        assert [part.tolist() for part in parts] == tokenizer.encode_plain(texts)


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_sentences_stand_in_the_arrays_as_in_the_running_text(tmp_path: Path, kind: Kind) -> None:
    # The unigram model puts its mark before every sentence, also of a script without spaces.
    third = "猫。猫猫。 The cat." if kind == "bpe" else "Cat. The cat."
    documents = ["The cat sat.  The dog\nran here.\n\nNow!", third, "No cat.", "No dog."]
    corpus = prepared(tmp_path, documents, tokenizer_kind=kind, vocab_size=270 if kind == "bpe" else 40)
    assert corpus.tokenizer.kind == kind
    assert not (tmp_path / "arrays" / "vocab.txt").exists()
    expected = corpus.tokenizer.encode_plain(["The cat sat. The dog ran here.", "Now!", third, "No cat.", "No dog."])
    found = sentences(corpus.train) + sentences(corpus.heldout)
    flat = [[token for sentence in document for token in sentence] for document in found]
    assert sorted(flat) == sorted([expected[0] + expected[1], *expected[2:]])


def test_added_tokens_with_a_space_are_found(tmp_path: Path, vocabulary: str) -> None:
    tokenizer = Tokenizer.load(vocabulary)
    tokenizer.add_tokens(["cat sat"])
    tokenizer.save(tmp_path / "added")
    tokens, lengths, _ = Encoder(tmp_path / "added")(["the cat sat here", "cat"], "<u2")
    assert (tokens.tolist(), lengths.tolist()) == ([5, len(WORDS), 10, 6], [3, 1])


def test_the_manifest_tells_time_speed_and_memory(tmp_path: Path) -> None:
    manifest = prepared(tmp_path, numbered(20)).manifest
    stages = [manifest.seconds[stage] for stage in ("read", "duplicates", "vocabulary", "tokenise", "checksum")]
    assert manifest.seconds["total"] == pytest.approx(sum(stages))
    assert manifest.tokens_per_second == pytest.approx(
        (manifest.train.tokens + manifest.heldout.tokens) / manifest.seconds["total"]
    )
    assert manifest.peak_rss_bytes > 20 * 2**20  # two Python processes at the least
    assert manifest.options["vocab_size"] == 100
    assert "workers" not in manifest.options


def test_workers_get_by_without_torch() -> None:
    code = "import pretrain.arrays.prepare, sys; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "False\n"


# -- Held out -------------------------------------------------------------------------------------------------------


def test_the_same_text_is_always_on_the_same_side(tmp_path: Path) -> None:
    documents = numbered(60)
    first = prepared(tmp_path, documents, "first")
    held = set(texts(first, first.heldout))
    shuffled = documents + documents[::3] + [text.replace(" ", "  \n") for text in documents[::4]]
    random.Random(0).shuffle(shuffled)
    options = {"tokenizer": str(first.directory)}
    second = prepared(tmp_path, shuffled, "second", **options)
    held_again, trained_again = (set(texts(second, side)) for side in (second.heldout, second.train))
    assert held <= held_again  # more documents: the threshold may only have risen
    assert not held_again & trained_again


def test_paragraphs_that_training_has_word_for_word_are_not_scored(tmp_path: Path, vocabulary: str) -> None:
    shared = "The cat sat. The cat ran."
    documents = [f"{word} here.\n\n{shared}\n\n{word} ran." for word in ("Cat", "Dog", "No", "Now", "The", "Sat")]
    corpus = prepared(tmp_path, documents, tokenizer=vocabulary)
    assert corpus.heldout.documents == 2
    assert corpus.heldout.scored.tolist() == [True, False, False, True] * 2
    assert corpus.manifest.heldout.scored_sentences == 4


def test_refuses_a_held_out_side_with_nothing_to_score(tmp_path: Path) -> None:
    paragraphs = [f"The cat number {i} sat. It ran." for i in range(4)]
    documents = ["\n\n".join(paragraphs[i:] + paragraphs[:i]) for i in range(4)]
    assert "nothing is left to evaluate" in refusal(tmp_path, documents)


# -- Refused --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("documents", "nsp", "message"),
    [
        (numbered(3), True, "only 3 documents: next-sentence prediction needs at least two to train on and two held"
                            " out; add documents or use --no-nsp"),
        (["One. Two."], True, "only 1 document: next-sentence prediction"),
        (["One."], False, "only 1 document: at least one to train on and one held out are needed; add documents"),
        (["One. Two."] * 9, True, "only 1 different document: next-sentence prediction"),
        (numbered(3) * 2, True, "only 3 different documents: next-sentence prediction"),
    ],
)  # fmt: skip
def test_refuses_too_few_documents(tmp_path: Path, documents: list[str], nsp: bool, message: str) -> None:
    assert refusal(tmp_path, documents, nsp=nsp).startswith(message)


def test_few_documents_may_be_lines_of_one(tmp_path: Path) -> None:
    lines = ["\n".join(numbered(9))]
    assert refusal(tmp_path, lines, nsp=False).endswith(
        "; add documents (a blank line ends one; with --document-per-line, each line is one)"
    )
    assert "blank line" not in refusal(tmp_path, ["One."], nsp=False, document_per_line=True)


def test_a_document_per_line(tmp_path: Path) -> None:
    path = tmp_path / "lines.txt"
    path.write_text("The cat.\nNo dog. The dog.\nNo cat.\n")
    prepare(PrepareOptions(corpus=(str(path),), nsp=False, document_per_line=True), tmp_path / "arrays")
    corpus = open_prepared(tmp_path / "arrays")
    assert sorted(map(len, sentences(corpus.train) + sentences(corpus.heldout))) == [1, 1, 2]


def test_documents_without_a_token_don_t_count(tmp_path: Path, vocabulary: str) -> None:
    documents = ["\u200b" * i for i in range(1, 30)] + ["The cat."]
    assert refusal(tmp_path, documents, tokenizer=vocabulary).startswith("only 0 documents: next-sentence prediction")


def test_two_documents_do_without_nsp(tmp_path: Path) -> None:
    corpus = prepared(tmp_path, ["One cat.", "Two cats."], nsp=False)
    assert (corpus.train.documents, corpus.heldout.documents) == (1, 1)


@pytest.mark.parametrize(
    ("option", "value", "named"),
    [
        ("vocab_size", 3, "--vocab-size"),
        ("vocab_size", 2.5, "--vocab-size"),
        ("vocab_size", float("nan"), "--vocab-size"),
        ("workers", -1, "--workers"),
        ("workers", True, "--workers"),
        ("corpus", (), "--corpus"),
        ("corpus", ("",), "--corpus"),
        ("text_field", "", "--text-field"),
    ],
)
def test_refuses_options_out_of_range(option: str, value: object, named: str) -> None:
    with pytest.raises(InputError, match=f"^{named}: expected"):
        PrepareOptions(**{"corpus": ("pydocs",), option: value})  # type: ignore[arg-type]


def test_refuses_a_directory_that_is_not_empty(tmp_path: Path) -> None:
    (tmp_path / "arrays").mkdir()
    (tmp_path / "arrays" / "mine").write_text("kept")
    with pytest.raises(InputError, match="already exists"):
        prepared(tmp_path, numbered(9))
    assert os.listdir(tmp_path / "arrays") == ["mine"]


def test_fills_a_directory_that_is_empty(tmp_path: Path) -> None:
    (tmp_path / "arrays").mkdir()
    assert prepared(tmp_path, numbered(9)).train.documents == 7


def test_fills_a_directory_that_is_empty_where_names_that_are_taken_are_renamed_to_by_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows."""
    renamed = os.rename

    def rename(source: Path, target: Path) -> None:
        if target.exists():
            raise FileExistsError
        renamed(source, target)

    monkeypatch.setattr(os, "rename", rename)
    (tmp_path / "arrays").mkdir()
    assert prepared(tmp_path, numbered(9)).train.documents == 7


def test_refuses_a_place_where_no_directory_can_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    corpus = write_corpus(tmp_path / "corpus.jsonl", numbered(9))
    with pytest.raises(InputError, match=r"can't be made"):
        prepare(PrepareOptions(corpus=(corpus,)), tmp_path / "file" / "arrays")


def test_refuses_to_work_beside_another_run(tmp_path: Path) -> None:
    partial = tmp_path / ".arrays.partial"
    partial.mkdir()
    (partial / "spool").touch()
    with FileLock(tmp_path / ".arrays.lock"), pytest.raises(InputError, match="another run is making it"):
        prepared(tmp_path, numbered(9))
    assert [path.name for path in partial.iterdir()] == ["spool"]
    assert prepared(tmp_path, numbered(9)).train.documents == 7
    assert sorted(os.listdir(tmp_path)) == ["arrays", "arrays.jsonl"]


def test_bad_text_late_in_the_corpus_leaves_nothing_behind(tmp_path: Path) -> None:
    corpus = tmp_path / "text.txt"
    corpus.write_bytes("\n\n".join(numbered(9000)).encode() + b"\n\n\xff")
    with pytest.raises(InputError, match="UTF-8"):
        prepare(PrepareOptions(corpus=(str(corpus),)), tmp_path / "new" / "newer" / "arrays")
    assert os.listdir(tmp_path) == ["text.txt"]


# -- Stopped --------------------------------------------------------------------------------------------------------

COMMAND = """
import resource, sys
from minibert.console.cli import run
from pretrain.arrays.prepare import PrepareOptions, prepare
if __name__ == "__main__":
    corpus, directory, largest_file = sys.argv[1:]
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(largest_file), resource.RLIM_INFINITY))
    run(lambda: prepare(PrepareOptions(corpus=(corpus,), vocab_size=500, workers=2), directory))
"""


@pytest.fixture(scope="module")
def long_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Text that takes seconds."""
    numbers = random.Random(0)
    made = [f"Cat {numbers.randrange(10**5)} met dog {numbers.randrange(10**5)}. " * 20 for _ in range(25_000)]
    path = tmp_path_factory.mktemp("long") / "long.txt"
    path.write_text("\n\n".join(made))
    return path


def start(tmp_path: Path, corpus: Path, largest_file: int = -1) -> subprocess.Popen[str]:
    script = tmp_path / "command.py"
    script.write_text(COMMAND)
    command = [sys.executable, str(script), str(corpus), str(tmp_path / "new" / "arrays"), str(largest_file)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)


def wait_until(happened: Any) -> None:
    deadline = time.monotonic() + 20
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def group_is_gone(process: subprocess.Popen[str]) -> bool:
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.parametrize("stage", ["spool", pytest.param("train/tokens.bin", marks=pytest.mark.slow)])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_it_and_leaves_nothing(
    tmp_path: Path, long_corpus: Path, number: signal.Signals, stage: str
) -> None:
    process = start(tmp_path, long_corpus)
    wait_until((tmp_path / "new" / ".arrays.partial" / stage).exists)
    if number is signal.SIGTERM:
        process.send_signal(number)
    else:
        os.killpg(process.pid, number)  # as a terminal does: to the workers too
    sent = time.monotonic()
    assert process.communicate(timeout=20)[1] == "error: interrupted; nothing was kept\n"
    assert process.returncode == 130
    assert time.monotonic() - sent < 5
    assert os.listdir(tmp_path) == ["command.py"]
    wait_until(lambda: group_is_gone(process))


@pytest.mark.parametrize("stage", ["spool", pytest.param("train/tokens.bin", marks=pytest.mark.slow)])
def test_after_a_kill_nothing_is_taken_for_whole_and_a_rerun_works(
    tmp_path: Path, long_corpus: Path, stage: str
) -> None:
    process = start(tmp_path, long_corpus)
    wait_until((tmp_path / "new" / ".arrays.partial" / stage).exists)
    process.kill()
    process.communicate()
    wait_until(lambda: group_is_gone(process))  # the workers end by themselves
    for directory in (tmp_path / "new" / "arrays", tmp_path / "new" / ".arrays.partial"):
        with pytest.raises(InputError, match="not made by prepare"):
            open_prepared(directory)
    assert prepared(tmp_path / "new", numbered(20)).train.documents == 18
    assert sorted(os.listdir(tmp_path / "new")) == ["arrays", "arrays.jsonl"]


def test_a_full_disk_stops_it_and_leaves_nothing(tmp_path: Path, long_corpus: Path) -> None:
    process = start(tmp_path, long_corpus, largest_file=2**20)
    assert (
        process.communicate(timeout=20)[1]
        == f"error: {tmp_path / 'new' / 'arrays'}: File too large; nothing was kept\n"
    )
    assert process.returncode == 3
    assert os.listdir(tmp_path) == ["command.py"]


def test_signal_handling_is_as_before(tmp_path: Path) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, set())
    prepared(tmp_path, numbered(9))
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before
    assert signal.pthread_sigmask(signal.SIG_BLOCK, set()) == mask
