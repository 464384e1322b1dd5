"""What is typed: `python -m finetune`, or the console script `minibert-finetune`, which is the same, and options."""

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
    """A text for users, with the scripts' names in place of "python -m …" where a script is what was typed."""
    name, _ = os.path.splitext(os.path.basename(sys.argv[0]))
    if name not in SCRIPTS.values():
        return text
    return re.sub(rf"python -m ({'|'.join(SCRIPTS)})\b", lambda found: SCRIPTS[found[1]], text)


def option_name(name: str) -> str:
    """The option of a field, or of a word on a command line: "batch_size", "--batch_size=3" -> "--batch-size"."""
    return "--" + name.split("=")[0].lstrip("-").replace("_", "-")


def import_from_here_last() -> None:
    """Moves the working directory, which `python -m` puts first where imports are looked for, to the end.

    Else a user's `tokenizers.py` or `random.py` would be run in place of the library. Not taken away: in a checkout
    that is not installed it is where we are.
    """
    with contextlib.suppress(FileNotFoundError):  # it was deleted, and nothing is found there
        if sys.path[0] == os.getcwd():
            sys.path.append(sys.path.pop(0))
