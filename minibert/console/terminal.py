"""Standard output and error of a command: what can't be written there never ends a run. Imports nothing heavy.

A stream may be closed (`2>&-`), its terminal gone, its disk full, or its encoding without the letter. A command prints
its answer with `print`, which then fails, and what it says about its work with `say`, which does not.
"""

import contextlib
import errno
import io
import os
import sys
import time
from collections.abc import Iterator
from typing import TextIO


class Stream(io.RawIOBase):
    """The bytes of a standard stream, on their way to the system."""

    def __init__(self, raw: io.RawIOBase | None, name: str, *, forgiving: bool) -> None:
        """raw: where they go; None: the stream is closed. forgiving: what can't be written is passed over."""
        self._raw, self.name, self.forgiving = raw, name, forgiving

    def write(self, data) -> int:  # type: ignore[no-untyped-def]  # any kind of bytes
        """As every raw stream's.

        Raises OSError: once, naming the stream; what is written after that is for nobody and passed over.
        """
        try:
            if self._raw is None:
                raise OSError(errno.EBADF, "is closed, expected somewhere to write to")
            while (written := self._raw.write(data)) is None:  # the reader of a stream that doesn't block is slow
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
        """Raises OSError: the stream is closed."""
        if self._raw is None:
            raise io.UnsupportedOperation("fileno")
        return self._raw.fileno()


def take_over() -> None:
    """Puts a `Stream` under standard output and error; to be called once, when a command begins.

    A letter that the terminal's encoding lacks is written as its number. Closed streams are opened on nothing, lest the
    next file that is opened takes their place, and gets what C libraries write to them.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # takes the lowest number that is free
    sys.stdout = _lasting(sys.stdout, "standard output", forgiving=False)
    sys.stderr = _lasting(sys.stderr, "standard error", forgiving=True)


def _lasting(stream: TextIO | None, name: str, *, forgiving: bool) -> TextIO:
    """The stream as `take_over` leaves it; one that is not a process's own, but a test's or a notebook's, as it is."""
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
    """Lines about the work under way or done, at once. The work goes on all the same where nobody can read them."""
    with _forgiven(sys.stdout), contextlib.suppress(OSError, ValueError):
        for line in lines:
            print(line)
        if sys.stdout is not None:
            sys.stdout.flush()


def is_closed(stream: TextIO | None) -> bool:
    """Whether nothing that is written there can arrive."""
    raw = _stream_under(stream)
    return stream is None or (raw is not None and raw._raw is None)


@contextlib.contextmanager
def _forgiven(text: TextIO | None) -> Iterator[None]:
    stream = _stream_under(text)
    if stream is None or text is None:
        yield
        return
    text.flush()  # an answer before it is not forgiven
    before, stream.forgiving = stream.forgiving, True
    try:
        yield
    finally:
        stream.forgiving = before


def _stream_under(text: TextIO | None) -> Stream | None:
    raw = getattr(getattr(text, "buffer", None), "raw", None)
    return raw if isinstance(raw, Stream) else None
