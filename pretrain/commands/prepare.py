"""python -m pretrain prepare: only the vocabulary and the token arrays."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from minibert.console import cli, terminal
from pretrain.arrays.duplicates import duplicates_note
from pretrain.arrays.prepare import PrepareOptions, prepare
from pretrain.arrays.shards import Manifest
from pretrain.options import refuse_vocabulary_options

PROG = "python -m pretrain prepare"
DESCRIPTION = """Make a vocabulary and token arrays from text; any number of runs can then train on these with --data.

  python -m pretrain prepare --corpus my-texts/ --out data/mine
  python -m pretrain inspect --data data/mine
  python -m pretrain --data data/mine --out runs/mine"""


@dataclass(frozen=True)
class PrepareCommand:
    """The options of the command."""

    out: Annotated[str, tyro.conf.arg(metavar="DIR")]
    """the directory to write; it must be new or empty"""
    options: Annotated[PrepareOptions, tyro.conf.arg(name="text and vocabulary")]


def prepare_command(args: Sequence[str]) -> None:
    """Prepare a corpus. Raises InputError if options or text are unusable; nothing is left behind."""
    command = cli.parse(PrepareCommand, args, prog=PROG, description=DESCRIPTION)
    made, kind = command.options.tokenizer is not None, command.options.tokenizer_kind
    refuse_vocabulary_options(cli.given_options(args), kind=kind, made=made)
    prepare(command.options, command.out)
    manifest = Manifest.read(Path(command.out))
    for name, side in (("training", manifest.train), ("held out", manifest.heldout)):
        terminal.say(
            f"{name:10} {side.documents:12,} documents {side.sentences:12,} sentences {side.words:12,} words "
            f"{side.tokens:14,} tokens, {side.unknown_tokens / side.tokens:.2%} unknown"
        )
    found = manifest.duplicates
    assert found is not None  # as `prepare` always counts them
    dropped = ", dropped" if command.options.drop_duplicates else ""
    terminal.say(
        f"repeated   {found.documents:12,} documents {found.paragraphs:12,} paragraphs, {found.share:.2%} of the text"
        f"{dropped}"
    )
    terminal.say(f"vocabulary {manifest.vocab_size:12,} tokens")
    terminal.say(
        f"in {manifest.seconds['total']:.1f} s, {manifest.tokens_per_second:,.0f} tokens/s, at most "
        f"{manifest.peak_rss_bytes / 2**20:,.0f} MiB of memory"
    )
    if note := duplicates_note(manifest):
        terminal.say(note)
    terminal.say(f"\nwritten to {command.out}")
