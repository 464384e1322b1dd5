"""A lock between processes: an empty file that exists while it is held. Imports nothing heavy, for `prepare`."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from minibert.errors import InputError


class Held(InputError):
    """Another process holds the lock, so the files there belong to it."""


@contextlib.contextmanager
def hold(path: Path, *, busy: str) -> Iterator[None]:
    """Hold the lock that the file `path` represents. A killed process leaves the file; the next holder removes it.

    Raises Held, with the message `busy`, if another process holds the lock; OSError if the file can't be made.
    """
    lock = FileLock(path, mode=0o644)  # without a mode, it might first test the disk with a file of its own
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise Held(busy) from None
    try:
        yield
    finally:
        # Unlink while it is held: a process that opened the file meanwhile then finds it gone and doesn't take it.
        # Windows can't remove an open file; there filelock removes it.
        with contextlib.suppress(OSError):
            path.unlink()
        lock.release()
