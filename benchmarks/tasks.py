"""The tasks of the fine-tuning benchmark: their files, how minibert reads them, and what both sides are given."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from finetune.data import reading as readers
from finetune.data.data_options import DATA_OPTIONS
from minibert.console import cli
from minibert.files.tally import Tally


@dataclass(frozen=True)
class BenchmarkTask:
    """A task, with its usual hyperparameters, which apply unless options replace them."""

    command: str  # of python -m finetune
    sources: tuple[str, str]  # in the data directory: training file, dev file; the same one twice if it is split
    suffix: str  # of the files that both sides are given
    data_options: str  # the options with which minibert reads them
    answer: str  # the field of a prediction that holds the answer
    metrics: tuple[str, ...]  # those that are compared; the last one chooses the best epoch
    max_length: int
    stride: int | None = None
    epochs: int = 3
    batch_size: int = 32
    learning_rate: float = 5e-5


BENCHMARK_TASKS = {
    "cola": BenchmarkTask(
        command="text-classification",
        sources=("train.tsv", "dev.tsv"),
        suffix=".tsv",
        data_options="--no-header --no-quoting --text-column 4 --label-column 2",
        answer="label",
        metrics=("mcc",),
        max_length=128,
    ),
    "stsb": BenchmarkTask(
        command="text-classification",
        sources=("sts-train.csv", "sts-dev.csv"),
        suffix=".tsv",
        data_options="--no-header --no-quoting --text-column 6 --text-pair-column 7 --label-column 5 --regression",
        answer="score",
        metrics=("pearson", "spearman"),
        max_length=128,
    ),
    "wnut17": BenchmarkTask(
        command="token-classification",
        sources=("train.conll", "dev.conll"),
        suffix=".conll",
        data_options="",
        answer="tags",
        metrics=("f1",),
        max_length=128,
    ),
    "squad": BenchmarkTask(
        command="question-answering",
        sources=("train-v1.1-subset44.json.gz", "dev-v1.1.json.gz"),
        suffix=".json",
        data_options="--max-answer-length 30 --n-best 20",
        answer="answer",
        metrics=("exact", "f1"),
        max_length=384,
        stride=128,
        epochs=2,
    ),
    "choices": BenchmarkTask(
        command="multiple-choice",
        sources=("train-v1.1-subset44.json.gz", "train-v1.1-subset44.json.gz"),
        suffix=".jsonl",
        data_options="",
        answer="answer",
        metrics=("accuracy",),
        max_length=128,
        batch_size=16,
    ),
}


@dataclass(frozen=True)
class FinetuneWork:
    """The work that both sides are given."""

    task: str  # a key of `BENCHMARK_TASKS`
    model: str  # a Hugging Face directory
    train: str
    dev: str
    epochs: int
    learning_rate: float
    batch_size: int
    device: str
    warmup_share: float = 0.1
    weight_decay: float = 0.01
    clip_norm: float = 1.0


def read_examples(task: str, path: str) -> Iterator[Any]:
    """Read the examples of a task's file with the same options that minibert is given.

    Raises InputError, naming the file and row, if the file or a row cannot be used.
    """
    found = BENCHMARK_TASKS[task]
    data_options = cli.parse(DATA_OPTIONS[found.command], found.data_options.split(), prog="reading", description=task)
    return readers.read_examples(path, data_options, Tally())
