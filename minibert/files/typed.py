"""What JSON and TOML hold, against the types that a dataclass declares."""

import dataclasses
from collections.abc import Iterator
from typing import Any, get_args, get_origin, get_type_hints

from minibert.errors import InputError


def check_fields(instance: Any) -> None:
    """Raises InputError: a field of the dataclass has a value of another type, as `typed`."""
    # JSON knows no dataclass types: 4.0 layers, "768" or true would otherwise fail far from here.
    for name, kind in get_type_hints(type(instance)).items():
        value = getattr(instance, name)
        typed(float(value) if isinstance(value, float) else value, kind, name)  # NumPy's float64 is a float as well


def typed(value: Any, kind: Any, name: str = "") -> Any:
    """`value` as `kind`: a whole number as a float, a list as a tuple, an object as a dataclass; 1.0 or true is no 1.

    Raises InputError: it is something else; the message begins with `name`, and the place inside that.
    """
    import msgspec  # here: `--help` does without

    try:
        return msgspec.convert(value, kind)
    except ValueError:  # msgspec's own; or of half a surrogate pair, which it can't compare
        for place, inner, declared in _inside(value, kind):
            typed(inner, declared, f"{name}.{place}" if name else place)
        expected = kind.__name__ if type(kind) is type else str(kind).replace("typing.", "")
        raise InputError(f"{name or 'the whole'} must be of type {expected}, not {value!r:.80}") from None


def _inside(value: Any, kind: Any) -> Iterator[tuple[str, Any, Any]]:
    """What an object holds, where it is to be one: (name, value, type) of each; a field that is missing is None."""
    if isinstance(value, dict) and get_origin(kind) is dict:
        yield from ((name, inner, get_args(kind)[1]) for name, inner in value.items())
    elif isinstance(value, dict) and dataclasses.is_dataclass(kind):
        yield from ((name, value.get(name), declared) for name, declared in get_type_hints(kind).items())
