"""`python -m minibert`, `pretrain`, `finetune` and `weights_convert` in forked children of a process that has imported
torch already: a command costs a tenth of a second in place of four. A child has what a process of its own would have:
standard streams, environment, working directory, session, exit code; and what it does can be watched and cut off.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import io
import itertools
import json
import os
import pkgutil
import pty
import resource
import runpy
import select
import shutil
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

REPOSITORY = Path(__file__).parents[2]
PACKAGES = ("minibert", "pretrain", "finetune", "weights_convert")
SLOW_IMPORTS = (
    "torch._dynamo", "matplotlib.figure", "matplotlib.backends.backend_agg", "torchmetrics", "tyro", "tqdm",
    "multiprocessing.resource_tracker", "tests.endurance.material",
)  # fmt: skip
STOPPING = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
SECONDS = 60  # of the processor's time, which no command here takes; waiting it may take longer, on a busy machine
WAITING = 5  # times as long
MOST_MEMORY = 3 * 2**30  # of address space beyond what the imports take

# Changes of the file system, as `sys.addaudithook` tells them; `os.fsync`, of which it tells nothing, is one as well.
CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link", "os.symlink", "shutil.rmtree"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


class Cut(NamedTuple):
    """When a command is sent a signal: at its `change`th change of the file system, and `seconds` after that; or
    `seconds` after its start."""

    signal: int = signal.SIGKILL
    change: int | None = None
    seconds: float = 0.0

    def __str__(self) -> str:
        after = f"at change {self.change} + " if self.change else "after "
        return f"{signal.Signals(self.signal).name} {after}{self.seconds:.4f} s"


@dataclass(frozen=True)
class Streams:
    """Where the standard streams lead. Output: "kept", "closed", "full" (a disk), "gone" (its reader), "hung up" (its
    terminal). Input: bytes, or "closed"."""

    stdin: bytes | str = b""
    stdout: str = "kept"
    stderr: str = "kept"
    encoding: str = "utf-8"


@dataclass(frozen=True)
class Ending:
    """How a command ended."""

    code: int  # the exit code; of a signal that killed it: minus its number
    out: str
    err: str
    changes: int  # of the file system, where they were counted
    reached: list[str] = field(default_factory=list)  # hosts that it asked for
    hung: bool = False  # it did not end by itself

    def __str__(self) -> str:
        return f"exit {self.code}, stderr {self.err[-1500:]!r}, stdout {self.out[-300:]!r}"


def preload() -> None:
    """Imports whatever a command might. No thread may come of it, for a fork copies only one."""
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = "1"
    for name in SLOW_IMPORTS:
        importlib.import_module(name)
    for package in map(importlib.import_module, PACKAGES):
        for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            if not found.name.endswith("__main__"):
                importlib.import_module(found.name)
    for package in PACKAGES:
        sys.modules.pop(f"{package}.__main__", None)  # `run` is to execute it
    threads = len(os.listdir("/proc/self/task"))
    assert threads == 1, f"{threads} threads after the imports"


def run(
    words: Sequence[object],
    place: Path,
    *,
    streams: Streams = Streams(),
    environment: Mapping[str, str | None] | None = None,
    cut: Cut | None = None,
    fresh: bool = False,
) -> Ending:
    """`python -m WORDS` in the directory `place`. fresh: in an interpreter of its own, for what matters at its start.

    It is killed after `SECONDS`. What it says is kept beside `place`, so that nothing of ours is in its way.
    """
    notes = place.with_name(f"{place.name}.notes")
    shutil.rmtree(notes, ignore_errors=True)
    notes.mkdir()
    for name in ("stdin", "stdout", "stderr", "seen"):
        (notes / name).write_bytes(streams.stdin if name == "stdin" and isinstance(streams.stdin, bytes) else b"")
    arguments = [os.fsencode(str(word)) for word in words]
    signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)  # until the command begins
    child = os.fork()
    if child == 0:
        _become(arguments, place, notes, streams, environment or {}, cut, fresh)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
    timed = cut is not None and cut.change is None
    try:
        with contextlib.closing(io.FileIO(os.pidfd_open(child))) as ended:
            if timed and not select.select([ended], [], [], cut.seconds)[0]:
                os.kill(child, cut.signal)
            hung = not select.select([ended], [], [], WAITING * SECONDS)[0]
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)  # itself, or what it left behind
        status = os.waitpid(child, 0)[1]
    encoding = streams.encoding.replace("utf-16", "utf-16-le")  # Python writes no byte-order mark into what is open
    said = {name: (notes / name).read_text(encoding, "backslashreplace") for name in ("stdout", "stderr")}
    seen = (notes / "seen").read_text().splitlines()
    hosts = [line for line in seen if line != "change"]
    code = os.waitstatus_to_exitcode(status)
    return Ending(code, said["stdout"], said["stderr"], seen.count("change"), hosts, hung)


def _become(
    arguments: list[bytes], place: Path, notes: Path, streams: Streams, environment: Mapping[str, str | None],
    cut: Cut | None, fresh: bool,
) -> None:  # fmt: skip
    """In the child: the command, to its exit. Never returns."""
    code = 99
    try:
        os.setsid()
        os.chdir(place)
        for name, value in environment.items():
            os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        limit = MOST_MEMORY + (4 * 2**30 if fresh else used)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
        with (notes / "seen").open("w", buffering=1) as seen:  # a line each, whatever becomes of the process
            _watch(place, seen, cut)
            _redirect(streams, notes)
            if fresh:
                os.environ["PYTHONPATH"] = str(REPOSITORY)
                signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
                os.execv(sys.executable, [sys.executable, "-m", *arguments])
            sys.argv = list(map(os.fsdecode, arguments))
            code = _finish(lambda: runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True))
    except BaseException:
        (notes / "stderr").write_text(traceback.format_exc())  # of ours
    finally:
        os._exit(code)


def _finish(command: Callable[[], object]) -> int:
    """Runs it and ends as an interpreter does, at the end of which stands the exit code."""
    code = 0
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
        command()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException as error:
        code = -signal.SIGINT if isinstance(error, KeyboardInterrupt) else 1
        with contextlib.suppress(Exception):
            traceback.print_exc()
    for number in STOPPING:  # at an interpreter's end they only bring tracebacks of Python's own
        signal.signal(number, signal.SIG_IGN)
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None and not stream.closed:
                stream.flush()
        except OSError as error:
            code = 120
            with contextlib.suppress(Exception):
                print(f"Exception ignored: {error!r}", file=sys.stderr)
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code


def _redirect(streams: Streams, notes: Path) -> None:
    """The standard streams, and Python's own upon them as at its start."""
    places = [streams.stdin if isinstance(streams.stdin, str) else "kept", streams.stdout, streams.stderr]
    for number, (name, kind) in enumerate(zip(("stdin", "stdout", "stderr"), places, strict=True)):
        if kind == "kept":
            handle = os.open(notes / name, os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_APPEND)
        elif kind == "full":
            handle = os.open("/dev/full", os.O_WRONLY)
        else:
            other, handle = pty.openpty() if kind == "hung up" else os.pipe()
            os.close(other)
        os.dup2(handle, number)
        os.close(handle)
        if kind == "closed":
            os.close(number)
    sys.stdin = None if places[0] == "closed" else io.TextIOWrapper(io.BufferedReader(io.FileIO(0)), "utf-8")
    for number, kind in ((1, streams.stdout), (2, streams.stderr)):
        errors = "backslashreplace" if number == 2 else "strict"
        made = None
        if kind != "closed":
            raw = io.BufferedWriter(io.FileIO(number, "w"))
            made = io.TextIOWrapper(raw, streams.encoding, errors, line_buffering=number == 2 or os.isatty(number))
        setattr(sys, ("stdout", "stderr")[number - 1], made)
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr  # type: ignore[misc]


def _watch(place: Path, seen: Any, cut: Cut | None) -> None:
    """Notes every change of the file system below `place` and every host asked for; cuts off at the change named."""
    ours = str(place)
    changes = itertools.count(1)

    def change() -> None:
        seen.write("change\n")
        if cut is not None and next(changes) == cut.change:
            if cut.seconds:  # the signal that a timer sends kills as well, and in the middle of a write
                signal.signal(signal.SIGALRM, signal.SIG_DFL)
                signal.setitimer(signal.ITIMER_REAL, cut.seconds)
            else:
                os.kill(os.getpid(), cut.signal)

    def hook(event: str, values: tuple[Any, ...]) -> None:
        if event in CHANGES or (event == "open" and isinstance(values[2], int) and values[2] & WRITING):
            path = os.fsdecode(values[0]) if isinstance(values[0], str | bytes | os.PathLike) else ""
            if path.startswith(ours) or (path and not os.path.isabs(path)):
                change()
        elif event in ("socket.connect", "socket.getaddrinfo") and os.getpid() == process:
            address = values[1] if event == "socket.connect" else values[0]
            if not (isinstance(address, str | bytes) and event == "socket.connect"):  # a path: this machine's own
                seen.write(f"{event} {address}\n")
                raise OSError(101, "Network is unreachable")

    def fsync(descriptor: int, original: Callable[[int], None] = os.fsync) -> None:
        change()
        original(descriptor)

    process = os.getpid()
    os.fsync = fsync
    sys.addaudithook(hook)


def spread(keys: Sequence[Any], work: Callable[[Any], Any], jobs: int) -> Iterator[tuple[Any, Any]]:
    """Each key with what `work` makes of it, as it comes; each in a process of its own, `jobs` at a time.

    Raises RuntimeError: with the traceback of what `work` raised.
    """
    waiting, running = list(reversed(keys)), {}
    while waiting or running:
        while waiting and len(running) < jobs:
            key, answer = waiting.pop(), tempfile.TemporaryFile("w+")  # noqa: SIM115 - until the child has ended
            child = os.fork()
            if child == 0:
                code = 1
                try:
                    json.dump(work(key), answer)
                    code = 0
                except BaseException:
                    traceback.print_exc(file=answer)
                finally:
                    answer.flush()
                    os._exit(code)
            running[child] = key, answer
        child, status = os.wait()
        key, answer = running.pop(child)
        with answer:
            answer.seek(0)
            if status:
                raise RuntimeError(f"{key}: {answer.read()}")
            yield key, json.load(answer)
