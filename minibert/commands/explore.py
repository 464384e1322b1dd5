"""python -m minibert explore: a model directory and a text -> a page that shows the forward pass."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import tyro

from minibert.console import cli, terminal
from minibert.errors import plural
from minibert.exploring.page import html_page, json_text
from minibert.exploring.record import MAX_TOKENS, make_record
from minibert.files import writing
from minibert.loading import load

DESCRIPTION = """Write a page that lets you see inside a model: it shows every step of one forward pass.

  python -m minibert explore runs/demo "Return the [MASK] of the array." --out page.html
  python -m minibert explore runs/demo "The man went to the [MASK] ." "He bought milk ." --out page.html
  python -m minibert explore runs/demo "Return the [MASK]." --compare runs/later --out page.html

Open the page in any browser; it needs no network and no server. It shows the embeddings, every block, the attention of
every head, what the model predicts and how the prediction forms from block to block, what changes when a head is
switched off, and which tokens the prediction depends on. Two texts become one pair, [CLS] A [SEP] B [SEP]."""


@dataclass(frozen=True)
class ExploreOptions:
    """The options of `explore`."""

    directory: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="DIR")]
    """a model directory of any class; the page leaves out what needs a head that the model lacks"""
    text: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="TEXT")]
    """the text, with [MASK] (for a bpe vocabulary, such as RoBERTa's: <mask>) in place of a token to predict"""
    out: Annotated[str, tyro.conf.arg(metavar="FILE.html")]
    """the page to write; an existing one is replaced"""
    second: Annotated[tyro.conf.Positional[str | None], tyro.conf.arg(metavar="[SECOND_TEXT]")] = None
    """the second text of a pair"""
    compare: Annotated[str | None, tyro.conf.arg(metavar="DIR2")] = None
    """a second model directory, with as many layers, heads and hidden dimensions as DIR; the page then also shows
    where the two models differ"""
    max_tokens: int = MAX_TOKENS
    """maximum number of tokens, including special tokens; a longer text is refused, because the page grows with the
    square of the length"""
    json: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """also write what the page shows to this file, as JSON, for programs of your own; large if the text is long"""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """where to compute; auto: a GPU if there is one, or else the CPU"""


def explore_command(args: Sequence[str]) -> None:
    """Run `explore`. Raises InputError if a directory, file or text is wrong, or the models differ in shape."""
    options = cli.parse(ExploreOptions, args, prog="python -m minibert explore", description=DESCRIPTION)
    cli.check_range(options, "max_tokens", low=3)  # [CLS], one token, [SEP]
    writing.check_outputs({"--out": options.out, "--json": options.json}, reads=(options.directory, options.compare))
    outputs = [Path(name) for name in (options.out, options.json) if name is not None]
    start = time.perf_counter()
    loaded = partial(load, device=options.device)
    model, tokenizer = loaded(options.directory)
    record = make_record(
        model,
        tokenizer,
        options.text,
        options.second,
        name=Path(options.directory).resolve().name,
        other=None if options.compare is None else (*loaded(options.compare), Path(options.compare).resolve().name),
        max_tokens=options.max_tokens,
        progress=True,
    )
    contents = [html_page(record)] if options.json is None else [html_page(record), json_text(record)]
    for output, content in zip(outputs, contents, strict=True):
        writing.write_whole_text(output, content)
        terminal.say(f"{output}: {os.path.getsize(output):,} bytes")
    config = model.config
    blocks, heads = plural(config.num_hidden_layers, "block"), plural(config.num_attention_heads, "head")
    shape = f"{len(record['tokens'])} tokens, {blocks} of {heads}"
    terminal.say(f"{shape}, in {time.perf_counter() - start:.1f} s")
