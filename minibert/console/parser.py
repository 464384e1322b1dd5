"""What connects a dataclass of options with tyro, the command line parser: the types that it gets, and its errors.

Errors come from tyro's internal hook, `tyro._errors`, which is why pyproject.toml pins one version.
"""

import dataclasses
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import make_dataclass
from itertools import pairwise, takewhile
from typing import Annotated, Any, ClassVar, get_args, get_origin, get_type_hints

import tyro
from docstring_parser import parse_from_object
from tyro import _errors

from minibert.console.typed import option_name
from minibert.errors import InputError, did_you_mean

# What tyro calls the values of an option -> what messages call them.
_NUMBERS = {
    "INT": "a whole number",
    "FLOAT": "a number",
    "FLOAT FLOAT": "two numbers",
    "[INT FLOAT [INT FLOAT ...]]": "pairs of a whole number and a number",
}


def parse(
    options: type[Any], args: Sequence[str], prog: str, description: str, defaults: Mapping[str, Any],
    groups: Mapping[str, str],
) -> Any:  # fmt: skip
    """Do the work of `cli.parse`, with its arguments and errors."""
    parser_options = in_groups(options, defaults, groups)

    def refuse(event: _errors.ParseErrorEvent) -> None:
        raise InputError(f"{complaint(event, args, [*options_of(parser_options)])} (see {prog} --help)")

    config = (tyro.conf.OmitArgPrefixes, tyro.conf.HelptextFromCommentsOff)
    try:
        with _errors.on_parse_error(refuse):
            found = tyro.cli(parser_options, args=args, prog=prog, description=description, config=config)
    except SystemExit:
        sys.stdout.flush()  # here, so that a reader that has gone is noticed
        raise
    parts = [vars(value) if name in groups else {name: value} for name, value in vars(found).items()]
    return options(**{name: value for part in parts for name, value in part.items()})


def in_groups(options: type[Any], defaults: Mapping[str, Any], groups: Mapping[str, str]) -> Any:
    """Return the dataclass `options` in tyro's form: a nested dataclass per group, and each field with its help."""
    kinds = get_type_hints(options, include_extras=True)
    documented = filter(dataclasses.is_dataclass, reversed(options.__mro__))  # a subclass has the last word
    said = [param for kind in documented for param in parse_from_object(kind).params]
    meanings = {param.arg_name: " ".join((param.description or "").split()) for param in said}
    group_of = {name: group for group, names in groups.items() for name in names.split()}
    fields: dict[str, list[Any]] = {group: [] for group in ("", *groups)}
    for field in dataclasses.fields(options):
        kind, default = kinds[field.name], defaults.get(field.name, field.default)
        if dataclasses.is_dataclass(default):
            kind = Annotated[type(default), tyro.conf.arg(name=field.name.removesuffix("_options"))]
        else:  # a dataclass has its own help
            kind = Annotated[kind, tyro.conf.arg(help=meanings.get(field.name))]
        fields[group_of.get(field.name, "")].append((field.name, kind, dataclasses.field(default=default)))
    for group in groups:
        part = make_dataclass(group, fields[group], kw_only=True, namespace={"__doc__": ""})
        fields[""].append((group, Annotated[part, tyro.conf.arg(name=group.replace("_", " "))]))
    return make_dataclass(options.__name__, fields[""], kw_only=True)


def options_of(options: type[Any]) -> Iterator[str]:
    """Yield the option names of the fields of a dataclass, and of dataclasses nested in it."""
    for name, annotated in get_type_hints(options, include_extras=True).items():
        notes = getattr(annotated, "__metadata__", ())
        kind = get_args(annotated)[0] if notes else annotated
        if dataclasses.is_dataclass(kind):
            yield from options_of(kind)  # type: ignore[arg-type]  # it is a class
        elif tyro.conf.Positional not in notes and get_origin(kind) is not ClassVar:
            yield option_name(name)
            if (kind is bool or tyro.conf.DisallowNone in notes) and tyro.conf.FlagCreatePairsOff not in notes:
                yield option_name(f"no_{name}")


def complaint(event: Any, args: Sequence[str], known: Sequence[str]) -> str:
    """Return a parse error of tyro as one line, with what was probably meant."""
    for arg in args:
        name = arg.split("=")[0]
        if re.match("--?[A-Za-z]", arg) and name.replace("_", "-") not in (*known, "-h", "--help"):
            return f"unknown option {name}{did_you_mean(option_name(name), known)}"
    match event:
        case _errors.MissingArgs():
            *others, last = (_shown(missing.arg) for missing in event.missing_arguments)
            return f"{', '.join(others)} and {last} are missing" if others else f"{last} is missing"
        case _errors.BadValue():
            count = event.argument.lowered.nargs
            return f"{_shown(event.argument)} needs {'a value' if count == 1 else f'{count} values'}"
        case _errors.InvalidChoice():
            choices = sorted(choice for choice in event.choices if choice != "None")  # tyro's order varies
            expected = ("one of " if choices[1:] else "") + ", ".join(choices)
            found = f"{_shown(event.argument)}: expected {expected}, found {event.value!r}"
            return found + did_you_mean(event.value, choices)
        case _errors.InstantiationFailure():
            if event.argument is None:
                return event.message
            option, kind = _shown(event.argument), str(event.argument.lowered.metavar).removeprefix("{None}|")
            return f"{option}: expected {_NUMBERS.get(kind, kind)}, found {' '.join(_values(option, args))!r}"
    surplus = event.tokens[0]
    flags = [arg for arg, after in pairwise([*args, ""]) if surplus and surplus in (after, arg.partition("=")[2])]
    flag = next((option_name(arg) for arg in flags if arg.startswith("--")), None)
    return f"unexpected argument {surplus!r}" + (f": {flag} takes no value" if flag else "")


def _values(option: str, args: Sequence[str]) -> Iterator[str]:
    """Yield the words of a command line that are the values of an option, where it stands last."""
    at = max(index for index, arg in enumerate(args) if arg.startswith("--") and option_name(arg) == option)
    _, equals, value = args[at].partition("=")
    if equals:
        yield value
    else:
        yield from takewhile(lambda arg: not arg.startswith("--"), args[at + 1 :])


def _shown(argument: Any) -> str:
    """Return the name of an option, or what `--help` calls a positional argument."""
    return argument.lowered.metavar if argument.is_positional() else argument.lowered.name_or_flags[0]
