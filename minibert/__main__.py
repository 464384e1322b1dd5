"""python -m minibert: look at a model directory (`info`) and ask it for words (`fill-mask`)."""

from __future__ import annotations

import sys

from minibert import cli
from minibert.errors import InputError

COMMANDS = {
    "info": "architecture, parameters by part, vocabulary: python -m minibert info DIR",
    "fill-mask": 'the likeliest words: python -m minibert fill-mask DIR "text with [MASK]" [--top-k K]',
}
USAGE = "usage: python -m minibert COMMAND ... (each has --help)\n\n" + "\n".join(
    f"  {name:10} {what}" for name, what in COMMANDS.items()
)


def command() -> None:
    """Dispatches on the first word."""
    args = sys.argv[1:]
    if not args or args[0] in ("-h", "--help"):
        print(USAGE)
    elif args[0] == "info":
        from minibert.commands import info

        info(args[1:])
    elif args[0] == "fill-mask":
        from minibert.commands import fill_mask

        fill_mask(args[1:])
    else:
        raise InputError(f"unknown command {args[0]!r}: give {' or '.join(COMMANDS)}")


def main() -> None:
    """The console script `minibert`."""
    cli.run(command)


if __name__ == "__main__":
    main()
