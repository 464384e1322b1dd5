"""What every command shares: options from a typed dataclass, one-line errors, exit codes.

Bad input ends with one line on standard error and an exit code of `minibert.errors`; a traceback is shown only with
MINIBERT_DEBUG=1.
"""

import errno
import importlib
import math
import os
import sys
import textwrap
import time
import traceback
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, TypeVar, get_type_hints

from minibert import __version__
from minibert.console import environment, terminal
from minibert.console.typed import SCRIPTS, as_typed, import_from_here_last, option_name
from minibert.errors import InputError, Interrupted, MinibertError, OutOfMemory, RunStopped, did_you_mean

MOST = 1e18  # the limit of every option: larger numbers soon exceed what 64 bits can hold

Options = TypeVar("Options")

# Errors with which an operating system says "no space left": not bad input, but the run can't continue.
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def parse(
    options: type[Options],
    args: Sequence[str],
    *,
    prog: str,
    description: str,
    defaults: Mapping[str, Any] | None = None,
    groups: Mapping[str, str] | None = None,
) -> Options:
    """Parse the command line `args` into an instance of the dataclass `options`; `--help` shows its fields and exits.

    defaults: default values that replace those of the class. A field without a default, or with tyro.MISSING, must be
    given; if a default is a dataclass, its fields are options as well.
    groups: options that `--help` shows together, after all others: title -> names of fields.

    Raises InputError, with what was probably meant, if an option is unknown or a value is missing or malformed.
    """
    from minibert.console import parser  # here, so that importing a command stays fast

    return parser.parse(options, args, as_typed(prog), as_typed(description), defaults or {}, groups or {})


def given_options(args: Sequence[str]) -> dict[str, str]:
    """Return the options on a command line, as "--batch-size", each with the word after it: its value if it has one."""
    pairs = ((arg.partition("="), after) for arg, after in pairwise([*args, ""]) if arg.startswith("--"))
    return {option_name(name): value if equals else after for (name, equals, value), after in pairs}


def refuse(given: Container[str], names: Iterable[str], because: str) -> None:
    """Raises InputError if one of the options `names` is among those given; because: why it has no effect."""
    for name in names:
        if name in given:
            raise InputError(f"{name} has no effect here: {because}")


@dataclass(frozen=True)
class Range:
    """The bounds of a number, as an annotation of a field; in a tuple, of each of its numbers."""

    low: float = -math.inf
    high: float = math.inf
    above: float = -math.inf
    below: float = math.inf

    def check(self, name: str, value: float) -> None:
        """Check the value of the field `name` against these bounds and `MOST`.

        Raises InputError, naming the option and its bounds, if the value is outside.
        """
        if self.low <= value <= self.high and self.above < value < self.below and -MOST <= value <= MOST:
            return
        high = min(self.high, MOST) if value > MOST else self.high
        bounds = {"at least": self.low, "above": self.above, "at most": high, "below": self.below}
        wanted = " and ".join(f"{word} {bound:.12g}" for word, bound in bounds.items() if math.isfinite(bound))
        raise InputError(f"{option_name(name)} must be {wanted or 'finite'}, not {value}")


Count = Annotated[int, Range(low=1)]
CountFromZero = Annotated[int, Range(low=0)]
Seed = Annotated[int, Range(low=0, high=2**32 - 1)]
Positive = Annotated[float, Range(above=0)]
NotNegative = Annotated[float, Range(low=0)]
ZeroToOne = Annotated[float, Range(low=0, high=1)]
AboveZeroToOne = Annotated[float, Range(above=0, high=1)]
BetweenZeroAndOne = Annotated[float, Range(above=0, below=1)]


def check_ranges(options: object) -> None:
    """Check that every number of the dataclass `options` is None or within its `Range`.

    Raises InputError as `Range.check` does.
    """
    for name, kind in get_type_hints(type(options), include_extras=True).items():
        value = getattr(options, name)
        numbers = value if isinstance(value, tuple) else () if value is None else (value,)
        for note in getattr(kind, "__metadata__", ()):
            if isinstance(note, Range):
                for number in numbers:
                    note.check(name, number)


def check_range(options: object, name: str, **bounds: float) -> None:
    """Check that the field `name` of `options` is None or within bounds that are known only at run time.

    Raises InputError as `Range.check` does.
    """
    if (value := getattr(options, name)) is not None:
        Range(**bounds).check(name, value)


def run(command: Callable[[], None]) -> None:
    """Run a command and, if it fails, exit with its error's exit code.

    Under `torchrun` every process meets the same bad input; only the first reports it. The others wait a second, since
    `torchrun` ends all processes as soon as one has exited.
    """
    import_from_here_last()
    terminal.take_over()  # first, before another thread opens a file under the number of a closed stream
    environment.settle()
    from minibert.fast import threads  # only now, since it imports libraries

    threads.watch()
    if os.environ.get("MINIBERT_DEBUG") == "1":
        command()
        return
    try:
        command()
        sys.stdout.flush()  # here, so that an answer that can't be written is noticed
    except MinibertError as error:
        _leave(error)
    except KeyboardInterrupt:
        _leave(Interrupted("interrupted"))
    except BrokenPipeError:  # the reader of the output, such as `head`, has seen enough and exited
        sys.exit(0)
    except Exception as error:
        from minibert.training.room import out_of_memory

        ending = out_of_memory(error) or _unloadable(error)
        if ending is None and isinstance(error, OSError):
            ending = as_ending(error)
        if ending is None:
            raise
        _leave(ending)


def commands_in(functions: str, told: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Return the argument of `dispatch`. functions: "module:{}" or "package.{0}:{0}"; told: name -> what it does."""
    return {name: (functions.format(name.replace("-", "_")), what) for name, what in told.items()}


def dispatch(prog: str, commands: Mapping[str, tuple[str, str]]) -> None:
    """Run the command that the first word of the command line names. Without one, or with --help, list all commands;
    with --version, print the version.

    commands: name -> (its function as "module:function", imported only if it is run; what it does, in one line).

    Raises InputError if there is no such command, and whatever the command raises.
    """
    args = sys.argv[1:]
    if not args or args[0] in ("-h", "--help"):
        print(f"usage: {as_typed(prog)} COMMAND ... (COMMAND --help explains each)\n")
        lines = [f"  {name:{max(map(len, commands))}}  {what}" for name, (_, what) in commands.items()]
        print(as_typed("\n".join(lines)))
    elif args[0] == "--version":
        print(f"minibert {__version__}")
    elif args[0] not in commands:
        near = did_you_mean(args[0], commands)
        raise InputError(f"unknown command {args[0]!r}{near or ', expected one of ' + ', '.join(commands)}")
    else:
        module, _, function = commands[args[0]][0].partition(":")
        getattr(importlib.import_module(module), function)(args[1:])


def as_ending(error: OSError) -> MinibertError:
    """Return a system error as RunStopped if there is no space left, or else as InputError."""
    place = f"{error.filename}: " if error.filename else ""
    ending = RunStopped if error.errno in NO_ROOM else InputError
    return ending(f"{place}{error.strerror or error}")


def _unloadable(error: Exception) -> MinibertError | None:
    """Return an InputError if `error` is a failed import of a broken or misconfigured library, or else None."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        library = frame.f_globals.get("__name__", "").partition(".")[0]
        if frame.f_code.co_name == "<module>" and library not in (*SCRIPTS, "__main__"):
            why = textwrap.shorten(str(error), 200, placeholder=" ...") or type(error).__name__
            read = sorted(name for name in os.environ if name.startswith(library.upper()))
            reads = f"; it reads these environment variables: {', '.join(read)}" if read else ""
            return InputError(f"{library} can't be imported: {why}{reads}")
    return None


def _leave(ending: MinibertError) -> None:
    # Not RANK, which clusters also set per machine: the first process of each machine reports, or the only one.
    rank = os.environ.get("LOCAL_RANK", "")
    if not rank.isdecimal() or int(rank) == 0 or isinstance(ending, OutOfMemory):
        print("error:", " ".join(str(ending).split()), file=sys.stderr)
    else:
        time.sleep(1)
    sys.exit(ending.exit_code)
