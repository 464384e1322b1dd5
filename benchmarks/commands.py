"""The commands of `python -m benchmarks`, each from its options to what it prints."""

import dataclasses
import importlib
from collections.abc import Sequence
from typing import Any

from benchmarks import options
from minibert.console import cli


def pretrain(args: Sequence[str]) -> None:
    """Steps of pretraining."""
    _compare("pretrain", options.PretrainBenchmarkOptions, options.PRETRAIN, args)


def quality(args: Sequence[str]) -> None:
    """Time to a held-out loss."""
    _compare("quality", options.QualityOptions, options.QUALITY, args)


def finetune(args: Sequence[str]) -> None:
    """Fine-tuning."""
    _compare("finetune", options.FinetuneOptions, options.FINETUNE, args)


def encode(args: Sequence[str]) -> None:
    """Vectors of texts."""
    _compare("encode", options.EncodeOptions, options.ENCODE, args)


def prepare(args: Sequence[str]) -> None:
    """Text to batches."""
    _compare("prepare", options.PrepareBenchmarkOptions, options.PREPARE, args)


def suite(args: Sequence[str]) -> None:
    """All that docs/performance.md tells."""
    _compare("suite", options.SuiteOptions, options.SUITE, args, command="all")


def _compare(name: str, kind: Any, description: str, args: Sequence[str], *, command: str | None = None) -> None:
    """Reads the options and has `compare` of the module of that name do the work.

    Raises InputError, RunStopped, CheckFailed: as that does.
    """
    needs_some = any(field.default is dataclasses.MISSING for field in dataclasses.fields(kind))
    given = list(args) or (["--help"] if needs_some else [])
    found = cli.parse(kind, given, prog=f"python -m benchmarks {command or name}", description=description)
    found.check()
    importlib.import_module(f"benchmarks.{name}").compare(found)
