"""Text files of any size, line by line: UTF-8, plain or gzip, or standard input; and small ones as a whole.

Memory is bounded whatever a file contains: by the limits below, on a line and on what is read at once. A device or a
named pipe, which might never end or never answer, is not opened at all.
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

from minibert.errors import InputError, plural
from minibert.files.encodings import encoding_of, kind_of

STANDARD_INPUT = "-"
LONGEST_LINE = 2**24  # bytes without the line end: 16 MB, where a novel has about one
SMALL_FILE = 2**24  # bytes of a config, an index or a record
WHOLE_FILE = 2**30  # characters of a data file that is one JSON object; SQuAD's has 42 million
VOCABULARY_FILE = 2**27  # bytes of a vocabulary: four million tokens, with their ids and the merges
LONE_SURROGATE = re.compile("[\ud800-\udfff]")  # half a character: in Python strings, never in UTF-8
# Opened by the shell, also for <(...): a pipe there ends, and is what the user means.
_OPEN_ALREADY = re.compile(r"/dev/(stdin|fd/[0-9]+)|/proc/(self|[0-9]+)/fd/[0-9]+")
_NO_FILES = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# Files whose text is inside markup, fields or compression, which would be read as part of the text.
NO_TEXT_SUFFIXES = (
    ".csv", ".tsv", ".json", ".parquet", ".arrow", ".feather", ".zst", ".xz", ".bz2", ".zip", ".7z", ".tar", ".tgz",
    ".html", ".xml", ".pdf", ".doc", ".docx", ".odt", ".epub", ".xls", ".xlsx",
)  # fmt: skip


def shown(path: str) -> str:
    """Return the name of the file for messages."""
    return "standard input" if path == STANDARD_INPUT else path


def is_gzip(path: str) -> bool:
    """Return whether the file is compressed, judging by its name."""
    return path.lower().endswith(".gz")


def suffix(path: str) -> str:
    """Return the suffix of the name in lower case, without .gz: ".csv" for Reviews.CSV.gz, "" for standard input."""
    return Path(path[: -len(".gz")] if is_gzip(path) else path).suffix.lower()


def check_path(path: str | Path) -> None:
    """Check, before the work is done, that this can be a path at all, whether or not something is there yet.

    Raises InputError if it is empty, which would mean the current directory, contains a NUL, or is refused by the
    system: too long, a loop of links, not permitted.
    """
    if not str(path):
        raise InputError("expected a path, found an empty name")
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        pass  # the caller decides whether something has to be there
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise InputError(f"{path}: not a usable path ({reason(error)})") from error


def is_open_already(path: str | Path) -> bool:
    """Return whether the process was started with this path open: /dev/stdin, /dev/fd/63, the shell's <(...)."""
    return _OPEN_ALREADY.fullmatch(str(path)) is not None


def check_file(path: str | Path) -> None:
    """Check that this is a file. Raises InputError if it is a directory, device, socket or named pipe and not
    `is_open_already`; OSError and ValueError as `open` does.
    """
    kind = stat.S_IFMT(os.stat(path).st_mode)
    if kind in _NO_FILES and not is_open_already(path):
        raise InputError(f"{path} is {_NO_FILES[kind]}, expected a file")


def open_file(path: str | Path) -> io.BufferedReader:
    """Open a user's file for reading, unless a read could wait forever. Raises as `check_file` does."""
    check_file(path)
    return open(path, "rb")


def read_small(path: str | Path, *, limit: int = SMALL_FILE) -> str:
    """Return the whole text of a UTF-8 file, without its byte-order mark.

    Raises InputError as `check_file` does, or if the file has more than `limit` bytes; OSError or ValueError if it
    can't be opened or is not UTF-8: the caller says what was expected.
    """
    content = read_small_bytes(path, limit=limit)
    try:
        return content.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is not UTF-8{_likely(content, str(path))}") from error


def read_small_bytes(path: str | Path, *, limit: int = SMALL_FILE) -> bytes:
    """Return the whole content of a file that need not be text. Raises as `read_small` does."""
    with open_file(path) as file:
        too_large = os.fstat(file.fileno()).st_size > limit
        content = b"" if too_large else file.read(limit + 1)  # a pipe has no size
    if too_large or len(content) > limit:
        raise InputError(f"{path} has more than {limit:,} bytes, expected a smaller file")
    return content


def read_lines(path: str) -> Iterator[tuple[int, str]]:
    """Yield (row from 1, line with its line end) of a file or of standard input (`-`), without a byte-order mark.

    Lines end only with a line feed, not with what else Unicode calls a line break: texts are full of those.

    Raises InputError if the file cannot be read, is damaged gzip, has a line of more than `LONGEST_LINE` bytes, ends
    its lines only with carriage returns, or is not UTF-8; then the message names the first bad byte.
    """
    for row, line, is_whole in _pieces(path):
        if not is_whole:
            raise InputError(f"{shown(path)}:{row}: the line is longer than {LONGEST_LINE:,} bytes, the maximum")
        _check_line_end(path, row, line)
        yield row, line


def read_pieces(path: str) -> Iterator[tuple[int, str]]:
    """Yield as `read_lines` does, but a line that is too long in pieces of its row, cut after white space if possible.

    Raises InputError as `read_lines` does, except for a long line.
    """
    for row, piece, is_whole in _pieces(path):
        if is_whole:
            _check_line_end(path, row, piece)
        yield row, piece


def _check_line_end(path: str, row: int, line: str) -> None:
    if row == 1 and (count := line.rstrip("\r").count("\r")) and not line.endswith("\n"):
        mending = _command(path, r"tr '\r' '\n'", "lf")
        raise InputError(
            f"{shown(path)}: {plural(count, 'carriage return')} and no line feed, expected lines that end with a line "
            f"feed; {mending} converts them"
        )


def read_whole(path: str) -> str:
    """Return all lines of a file as one text, however long they are and whatever they end with.

    Raises InputError if the file can't be read, is damaged gzip or not UTF-8, or exceeds `WHOLE_FILE` characters.
    """
    pieces, size = [], 0
    for _, piece, _ in _pieces(path):
        pieces.append(piece)
        size += len(piece)
        if size > WHOLE_FILE:
            raise InputError(f"{shown(path)} has more than {WHOLE_FILE:,} characters, expected a smaller file")
    return "".join(pieces)


def read_raw_lines(path: str) -> Iterator[bytes]:
    """Yield the lines of a file, decompressed but otherwise as they are: bytes, with the byte-order mark.

    Raises InputError if the file cannot be read or is damaged gzip.
    """
    with _opened(path) as stream:
        yield from stream


def _pieces(path: str) -> Iterator[tuple[int, str, bool]]:
    """Yield (row, piece, whether it is a whole line) in at most `LONGEST_LINE` bytes, white space at its end aside."""
    row, offset, rest = 1, 0, b""  # offset: the bytes before this piece; rest: what is already read of it
    with _opened(path) as stream:
        while line := rest + stream.readline(LONGEST_LINE + 1 - len(rest)):
            bom = len(_BYTE_ORDER_MARK) if offset == 0 and line.startswith(_BYTE_ORDER_MARK) else 0
            ends = line.endswith(b"\n")
            is_whole = ends or len(line) <= LONGEST_LINE
            cut = len(line) if is_whole else _cut(line)
            yield row, _decode(line[bom:cut], path, row, offset + bom), is_whole
            row, offset, rest = row + ends, offset + cut, line[cut:]


def _cut(line: bytes) -> int:
    """Return where to cut a line that continues: after its last white space, else at the limit, between characters."""
    text = line.decode("utf-8", errors="surrogateescape")  # this loses no byte
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
            stdin = sys.stdin  # held until all is read: Python may not close, as it ends, what a thread still waits for
            if stdin is None:
                raise InputError("standard input cannot be read (it is closed)")
            yield stdin.buffer
            return
        with open_file(path) as file:
            yield io.BufferedReader(gzip.GzipFile(fileobj=file)) if is_gzip(path) else file
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(
            f"{path} is a damaged gzip file ({reason(error)}), expected one that gunzip can read"
        ) from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise InputError(f"{shown(path)} cannot be read ({reason(error)})") from error


def read_texts(path: str) -> list[str]:
    """Return the lines of a file of one text per line, without line ends; an empty line is an empty text.

    Raises InputError as `read_lines` does, if the file is empty, or if its name is that of a table or of JSON lines.
    """
    if suffix(path) in (*NO_TEXT_SUFFIXES, ".jsonl"):
        raise InputError(f"{path}: {suffix(path)} is not supported, expected one text per line, as in .txt")
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
        found, at = "a NUL", line.find(b"\0")
    if at >= 0:
        where = " of the decompressed stream" if is_gzip(path) else ""
        likely = _likely(line, path, begins=not offset)
        raise InputError(f"{shown(path)}:{row}: {found} at byte {offset + at}{where}, expected UTF-8 text{likely}")
    return text


def _likely(content: bytes, path: str, *, begins: bool = True) -> str:
    """Return, for a message, what bytes that are not UTF-8 probably are, and the command that converts them.

    begins: they are the first bytes of the file.
    """
    if begins and (kind := kind_of(content)):
        return f"; it is {kind}"
    encoding = encoding_of(content, begins=begins)
    if encoding is None:
        return ""
    return f"; it is probably {encoding}: {_command(path, f'iconv -f {encoding} -t UTF-8', 'utf8')}"


def _command(path: str, mend: str, prefix: str) -> str:
    """Return, for a message, a shell command that filters this file through `mend` into another one."""
    name, made = shlex.quote(path), shlex.quote(f"{prefix}-{Path(path).name}")
    if path == STANDARD_INPUT:
        return f"... | {mend}"
    if is_gzip(path):
        return f"gunzip -c {name} | {mend} | gzip > {made}"
    return f"{mend} < {name} > {made}"


def parse_json(text: str) -> Any:
    """Return the value of strict JSON; Python's reader also accepts NaN and Infinity, which other programs refuse.

    Raises ValueError or RecursionError as `json.loads` does.
    """

    def refuse(word: str) -> None:
        raise ValueError(f"{word} is not JSON; null can stand for an unknown value")

    return json.loads(text, parse_constant=refuse)


def parse_object(line: str, where: str) -> dict[str, Any]:
    """Return the JSON object in a line of a .jsonl file.

    Raises InputError if the line is not a JSON object; the message begins with `where`.
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
    """Return `value`, checked to be text; `what` names it in the message ("reviews.csv:17: column 'review'").

    Raises InputError if it is not a string, is only white space, or has half a surrogate pair, which JSON can spell.
    """
    if not isinstance(value, str):
        raise InputError(f"{what} is {json_type(value)}, expected a string")
    if not value.strip():
        raise InputError(f"{what} is empty, expected text")
    if LONE_SURROGATE.search(value):
        raise InputError(f"{what} contains an unpaired surrogate, expected Unicode text")
    return value


def json_type(value: object) -> str:
    """Return what messages call a JSON value of this type."""
    names = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def reason(error: Exception) -> str:
    """Return why something failed, in one line."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split())
