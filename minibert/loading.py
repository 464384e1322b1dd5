"""A model directory -> an accelerated model on the device where it will compute."""

from pathlib import Path

import torch

from minibert import checkpoint
from minibert.fast import accelerate
from minibert.heads import Model
from minibert.tokenizer import Tokenizer
from minibert.training.device import choose_device


def load(directory: str | Path, *, device: str | torch.device = "cpu") -> tuple[Model, Tokenizer]:
    """Return the model, of the class that `config.json` names and in evaluation mode, and its tokenizer.

    device: "cpu", "cuda", "auto" (a GPU if there is one), or a `torch.device`.

    Raises InputError, naming file, field or key, if there is no such device or this is not an intact model directory.
    """
    chosen = choose_device(device)
    model, tokenizer = checkpoint.load(directory)
    return accelerate(model).to(chosen), tokenizer
