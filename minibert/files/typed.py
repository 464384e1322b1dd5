"""Checks of values from JSON and TOML against the types that a dataclass declares."""

import dataclasses
from collections.abc import Iterator
from typing import Any, get_args, get_origin, get_type_hints

from minibert.errors import InputError


def check_fields(instance: Any) -> None:
    """Check every field of a dataclass with `typed`. Raises InputError if one has a value of another type."""
    # JSON has no dataclass types: 4.0 layers, "768" or true would otherwise fail far from here.
    for name, kind in get_type_hints(type(instance)).items():
        value = getattr(instance, name)
        typed(float(value) if isinstance(value, float) else value, kind, name)  # NumPy's float64 is a float as well


def typed(value: Any, kind: Any, name: str = "") -> Any:
    """Return `value` as `kind`: an int as a float, a list as a tuple, an object as a dataclass; not 1.0 or true as 1.

    Raises InputError if it is of another type; the message begins with `name` and the place inside it.
    """
    import msgspec  # imported here: `--help` does without it

    try:
        return msgspec.convert(value, kind)
    except ValueError:  # msgspec's own, or for half a surrogate pair, which it can't compare
        for place, inner, declared in _inside(value, kind):
            typed(inner, declared, f"{name}.{place}" if name else place)
        expected = kind.__name__ if type(kind) is type else str(kind).replace("typing.", "")
        raise InputError(f"{name or 'the content'} must be of type {expected}, not {value!r:.80}") from None


def _inside(value: Any, kind: Any) -> Iterator[tuple[str, Any, Any]]:
    """Yield (name, value, type) for each field of an object, if it should be one; a missing field is None."""
    if isinstance(value, dict) and get_origin(kind) is dict:
        yield from ((name, inner, get_args(kind)[1]) for name, inner in value.items())
    elif isinstance(value, dict) and dataclasses.is_dataclass(kind):
        yield from ((name, value.get(name), declared) for name, declared in get_type_hints(kind).items())
