"""Text files of any size, line by line: UTF-8, plain or gzip, or standard input; and small ones as a whole.

Memory is bounded by what stands here, whatever a file holds: by the longest line, and by the size of what is read at
once. What would never end or never answer, a device or a named pipe, is not opened at all.
"""

import gzip
import io
import json
import os
import re
import shlex
import stat
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from minibert.errors import InputError
from minibert.files.encodings import encoding_of, kind_of

STANDARD_INPUT = "-"
LONGEST_LINE = 2**24  # bytes without the line's end: 16 MB, of which a novel has one
SMALL_FILE = 2**24  # bytes of a config, an index or a record
WHOLE_FILE = 2**30  # characters of a data file that is one JSON object; SQuAD's has 42 million
VOCABULARY_FILE = 2**27  # bytes of a vocabulary: four million tokens, with their ids and the merges
LONE_SURROGATE = re.compile("[\ud800-\udfff]")  # half a character: in Python strings, never in UTF-8
# What the shell opened for us, also by <(...): a pipe there ends, and is what the user means.
_OPEN_ALREADY = re.compile(r"/dev/(stdin|fd/[0-9]+)|/proc/(self|[0-9]+)/fd/[0-9]+")
_NO_FILES = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# Names of files whose text stands between marks, in fields or compressed: as text, these would be part of it.
NO_TEXT_SUFFIXES = (
    ".csv", ".tsv", ".json", ".parquet", ".arrow", ".feather", ".zst", ".xz", ".bz2", ".zip", ".7z", ".tar", ".tgz",
    ".html", ".xml", ".pdf", ".doc", ".docx", ".odt", ".epub", ".xls", ".xlsx",
)  # fmt: skip


def shown(path: str) -> str:
    """How messages name the file."""
    return "standard input" if path == STANDARD_INPUT else path


def is_gzip(path: str) -> bool:
    """Whether the file is compressed: its name says so."""
    return path.lower().endswith(".gz")


def suffix(path: str) -> str:
    """What the file's name says of its format, in lower case: ".csv" of Reviews.CSV.gz; "" of standard input."""
    return Path(path[: -len(".gz")] if is_gzip(path) else path).suffix.lower()


def check_path(path: str | Path) -> None:
    """Before the work is done, not after it: that it can be a path at all, of something that is there or is to be.

    Raises InputError: it is empty, which would be the current directory, has a NUL, or the system takes no such path:
    too long, a loop of links, not permitted.
    """
    if not str(path):
        raise InputError("an empty name, expected a path")
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        pass  # what is expected there is for others to say
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise InputError(f"{path}: no usable path ({reason(error)})") from error


def is_open_already(path: str | Path) -> bool:
    """Whether the path is of what the process was started with: /dev/stdin, /dev/fd/63, the shell's <(...)."""
    return _OPEN_ALREADY.fullmatch(str(path)) is not None


def check_file(path: str | Path) -> None:
    """Raises InputError: it is a directory, device, socket or named pipe, unless it `is_open_already`; OSError,
    ValueError: as `open`.
    """
    kind = stat.S_IFMT(os.stat(path).st_mode)
    if kind in _NO_FILES and not is_open_already(path):
        raise InputError(f"{path}: is {_NO_FILES[kind]}, expected a file")


def open_file(path: str | Path) -> io.BufferedReader:
    """What a user's file is read by, so that no read waits for ever. Raises as `check_file`."""
    check_file(path)
    return open(path, "rb")


def read_small(path: str | Path, *, limit: int = SMALL_FILE) -> str:
    """The text of a UTF-8 file that is to be held as a whole; a byte-order mark is left out.

    Raises InputError: as `check_file`, or it has more than `limit` bytes; OSError, ValueError: it can't be opened, or
    is not UTF-8; who reads it says what was expected.
    """
    content = read_small_bytes(path, limit=limit)
    try:
        return content.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is not UTF-8{_likely(content, str(path))}") from error


def read_small_bytes(path: str | Path, *, limit: int = SMALL_FILE) -> bytes:
    """As `read_small`, of a file that is no text."""
    with open_file(path) as file:
        too_large = os.fstat(file.fileno()).st_size > limit
        content = b"" if too_large else file.read(limit + 1)  # a pipe tells no size
    if too_large or len(content) > limit:
        raise InputError(f"{path}: has more than {limit:,} bytes, expected a smaller file")
    return content


def read_lines(path: str) -> Iterator[tuple[int, str]]:
    """Streams (row from 1, line with its line end) of a file or of standard input (`-`); a byte-order mark is left out.

    Lines end with a line feed, and with nothing else that Unicode calls a line break: texts are full of those.

    Raises InputError: the file cannot be read, is damaged gzip, has a line of more than `LONGEST_LINE` bytes, ends its
    lines with carriage returns alone, or is not UTF-8: then the first bad byte is named.
    """
    for row, line, is_whole in _pieces(path):
        if not is_whole:
            raise InputError(f"{shown(path)}:{row}: a line of more than {LONGEST_LINE:,} bytes, expected shorter ones")
        _check_line_end(path, row, line)
        yield row, line


def read_pieces(path: str) -> Iterator[tuple[int, str]]:
    """As `read_lines`, but a line that is too long comes in pieces of its row, cut behind a white space where one is.

    Raises InputError, as that.
    """
    for row, piece, is_whole in _pieces(path):
        if is_whole:
            _check_line_end(path, row, piece)
        yield row, piece


def _check_line_end(path: str, row: int, line: str) -> None:
    if row == 1 and (count := line.rstrip("\r").count("\r")) and not line.endswith("\n"):
        mending = _command(path, r"tr '\r' '\n'", "lf")
        raise InputError(
            f"{shown(path)}: {count:,} carriage return(s) and no line feed, expected lines that end with one; "
            f"{mending} converts them"
        )


def read_whole(path: str) -> str:
    """As `read_lines`, all lines of a file in one, however long they are and whatever they end with.

    Raises InputError, as that; the file has more than `WHOLE_FILE` characters.
    """
    pieces, size = [], 0
    for _, piece, _ in _pieces(path):
        pieces.append(piece)
        size += len(piece)
        if size > WHOLE_FILE:
            raise InputError(f"{shown(path)}: has more than {WHOLE_FILE:,} characters, expected a smaller file")
    return "".join(pieces)


def _pieces(path: str) -> Iterator[tuple[int, str, bool]]:
    """(row, piece, whether it is a whole line) in at most `LONGEST_LINE` bytes, white space at its end aside."""
    row, offset, rest = 1, 0, b""  # bytes before this piece; what was read of it already
    with _opened(path) as stream:
        while line := rest + stream.readline(LONGEST_LINE + 1 - len(rest)):
            bom = len(_BYTE_ORDER_MARK) if offset == 0 and line.startswith(_BYTE_ORDER_MARK) else 0
            ends = line.endswith(b"\n")
            is_whole = ends or len(line) <= LONGEST_LINE
            cut = len(line) if is_whole else _cut(line)
            yield row, _decode(line[bom:cut], path, row, offset + bom), is_whole
            row, offset, rest = row + ends, offset + cut, line[cut:]


def _cut(line: bytes) -> int:
    """Where to cut a line that goes on: behind its last white space, or else at the limit, outside a character."""
    text = line.decode("utf-8", errors="surrogateescape")  # in which no byte is lost
    if text[-1].isspace():
        return len(line)
    words = text.rsplit(None, 1)
    if len(words) == 2:
        return len(line) - len(words[1].encode("utf-8", errors="surrogateescape"))
    return next((at for at in range(LONGEST_LINE, LONGEST_LINE - 4, -1) if line[at] & 0xC0 != 0x80), LONGEST_LINE)


@contextmanager
def _opened(path: str) -> Iterator[BinaryIO]:
    try:
        if path == STANDARD_INPUT:
            if sys.stdin is None:
                raise InputError("standard input: cannot be read (it is closed)")
            yield sys.stdin.buffer
            return
        with open_file(path) as file:
            yield io.BufferedReader(gzip.GzipFile(fileobj=file)) if is_gzip(path) else file
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"{path}: damaged gzip file ({reason(error)}), expected one that gunzip can read") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise InputError(f"{shown(path)}: cannot be read ({reason(error)})") from error


def read_texts(path: str) -> list[str]:
    """The lines of a file of one text a line, without their ends; an empty line is an empty text.

    Raises InputError: as `read_lines`, or not one line in it; its name is that of a table or of JSON lines.
    """
    if suffix(path) in (*NO_TEXT_SUFFIXES, ".jsonl"):
        raise InputError(f"{path}: {suffix(path)} is not read, expected one text per line and nothing else, as in .txt")
    texts = [re.sub(r"\r?\n\Z", "", line) for _, line in read_lines(path) if line]
    if not texts:
        raise InputError(f"{shown(path)}: expected one text per line, found nothing")
    return texts


def _decode(line: bytes, path: str, row: int, offset: int) -> str:
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        found, at = "not UTF-8", error.start
    else:
        # NUL is valid UTF-8, but no text file has one: it is binary data, or UTF-16.
        found, at = "a NUL, so not text", line.find(b"\0")
    if at >= 0:
        where = " of the decompressed stream" if is_gzip(path) else ""
        likely = _likely(line, path, begins=not offset)
        raise InputError(f"{shown(path)}:{row}: {found} at byte {offset + at}{where}, expected UTF-8 text{likely}")
    return text


def _likely(content: bytes, path: str, *, begins: bool = True) -> str:
    """For messages: what bytes that are no UTF-8 probably are, and the command that makes it of them.

    begins: they stand at the file's begin.
    """
    if begins and (kind := kind_of(content)):
        return f"; it is {kind}"
    encoding = encoding_of(content, begins=begins)
    if encoding is None:
        return ""
    return f"; it is probably {encoding}: {_command(path, f'iconv -f {encoding} -t UTF-8', 'utf8')}"


def _command(path: str, mend: str, prefix: str) -> str:
    """For messages: the shell command that makes another file of this one by `mend`, which reads standard input."""
    name, made = shlex.quote(path), shlex.quote(f"{prefix}-{Path(path).name}")
    if path == STANDARD_INPUT:
        return f"... | {mend}"
    if is_gzip(path):
        return f"gunzip -c {name} | {mend} | gzip > {made}"
    return f"{mend} < {name} > {made}"


def parse_json(text: str) -> Any:
    """What JSON says, and no more: Python's reader takes NaN and Infinity too, which other programs refuse.

    Raises ValueError, RecursionError: as `json.loads`.
    """

    def refuse(word: str) -> None:
        raise ValueError(f"{word} is not JSON; null can stand for an unknown value")

    return json.loads(text, parse_constant=refuse)


def parse_object(line: str, where: str) -> dict[str, Any]:
    """The object in a line of a .jsonl file.

    Raises InputError: it is none; the message begins with `where`.
    """
    try:
        record = parse_json(line)
    except (ValueError, RecursionError) as error:  # ValueError: bad JSON, or an integer too long to convert
        hint = "; jq -c '.[]' writes an array's elements one per line" if line.startswith("[") else ""
        hint = "; jq -c . writes one object per line" if line.strip() == "{" else hint
        raise InputError(f"{where}: expected one JSON object per line ({reason(error)}){hint}") from error
    if not isinstance(record, dict):
        hint = "; jq -c '.[]' writes its elements one per line" if isinstance(record, list) else ""
        raise InputError(f"{where}: expected a JSON object, found {json_type(record)}{hint}")
    return record


def check_text(value: object, what: str) -> str:
    """`value` itself; `what` names it in the message ("reviews.csv:17: column 'review'").

    Raises InputError: it is no string, or but white space, or holds half a surrogate pair, which JSON can spell.
    """
    if not isinstance(value, str):
        raise InputError(f"{what} is {json_type(value)}, expected a string")
    if not value.strip():
        raise InputError(f"{what} is empty, expected text")
    if LONE_SURROGATE.search(value):
        raise InputError(f"{what} holds half a surrogate pair, expected whole characters")
    return value


def json_type(value: object) -> str:
    """What a JSON value is called in messages."""
    names = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def reason(error: Exception) -> str:
    """Why something failed, in one line."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split())
