"""What bytes that are not UTF-8 probably are, for messages: another encoding, or not text at all."""

import re

# The first bytes of files that are not text, whatever their names say.
_NO_TEXTS = {
    b"\x1f\x8b": "a gzip file, whose name must end in .gz",
    b"PK\x03\x04": "a zip archive, like .xlsx and .npz",
    b"PAR1": "a Parquet file",
    b"\x28\xb5\x2f\xfd": "a Zstandard file",
}
_HIGH_BYTES = bytes(range(0x80, 0x100))
# Encoding -> what matches most bytes above 127 of a text in it; the first that fits is the likely one.
_ENCODINGS = {
    "SHIFT_JIS": re.compile(rb"[\x82\x83][\x40-\xfc]"),  # kana
    "GB18030": re.compile(rb"[\xb0-\xd7][\xa1-\xfe]"),  # the 3,755 commonest characters
    "WINDOWS-1251": re.compile(rb"[\xa8\xb8\xc0-\xff]{2,}"),  # Cyrillic words
    "WINDOWS-1252": re.compile(rb"[\x80-\xff]"),
}


def kind_of(content: bytes) -> str | None:
    """Return what a file that begins with these bytes is; None if it may be text."""
    return next((kind for magic, kind in _NO_TEXTS.items() if content.startswith(magic)), None)


def encoding_of(content: bytes, *, begins: bool) -> str | None:
    """Return the likely encoding, as iconv names it; None for damaged UTF-8 and for what doesn't look like text.

    begins: these are the first bytes of the file.
    """
    sample = content[: 2**16]
    if begins and sample.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "UTF-16"
    if b"\0" in sample:  # as every other byte of ASCII in UTF-16; the second of each pair if the low byte comes first
        even, odd = (sample[first::2].count(b"\0") for first in (0, 1))
        apart = max(even, odd) > len(sample) / 6 and min(even, odd) <= max(even, odd) / 10
        if not begins or not apart or re.search(rb"[\x01-\x08\x0e-\x1f]", sample):
            return None
        return "UTF-16BE" if even > odd else "UTF-16LE"
    text = sample.decode("utf-8", errors="replace")
    wrong, high = text.count("\ufffd"), _high_bytes(sample)
    if len(re.findall(r"[^\0-\x7f]", text)) >= 2 * wrong:  # at least as many characters are valid
        return None
    return next(name for name, usual in _ENCODINGS.items() if 2 * _high_bytes(b"".join(usual.findall(sample))) > high)


def _high_bytes(content: bytes) -> int:
    return len(content) - len(content.translate(None, _HIGH_BYTES))
