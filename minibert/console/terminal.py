"""Standard output and error of a command: a failure to report never ends a run. Imports nothing heavy.

A stream may be closed (`2>&-`), its terminal gone, its disk full, or its encoding without a character. A command writes
its answer with `print`, which then fails, and reports its progress with `say`, which doesn't.
"""

import contextlib
import errno
import io
import os
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TextIO


class Stream(io.RawIOBase):
    """The raw bytes of a standard stream, with errors that name it or are ignored."""

    def __init__(self, raw: io.RawIOBase | None, name: str, *, forgiving: bool) -> None:
        """raw: where the bytes go; None: the stream is closed. forgiving: ignore what can't be written."""
        self._raw, self.name, self.forgiving = raw, name, forgiving

    def write(self, data) -> int:  # type: ignore[no-untyped-def]  # any kind of bytes
        """Write `data` and return the number of bytes written.

        Raises OSError, naming the stream, if writing fails for the first time; later failures are ignored.
        """
        try:
            if self._raw is None:
                raise OSError(errno.EBADF, "closed, expected somewhere to write to")
            while (written := self._raw.write(data)) is None:  # non-blocking stream, slow reader
                time.sleep(0.01)
            return written
        except OSError as error:
            if self.forgiving:
                return len(data)
            self.forgiving = True
            error.filename = self.name
            raise

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return self._raw is not None and self._raw.isatty()

    def fileno(self) -> int:
        """Raises OSError if the stream is closed."""
        if self._raw is None:
            raise io.UnsupportedOperation("fileno")
        return self._raw.fileno()


def take_over() -> None:
    """Put a `Stream` under standard output and error; call it once, when a command starts.

    A character that the terminal's encoding lacks is written as its code. Closed streams are opened on the null device:
    otherwise the next file opened would get their number, and what C libraries write to them.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # takes the lowest number that is free
    sys.stdout = _lasting(sys.stdout, "standard output", forgiving=False)
    sys.stderr = _lasting(sys.stderr, "standard error", forgiving=True)


def _lasting(stream: TextIO | None, name: str, *, forgiving: bool) -> TextIO:
    """Return `stream` on top of a `Stream`, or unchanged if it is not the process's own (tests, notebooks)."""
    raw, encoding, by_line = None, "utf-8", True
    if stream is not None:
        raw = getattr(getattr(stream, "buffer", None), "raw", getattr(stream, "buffer", None))
        if not isinstance(stream, io.TextIOWrapper) or not isinstance(raw, io.RawIOBase) or isinstance(raw, Stream):
            return stream
        stream.flush()
        encoding, by_line = stream.encoding, stream.line_buffering or raw is stream.buffer  # PYTHONUNBUFFERED
    lasting = io.BufferedWriter(Stream(raw, name, forgiving=forgiving))
    return io.TextIOWrapper(lasting, encoding, errors="backslashreplace", line_buffering=by_line)


def say(*lines: str) -> None:
    """Print lines about the progress of a command, and flush. The command continues even if they can't be written."""
    with _forgiven(sys.stdout), contextlib.suppress(OSError, ValueError):
        for line in lines:
            print(line)
        if sys.stdout is not None:
            sys.stdout.flush()


def print_lines(lines: Iterable[str]) -> None:
    """Print lines, with their line ends, in UTF-8 and as they come, so that a reader of single lines does not wait."""
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]  # it is a text stream
    for line in lines:
        print(line, end="", flush=True)


def is_closed(stream: TextIO | None) -> bool:
    """Whether `stream` was closed when the command started."""
    raw = _stream_under(stream)
    return stream is None or (raw is not None and raw._raw is None)


@contextlib.contextmanager
def _forgiven(text: TextIO | None) -> Iterator[None]:
    stream = _stream_under(text)
    if stream is None or text is None:
        yield
        return
    text.flush()  # a failure to write an earlier answer is not ignored
    before, stream.forgiving = stream.forgiving, True
    try:
        yield
    finally:
        stream.forgiving = before


def _stream_under(text: TextIO | None) -> Stream | None:
    raw = getattr(getattr(text, "buffer", None), "raw", None)
    return raw if isinstance(raw, Stream) else None
