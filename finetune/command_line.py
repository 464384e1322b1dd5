"""`--help` that leaves out what a command refuses."""

import dataclasses
from collections.abc import Container, Mapping, Sequence
from typing import Annotated, Any, TypeVar, get_type_hints

import tyro

from minibert.console import cli

Options = TypeVar("Options")


def parse(
    kind: type[Options],
    args: Sequence[str],
    *,
    prog: str,
    description: str,
    data_options: Any,
    unused: Container[str] = (),
    groups: Mapping[str, str] | None = None,
) -> Options:
    """Do the work of `cli.parse`, with the `data_options` as defaults; `--help` leaves out the options `unused`.

    Otherwise these are parsed too: whoever gives one is to read why it has no effect.
    """
    if asks_for_help(args):
        args, kind = ["--help"], without(kind, unused)
        data_options = without(type(data_options), unused)(**vars(data_options))
    defaults = {"data_options": data_options}
    return cli.parse(kind, args, prog=prog, description=description, defaults=defaults, groups=groups)


def asks_for_help(args: Sequence[str]) -> bool:
    """Whether --help is on the command line."""
    return not {"-h", "--help"}.isdisjoint(args)


def without(kind: type[Options], names: Container[str]) -> type[Options]:
    """Return the dataclass `kind` without the options `names` on the command line."""
    hints = get_type_hints(kind, include_extras=True)
    fields = [
        (field.name, Annotated[hints[field.name], tyro.conf.Suppress], dataclasses.field(default=field.default))
        for field in dataclasses.fields(kind)  # type: ignore[arg-type]  # it is a dataclass
        if cli.option_name(field.name) in names
    ]
    same = {"__doc__": kind.__doc__}
    return dataclasses.make_dataclass(kind.__name__, fields, bases=(kind,), namespace=same, frozen=True, kw_only=True)
