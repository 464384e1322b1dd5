"""Files of one text a line."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from minibert.lines import read_lines
from tests.helpers import refusal


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
def test_a_line_ends_at_a_line_feed(content: str, lines: list[str], tmp_path: Path) -> None:
    (tmp_path / "plain.txt").write_bytes(content.encode())
    (tmp_path / "packed.TXT.GZ").write_bytes(gzip.compress(content.encode()))
    assert read_lines(str(tmp_path / "plain.txt")) == lines
    assert read_lines(str(tmp_path / "packed.TXT.GZ")) == lines


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.txt", None, "cannot be read (No such file or directory)"),
        ("empty.txt", b"", "expected one text a line, found nothing"),
        ("mark.txt", b"\xef\xbb\xbf", "expected one text a line, found nothing"),
        ("latin.txt", b"one\ntwo\ncaf\xe9\n", "line 3: expected UTF-8 text, found the byte 0xe9"),
        ("utf16.txt", "one\n".encode("utf-16-le"), "line 1: expected UTF-8 text, found a NUL"),
        ("plain.gz", b"one\n", "damaged gzip file (Not a gzipped file (b'on'))"),
        ("short.gz", gzip.compress(b"one\n")[:-9], "damaged gzip file (Compressed file ended before"),
        (".", None, "cannot be read (Is a directory)"),
    ],
)
def test_what_is_no_text_is_refused_by_file_and_line(
    name: str, content: bytes | None, message: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    place = f"{path}, " if message.startswith("line") else f"{path}: "
    assert refusal(lambda: read_lines(str(path))).startswith(place + message)
