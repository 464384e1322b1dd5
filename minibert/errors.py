"""The ways in which a run can fail, and the exit code of each.

Commands raise these errors; `console.cli.run` turns one into a line on standard error and the exit code.
"""

import contextlib
import difflib
from collections.abc import Iterable, Iterator


class MinibertError(Exception):
    """An ending with a defined exit code. The message is one line, written for the user."""

    exit_code = 1


class CheckFailed(MinibertError):
    """A check that the user asked for did not hold."""


class InputError(MinibertError):
    """Bad input: the message names the file, line or field, and what was expected."""

    exit_code = 2


class RunStopped(MinibertError):
    """Stopped by the environment (disk full) or by a loss that is not finite; the last good state is kept."""

    exit_code = 3


class OutOfMemory(RunStopped):
    """An allocation failed; with several processes, possibly in only one of them."""


class Interrupted(MinibertError):
    """SIGINT, SIGTERM or SIGHUP; the state was saved first."""

    exit_code = 130


@contextlib.contextmanager
def naming(place: object) -> Iterator[None]:
    """Put `place` (a file, or the option that names it) in front of the message of an InputError."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{place}: {error}") from None


def plural(count: int, noun: str, ending: str = "s") -> str:
    """Return a count and what is counted, for messages: "1 column", "1,200 columns"."""
    return f"{count:,} {noun}{'' if count == 1 else ending}"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return the end of a message about an unknown name, ": did you mean mini?", or "" if no known name is similar."""
    found = difflib.get_close_matches(word, list(known), n=1)
    return f": did you mean {found[0]}?" if found else ""
