"""The commands of `python -m weights_convert`, each from its options to what it prints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
import tyro

from minibert import cli
from minibert.model import Bert
from weights_convert.config_map import reference_class_of
from weights_convert.convert import from_hf, to_hf

FROM_HF = """Turn a Hugging Face directory of a BERT into a model directory, its heads included.

  python -m weights_convert from-hf bert-base-uncased/ models/base
  python -m minibert fill-mask models/base "The capital of France is [MASK]."

Read are config.json; model.safetensors or pytorch_model.bin, whole or in shards (no code in them is run);
tokenizer.json or vocab.txt with tokenizer_config.json. The task is the one that config.json names. What became of every
weight is printed: mapped, tied, dropped and why, newly initialised."""

TO_HF = """Turn a model directory into one that transformers loads with from_pretrained, tokenizer included.

  python -m weights_convert to-hf runs/demo exported
  python -c 'import transformers; print(transformers.pipeline("fill-mask", "exported")("Return a [MASK]."))'"""


@dataclass(frozen=True)
class FromHfOptions:
    """What is read, what is written."""

    directory: tyro.conf.Positional[str]
    """a Hugging Face directory, or (with the extra hub) a model's name on the hub"""
    out: tyro.conf.Positional[str]
    """the model directory to write; it must not be there"""
    new_head: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """draw the weights of a head that config.json names and the weights lack, from a fixed seed"""


def from_hf_command(args: Sequence[str]) -> None:
    """
    Raises:
        InputError: as `weights_convert.convert.from_hf`.
    """
    options = cli.parse(FromHfOptions, args, prog="python -m weights_convert from-hf", description=FROM_HF)
    conversion = from_hf(
        options.directory, options.out, new_head=torch.Generator().manual_seed(0) if options.new_head else None
    )
    print("\n".join(conversion.ledger.lines()))
    if conversion.left_aside:
        print(f"config.json: without influence on what is computed: {', '.join(conversion.left_aside)}")
    print(f"\na {type(conversion.model).__name__}, written to {options.out}")


@dataclass(frozen=True)
class ToHfOptions:
    """What is read, what is written."""

    directory: tyro.conf.Positional[str]
    """a model directory"""
    out: tyro.conf.Positional[str]
    """the Hugging Face directory to write; it must not be there"""


def to_hf_command(args: Sequence[str]) -> None:
    """
    Raises:
        InputError: as `weights_convert.convert.to_hf`.
    """
    options = cli.parse(ToHfOptions, args, prog="python -m weights_convert to-hf", description=TO_HF)
    model = to_hf(options.directory, options.out)
    task = reference_class_of(model).removeprefix("Bert").removeprefix("Model")
    arguments = repr(options.out)
    if isinstance(model, Bert):  # the config has no field for it; a pooler would be drawn at random
        arguments += ", add_pooling_layer=False"
    print(
        f"a {reference_class_of(model)}, written to {options.out}; to load it:\n\n"
        f"  transformers.AutoModel{task}.from_pretrained({arguments})\n"
        f"  transformers.AutoTokenizer.from_pretrained({options.out!r})"
    )
