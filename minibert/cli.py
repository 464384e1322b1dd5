"""What every command shares: options from a typed dataclass, one-line errors, exit codes.

Bad input ends with one line on standard error and the code that `minibert.errors` gives it; a traceback is shown only
with MINIBERT_DEBUG=1.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import io
import math
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from minibert import environment, terminal
from minibert.errors import InputError, Interrupted, MinibertError, OutOfMemory, RunStopped

MOST = 1e18  # of any option: beyond it, numbers are not counted exactly, and soon not at all

Options = TypeVar("Options")

# Errors by which an operating system says "no room left": not the user's input, but nothing to go on with either.
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def parse(
    options: type[Options], args: Sequence[str], *, prog: str, description: str, default: Options | None = None
) -> Options:
    """The command line `args` as an instance of the dataclass `options`; `default` holds values for what is not given.

    `--help` shows every field with its docstring and default, and exits with 0.

    Raises:
        InputError: an unknown option, a missing or malformed value: the parser's report, reduced to one line.
    """
    import tyro  # here, so that importing a command costs nothing

    report = io.StringIO()
    try:
        with contextlib.redirect_stderr(report):
            return tyro.cli(
                options,
                args=args,
                prog=prog,
                description=description,
                default=tyro.MISSING_NONPROP if default is None else default,
                config=(tyro.conf.OmitArgPrefixes,),
            )
    except SystemExit as stop:
        if not stop.code:
            raise
        raise InputError(f"{_one_line(report.getvalue())} (see {prog} --help)") from None


def _one_line(report: str) -> str:
    """The message alone out of the parser's boxed report: title, message, and hints between rules.

    Where standard output is not UTF-8 the box is drawn in ASCII.
    """
    lines = [line.strip("│╭╮╰╯|+ ") for line in report.splitlines()]
    parts = re.split(r"(?:─|-){3,}", " ".join(lines))
    message = next(part for part in parts[1:] if part.strip()).split("Got errors:")[0]
    return re.sub(r"\s+", " ", message).strip().rstrip(".")


def given_options(args: Sequence[str]) -> set[str]:
    """The names of the options on a command line, as "--batch-size"."""
    return {arg.split("=")[0].replace("_", "-") for arg in args if arg.startswith("--")}


def refuse(given: set[str], names: Iterable[str], because: str) -> None:
    """
    Raises:
        InputError: one of `names` is among the options given.
    """
    for name in names:
        if name in given:
            raise InputError(f"{name} has no effect here: {because}")


def check_range(
    options: object, name: str, *, low: float = -math.inf, high: float = math.inf, above: float = -math.inf,
    below: float = math.inf,
) -> None:  # fmt: skip
    """That the field `name` of `options` is a number within the bounds, and within `MOST`; or None, as is one that was
    not given.

    Raises:
        InputError: it is not; the message names the option and its bounds.
    """
    value = getattr(options, name)
    if value is None:
        return
    if low <= value <= high and above < value < below and -MOST <= value <= MOST:
        return
    if value > MOST:
        high = min(high, MOST)
    bounds = {"at least": low, "above": above, "at most": high, "below": below}
    wanted = " and ".join(f"{word} {bound:.12g}" for word, bound in bounds.items() if math.isfinite(bound))
    raise InputError(f"--{name.replace('_', '-')} must be {wanted or 'finite'}, not {value}")


def run(command: Callable[[], None]) -> None:
    """Runs a command and leaves the process with the exit code of its ending.

    Under `torchrun` every process meets the same bad input; the first alone reports it, and the others leave it the
    time to, since `torchrun` ends them all as soon as one is gone.
    """
    environment.settle()
    terminal.take_over()
    if os.environ.get("MINIBERT_DEBUG") == "1":
        command()
        return
    try:
        command()
        sys.stdout.flush()  # here, where it is noticed that an answer doesn't arrive
    except MinibertError as error:
        _leave(error)
    except KeyboardInterrupt:
        _leave(Interrupted("interrupted"))
    except BrokenPipeError:  # the reader of our answer, `head` say, has seen enough and is gone
        sys.exit(0)
    except Exception as error:
        from minibert.training.room import out_of_memory

        ending = out_of_memory(error) or (as_ending(error) if isinstance(error, OSError) else None)
        if ending is None:
            raise
        _leave(ending)


def dispatch(prog: str, commands: Mapping[str, tuple[str, str]]) -> None:
    """Runs the command that the first word of the command line names; without one, or with --help, lists them.

    commands: name -> (its function as "module:function", imported only when asked for; what it does, in a line).

    Raises:
        InputError: there is no such command; and whatever the command raises.
    """
    args = sys.argv[1:]
    if not args or args[0] in ("-h", "--help"):
        print(f"usage: {prog} COMMAND ... (each has --help)\n")
        print("\n".join(f"  {name:{max(map(len, commands))}}  {what}" for name, (_, what) in commands.items()))
    elif args[0] not in commands:
        raise InputError(f"unknown command {args[0]!r}: give {' or '.join(commands)}")
    else:
        module, _, function = commands[args[0]][0].partition(":")
        getattr(importlib.import_module(module), function)(args[1:])


def as_ending(error: OSError) -> MinibertError:
    """What the system refused, as one of our endings: no room left, or a path that can't be used."""
    place = f"{error.filename}: " if error.filename else ""
    ending = RunStopped if error.errno in NO_ROOM else InputError
    return ending(f"{place}{error.strerror or error}")


def _leave(ending: MinibertError) -> None:
    rank = os.environ.get("RANK", "")
    if not rank.isdecimal() or int(rank) == 0 or isinstance(ending, OutOfMemory):
        print("error:", " ".join(str(ending).split()), file=sys.stderr)
    else:
        time.sleep(1)
    sys.exit(ending.exit_code)
