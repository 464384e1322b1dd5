"""Lines of text files: what is tolerated, and what is refused with file, row and byte."""

from __future__ import annotations

import gzip
import io
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from minibert.errors import plural
from minibert.files import text as text_files
from minibert.files.text import (
    check_text,
    open_file,
    parse_json,
    read_lines,
    read_pieces,
    read_small,
    read_texts,
    read_whole,
    suffix,
)
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
    assert refusal(lambda: list(read_lines("-"))).startswith("standard input:2: not UTF-8 at byte 5, expected UTF-8 ")


def test_lines_are_streamed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", b"good\n" * 10_000 + b"\xff")
    lines = read_lines(path)
    assert next(lines) == (1, "good\n")
    assert "a.txt:10001: not UTF-8 at byte 50000" in refusal(lambda: list(lines))


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"One.\ncaf\xe9 \n", "a.txt:2: not UTF-8 at byte 8, expected UTF-8 text"),
        (b"One.\n\xc3\xa9 caf\xe9", "a.txt:2: not UTF-8 at byte 11, expected UTF-8 text"),
        (b"\xef\xbb\xbf\xe9t\xe9", "a.txt:1: not UTF-8 at byte 3, expected"),
        ("饭".encode("gbk"), "a.txt:1: not UTF-8 at byte 0"),
        ("One.".encode("utf-16"), "a.txt:1: not UTF-8 at byte 0"),
        ("One.".encode("utf-16-le"), "a.txt:1: a NUL at byte 1"),
    ],
)
def test_bytes_that_are_no_utf8_are_named(tmp_path: Path, raw: bytes, message: str) -> None:
    path = write(tmp_path / "a.txt", raw)
    assert message in refusal(lambda: list(read_lines(path)))


@pytest.mark.parametrize(
    ("raw", "encoding"),
    [
        ("text,label\nschön,1\n".encode("utf-16"), "UTF-16"),
        ("text,label\n好,1\n".encode("utf-16-le"), "UTF-16LE"),
        ("text,label\n好,1\n".encode("utf-16-be"), "UTF-16BE"),
        ("text\ndéjà vu – “schön” für 5 €\n".encode("cp1252"), "WINDOWS-1252"),
        ("text\nÉtéphone, téléphone\n".encode("latin-1"), "WINDOWS-1252"),
        ("text\nне знаю, что и думать\n".encode("cp1251"), "WINDOWS-1251"),
        ("text\nПривет, как дела\n".encode("cp1251"), "WINDOWS-1251"),
        ("text\n很快，好吃，味道足，量大\n".encode("gbk"), "GB18030"),
        ("text\nおはようございます。今日は\n".encode("shift_jis"), "SHIFT_JIS"),
    ],
)
def test_the_likely_encoding_is_named_with_the_command_that_converts(tmp_path: Path, raw: bytes, encoding: str) -> None:
    path = write(tmp_path / "a b.csv", raw)
    command = f"iconv -f {encoding} -t UTF-8 < '{path}' > 'utf8-a b.csv'"
    message = refusal(lambda: list(read_lines(path)))
    assert message.endswith(f", expected UTF-8 text; it is probably {encoding}: {command}")
    converted = subprocess.run(command, shell=True, check=True, cwd=tmp_path)
    assert converted.returncode == 0
    assert "".join(line for _, line in read_lines(str(tmp_path / "utf8-a b.csv"))) == raw.decode(encoding)


def test_what_converts_a_compressed_file_and_a_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.csv.gz", b"caf\xe9")
    assert refusal(lambda: list(read_lines(path))).endswith(
        f"; it is probably WINDOWS-1252: gunzip -c {path} | iconv -f WINDOWS-1252 -t UTF-8 | gzip > utf8-a.csv.gz"
    )
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"caf\xe9")))
    assert refusal(lambda: list(read_lines("-"))).endswith("WINDOWS-1252: ... | iconv -f WINDOWS-1252 -t UTF-8")


@pytest.mark.parametrize(
    ("raw", "likely"),
    [
        ("天地玄黄".encode()[:-1], ""),  # cut in the middle of a character
        (b"\x00\x01\x02", ""),
        (gzip.compress(b"text", mtime=0), "; it is a gzip file, whose name must end in .gz"),
        (b"PK\x03\x04\x14\x00\x06\x00", "; it is a zip archive, like .xlsx and .npz"),
        (b"PAR1\x15\x04\x15\x00", "; it is a Parquet file"),
        (b"\x28\xb5\x2f\xfd\x04", "; it is a Zstandard file"),
    ],
)
def test_no_encoding_is_named_for_what_is_no_text_or_damaged(tmp_path: Path, raw: bytes, likely: str) -> None:
    path = write(tmp_path / "a.csv", raw)
    assert refusal(lambda: list(read_lines(path))).endswith(f", expected UTF-8 text{likely}")


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


@pytest.mark.parametrize("name", ["a.csv", "A.TSV.GZ", "a.jsonl", "a.json", "a.parquet"])
def test_tables_are_no_texts(name: str, tmp_path: Path) -> None:
    kind = f".{name.lower().split('.')[1]}"
    expected = f"{tmp_path / name}: {kind} is not supported, expected one text per line, as in .txt"
    assert refusal(lambda: read_texts(str(tmp_path / name))) == expected


@pytest.mark.parametrize(("content", "count"), [(b"a\rb\r", 1), (b"a\rb\rc", 2)])
def test_carriage_returns_alone_end_no_lines(content: bytes, count: int, tmp_path: Path) -> None:
    path = tmp_path / "a b.txt"
    path.write_bytes(content)
    said = refusal(lambda: list(read_lines(str(path))))
    assert refusal(lambda: list(read_pieces(str(path)))) == said
    assert read_whole(str(path)) == content.decode()  # JSON may be so
    assert said.startswith(f"{path}: {plural(count, 'carriage return')} and no line feed, expected lines that end ")
    command = f"tr '\\r' '\\n' < '{path}' > 'lf-a b.txt'"
    assert said.endswith(f"; {command} converts them")
    subprocess.run(command, shell=True, check=True, cwd=tmp_path)
    assert (tmp_path / "lf-a b.txt").read_bytes() == content.replace(b"\r", b"\n")


@pytest.mark.parametrize("content", [b"a\r", b"a\r\n", b"a\rb\n", b"a\nb\rc"])
def test_a_carriage_return_beside_line_feeds_is_text(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(content)
    assert "".join(line for _, line in read_lines(str(path))).encode() == content


@pytest.mark.parametrize("content", [b"", b"\xef\xbb\xbf"])
def test_a_file_without_a_line_holds_no_text(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_bytes(content)
    message = refusal(lambda: read_texts(str(tmp_path / "empty.txt")))
    assert message == f"{tmp_path / 'empty.txt'}: expected one text per line, found nothing"


def unreadable(tmp_path: Path) -> Iterator[tuple[str, str]]:
    yield str(tmp_path / "none.csv"), "none.csv cannot be read (No such file or directory)"
    yield str(tmp_path), f"{tmp_path} is a directory, expected a file"
    yield str(tmp_path / "a\0b"), "cannot be read (embedded null byte)"
    (tmp_path / "plain.gz").write_bytes(b"not compressed")
    yield str(tmp_path / "plain.gz"), "plain.gz is a damaged gzip file"
    path = write(tmp_path / "cut.gz", "some text " * 100)
    (tmp_path / "cut.gz").write_bytes(Path(path).read_bytes()[:-10])
    yield path, "cut.gz is a damaged gzip file"


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
        ("a\ud83d", "the text contains an unpaired surrogate"),
    ],
)
def test_what_is_no_text(value: object, message: str) -> None:
    assert message in refusal(lambda: check_text(value, "the text"))


def test_what_reads_files_does_without_torch() -> None:
    modules = "choices conll examples sentences splits squad tags texts"
    names = ", ".join(
        ["minibert.files.tables", "minibert.files.writing", *(f"finetune.data.{name}" for name in modules.split())]
    )
    code = f"import sys, {names}; print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], check=True, cwd=REPOSITORY, capture_output=True, text=True)
    assert result.stdout == "False\n"


def test_text_stays_as_it_is() -> None:
    assert check_text("  a \n", "the text") == "  a \n"


# --- What would fill the memory, or never end ------------------------------------------------------------------------


def test_a_line_may_be_as_long_as_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_files, "LONGEST_LINE", 10)
    for name in ("a.txt", "a.txt.gz"):
        path = write(tmp_path / name, "0123456789\n天地玄a\n0123456789")
        assert [line for _, line in read_lines(path)] == ["0123456789\n", "天地玄a\n", "0123456789"]
        path = write(tmp_path / name, "a\n0123456789a\n")
        assert refusal(lambda path=path: list(read_lines(path))) == (
            f"{path}:2: the line is longer than 10 bytes, the maximum"
        )


def test_a_long_line_of_standard_input_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_files, "LONGEST_LINE", 10)
    path = standard_input(monkeypatch, "a\n" + "a" * 11)
    assert refusal(lambda: list(read_lines(path))) == (
        "standard input:2: the line is longer than 10 bytes, the maximum"
    )


def test_a_text_a_line_too_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_files, "LONGEST_LINE", 10)
    path = write(tmp_path / "a.txt", "a" * 11)
    assert refusal(lambda: read_texts(path)) == f"{path}:1: the line is longer than 10 bytes, the maximum"


def test_pieces_are_the_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_files, "LONGEST_LINE", 10)
    path = write(tmp_path / "a.txt", "ab cd efgh ij kl\n  天地玄黄\n")
    assert list(read_pieces(path)) == [(1, "ab cd efgh "), (1, "ij kl\n"), (2, "  天地"), (2, "玄黄\n")]


def test_what_is_read_as_a_whole_has_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_files, "WHOLE_FILE", 10)
    monkeypatch.setattr(text_files, "LONGEST_LINE", 4)
    for name in ("a.json", "a.json.gz"):
        assert read_whole(write(tmp_path / name, "01234\n6789")) == "01234\n6789"
        path = write(tmp_path / name, "01234\n67890")
        assert (
            refusal(lambda path=path: read_whole(path))
            == f"{path} has more than 10 characters, expected a smaller file"
        )


def test_a_small_file_may_have_a_byte_order_mark(tmp_path: Path) -> None:
    assert read_small(write(tmp_path / "config.json", "\ufeff{\ufeff}")) == "{\ufeff}"


def test_of_a_small_file_in_another_encoding_that_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "config.json", "{}".encode("utf-16"))
    with pytest.raises(
        ValueError, match=f"^byte 0 is not UTF-8; it is probably UTF-16: iconv -f UTF-16 -t UTF-8 < {path}"
    ):
        read_small(path)


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity"])
def test_json_is_no_more_than_json(word: str) -> None:
    assert parse_json('{"a": [1e400, null, "NaN"]}') == {"a": [float("inf"), None, "NaN"]}
    with pytest.raises(ValueError, match=f"^{word} is not JSON; null can stand for an unknown value$"):
        parse_json(f'{{"a": [{word}]}}')


def test_a_small_file_has_a_limit(tmp_path: Path) -> None:
    path = Path(write(tmp_path / "config.json", "天地1234"))
    assert read_small(path, limit=10) == "天地1234"
    assert refusal(lambda: read_small(path, limit=9)) == f"{path} has more than 9 bytes, expected a smaller file"


@pytest.fixture
def no_files(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Paths of what is no file, and what each is called."""
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        yield {
            "/dev/zero": "a device",
            str(tmp_path): "a directory",
            str(tmp_path / "pipe"): "a named pipe",
            str(tmp_path / "socket"): "a socket",
        }


def test_what_is_no_file_is_not_opened(no_files: dict[str, str]) -> None:
    for path, kind in no_files.items():
        for read in (read_small, read_texts, read_whole, open_file):
            assert refusal(lambda read=read, path=path: read(path)) == f"{path} is {kind}, expected a file"


def test_a_pipe_that_the_shell_opened_is_read() -> None:
    for path in ("/dev/fd/{}", "/proc/self/fd/{}"):
        reading, writing = os.pipe()
        os.write(writing, b"One.\nTwo.")
        os.close(writing)
        assert read_texts(path.format(reading)) == ["One.", "Two."]
        os.close(reading)
