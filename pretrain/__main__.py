"""python -m pretrain: train, or only `prepare` the token arrays, or `inspect` what the model will be shown."""

from __future__ import annotations

import sys

from minibert import cli
from minibert.training.memory import bound_kernel_cache, keep_freed_memory


def command() -> None:
    """Dispatches on the first word; without a command it trains."""
    args = sys.argv[1:]
    if args[:1] == ["prepare"]:
        from pretrain.prepare_command import prepare_command

        prepare_command(args[1:])
    elif args[:1] == ["inspect"]:
        from pretrain.inspect_command import inspect_command

        inspect_command(args[1:])
    else:
        from pretrain.options import parse_options

        options = parse_options(args or ["--help"])
        bound_kernel_cache()
        keep_freed_memory()
        from pretrain.train import train

        train(options)


def main() -> None:
    """The console script `minibert-pretrain`."""
    cli.run(command)


if __name__ == "__main__":
    main()
