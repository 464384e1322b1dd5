"""python -m pretrain: train, or only `prepare` the token arrays, or `inspect` what the model will be shown."""

import sys

from minibert.console import cli

COMMANDS = {"prepare": "only the vocabulary and the token arrays", "inspect": "training pairs and masks, decoded"}


def command() -> None:
    """Run one of `COMMANDS`, or train if the first word is an option."""
    args = sys.argv[1:] or ["--help"]
    if not args[0].startswith("-") or args[0] == "--version":
        cli.dispatch("python -m pretrain", cli.commands_in("pretrain.commands.{0}:{0}_command", COMMANDS))
        return
    from minibert.training.memory import bound_kernel_cache, keep_freed_memory
    from pretrain.options import parse_options

    options = parse_options(args)
    bound_kernel_cache()
    keep_freed_memory()
    from pretrain.train import train

    train(options)


def main() -> None:
    """Run the console script `minibert-pretrain`."""
    cli.run(command)


if __name__ == "__main__":
    main()
