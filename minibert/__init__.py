"""BERT, written out by hand in PyTorch.

    import minibert
    model, tokenizer = minibert.load("runs/demo", device="auto")   # the class that config.json names, evaluation mode
    minibert.fill_mask(model, tokenizer, "The man went to the [MASK].")   # [[(token, probability), ...], ...]
    batch = tokenizer("The man went to the [MASK] .")
    record = minibert.trace(model, batch)   # every intermediate by name
    minibert.intervene(model, batch, {"blocks.2": change})   # the same, with intermediates changed on the way
    minibert.explore(model, tokenizer, "The man went to the [MASK] .")   # in a notebook: a page that shows all of it
    vectors = minibert.embed(model, tokenizer, ["one text", "and another"])   # (2, H), numpy
    scores = minibert.score(model, tokenizer, ["The cats sleep.", "The cats sleeps."])   # (2,), log-likelihoods
    minibert.grow_vocabulary(model, tokenizer, ["高血压"])   # each word becomes one token
    minibert.save(model, tokenizer, "somewhere")

torch is imported when one of these is first used, not by `import minibert`, so commands answer `--help` at once.
"""

from typing import TYPE_CHECKING

from minibert.lazy import lazy_names

if TYPE_CHECKING:
    from minibert.checkpoint import save
    from minibert.config import BertConfig
    from minibert.embedding import embed
    from minibert.exploring.notebook import explore
    from minibert.filling import fill_mask
    from minibert.growing import grow_vocabulary
    from minibert.intervening import intervene
    from minibert.loading import load
    from minibert.scoring import score
    from minibert.tokenizer import Tokenizer
    from minibert.tracing import trace

__all__ = ["BertConfig", "Tokenizer", "embed", "explore", "fill_mask", "grow_vocabulary", "intervene", "load", "save",
           "score", "trace"]  # fmt: skip

__version__ = "0.1.0"  # pyproject.toml takes it from here

_HOMES = {
    "load": "minibert.loading",
    "save": "minibert.checkpoint",
    "trace": "minibert.tracing",
    "intervene": "minibert.intervening",
    "explore": "minibert.exploring.notebook",
    "fill_mask": "minibert.filling",
    "embed": "minibert.embedding",
    "score": "minibert.scoring",
    "grow_vocabulary": "minibert.growing",
    "BertConfig": "minibert.config",
    "Tokenizer": "minibert.tokenizer",
}

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
