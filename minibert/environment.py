"""What libraries read from the environment when they are loaded, decided before any is. Imports nothing heavy."""

from __future__ import annotations

import os


def settle() -> None:
    """To be called before matplotlib is imported; child processes inherit it.

    Pictures are drawn into files, by the one backend that needs neither a window nor a notebook: Jupyter hands its own,
    a module that is not installed here, to every command that it starts.
    """
    os.environ["MPLBACKEND"] = "agg"
