"""python -m weights_convert: Hugging Face's directories and ours, there (`from-hf`) and back (`to-hf`)."""

from __future__ import annotations

import sys

from minibert import cli
from minibert.errors import InputError

COMMANDS = {
    "from-hf": "a Hugging Face directory -> a model directory: python -m weights_convert from-hf DIR OUT [--new-head]",
    "to-hf": "a model directory -> what transformers loads: python -m weights_convert to-hf DIR OUT",
}
USAGE = "usage: python -m weights_convert COMMAND ... (each has --help)\n\n" + "\n".join(
    f"  {name:8} {what}" for name, what in COMMANDS.items()
)


def main() -> None:
    """Dispatches on the first word."""
    args = sys.argv[1:]
    if not args or args[0] in ("-h", "--help"):
        print(USAGE)
    elif args[0] == "from-hf":
        from weights_convert.commands import from_hf_command

        from_hf_command(args[1:])
    elif args[0] == "to-hf":
        from weights_convert.commands import to_hf_command

        to_hf_command(args[1:])
    else:
        raise InputError(f"unknown command {args[0]!r}: give {' or '.join(COMMANDS)}")


if __name__ == "__main__":
    cli.run(main)
