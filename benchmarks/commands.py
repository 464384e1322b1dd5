"""The commands of `python -m benchmarks`: each parses its options, then compares and prints."""

import dataclasses
import importlib
from collections.abc import Sequence
from typing import Any

from benchmarks import options
from minibert.console import cli


def pretrain(args: Sequence[str]) -> None:
    """Compare the steps of pretraining."""
    _compare("pretrain", options.PretrainBenchmarkOptions, options.PRETRAIN, args)


def quality(args: Sequence[str]) -> None:
    """Compare the time to a held-out loss."""
    _compare("quality", options.QualityOptions, options.QUALITY, args)


def finetune(args: Sequence[str]) -> None:
    """Compare fine-tuning."""
    _compare("finetune", options.FinetuneOptions, options.FINETUNE, args)


def encode(args: Sequence[str]) -> None:
    """Compare the encoding of texts."""
    _compare("encode", options.EncodeOptions, options.ENCODE, args)


def long(args: Sequence[str]) -> None:
    """Compare the encoding of long texts."""
    _compare("long", options.LongOptions, options.LONG, args)


def score(args: Sequence[str]) -> None:
    """Compare the scoring of sentences."""
    _compare("score", options.ScoreBenchmarkOptions, options.SCORE, args)


def prepare(args: Sequence[str]) -> None:
    """Time the preparation of token arrays and of batches."""
    _compare("prepare", options.PrepareBenchmarkOptions, options.PREPARE, args)


def suite(args: Sequence[str]) -> None:
    """Run the whole suite, and write its tables."""
    _compare("suite", options.SuiteOptions, options.SUITE, args, command="all")


def _compare(name: str, kind: Any, description: str, args: Sequence[str], *, command: str | None = None) -> None:
    """Parse the options and call `compare` of the module `name`.

    Raises InputError if an option is wrong, and whatever `compare` raises.
    """
    needs_some = any(field.default is dataclasses.MISSING for field in dataclasses.fields(kind))
    given = list(args) or (["--help"] if needs_some else [])
    found = cli.parse(kind, given, prog=f"python -m benchmarks {command or name}", description=description)
    found.check()
    importlib.import_module(f"benchmarks.{name}").compare(found)
