"""What makes the model fast, beside the plain one: the same modules, the same numbers, in less time.

    model = minibert.fast.accelerate(Bert(config))

`minibert.load` and every command do so. Without it a model runs as `minibert.model` is written.
"""

from typing import TYPE_CHECKING

from minibert.lazy import lazy_names

if TYPE_CHECKING:
    from minibert.fast.encoder import accelerate

__all__ = ["accelerate"]

__getattr__, __dir__ = lazy_names(__name__, {"accelerate": "minibert.fast.encoder"})
