"""The commands of `python -m minibert`, each from its options to what it prints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from minibert import cli
from minibert.errors import InputError
from minibert.filling import fill_mask
from minibert.heads import BertForMaskedLM, BertForPreTraining, head_fields
from minibert.loading import load
from minibert.training.device import choose_device, choose_precision


@dataclass(frozen=True)
class InfoOptions:
    """Which directory to look at."""

    directory: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="DIR")]
    """a model directory"""


def info_command(args: Sequence[str]) -> None:
    """Prints the architecture, its fields, and the parameters by part."""
    options = cli.parse(InfoOptions, args, prog="python -m minibert info", description="Describe a model directory.")
    model, tokenizer = load(options.directory)
    print(f"{options.directory}: {type(model).__name__}\n")
    vectors = {"text_vectors": model.encoder.text_vectors} if model.encoder.text_vectors else {}
    for name, value in (model.config.to_dict() | head_fields(model) | vectors).items():
        print(f"  {name:30} {', '.join(value) if isinstance(value, tuple) else value}")
    print(f"\n  {'tokens in the vocabulary':30} {tokenizer.vocab_size:,}")
    print(f"  {'tokenizer fingerprint':30} {tokenizer.fingerprint}\n")
    parts: Counter[str] = Counter()
    for name, parameter in model.named_parameters():
        parts[_part(name)] += parameter.numel()
    for part, count in parts.items():
        print(f"  {part:30} {count:14,}")
    print(f"  {'parameters':30} {parts.total():14,}   (a tied matrix counts once)")


def _part(name: str) -> str:
    """The part that a parameter belongs to: "encoder.blocks.3.attention.output.bias" -> "encoder.blocks.3"."""
    pieces = name.split(".")
    if "blocks" in pieces:
        return ".".join(pieces[: pieces.index("blocks") + 2])
    return ".".join(pieces[:2]) if pieces[0] == "encoder" else pieces[0]


@dataclass(frozen=True)
class FillMaskOptions:
    """Which model fills which text."""

    directory: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="DIR")]
    """a model directory"""
    text: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="TEXT")]
    """a text in which [MASK] stands for each token to be told"""
    top_k: int = 5
    """how many answers for each [MASK]"""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: a GPU where there is one"""
    dtype: Literal["auto", "float32", "bfloat16"] = "float32"
    """of matrix products; auto: bfloat16 where the machine multiplies it fast"""


def fill_mask_command(args: Sequence[str]) -> None:
    """Prints, for every [MASK], the likeliest tokens with their probabilities.

    Raises:
        InputError: no [MASK] in the text, no masked-LM head in the model, or more tokens than it has positions.
    """
    options = cli.parse(
        FillMaskOptions,
        args,
        prog="python -m minibert fill-mask",
        description='Ask a model for the words behind [MASK]: fill-mask runs/demo "Return a [MASK] of tuples."',
    )
    device = choose_device(options.device)
    model, tokenizer = load(options.directory, device=device)
    if not isinstance(model, BertForPreTraining | BertForMaskedLM):
        raise InputError(f"{options.directory}: a {type(model).__name__} has no masked-LM head")
    if not 1 <= options.top_k <= tokenizer.vocab_size:
        raise InputError(f"--top-k must be from 1 to {tokenizer.vocab_size}, not {options.top_k}")
    with choose_precision(options.dtype, device).autocast():
        answers = fill_mask(model, tokenizer, options.text, top_k=options.top_k)
    print(options.text)
    mask = tokenizer.special_tokens.mask
    for number, best in enumerate(answers, start=1):
        label = f"{mask} {number}" if len(answers) > 1 else mask
        for place, (token, probability) in enumerate(best):
            print(f"  {label if place == 0 else '':10} {probability:7.2%}  {token}")
