"""What every command shares: options from a typed dataclass, one-line errors, exit codes.

Bad input ends with one line on standard error and the code that `minibert.errors` gives it; a traceback is shown only
with MINIBERT_DEBUG=1.
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

MOST = 1e18  # of any option: beyond it, numbers are not counted exactly, and soon not at all

Options = TypeVar("Options")

# Errors by which an operating system says "no room left": not the user's input, but nothing to go on with either.
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
    """The command line `args` as an instance of the dataclass `options`; `--help` shows every field, and exits with 0.

    defaults: values of fields that are not given, in place of the class's. A field without one, or where it is
    tyro.MISSING, must be given; where it is a dataclass, the fields of that are options as well.
    groups: what `--help` shows together, after all other options: title -> names of fields.

    Raises InputError: an unknown option, a missing or malformed value: one line, with what was probably meant.
    """
    from minibert.console import parser  # here, so that importing a command costs nothing

    return parser.parse(options, args, as_typed(prog), as_typed(description), defaults or {}, groups or {})


def given_options(args: Sequence[str]) -> dict[str, str]:
    """The options on a command line, as "--batch-size", and what stands behind each: its value, where it has one."""
    pairs = ((arg.partition("="), after) for arg, after in pairwise([*args, ""]) if arg.startswith("--"))
    return {option_name(name): value if equals else after for (name, equals, value), after in pairs}


def refuse(given: Container[str], names: Iterable[str], because: str) -> None:
    """Raises InputError: one of `names` is among the options given."""
    for name in names:
        if name in given:
            raise InputError(f"{name} has no effect here: {because}")


@dataclass(frozen=True)
class Range:
    """The bounds of a number: the annotation of a field, which holds for each number of a tuple."""

    low: float = -math.inf
    high: float = math.inf
    above: float = -math.inf
    below: float = math.inf

    def check(self, name: str, value: float) -> None:
        """That the option of the field `name` may be `value`, which `MOST` bounds as well.

        Raises InputError: it may not; the message names the option and its bounds.
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
    """That every number of `options`, a dataclass, is within its `Range`; one that is None was not given.

    Raises InputError: one is not.
    """
    for name, kind in get_type_hints(type(options), include_extras=True).items():
        value = getattr(options, name)
        numbers = value if isinstance(value, tuple) else () if value is None else (value,)
        for note in getattr(kind, "__metadata__", ()):
            if isinstance(note, Range):
                for number in numbers:
                    note.check(name, number)


def check_range(options: object, name: str, **bounds: float) -> None:
    """That the field `name` of `options` is within bounds that are not known beforehand, or None.

    Raises InputError: as `Range.check`.
    """
    if (value := getattr(options, name)) is not None:
        Range(**bounds).check(name, value)


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


def commands_in(functions: str, told: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """For `dispatch`, of commands whose functions have their names: functions: "module:{}", or "package.{0}:{0}"."""
    return {name: (functions.format(name.replace("-", "_")), what) for name, what in told.items()}


def dispatch(prog: str, commands: Mapping[str, tuple[str, str]]) -> None:
    """Runs the command that the first word of the command line names; without one, or with --help, lists them.
    --version tells the version.

    commands: name -> (its function as "module:function", imported only when asked for; what it does, in a line).

    Raises InputError: there is no such command; and whatever the command raises.
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
