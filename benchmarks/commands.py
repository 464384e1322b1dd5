"""The commands of `python -m benchmarks`, each from its options to what it prints."""

from __future__ import annotations

from collections.abc import Sequence

from minibert import cli


def finetune(args: Sequence[str]) -> None:
    """
    Raises:
        InputError, RunStopped, CheckFailed: as `benchmarks.finetune.compare`.
    """
    from benchmarks.options import FINETUNE, FinetuneOptions

    options = cli.parse(FinetuneOptions, args or ["--help"], prog="python -m benchmarks finetune", description=FINETUNE)
    options.check()
    from benchmarks.finetune import compare

    compare(options)


def reviews(args: Sequence[str]) -> None:
    """
    Raises:
        InputError, RunStopped: as `benchmarks.reviews.compare`.
    """
    from benchmarks.options import REVIEWS, ReviewsOptions

    options = cli.parse(ReviewsOptions, args or ["--help"], prog="python -m benchmarks reviews", description=REVIEWS)
    options.check()
    from benchmarks.reviews import compare

    compare(options)


def encode(args: Sequence[str]) -> None:
    """
    Raises:
        InputError, RunStopped, CheckFailed: as `benchmarks.encode.compare`.
    """
    from benchmarks.options import ENCODE, EncodeOptions

    options = cli.parse(EncodeOptions, args or ["--help"], prog="python -m benchmarks encode", description=ENCODE)
    options.check()
    from benchmarks.encode import compare

    compare(options)


def pretrain(args: Sequence[str]) -> None:
    """
    Raises:
        InputError, RunStopped, CheckFailed: as `benchmarks.pretrain.compare`.
    """
    from benchmarks.options import PRETRAIN, PretrainBenchmarkOptions

    options = cli.parse(PretrainBenchmarkOptions, args, prog="python -m benchmarks pretrain", description=PRETRAIN)
    options.check()
    from benchmarks.pretrain import compare

    compare(options)


def startup(args: Sequence[str]) -> None:
    """
    Raises:
        InputError, RunStopped: as `benchmarks.startup.compare`.
    """
    from benchmarks.options import STARTUP, StartupOptions

    options = cli.parse(StartupOptions, args or ["--help"], prog="python -m benchmarks startup", description=STARTUP)
    options.check()
    from benchmarks.startup import compare

    compare(options)


def prepare(args: Sequence[str]) -> None:
    """
    Raises:
        InputError, RunStopped: as `benchmarks.prepare.compare`.
    """
    from benchmarks.options import PREPARE, PrepareBenchmarkOptions

    options = cli.parse(
        PrepareBenchmarkOptions, args or ["--help"], prog="python -m benchmarks prepare", description=PREPARE
    )
    options.check()
    from benchmarks.prepare import compare

    compare(options)
