"""A pool of processes for a stream of tasks, and how it is stopped: order, memory, signals.

Imports nothing heavy, since every worker imports it.
"""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import resource_tracker
from types import FrameType
from typing import Any, Self, TypeVar

from minibert.errors import Interrupted, RunStopped
from minibert.training.interrupts import stop_signals
from minibert.training.memory import peak_rss_bytes

Result = TypeVar("Result")


class Workers:
    """A pool of processes whose results come back in the order of the tasks, a bounded number of them at a time."""

    def __init__(self, processes: int, check_stop: Callable[[], None]) -> None:
        self.check_stop = check_stop
        self.peaks: dict[int, int] = {}  # process id -> the most memory it had, in bytes
        processes = processes or usable_cores()
        self._in_flight = 2 * processes + 2
        spawn = multiprocessing.get_context("spawn")  # a fork would copy the locks of threads that it has not
        self._pool = ProcessPoolExecutor(processes, spawn, initializer=start_worker)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def map(self, function: Callable[..., Result], tasks: Iterable[tuple[Any, ...]]) -> Iterator[Result]:
        waiting: deque[Future[tuple[Result, int, int]]] = deque()
        try:
            for task in tasks:
                self.check_stop()
                waiting.append(self._pool.submit(_measured, function, task))
                if len(waiting) >= self._in_flight:
                    yield self._result(waiting.popleft())
            while waiting:
                self.check_stop()
                yield self._result(waiting.popleft())
        except BrokenProcessPool as error:
            self.check_stop()
            raise RunStopped("a worker process was killed, perhaps for lack of memory; nothing was kept") from error

    def _result(self, future: Future[tuple[Result, int, int]]) -> Result:
        result, process, peak = future.result()
        self.peaks[process] = peak
        return result


def usable_cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def start_worker() -> None:
    """The first thing that a process of a pool does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's to answer
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # the pool already has a process for each core
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A worker would wait for tasks for ever after its parent was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _measured(function: Callable[..., Result], task: tuple[Any, ...]) -> tuple[Result, int, int]:
    return function(*task), os.getpid(), peak_rss_bytes()


@contextlib.contextmanager
def stop_requests() -> Iterator[Callable[[], None]]:
    """Gives a function that raises Interrupted once a signal to stop has come, so that nothing is cut off halfway.

    What a terminal sends to all processes, and only this one should answer, is blocked meanwhile, for processes that
    are started inherit this. It is let in whenever the function is called. Windows blocks no signals.
    """
    received: list[int] = []
    to_all = {number for number in stop_signals() if number != signal.SIGTERM}
    can_block = hasattr(signal, "pthread_sigmask")

    def note(number: int, _: FrameType | None) -> None:
        received.append(number)

    def check() -> None:
        if can_block and signal.sigpending():
            signal.pthread_sigmask(signal.SIG_UNBLOCK, to_all)
            signal.pthread_sigmask(signal.SIG_BLOCK, to_all)
        if received:
            raise Interrupted("interrupted; nothing was kept")

    previous: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():  # signals are handled nowhere else
        heeded = [number for number in stop_signals() if signal.getsignal(number) != signal.SIG_IGN]
        previous = {number: signal.signal(number, note) for number in heeded}
    if can_block:
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, to_all)
        resource_tracker.ensure_running()  # now, because multiprocessing unblocks SIGINT when it starts this helper
        signal.pthread_sigmask(signal.SIG_BLOCK, to_all)
    try:
        yield check
    finally:
        if can_block:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in previous.items():
            signal.signal(number, handler)
    for number in received:  # too late to stop this: it is the caller's to answer
        signal.raise_signal(number)
