"""What every command shares: options from a typed dataclass, one-line errors, exit codes.

Bad input ends with one line on standard error and the code that `minibert.errors` gives it; a traceback is shown only
with MINIBERT_DEBUG=1.
"""

from __future__ import annotations

import ast
import contextlib
import errno
import importlib
import io
import math
import os
import re
import sys
import textwrap
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeVar, get_type_hints

from minibert import __version__
from minibert.console import environment, terminal
from minibert.console.typed import SCRIPTS, as_typed, import_from_here_last
from minibert.errors import InputError, Interrupted, MinibertError, OutOfMemory, RunStopped, did_you_mean

MOST = 1e18  # of any option: beyond it, numbers are not counted exactly, and soon not at all

Options = TypeVar("Options")

# Errors by which an operating system says "no room left": not the user's input, but nothing to go on with either.
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@dataclass(frozen=True)
class Heading:
    """Annotates the option at which a group begins in `--help`."""

    title: str


def parse(
    options: type[Options], args: Sequence[str], *, prog: str, description: str, default: Options | None = None
) -> Options:
    """The command line `args` as an instance of the dataclass `options`; `default` holds values for what is not given.

    A field without a default, or for which `default` has tyro.MISSING, must be given. `--help` shows every field with
    its docstring and default, under the headings that `Heading` annotates, and exits with 0.

    Raises:
        InputError: an unknown option, a missing or malformed value: one line, with what was probably meant.
    """
    import tyro  # here, so that importing a command costs nothing

    prog, description = as_typed(prog), as_typed(description)

    def answer(words: Sequence[str]) -> Options:
        return tyro.cli(
            options,
            args=words,
            prog=prog,
            description=description,
            default=tyro.MISSING_NONPROP if default is None else default,
            config=(tyro.conf.OmitArgPrefixes,),
        )

    shown, report = _Page(), io.StringIO()
    try:
        with contextlib.redirect_stdout(shown), contextlib.redirect_stderr(report):
            return answer(args)
    except SystemExit as stop:
        if not stop.code:
            print("\n".join(_help_lines(shown.getvalue(), dict(_headings(options)))), flush=True)
            raise
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(shown):
        answer(["--help"])
    raise InputError(f"{_complaint(report.getvalue(), shown.getvalue(), args)} (see {prog} --help)")


# --- What the parser says ---------------------------------------------------------------------------------------------


class _Page(io.StringIO):
    """In place of standard output, where it draws its boxes by the encoding."""

    encoding = "utf-8"


def _headings(options: type[Any]) -> Iterator[tuple[str, str]]:
    """The first option of each group, and the group's title."""
    for field, kind in get_type_hints(options, include_extras=True).items():
        for note in getattr(kind, "__metadata__", ()):
            if isinstance(note, Heading):
                yield _option(field), note.title


def _help_lines(help_text: str, headings: Mapping[str, str]) -> Iterator[str]:
    """The parser's help, and before the first option of each group a line with the group's title."""
    boxes = "" if "utf" in str(getattr(sys.stdout, "encoding", "")).lower() else "╭╮╰╯├┤│─"
    plain = str.maketrans(boxes, "++++++|-"[: len(boxes)])
    for line in help_text.splitlines():
        option = re.match(r"│ (--[\w-]+)", line)
        if option and option[1] in headings:
            yield ("├" + f"─ {headings[option[1]]} ".ljust(len(line) - 2, "─") + "┤").translate(plain)
        yield line.translate(plain)


def _complaint(report: str, help_text: str, args: Sequence[str]) -> str:
    """The parser's report on `args` as one line: the message alone, and what was probably meant."""
    known = {name for names in re.findall(r"│ (--[\w-]+)(?:, (--[\w-]+))?", help_text) for name in names if name}
    for arg in args:
        name = arg.split("=")[0]
        if re.match("--?[A-Za-z]", arg) and name.replace("_", "-") not in known:
            return f"unknown option {name}{did_you_mean(_option(name), known)}"
    parts = re.split("─{3,}", " ".join(line.strip("│╭╮╰╯ ") for line in report.splitlines()))
    message = next(part for part in parts[1:] if part.strip()).split("Got errors:")[0]
    message = re.sub(r"\s+", " ", message).strip().rstrip(".")
    if message.startswith("Missing from"):
        first, *others = re.findall(r"^│ {5}((?:--)?[^\s-]\S*)", report.partition("─ │\n")[0], re.MULTILINE)
        others_too = f", and so {'are' if others[1:] else 'is'} {' and '.join(others)}"
        return f"{first} is missing{others_too if others else ''}"
    if choice := re.match(r"invalid choice '(.*?)' for .* one of (\(.*\))", message):
        return message + did_you_mean(choice[1], ast.literal_eval(choice[2]))
    if surplus := re.match(r"Unrecognized options: ([^,]*)", message):
        flags = [arg for arg, after in pairwise([*args, ""]) if surplus[1] in (after, arg.partition("=")[2])]
        flag = next((_option(arg) for arg in flags if arg.startswith("--")), None)
        return f"unexpected {surplus[1]!r}" + (f": {flag} takes no value" if flag else "")
    return message


def _option(name: str) -> str:
    """The option of a field, or of a word on a command line: "batch_size", "--batch_size=3" -> "--batch-size"."""
    return "--" + name.split("=")[0].lstrip("-").replace("_", "-")


def given_options(args: Sequence[str]) -> set[str]:
    """The names of the options on a command line, as "--batch-size"."""
    return {_option(arg) for arg in args if arg.startswith("--")}


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
    import_from_here_last()
    environment.settle()
    from minibert.fast import threads  # now, since libraries come with it

    threads.watch()
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

        ending = out_of_memory(error) or _unloadable(error)
        if ending is None and isinstance(error, OSError):
            ending = as_ending(error)
        if ending is None:
            raise
        _leave(ending)


def dispatch(prog: str, commands: Mapping[str, tuple[str, str]]) -> None:
    """Runs the command that the first word of the command line names; without one, or with --help, lists them.
    --version tells the version.

    commands: name -> (its function as "module:function", imported only when asked for; what it does, in a line).

    Raises:
        InputError: there is no such command; and whatever the command raises.
    """
    args = sys.argv[1:]
    if not args or args[0] in ("-h", "--help"):
        print(f"usage: {as_typed(prog)} COMMAND ... (each has --help)\n")
        lines = [f"  {name:{max(map(len, commands))}}  {what}" for name, (_, what) in commands.items()]
        print(as_typed("\n".join(lines)))
    elif args[0] == "--version":
        print(f"minibert {__version__}")
    elif args[0] not in commands:
        near = did_you_mean(args[0], commands)
        raise InputError(f"unknown command {args[0]!r}{near or ': give ' + ' or '.join(commands)}")
    else:
        module, _, function = commands[args[0]][0].partition(":")
        getattr(importlib.import_module(module), function)(args[1:])


def as_ending(error: OSError) -> MinibertError:
    """What the system refused, as one of our endings: no room left, or a path that can't be used."""
    place = f"{error.filename}: " if error.filename else ""
    ending = RunStopped if error.errno in NO_ROOM else InputError
    return ending(f"{place}{error.strerror or error}")


def _unloadable(error: Exception) -> MinibertError | None:
    """The ending where a library can't be imported: it isn't whole, or refuses a variable's value. Else None."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        library = frame.f_globals.get("__name__", "").partition(".")[0]
        if frame.f_code.co_name == "<module>" and library not in (*SCRIPTS, "__main__"):
            why = textwrap.shorten(str(error), 200, placeholder=" ...") or type(error).__name__
            read = sorted(name for name in os.environ if name.startswith(library.upper()))
            reads = f"; of the environment's variables, it reads {', '.join(read)}" if read else ""
            return InputError(f"{library} can't be imported: {why}{reads}")
    return None


def _leave(ending: MinibertError) -> None:
    # Not RANK, which clusters set for machines too: of each, the first process speaks, and so does one that is alone.
    rank = os.environ.get("LOCAL_RANK", "")
    if not rank.isdecimal() or int(rank) == 0 or isinstance(ending, OutOfMemory):
        print("error:", " ".join(str(ending).split()), file=sys.stderr)
    else:
        time.sleep(1)
    sys.exit(ending.exit_code)
