"""A pool of processes that takes a stream of tasks, in order and in bounded memory, and how signals stop it.

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
    """A pool of processes that gives results in the order of the tasks, a bounded number of them at a time."""

    def __init__(self, processes: int, check_stop: Callable[[], None]) -> None:
        self.check_stop = check_stop
        self.peaks: dict[int, int] = {}  # process id -> its peak memory, in bytes
        processes = processes or usable_cores()
        self._in_flight = 2 * processes + 2
        spawn = multiprocessing.get_context("spawn")  # a fork copies locks, but not the threads that hold them
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
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def start_worker() -> None:
    """Set up a process of a pool before its first task."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent responds to it
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # the pool already has a process for each core
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this worker when its parent ends; if the parent was killed, it would otherwise wait for tasks forever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _measured(function: Callable[..., Result], task: tuple[Any, ...]) -> tuple[Result, int, int]:
    return function(*task), os.getpid(), peak_rss_bytes()


@contextlib.contextmanager
def stop_requests() -> Iterator[Callable[[], None]]:
    """Give a function that raises Interrupted once a stop signal has arrived, so that nothing is cut off halfway.

    A terminal sends its signals to all processes, but only this one should respond: they are blocked meanwhile, which
    new processes inherit, and let in whenever the function is called. Windows can't block signals.
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
    if threading.current_thread() is threading.main_thread():  # only there can signals be handled
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
    for number in received:  # too late to stop this block: the caller handles it
        signal.raise_signal(number)
