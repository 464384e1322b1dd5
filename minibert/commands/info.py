"""python -m minibert info: what a model directory holds."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import tyro

from minibert.architectures import head_fields
from minibert.console import cli
from minibert.loading import load

DESCRIPTION = """Describe a model directory: its class and config, the size of its vocabulary, and the parameters of
each part.

  python -m minibert info runs/demo

Model directories are written by `python -m pretrain`, by `python -m finetune` and by `python -m weights_convert
from-hf`."""


@dataclass(frozen=True)
class InfoOptions:
    """The options of `info`."""

    directory: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="DIR")]
    """a model directory"""


def info_command(args: Sequence[str]) -> None:
    """Run `info`: print the architecture, its fields, and the parameters by part."""
    options = cli.parse(InfoOptions, args, prog="python -m minibert info", description=DESCRIPTION)
    model, tokenizer = load(options.directory)
    print(f"{options.directory}: {type(model).__name__}\n")
    vectors = {"text_vectors": model.encoder.text_vectors} if model.encoder.text_vectors else {}
    for name, value in (model.config.to_dict() | head_fields(model) | vectors).items():
        print(f"  {name:30} {_shown(value)}")
    print(f"\n  {'tokens in the vocabulary':30} {tokenizer.vocab_size:,}")
    print(f"  {'tokenizer fingerprint':30} {tokenizer.fingerprint}\n")
    parts: Counter[str] = Counter()
    for name, parameter in model.named_parameters():
        parts[_part(name)] += parameter.numel()
    for part, count in parts.items():
        print(f"  {part:30} {count:14,}")
    print(f"  {'parameters':30} {parts.total():14,}   (a tied matrix counts once)")


def _shown(value: Any) -> Any:
    """Return a field's value for people: labels as a list, the windows of all layers as one if they are alike."""
    if not isinstance(value, tuple):
        return value
    if isinstance(value[0], int) and len(set(value)) == 1:
        return f"{value[0]} in each layer"
    return ", ".join(map(str, value))


def _part(name: str) -> str:
    """Return the part that a parameter belongs to: "encoder.blocks.3.attention.output.bias" -> "encoder.blocks.3"."""
    pieces = name.split(".")
    if "blocks" in pieces:
        return ".".join(pieces[: pieces.index("blocks") + 2])
    return ".".join(pieces[:2]) if pieces[0] == "encoder" else pieces[0]
