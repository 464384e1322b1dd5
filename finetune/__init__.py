"""Fine-tuning, and using fine-tuned models.

    import finetune
    finetune.predict("runs/reviews", ["A fine place.", "Never again."])   # [{"text": ..., "label": ..., ...}, ...]
    finetune.evaluate("runs/reviews", "test.csv")["metrics"]   # {"accuracy": ..., ...}

Training is a command, `python -m finetune TASK`. torch is imported the first time that one of these is used.
"""

from typing import TYPE_CHECKING

from minibert.lazy import lazy_names

if TYPE_CHECKING:
    from finetune.inference import evaluate, predict

__all__ = ["evaluate", "predict"]

__getattr__, __dir__ = lazy_names(__name__, dict.fromkeys(__all__, "finetune.inference"))
