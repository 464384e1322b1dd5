"""A stand-in for Windows: `python -m tests.elsewhere STEP ARGS` is `python -m pretrain ARGS` without what that lacks.

It imports all our modules first, and ends as if killed before that step. What Windows lacks is taken away at the top,
since this module is what the processes of a pool import first.
"""

from __future__ import annotations

import errno
import fcntl
import importlib
import os
import pkgutil
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Before what they are made of here is gone: on Windows they are made of something else.
import psutil  # noqa: F401
from filelock import FileLock  # noqa: F401

MODULES = ("fcntl", "resource", "termios", "tty", "pty", "pwd", "grp", "syslog")
OF_OS = ("O_DIRECTORY", "O_NOFOLLOW", "sched_getaffinity", "confstr", "confstr_names", "fork", "killpg", "getpgid",
         "setsid", "getuid", "mkfifo", "statvfs", "sync")  # fmt: skip
OF_SIGNAL = ("pthread_sigmask", "pthread_kill", "sigpending", "sigwait", "setitimer", "alarm", "pause", "SIGHUP",
             "SIGKILL", "SIGALRM", "SIGPIPE", "SIGCHLD", "SIGUSR1", "SIGUSR2", "SIGXFSZ")  # fmt: skip
sys.modules |= dict.fromkeys(MODULES)  # type: ignore[arg-type]
for module, names in ((os, OF_OS), (signal, OF_SIGNAL)):
    for name in names:
        delattr(module, name)
shutil._use_fd_functions = False  # type: ignore[attr-defined]


def files_in_use() -> set[str]:
    """The files that this process has open or mapped. Locks don't count: filelock takes its files away by itself."""
    links = [link for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    mapped = [line.split(maxsplit=5)[-1] for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()]
    return {path for path in (*(os.readlink(link) for link in links), *mapped) if not path.endswith("lock")}


def as_windows(does: Callable[..., Any], *, taken: bool = False) -> Callable[..., Any]:
    """`os.rename` and its like: what is in use, or has something in it that is, stays; `taken`: so does the target."""

    def refusing(path: Any, *more: Any, **options: Any) -> Any:
        places = [os.path.abspath(place) for place in (path, *more)]
        if taken and os.path.lexists(places[1]):
            raise FileExistsError(errno.EEXIST, "Cannot create a file when that file already exists", str(more[0]))
        if any(used == place or used.startswith(place + os.sep) for used in files_in_use() for place in places):
            raise PermissionError(errno.EACCES, "The process cannot access the file", str(path))
        return does(path, *more, **options)

    return refusing


def open_no_directory(path: Any, flags: int, *more: Any, _open: Callable[..., int] = os.open, **options: Any) -> int:
    if os.path.isdir(path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))
    return _open(path, flags, *more, **options)


def sync_what_is_written(file: int, _fsync: Callable[[int], None] = os.fsync) -> None:
    if not fcntl.fcntl(file, fcntl.F_GETFL) & (os.O_WRONLY | os.O_RDWR):
        raise OSError(errno.EBADF, "Bad file descriptor")
    _fsync(file)


os.open, os.fsync = open_no_directory, sync_what_is_written
os.rename, os.replace, os.unlink = as_windows(os.rename, taken=True), as_windows(os.replace), as_windows(os.unlink)


def main() -> None:
    killed_before, sys.argv[1:] = int(sys.argv[1]), sys.argv[2:]
    for package in ("minibert", "pretrain", "finetune", "weights_convert"):
        for module in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
            importlib.import_module(module.name)

    from minibert.console import cli
    from pretrain.__main__ import main as pretrain
    from pretrain.train import Pretraining

    going_on = Pretraining.step

    def step(self: Pretraining, stop: Callable[[], bool]) -> Any:
        if self.progress.step == killed_before:
            os._exit(9)
        return going_on(self, stop)

    Pretraining.step = step  # type: ignore[method-assign]
    cli.run(pretrain)


if __name__ == "__main__":
    main()
