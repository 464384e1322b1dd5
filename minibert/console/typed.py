"""What users type: `python -m finetune` or the console script `minibert-finetune`, which is the same, and options."""

import contextlib
import os
import re
import sys

SCRIPTS = {
    "minibert": "minibert",
    "pretrain": "minibert-pretrain",
    "finetune": "minibert-finetune",
    "weights_convert": "minibert-convert",
}


def as_typed(text: str) -> str:
    """Return a text for users, with "python -m …" replaced by the console script's name if users started one."""
    name, _ = os.path.splitext(os.path.basename(sys.argv[0]))
    if name not in SCRIPTS.values():
        return text
    return re.sub(rf"python -m ({'|'.join(SCRIPTS)})\b", lambda found: SCRIPTS[found[1]], text)


def option_name(name: str) -> str:
    """Return the option of a field or of a command line word: "batch_size", "--batch_size=3" -> "--batch-size"."""
    return "--" + name.split("=")[0].lstrip("-").replace("_", "-")


def import_from_here_last() -> None:
    """Move the working directory, which `python -m` puts first in `sys.path`, to its end.

    Otherwise a user's `tokenizers.py` or `random.py` would be imported instead of the library. It is not removed: in
    a checkout that is not installed, this is where minibert itself is found.
    """
    with contextlib.suppress(FileNotFoundError):  # the working directory was deleted: nothing can be imported from it
        if sys.path[0] == os.getcwd():
            sys.path.append(sys.path.pop(0))
