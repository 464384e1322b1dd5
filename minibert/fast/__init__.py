"""What makes the plain model fast: the same modules, the same results within rounding, in less time.

    model = minibert.fast.accelerate(Bert(config))

`minibert.load` and every command do this. Without it, a model runs the plain code of `minibert.model`.
"""

from typing import TYPE_CHECKING

from minibert.lazy import lazy_names

if TYPE_CHECKING:
    from minibert.fast.encoder import accelerate

__all__ = ["accelerate"]

__getattr__, __dir__ = lazy_names(__name__, {"accelerate": "minibert.fast.encoder"})
