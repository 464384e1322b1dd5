"""Beside another program PyTorch's threads wait asleep, on a quiet machine by spinning."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import psutil
import pytest
import torch

from minibert.fast import threads
from minibert.fast.threads import ProcessorTimes, SpareThreads, crowded
from tests.helpers import REPOSITORY

ALONE = ProcessorTimes(0.0, 0.0, 0.0)


@pytest.fixture(autouse=True)
def two_threads_on_two_cores(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(threads, "cores", lambda: 2)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    torch.zeros(2 * 32768).add_(1)  # the team of this thread
    yield
    torch.set_num_threads(before)


def thread_count() -> int:
    """Of this process, OpenMP's included."""
    return psutil.Process().num_threads()


def wait_until(true: Callable[[], bool]) -> None:
    while not true():
        time.sleep(0.01)


def test_a_reading_grows_with_the_work_of_this_process() -> None:
    before = ProcessorTimes.take()
    while ProcessorTimes.take().own < before.own + 0.05:
        pass
    after = ProcessorTimes.take()
    assert after.now > before.now and after.machine >= before.machine + 0.02


def test_others_are_the_work_that_is_not_ours() -> None:
    after = ProcessorTimes(now=10.0, machine=15.0, own=4.0)
    assert after.others(ALONE) == 1.1
    assert after.others(ALONE, processes=2) == 0.7


def test_threads_and_others_want_more_than_the_cores() -> None:
    assert [crowded(others, 2) for others in (0.3, 0.5)] == [False, True]
    assert [crowded(others, 1) for others in (1.3, 1.5)] == [False, True]


@pytest.mark.parametrize(("cores", "wanted", "more"), [(2, 2, 2), (4, 2, 6), (8, 8, 8), (2, 4, 4)])
def test_spare_threads_are_more_than_the_cores_that_are_left(
    cores: int, wanted: int, more: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "cores", lambda: cores)
    torch.set_num_threads(wanted)
    torch.zeros(wanted * 32768).add_(1)
    before = thread_count()
    spare = SpareThreads(wanted)
    assert thread_count() == before + more
    spare.end()
    wait_until(lambda: thread_count() == before)


class Ended(BaseException):
    """The looks that a test wants are over."""


def looks(monkeypatch: pytest.MonkeyPatch, readings: Sequence[tuple[float, float, float]]) -> list[str]:
    """What the watch does at each reading after the first."""
    taken, done = [ProcessorTimes(*reading) for reading in readings], []

    def take() -> ProcessorTimes:
        if not taken:
            raise Ended
        done.append("")
        return taken.pop(0)

    class Spare:
        def __init__(self, threads: int) -> None:
            done[-1] = f"{threads} threads sleep"

        def end(self) -> None:
            done[-1] = "they go"

    monkeypatch.setattr(ProcessorTimes, "take", take)
    monkeypatch.setattr(threads, "SpareThreads", Spare)
    monkeypatch.setattr(threads, "INTERVAL", 0)
    with pytest.raises(Ended):
        threads.look_on(threading.Event())
    return done[1:]


QUIET_THEN_BUSY_THEN_QUIET = [(0, 0, 0), (1, 2, 2), (2, 4, 3), (3, 6, 4), (4, 8, 6), (5, 10, 8)]


def test_they_are_there_as_long_as_another_program_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert looks(monkeypatch, QUIET_THEN_BUSY_THEN_QUIET) == ["", "2 threads sleep", "", "they go", ""]


def test_one_thread_waits_for_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    assert looks(monkeypatch, [(0, 0, 0), (1, 2, 0)]) == [""]


def watchers(monkeypatch: pytest.MonkeyPatch) -> int:
    """How many threads `watch` starts, called twice."""
    over = threading.Event()
    monkeypatch.setattr(threads, "look_on", lambda _: over.wait())
    monkeypatch.setattr(threads, "WATCHER", "a test's")
    before = threading.active_count()
    threads.watch()
    threads.watch()
    try:
        return threading.active_count() - before
    finally:
        over.set()


def test_it_is_watched_by_one_thread_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in threads.WAITING:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(threads.sys, "platform", "linux")
    assert watchers(monkeypatch) == 1


@pytest.mark.parametrize("name", threads.WAITING)
def test_the_users_own_waiting_is_kept(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "ACTIVE")
    assert watchers(monkeypatch) == 0


def test_another_systems_threads_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads.sys, "platform", "darwin")
    assert watchers(monkeypatch) == 0


def test_no_thread_of_ours_is_left_when_python_ends() -> None:
    """One that is inside PyTorch then would abort the process: "terminate called without an active exception"."""
    code = (
        "import atexit, itertools, threading, time, torch\n"
        "atexit.register(lambda: print([thread.name for thread in threading.enumerate()]))\n"
        "from minibert.fast import threads\n"
        "torch.set_num_threads(2)\n"
        "flip = itertools.cycle([True, False])\n"
        "threads.crowded, threads.INTERVAL = lambda *_: next(flip), 0.001\n"
        "threads.watch(); time.sleep(0.1)"
    )
    without = {name: value for name, value in os.environ.items() if name not in threads.WAITING}
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, env=without, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "['MainThread']\n", "")
