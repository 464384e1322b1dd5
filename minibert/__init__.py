"""BERT, written out by hand in PyTorch.

    import minibert
    model, tokenizer = minibert.load("runs/demo")   # the class that config.json names, in evaluation mode
    record = minibert.trace(model, tokenizer("The man went to the [MASK] ."))   # every intermediate by name
    vectors = minibert.embed(model, tokenizer, ["one text", "and another"])   # (2, H), numpy
    minibert.grow_vocabulary(model, tokenizer, ["高血压"])   # each word a token, in the tokenizer and in the model
    minibert.save(model, tokenizer, "somewhere")

torch is imported by the first of these that is used, not by `import minibert`: commands answer `--help` at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from minibert.checkpoint import load, save
    from minibert.config import BertConfig
    from minibert.embedding import embed
    from minibert.growing import grow_vocabulary
    from minibert.tokenizer import Tokenizer
    from minibert.tracing import trace

__all__ = ["BertConfig", "Tokenizer", "embed", "grow_vocabulary", "load", "save", "trace"]

__version__ = "0.1.0"

_HOMES = {
    "load": "minibert.checkpoint",
    "save": "minibert.checkpoint",
    "trace": "minibert.tracing",
    "embed": "minibert.embedding",
    "grow_vocabulary": "minibert.growing",
    "BertConfig": "minibert.config",
    "Tokenizer": "minibert.tokenizer",
}


def __getattr__(name: str) -> Any:
    """Finds a public name in the module where it is written."""
    if name not in _HOMES:
        raise AttributeError(f"module 'minibert' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
