"""python -m minibert: look at a model directory (`info`) and ask it for words (`fill-mask`)."""

from __future__ import annotations

from minibert import cli

COMMANDS = {
    "info": (
        "minibert.commands:info",
        "architecture, parameters by part, vocabulary: python -m minibert info DIR",
    ),
    "fill-mask": (
        "minibert.commands:fill_mask",
        'the likeliest words: python -m minibert fill-mask DIR "text with [MASK]" [--top-k K]',
    ),
}


def command() -> None:
    """Runs one of `COMMANDS`."""
    cli.dispatch("python -m minibert", COMMANDS)


def main() -> None:
    """The console script `minibert`."""
    cli.run(command)


if __name__ == "__main__":
    main()
