"""Text files of any size, line by line: UTF-8, plain or gzip, or standard input."""

from __future__ import annotations

import gzip
import io
import re
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from minibert.errors import InputError
from minibert.vocabulary import LONE_SURROGATE

STANDARD_INPUT = "-"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def shown(path: str) -> str:
    """How messages name the file."""
    return "standard input" if path == STANDARD_INPUT else path


def is_gzip(path: str) -> bool:
    """Whether the file is compressed: its name says so."""
    return path.lower().endswith(".gz")


def suffix(path: str) -> str:
    """What the file's name says of its format, in lower case: ".csv" of Reviews.CSV.gz; "" of standard input."""
    return Path(path[: -len(".gz")] if is_gzip(path) else path).suffix.lower()


def read_lines(path: str) -> Iterator[tuple[int, str]]:
    """Streams (row from 1, line with its line end) of a file or of standard input (`-`); a byte-order mark is left out.

    Lines end with a line feed, and with nothing else that Unicode calls a line break: texts are full of those.

    Raises:
        InputError: the file cannot be read, is damaged gzip, or is not UTF-8: then the first bad byte is named.
    """
    offset = 0  # bytes before this line
    with _opened(path) as stream:
        for row, line in enumerate(stream, start=1):
            bom = len(_BYTE_ORDER_MARK) if row == 1 and line.startswith(_BYTE_ORDER_MARK) else 0
            yield row, _decode(line[bom:], path, row, offset + bom)
            offset += len(line)


@contextmanager
def _opened(path: str) -> Iterator[BinaryIO]:
    try:
        if path == STANDARD_INPUT:
            if sys.stdin is None:
                raise InputError("standard input: cannot be read (it is closed)")
            yield sys.stdin.buffer
            return
        with open(path, "rb") as file:
            yield io.BufferedReader(gzip.GzipFile(fileobj=file)) if is_gzip(path) else file
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"{path}: damaged gzip file ({reason(error)}), expected one that gunzip can read") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise InputError(f"{shown(path)}: cannot be read ({reason(error)})") from error


def read_texts(path: str) -> list[str]:
    """The lines of a file of one text a line, without their ends; an empty line is an empty text.

    Raises:
        InputError: as `read_lines`, or not one line in it.
    """
    texts = [re.sub(r"\r?\n\Z", "", line) for _, line in read_lines(path) if line]
    if not texts:
        raise InputError(f"{shown(path)}: expected one text a line, found nothing")
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
        raise InputError(f"{shown(path)}:{row}: {found} at byte {offset + at}{where}, expected UTF-8 text")
    return text


def check_text(value: object, what: str) -> str:
    """`value` itself; `what` names it in the message ("reviews.csv:17: column 'review'").

    Raises:
        InputError: it is no string, or nothing but white space, or holds half a surrogate pair, which JSON can spell.
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
