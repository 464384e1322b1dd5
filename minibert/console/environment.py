"""What libraries read from the environment when they are loaded, decided before any is. Imports nothing heavy."""

import os

COMPILED = "TORCHINDUCTOR_CACHE_DIR"


def settle() -> None:
    """To be called before matplotlib and torch are imported; child processes inherit it.

    Pictures are drawn into files, by the one backend that needs neither a window nor a notebook: Jupyter hands its own,
    a module that is not installed here, to every command that it starts.

    The directory of compiled kernels, which PyTorch makes for the first step of any training, is left to its own choice
    where the one that was chosen can't be made.
    """
    os.environ["MPLBACKEND"] = "agg"
    if COMPILED in os.environ:
        try:
            os.makedirs(os.environ[COMPILED], exist_ok=True)
        except OSError:
            del os.environ[COMPILED]
