"""The environment variables that libraries read when they are imported, set before that. Imports nothing heavy."""

import os

COMPILED = "TORCHINDUCTOR_CACHE_DIR"


def settle() -> None:
    """Set the environment, also for child processes; call it before matplotlib and torch are imported.

    Pictures are drawn into files, by a backend that needs neither a window nor a notebook: Jupyter sets its own, a
    module that is not installed here, for every command that it starts.

    PyTorch makes a directory for compiled kernels in the first step of any training; if the one chosen by the
    environment can't be made, PyTorch chooses its own.
    """
    os.environ["MPLBACKEND"] = "agg"
    if COMPILED in os.environ:
        try:
            os.makedirs(os.environ[COMPILED], exist_ok=True)
        except OSError:
            del os.environ[COMPILED]
