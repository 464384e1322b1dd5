"""python -m minibert fill-mask: the most likely tokens for [MASK]."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from minibert.console import cli
from minibert.errors import InputError
from minibert.filling import fill_mask
from minibert.heads import BertForMaskedLM, BertForPreTraining
from minibert.loading import load
from minibert.training.device import choose_device, choose_precision

DESCRIPTION = """Predict the tokens behind [MASK]: print the likeliest ones, with their probabilities.

  python -m minibert fill-mask runs/demo "Return a [MASK] of tuples."
  python -m minibert fill-mask runs/demo "The [MASK] value is [MASK]." --top-k 10

If a text has several [MASK] tokens, each is predicted while the others are still masked."""


@dataclass(frozen=True)
class FillMaskOptions:
    """The options of `fill-mask`."""

    directory: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="DIR")]
    """a model directory with a masked-LM head"""
    text: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="TEXT")]
    """the text, with [MASK] (for a bpe vocabulary, such as RoBERTa's: <mask>) in place of each token to predict"""
    top_k: int = 5
    """number of tokens to print for each [MASK]"""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """where to compute; auto: a GPU if there is one, or else the CPU"""
    dtype: Literal["auto", "float32", "bfloat16"] = "float32"
    """number format of matrix products; auto: bfloat16 if the hardware is fast with it, or else float32"""


def fill_mask_command(args: Sequence[str]) -> None:
    """Run `fill-mask`: print the most likely tokens for every [MASK] with their probabilities.

    Raises InputError as `fill_mask` does, or if the directory or an option is wrong.
    """
    options = cli.parse(FillMaskOptions, args, prog="python -m minibert fill-mask", description=DESCRIPTION)
    device = choose_device(options.device)
    model, tokenizer = load(options.directory, device=device)
    if not isinstance(model, BertForPreTraining | BertForMaskedLM):
        raise InputError(f"{options.directory}: a {type(model).__name__} has no masked-LM head")
    if not 1 <= options.top_k <= tokenizer.vocab_size:
        raise InputError(f"--top-k must be from 1 to {tokenizer.vocab_size}, not {options.top_k}")
    precision = choose_precision(options.dtype, device)
    with precision.autocast():
        answers = fill_mask(model.to(precision.parameter_dtype), tokenizer, options.text, top_k=options.top_k)
    print(options.text)
    mask = tokenizer.special_tokens.mask
    for number, best in enumerate(answers, start=1):
        label = f"{mask} {number}" if len(answers) > 1 else mask
        for place, (token, probability) in enumerate(best):
            print(f"  {label if place == 0 else '':10} {probability:7.2%}  {token}")
