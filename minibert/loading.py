"""A model directory -> a model that is ready for use, on the device where it is to compute."""

from pathlib import Path

import torch

from minibert import checkpoint
from minibert.fast import accelerate
from minibert.heads import Model
from minibert.tokenizer import Tokenizer
from minibert.training.device import choose_device


def load(directory: str | Path, *, device: str | torch.device = "cpu") -> tuple[Model, Tokenizer]:
    """The model, of the class that `config.json` names and in evaluation mode, and its tokenizer.

    device: "cpu", "cuda", "auto" (a GPU where there is one), or a `torch.device`.

    Raises InputError: no such device; not a model directory, or a damaged one: the message names file, field or key.
    """
    chosen = choose_device(device)
    model, tokenizer = checkpoint.load(directory)
    return accelerate(model).to(chosen), tokenizer
