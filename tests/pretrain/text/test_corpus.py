"""Documents from text, .jsonl, gzip and directories; what bad input says; a document's paragraphs and sentences."""

from __future__ import annotations

import gzip
import json
import os
import re
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibert.errors import InputError
from minibert.files import text as text_files
from pretrain.text import corpus, pydocs
from pretrain.text.corpus import check_corpus, read_documents, split_document


def _write(path: Path, content: str | bytes) -> str:
    raw = content.encode() if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)
    return str(path)


def _refusal(*paths: str, text_field: str = "text") -> str:
    with pytest.raises(InputError) as caught:
        list(read_documents(paths, text_field=text_field))
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz", "no-suffix", "odd.md"])
def test_a_blank_line_ends_a_document(tmp_path: Path, name: str) -> None:
    path = _write(tmp_path / name, "\n\nOne.\nStill one.\n \t\nTwo.\n\n\n\nThree.")
    assert list(read_documents([path])) == ["One.\nStill one.", "Two.", "Three."]


def test_each_line_may_be_a_document(tmp_path: Path) -> None:
    text, jsonl = (
        _write(tmp_path / "a.txt", "One. More.\r\n\nTwo.\nThree."),
        _write(tmp_path / "b.jsonl", '{"text": "4\\n5"}'),
    )
    assert list(read_documents([text, jsonl], document_per_line=True)) == ["One. More.", "Two.", "Three.", "4\n5"]


@pytest.mark.parametrize(
    ("corpus", "options", "refused"),
    [
        (
            ["a.jsonl"],
            {"document_per_line": True},
            "--document-per-line has no effect here: no --corpus file is a text",
        ),
        (["b.jsonl.gz", "pydocs"], {"document_per_line": True}, "--document-per-line has no effect here"),
        (["only"], {"document_per_line": True}, "--document-per-line has no effect here"),
        (["pydocs"], {"document_per_line": True}, "--document-per-line has no effect here"),
        (["."], {"document_per_line": True}, ""),
        (["a.jsonl", "c.txt"], {"document_per_line": True}, ""),
        (["c.txt"], {"text_field": "body"}, "--text-field body has no effect here: no --corpus file is a .jsonl file"),
        (["pydocs"], {"text_field": "body"}, "--text-field body has no effect here"),
        (["."], {"text_field": "body"}, ""),
        (["c.txt", "a.jsonl"], {"text_field": "body"}, ""),
        (["c.txt"], {"text_field": ""}, "--text-field: empty, expected the name of the field that holds the text"),
    ],
)
def test_options_for_files_of_another_kind_are_refused(
    corpus: list[str], options: dict[str, Any], refused: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "only").mkdir()
    for name in ("a.jsonl", "b.jsonl.gz", "c.txt", "only/a.jsonl"):
        _write(tmp_path / name, '{"body": "x"}')
    monkeypatch.chdir(tmp_path)
    found = ""
    try:
        check_corpus(corpus, **options)
    except InputError as error:
        found = str(error)
    assert found.startswith(refused) and bool(found) == bool(refused)


@pytest.mark.parametrize("name", ["a.csv", "A.TSV", "a.json.gz", "a.parquet", "a.txt.zst", "a.tar.gz"])
def test_what_is_no_plain_text_is_not_read_as_such(tmp_path: Path, name: str) -> None:
    path = _write(tmp_path / name, b"text,label\nGood,1\n")
    kind = Path(name.lower().removesuffix(".gz")).suffix
    assert _refusal(path) == f"{path}: {kind} is not supported, expected text in .txt or .jsonl files, plain or .gz"


def test_byte_order_mark_and_windows_line_ends_are_tolerated(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.txt", b"\xef\xbb\xbfOne.\r\nMore.\r\n\r\nTwo.\r\n")
    assert list(read_documents([path])) == ["One.\nMore.", "Two."]


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_jsonl_has_a_document_a_line(tmp_path: Path, name: str) -> None:
    lines = ['{"text": "One.\\n\\nMore.", "id": 1}', "", '{"text": " "}', '{"text": "二。"}']
    assert list(read_documents([_write(tmp_path / name, "\n".join(lines))])) == ["One.\n\nMore.", "二。"]


def test_the_text_field_can_be_named(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.jsonl", '{"body": "One."}')
    assert list(read_documents([path], text_field="body")) == ["One."]


def test_a_directory_stands_for_its_text_files_sorted_by_path(tmp_path: Path) -> None:
    for name in ("b.txt", "a/z.txt.gz", "a.txt", "a/b/c.TXT", "ignored.md"):
        _write(tmp_path / name, name)
    _write(tmp_path / "c.jsonl", '{"text": "c.jsonl"}')
    _write(tmp_path / "empty.txt", "")
    assert list(read_documents([str(tmp_path)])) == ["a/b/c.TXT", "a/z.txt.gz", "a.txt", "b.txt", "c.jsonl"]


def test_entries_are_read_in_the_order_given(tmp_path: Path) -> None:
    first, second = _write(tmp_path / "z.txt", "First."), _write(tmp_path / "a.txt", "Second.")
    assert list(read_documents([first, second, first])) == ["First.", "Second.", "First."]


def test_pydocs_is_the_embedded_corpus_and_mixes_with_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    _write(tmp_path / "pydocs", "A file of that name.")
    monkeypatch.setattr(pydocs, "documents", lambda: iter(["Embedded."]))
    assert list(read_documents(["pydocs", "./pydocs"])) == ["Embedded.", "A file of that name."]


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_not_utf8_names_file_and_byte(tmp_path: Path, suffix: str) -> None:
    path = _write(tmp_path / f"a.txt{suffix}", b"\xef\xbb\xbfgood\n\xc3\xa9 caf\xe9 .")
    where = " of the decompressed stream" if suffix else ""
    assert _refusal(path) == f"{path}:2: not UTF-8 at byte 14{where}, expected UTF-8 text"


def test_documents_before_the_bad_byte_were_streamed(tmp_path: Path) -> None:
    documents = read_documents([_write(tmp_path / "a.txt", b"One.\n\n\xff")])
    assert next(documents) == "One."
    with pytest.raises(InputError):
        next(documents)


def test_a_nul_is_binary_data(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.txt", b"text\n\x00\x01")
    assert _refusal(path) == f"{path}:2: a NUL at byte 5, expected UTF-8 text"


def test_damaged_gzip_is_named(tmp_path: Path) -> None:
    whole = gzip.compress(b"some text\n" * 1000)
    cut, fake, flipped = (tmp_path / f"{name}.txt.gz" for name in ("cut", "fake", "flipped"))
    cut.write_bytes(whole[:-20])
    fake.write_bytes(b"plain text")
    flipped.write_bytes(whole[:20] + bytes([whole[20] ^ 255]) + whole[21:])
    for path in (cut, fake, flipped):
        assert _refusal(str(path)).startswith(f"{path} is a damaged gzip file (")


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{not json", "expected one JSON object per line (Expecting property name"),
        ("[" * 100_000, "expected one JSON object per line ("),
        ("[1]", "expected a JSON object, found an array"),
        ('"text"', "expected a JSON object, found a string"),
        ('{"id": 1}', "no field 'text'; the object has 'id' (see --text-field)"),
        ("{}", "no field 'text'; the object has none (see --text-field)"),
        ('{"text": 5}', "field 'text' is a number, expected a string"),
        ('{"text": null}', "field 'text' is null, expected a string"),
        ('{"text": "\\ud800"}', "field 'text' contains an unpaired surrogate, expected Unicode text"),
    ],
)
def test_bad_jsonl_names_file_and_line(tmp_path: Path, line: str, problem: str) -> None:
    path = _write(tmp_path / "a.jsonl", '{"text": "fine"}\n\n' + line + "\n")
    assert _refusal(path).startswith(f"{path}:3: {problem}")


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz", "a.jsonl"])
def test_only_white_space_is_no_document(tmp_path: Path, name: str) -> None:
    path = _write(tmp_path / name, " \n\n\t\n")
    assert _refusal(path) == f"{path}: no document found, expected text"


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("missing.txt", "no such file or directory, expected a corpus ('pydocs' is the built-in one)"),
        ("empty.txt", "the file is empty, expected text"),
        ("bare", "no text in this directory, expected *.txt, *.txt.gz, *.jsonl or *.jsonl.gz"),
    ],
)
def test_cheap_checks_name_the_path(tmp_path: Path, name: str, problem: str) -> None:
    _write(tmp_path / "empty.txt", "")
    _write(tmp_path / "bare" / "notes.md", "not looked at")
    with pytest.raises(InputError, match=f"^{re.escape(f'{tmp_path / name}: {problem}')}$"):
        check_corpus([str(tmp_path / name)])


@pytest.mark.parametrize("name", ["a.txt.gz", "a.jsonl"])
def test_memory_does_not_grow_with_the_corpus(tmp_path: Path, name: str) -> None:
    document = "Some words of a document. " * 40
    line = json.dumps({"text": document}) + "\n" if name.endswith("jsonl") else document + "\n\n"
    path = _write(tmp_path / name, line * 5000)  # 5 MB
    tracemalloc.start()
    count = sum(1 for _ in read_documents([path]))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 5000
    assert peak < 1_000_000


def test_paragraphs_are_split_into_sentences() -> None:
    text = "One is\nwrapped. Two.\n \t\nThree.\n\n\n"
    assert split_document(text) == [["One is wrapped.", "Two."], ["Three."]]


def test_a_sentence_a_line() -> None:
    text = "One. And a half.\n  Two  words \n\nThree."
    assert split_document(text, sentence_per_line=True) == [["One. And a half.", "Two words"], ["Three."]]


def test_nothing_is_no_paragraph() -> None:
    assert split_document(" \n\n \n") == []


@given(st.text(alphabet="aB .!?。！天\n\r\t\"'", max_size=80), st.booleans())
def test_no_character_is_lost_or_moved(text: str, sentence_per_line: bool) -> None:
    paragraphs = split_document(text, sentence_per_line=sentence_per_line)
    assert all(paragraphs)
    sentences = [sentence for paragraph in paragraphs for sentence in paragraph]
    assert all(sentences)
    assert "".join("".join(sentences).split()) == "".join(text.split())


# --- Documents without an end ----------------------------------------------------------------------------------------


@pytest.fixture
def ten_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit that is easily reached."""
    monkeypatch.setattr(text_files, "LONGEST_LINE", 10)
    monkeypatch.setattr(corpus, "LONGEST_DOCUMENT", 10)


@pytest.mark.parametrize(
    ("text", "documents", "split_at"),
    [
        ("0123456789\n\nab", ["0123456789", "ab"], None),
        ("ab\n\nab cd efgh ij kl\n\nab\n", ["ab", "ab cd efgh", "ij kl", "ab"], 3),  # a long line, at a white space
        ("ab cde fghijkl", ["ab cde", "fghijkl"], 1),
        ("ab cde f " + 12 * "x", ["ab cde f", "xxxxxxxxxx", "xx"], 1),
        ("0123456789abc", ["0123456789", "abc"], 1),
        ("天地玄黄宇宙", ["天地玄", "黄宇宙"], 1),  # three bytes each
        ("天地\u3000玄黄宇", ["天地", "玄黄宇"], 1),
        ("a😀😀😀", ["a😀😀", "😀"], 1),
        ("ab\ncd\nef\ngh\n\nij", ["ab\ncd\nef", "gh", "ij"], 4),  # many short lines
        ("a" + 30 * " " + "b\n\nc", ["a\nb", "c"], None),  # white space ends nothing, however much there is
        ("ab" + 9 * " " + "\ncd", ["ab\ncd"], None),
    ],
)
@pytest.mark.usefixtures("ten_bytes")
def test_a_document_ends_at_the_limit(
    text: str, documents: list[str], split_at: int | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.txt", "a.txt.gz"):
        path = _write(tmp_path / name, text)
        assert list(read_documents([path])) == documents
        note = f"note     {path}:{split_at}: 10 bytes without a blank line; a document ends here, and again after each "
        note += "such stretch\n"
        assert capsys.readouterr().err == ("" if split_at is None else note)


@pytest.mark.usefixtures("ten_bytes")
def test_a_long_line_that_is_a_document_is_split_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = _write(tmp_path / "a.txt", "01234567\nab cd efgh ij kl\nmn")
    assert list(read_documents([path], document_per_line=True)) == ["01234567", "ab cd efgh", "ij kl", "mn"]
    assert capsys.readouterr().err.startswith(f"note     {path}:2: 10 bytes")


@pytest.mark.usefixtures("ten_bytes")
def test_bytes_are_named_behind_a_split_too(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.txt", b"0123456789abcdefg\xff")
    assert _refusal(path).startswith(f"{path}:1: not UTF-8 at byte 17, expected UTF-8 text")


@pytest.mark.usefixtures("ten_bytes")
def test_a_long_line_of_jsonl_is_refused(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.jsonl", '\n{"text": "a"}\n')
    assert _refusal(path) == f"{path}:2: the line is longer than 10 bytes, the maximum"


@pytest.mark.parametrize("packed", [False, True])
def test_memory_does_not_grow_with_a_line(packed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_files, "LONGEST_LINE", 2**16)
    monkeypatch.setattr(corpus, "LONGEST_DOCUMENT", 2**16)
    path = _write(tmp_path / f"a.txt{'.gz' if packed else ''}", "a" * 5_000_000)
    tracemalloc.start()
    sizes = [len(document) for document in read_documents([path])]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sizes == [2**16] * 76 + [5_000_000 - 76 * 2**16]
    assert peak < 1_000_000


def test_what_is_no_file_is_no_corpus(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "loop.txt").symlink_to("loop.txt")
    assert _refusal("/dev/zero") == "/dev/zero is a device, expected a file"
    assert _refusal(str(tmp_path / "pipe.txt")) == f"{tmp_path}/pipe.txt is a named pipe, expected a file"
    assert _refusal(str(tmp_path / "loop.txt")).startswith(f"{tmp_path}/loop.txt cannot be read (")
    _write(tmp_path / "a.txt", "One.")
    assert list(read_documents([str(tmp_path)])) == ["One."]  # of a directory, the files


def test_a_pipe_that_the_shell_opened_is_read() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"One.\n\nTwo.")
    os.close(writing)
    assert list(read_documents([f"/dev/fd/{reading}"])) == ["One.", "Two."]
    os.close(reading)
