"""Stopping between two steps: a signal sets a flag that the training loop reads, so that it can save first."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

# A Ctrl-C can reach a worker twice, from the terminal and from torchrun, which forwards it. That is one request, and
# not the second one of an impatient user.
SAME_REQUEST_SECONDS = 1.0


def stop_signals() -> list[signal.Signals]:
    """Return SIGINT, SIGTERM and, unless the system lacks it or `nohup` ignores it, SIGHUP: the terminal was closed."""
    numbers = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    return numbers


@contextmanager
def stop_requested() -> Iterator[Callable[[], bool]]:
    """Give a function that returns whether one of `stop_signals` has arrived; at exit, restore the earlier handlers.

    A SIGINT a second or more after the first signal raises KeyboardInterrupt at once. Main thread only.
    """
    first_at: float | None = None

    def note(number: int, _frame: FrameType | None) -> None:
        nonlocal first_at
        now = time.monotonic()
        if first_at is None:
            first_at = now
        elif number == signal.SIGINT and now - first_at >= SAME_REQUEST_SECONDS:
            raise KeyboardInterrupt

    before = {number: signal.signal(number, note) for number in stop_signals()}
    try:
        yield lambda: first_at is not None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
