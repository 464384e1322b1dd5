"""Public names of a package that are imported on first use, so that `import minibert` does not import torch."""

import importlib
import sys
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from minibert.errors import did_you_mean


def lazy_names(package: str, homes: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the `__getattr__` and `__dir__` of a package. homes: public name -> the module that defines it."""

    def find(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}{did_you_mean(name, homes)}")
        return getattr(importlib.import_module(homes[name]), name)

    def names() -> list[str]:
        there = vars(sys.modules[package])
        own = {name for name, value in there.items() if name.startswith("__") or isinstance(value, ModuleType)}
        return sorted(own | homes.keys())

    return find, names
