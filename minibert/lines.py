"""Reading files of one text a line: plain or gzip, or standard input."""

from __future__ import annotations

import gzip
import sys
import zlib
from pathlib import Path

from minibert.errors import InputError

STANDARD_INPUT = "-"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def read_lines(source: str) -> list[str]:
    """The lines of a UTF-8 file, without their ends; an empty line is an empty string. "-" is standard input.

    A line ends at \\n or \\r\\n and nowhere else: a text may well hold U+2028. A file whose name ends in .gz is
    decompressed.

    Raises:
        InputError: no such file, not one line in it, damaged gzip, or not UTF-8 text; names the file and the line.
    """
    name = "standard input" if source == STANDARD_INPUT else source
    content = _read_bytes(source, name).removeprefix(BYTE_ORDER_MARK)
    if not content:
        raise InputError(f"{name}: expected one text a line, found nothing")
    try:
        text, wrong = content.decode("utf-8"), content.find(b"\0")
    except UnicodeDecodeError as error:
        text, wrong = "", error.start
    if wrong >= 0:  # NUL is valid UTF-8, but what has one is no text: it is UTF-16, or an array
        found = "a NUL" if content[wrong] == 0 else f"the byte 0x{content[wrong]:02x}"
        line = content.count(b"\n", 0, wrong) + 1
        raise InputError(f"{name}, line {line}: expected UTF-8 text, found {found}")
    return [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]


def _read_bytes(source: str, name: str) -> bytes:
    try:
        content = sys.stdin.buffer.read() if source == STANDARD_INPUT else Path(source).read_bytes()
        return gzip.decompress(content) if source.lower().endswith(".gz") else content
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"{name}: damaged gzip file ({error})") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise InputError(f"{name}: cannot be read ({getattr(error, 'strerror', None) or error})") from error
