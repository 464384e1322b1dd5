"""What libraries read from the environment when they are loaded, decided before any is. Imports nothing heavy."""

from __future__ import annotations

import os

_settled: list[str] = []  # names of variables

SPINS = 2_000  # of a thread before it sleeps

# By any of these, users have said themselves how threads are to wait.
WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


def settle() -> None:
    """To be called before torch and matplotlib are imported; child processes inherit it.

    Threads that wait for one another soon sleep. By itself OpenMP has them spin for milliseconds, and where another
    program has one of the cores, the one that spins takes the other from the one that it waits for: training comes to a
    stand. To sleep at once costs a quiet machine up to a seventh of its speed with short texts (docs/performance.md).

    Pictures are drawn into files, by the one backend that needs neither a window nor a notebook: Jupyter hands its own,
    a module that is not installed here, to every command that it starts.
    """
    if not any(name in os.environ for name in WAITING):
        ours = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": str(SPINS)}  # the second is read by GNU's OpenMP alone
        os.environ.update(ours)
        _settled.extend(ours)
    os.environ["MPLBACKEND"] = "agg"


def without_ours() -> dict[str, str]:
    """The environment without the waiting that `settle` chose: for programs that are not ours, to be measured as they
    are."""
    return {name: value for name, value in os.environ.items() if name not in _settled}
