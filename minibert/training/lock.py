"""A lock between processes: an empty file, there as long as it is held. Imports nothing heavy, for `prepare`."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from minibert.errors import InputError


class Held(InputError):
    """Another process is at it: what is there is that one's."""


@contextlib.contextmanager
def hold(path: Path, *, busy: str) -> Iterator[None]:
    """Holds the lock that the file `path` stands for. A kill leaves the file, and the next holder takes it away.

    Raises Held: another process holds it; `busy` is the message; OSError: the file can't be made.
    """
    lock = FileLock(path, mode=0o644)  # else it might try out first, with a file of its own, what the disk can do
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise Held(busy) from None
    try:
        yield
    finally:
        # While it is held: whoever opened it meanwhile then finds it gone, and doesn't take it. Windows removes no open
        # file, and there filelock does it.
        with contextlib.suppress(OSError):
            path.unlink()
        lock.release()
