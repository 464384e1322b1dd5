"""Lines of text files: what is tolerated, and what is refused with file, row and byte."""

from __future__ import annotations

import gzip
import io
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from minibert.text_files import check_text, read_lines, read_texts, suffix
from tests.finetune.files import standard_input, write
from tests.helpers import REPOSITORY, refusal


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz", "A.TXT.GZ"])
def test_lines_are_numbered_from_1_and_keep_their_ends(tmp_path: Path, name: str) -> None:
    raw = b"\xef\xbb\xbfOne.\r\n\nT\xc2\x85w\xe2\x80\xa8o"  # a byte-order mark; two breaks that end no line
    path = write(tmp_path / name, raw) if name != "A.TXT.GZ" else write(tmp_path / "x.gz", raw)
    assert list(read_lines(path)) == [(1, "One.\r\n"), (2, "\n"), (3, "T\x85w\u2028o")]


def test_standard_input_is_a_file_too(monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(read_lines(standard_input(monkeypatch, "One.\n二\n"))) == [(1, "One.\n"), (2, "二\n")]


def test_standard_input_that_is_not_utf8(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"One.\n\xff")))
    assert refusal(lambda: list(read_lines("-"))) == "standard input:2: not UTF-8 at byte 5, expected UTF-8 text"


def test_lines_are_streamed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", b"good\n" * 10_000 + b"\xff")
    lines = read_lines(path)
    assert next(lines) == (1, "good\n")
    assert "a.txt:10001: not UTF-8 at byte 50000" in refusal(lambda: list(lines))


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"One.\ncaf\xe9 \n", "a.txt:2: not UTF-8 at byte 8, expected UTF-8 text"),
        (b"\xef\xbb\xbf\xe9t\xe9", "a.txt:1: not UTF-8 at byte 3, expected"),
        ("饭".encode("gbk"), "a.txt:1: not UTF-8 at byte 0"),
        ("One.".encode("utf-16"), "a.txt:1: not UTF-8 at byte 0"),
        ("One.".encode("utf-16-le"), "a.txt:1: a NUL, so not text at byte 1"),
    ],
)
def test_bytes_that_are_no_utf8_are_named(tmp_path: Path, raw: bytes, message: str) -> None:
    path = write(tmp_path / "a.txt", raw)
    assert message in refusal(lambda: list(read_lines(path)))


def test_in_a_compressed_file_the_byte_is_that_of_the_text(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv.gz", b"12\n3\xff")
    assert "a.csv.gz:2: not UTF-8 at byte 4 of the decompressed stream" in refusal(lambda: list(read_lines(path)))


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        ("one\ntwo\n", ["one", "two"]),
        ("one\ntwo", ["one", "two"]),
        ("one\r\n\r\ntwo\r\n", ["one", "", "two"]),
        ("\n", [""]),
        ("\n\n", ["", ""]),
        ("\ufeff高血压\n", ["高血压"]),
        ("a\u2028b\x0bc\x85d\re\n", ["a\u2028b\x0bc\x85d\re"]),  # what str.splitlines takes for ends of lines
        (" a \n", [" a "]),
    ],
)
def test_a_text_a_line(content: str, lines: list[str], tmp_path: Path) -> None:
    (tmp_path / "plain.txt").write_bytes(content.encode())
    (tmp_path / "packed.TXT.GZ").write_bytes(gzip.compress(content.encode()))
    assert read_texts(str(tmp_path / "plain.txt")) == lines
    assert read_texts(str(tmp_path / "packed.TXT.GZ")) == lines


@pytest.mark.parametrize("content", [b"", b"\xef\xbb\xbf"])
def test_a_file_without_a_line_holds_no_text(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_bytes(content)
    message = refusal(lambda: read_texts(str(tmp_path / "empty.txt")))
    assert message == f"{tmp_path / 'empty.txt'}: expected one text a line, found nothing"


def unreadable(tmp_path: Path) -> Iterator[tuple[str, str]]:
    yield str(tmp_path / "none.csv"), "none.csv: cannot be read (No such file or directory)"
    yield str(tmp_path), "cannot be read (Is a directory)"
    yield str(tmp_path / "a\0b"), "cannot be read (embedded null byte)"
    (tmp_path / "plain.gz").write_bytes(b"not compressed")
    yield str(tmp_path / "plain.gz"), "plain.gz: damaged gzip file"
    path = write(tmp_path / "cut.gz", "some text " * 100)
    (tmp_path / "cut.gz").write_bytes(Path(path).read_bytes()[:-10])
    yield path, "cut.gz: damaged gzip file"


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for path, message in unreadable(tmp_path):
        assert message in refusal(lambda path=path: list(read_lines(path)))


def test_the_suffix_before_gz_tells_the_format() -> None:
    assert [suffix(path) for path in ("Reviews.CSV.gz", "a.b/c.jsonl", "a.gz", "-")] == [".csv", ".jsonl", "", ""]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (" \u3000\t", "the text is empty, expected text"),
        ("", "the text is empty"),
        (None, "the text is null, expected a string"),
        (True, "the text is a boolean"),
        (5, "the text is a number"),
        (["a"], "the text is an array"),
        ("a\ud83d", "the text holds half a surrogate pair"),
    ],
)
def test_what_is_no_text(value: object, message: str) -> None:
    assert message in refusal(lambda: check_text(value, "the text"))


def test_what_reads_files_does_without_torch() -> None:
    modules = "choices conll examples labels pictures sentences splits squad squad_scores tables tags texts"
    names = ", ".join(["minibert.text_files", *(f"finetune.{name}" for name in modules.split())])
    code = f"import sys, {names}; print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], check=True, cwd=REPOSITORY, capture_output=True, text=True)
    assert result.stdout == "False\n"


def test_text_stays_as_it_is() -> None:
    assert check_text("  a \n", "the text") == "  a \n"
