"""python -m minibert add-tokens: a model directory -> one with more words in its vocabulary."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
import tyro

from minibert import checkpoint
from minibert.console import cli, terminal
from minibert.errors import InputError, naming
from minibert.files import writing
from minibert.files.text import is_open_already, read_texts
from minibert.growing import Growth, grow_vocabulary
from minibert.tokenizer import Tokenizer

DESCRIPTION = """Turn words from your field into single tokens, in the tokenizer and in the model.

  python -m minibert add-tokens models/chinese models/medical --tokens 新冠病毒 高血压 脑梗塞
  python -m minibert add-tokens runs/demo models/mine --tokens words.txt
  python -m pretrain --init models/mine --corpus my-texts/ --out runs/mine --minutes 30

Words are normalised as texts are: COVID becomes covid if the tokenizer lower-cases. A word with Chinese characters or
kana is found inside running text; any other word is found only between word boundaries. The model knows little about
its new tokens until it is trained on text that has them, as in the last command above."""


@dataclass(frozen=True)
class AddTokensOptions:
    """The options of `add-tokens`."""

    directory: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="DIR")]
    """a model directory of any class; it is not changed"""
    out: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="OUT")]
    """the model directory to write; it must not exist"""
    tokens: Annotated[tuple[str, ...], tyro.conf.arg(metavar="WORD [WORD ...]")]
    """the words to add, or one UTF-8 file with one word per line"""
    init: Literal["mean", "random"] = "mean"
    """initial embedding of a new token; mean: the mean of the embeddings of its former pieces; random: drawn from a
    normal distribution with the config's initializer_range as standard deviation"""
    seed: int = 0
    """seed of --init random"""


def add_tokens_command(args: Sequence[str]) -> None:
    """Run `add-tokens`. Raises InputError if a directory is wrong, `out` exists, or a word is missing or refused."""
    options = cli.parse(AddTokensOptions, args, prog="python -m minibert add-tokens", description=DESCRIPTION)
    writing.check_new(options.out)
    if not 0 <= options.seed < 2**32:
        raise InputError(f"--seed must be from 0 to {2**32 - 1}, not {options.seed}")
    model, tokenizer = checkpoint.load(options.directory)
    words = words_given(options.tokens, tokenizer)
    before = model.config.vocab_size
    generator = torch.Generator().manual_seed(options.seed)
    growth = grow_vocabulary(model, tokenizer, words, init=options.init, generator=generator)
    checkpoint.save(model, tokenizer, options.out)
    terminal.say(*report(growth, tokenizer))
    terminal.say(f"\nvocab_size {before:,} -> {model.config.vocab_size:,}; written to {options.out}")


def words_given(tokens: Sequence[str], tokenizer: Tokenizer) -> list[str]:
    """Return the words of the command line, or of the one file that it names.

    Raises InputError if a file has no words, or one that can't be added (its line is named), or is not given alone.
    """
    # Otherwise the name of a missing text file would itself become a token, as would that of a pipe or a device.
    files = [token for token in tokens if _is_no_directory(token) or token.endswith((".txt", ".gz"))]
    if not files:
        return list(tokens)
    if len(tokens) > 1:
        raise InputError(f"--tokens: expected words, or one file and nothing else; {files[0]} is a file")
    path = files[0]
    words = []
    for number, line in enumerate(read_texts(path), start=1):
        if line.strip():
            with naming(f"{path}, line {number}"):
                tokenizer.as_found_in_text(line)
            words.append(line)
    if not words:
        raise InputError(f"{path}: expected one word per line, found none")
    return words


def _is_no_directory(path: str) -> bool:
    return is_open_already(path) or (os.path.exists(path) and not os.path.isdir(path))


def report(growth: Growth, tokenizer: Tokenizer) -> list[str]:
    """Return a line for each new token: id, word, and its former pieces; then one of words that already were tokens."""
    lines = [f"{len(growth.added):,} added"]
    for token in growth.added:
        lines.append(f"  {token.token_id:8} {token.word}   was {' '.join(map(tokenizer.shown, token.piece_ids))}")
    if growth.known:
        lines.append(f"{len(growth.known):,} already in the vocabulary: {' '.join(growth.known)}")
    return lines
