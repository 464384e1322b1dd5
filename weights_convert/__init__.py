"""Weights from Hugging Face and back, and the proof that both sides compute the same numbers.

    import weights_convert
    weights_convert.from_hf("bert-base-uncased/", "models/base")   # Hugging Face's directory -> a model directory
    weights_convert.to_hf("runs/demo", "exported")   # the way back
    weights_convert.verify("bert-base-uncased/", dtype="float64").agrees   # runs transformers as the reference

torch is imported when one of these is first used.
"""

from typing import TYPE_CHECKING

from minibert.lazy import lazy_names

if TYPE_CHECKING:
    from weights_convert.convert import from_hf, to_hf
    from weights_convert.parity import verify

__all__ = ["from_hf", "to_hf", "verify"]

_HOMES = {"from_hf": "weights_convert.convert", "to_hf": "weights_convert.convert", "verify": "weights_convert.parity"}

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
