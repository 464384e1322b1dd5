"""The options of `evaluate` and `predict`: the model, the files, and how they are read, by default as it says."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, Literal, TypeVar

import tyro

from finetune.data.data_options import DATA_OPTIONS, DataOptions, check_fields
from finetune.data.tally import OnBadRow
from minibert.console import cli
from minibert.errors import InputError
from minibert.files.text import suffix

DESCRIPTIONS = {
    "evaluate": """Give the figures of a fine-tuned model on a file.

  python -m finetune evaluate runs/reviews --data test.csv --json figures.json

Or those of answers that others gave: SQuAD's JSON of id and answer, else a class, a number, a choice or a tag a line.

  python -m finetune evaluate --predictions answers.json --data dev.json""",
    "predict": """Give the answers of a fine-tuned model, one JSON object a line, in the order of the input.

  python -m finetune predict runs/reviews --input new.txt --output answers.jsonl
  echo "A fine place." | python -m finetune predict runs/reviews --input - --output -""",
}
# Command -> options of reading that it has no use for, and why.
NO_USE = {
    "evaluate": {"--n-best": "figures are of the best answer", "--layout": "only columns and .jsonl have tags"},
    "predict": dict.fromkeys(
        ("--label-column", "--label-separator", "--tag-column", "--scheme", "--fix-tags", "--no-fix-tags"),
        "labels are not read",
    ),
}
LATER = "How files are read is the model's to say; with its directory before --help, its options are shown too."


@dataclass(frozen=True)
class UseOptions:
    """What both have in common."""

    directory: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="DIR")]
    """a fine-tuned model's directory; it stands first"""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: a GPU where there is one"""
    dtype: Literal["auto", "float32", "bfloat16", "float64"] = "auto"
    """of matrix products; auto: bfloat16 where the machine multiplies it fast"""


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions(UseOptions):
    """Figures."""

    data: str
    """the labelled file"""
    on_bad_row: OnBadRow = "stop"
    """a row that cannot be read or asked ends the command, or is left out of the figures, which is said"""
    json: str | None = None
    """a file to write the figures to as well"""


@dataclass(frozen=True, kw_only=True)
class PredictOptions(UseOptions):
    """Answers."""

    input: str
    """the file, with labels or without, or one text a line; -: standard input, lines of text or of JSON objects, with a --delimiter rows of a table"""  # noqa: E501
    output: str
    """the .jsonl file to write; -: standard output"""


@dataclass(frozen=True, kw_only=True)
class ScoreOptions:
    """Figures of answers that were given already."""

    predictions: str
    """the answers: SQuAD's JSON, {"id": "answer"}; else one a line, in the order of the data: the class (of several, with commas between them), the number, the index of the choice, or the tag of each word"""  # noqa: E501
    data: str
    """the labelled file"""
    task: Literal["text-classification", "token-classification", "question-answering", "multiple-choice"] | None = None
    """none: question-answering for .json, text-classification for .csv, .tsv and .jsonl, else token-classification"""
    json: str | None = None
    """a file to write the figures to as well"""


# What the name of a labelled file says of its task; any other is of tags.
TASK_OF_SUFFIX = {
    ".json": "question-answering", ".csv": "text-classification", ".tsv": "text-classification",
    ".jsonl": "text-classification",
}  # fmt: skip
# Options of reading that score nothing: lengths, and what decides an answer.
NOT_SCORED = ("max_length", "stride", "max_answer_length", "n_best", "no_answer_threshold", "layout")

Options = TypeVar("Options", bound=UseOptions)


def parse_use(kind: type[Options], command: str, args: Sequence[str]) -> tuple[Options, str, DataOptions]:
    """The options, the model's task, and how files are read: as the model says, unless the command line does.

    Raises:
        InputError: an unknown or impossible option, or no model directory of a task.
    """
    prog = f"python -m finetune {command}"
    if not args or args[0].startswith("-"):
        if args and args[0] not in ("-h", "--help"):
            raise InputError(f"the model's directory is missing: it stands before {args[0]} (see {prog} --help)")
        cli.parse(kind, ["--help"], prog=prog, description=f"{DESCRIPTIONS[command]}\n\n{LATER}")
    task, saved = _said_by_model(args[0])
    fields: list[Any] = [("data_options", DATA_OPTIONS[task], dataclasses.field(default=saved))]
    both = dataclasses.make_dataclass("both", fields, bases=(kind,), frozen=True, kw_only=True)
    options: Any = cli.parse(both, args, prog=prog, description=DESCRIPTIONS[command])
    data_options: DataOptions = options.data_options
    for name, because in NO_USE[command].items():
        cli.refuse(cli.given_options(args), (name,), because)
    check_fields(cli.given_options(args), data_options, [getattr(options, "data", None) or options.input])
    data_options.check()
    return options, task, data_options


def parse_score(args: Sequence[str]) -> tuple[ScoreOptions, str, DataOptions]:
    """The options of `evaluate --predictions`, the task, and how its file is read.

    Raises:
        InputError: an unknown or impossible option; a model's directory, which has no part in it.
    """
    prog = "python -m finetune evaluate"
    if not args[0].startswith("-"):
        raise InputError(f"{args[0]}: a model answers itself, expected its directory or --predictions, not both")
    given = dict(_pairs(args))
    task = given.get("--task") or TASK_OF_SUFFIX.get(suffix(given.get("--data", "")), "token-classification")
    kind = DATA_OPTIONS.get(task, DATA_OPTIONS["token-classification"])  # any other is the parser's to refuse
    fields: list[Any] = [("data_options", kind, dataclasses.field(default_factory=kind))]
    both = dataclasses.make_dataclass("both", fields, bases=(ScoreOptions,), frozen=True, kw_only=True)
    options: Any = cli.parse(both, args, prog=prog, description=DESCRIPTIONS["evaluate"])
    unused = [f"--{name.replace('_', '-')}" for name in NOT_SCORED]
    cli.refuse(cli.given_options(args), unused, "the answers are there already")
    data_options: DataOptions = options.data_options
    check_fields(cli.given_options(args), data_options, [options.data])
    data_options.check()
    return options, task, data_options


def _pairs(args: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each option on a command line with its value, also where that is behind "="."""
    for arg, after in pairwise([*args, ""]):
        name, equals, value = arg.partition("=")
        yield name, value if equals else after


def _said_by_model(directory: str) -> tuple[str, DataOptions]:
    from pathlib import Path

    from finetune.tasks.registry import task_of_model
    from minibert.checkpoint import read_description
    from minibert.files.text import check_path

    check_path(directory)
    return task_of_model(read_description(Path(directory)), directory)
