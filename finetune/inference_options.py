"""The options of `evaluate` and `predict`: the model, the files, and how to read them; by default as in training."""

from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import tyro

from finetune import command_line
from finetune.data.conll import conllu_columns
from finetune.data.data_options import DATA_OPTIONS, DataOptions, TagDataOptions, check_fields
from finetune.data.tags import PREFIXES
from minibert.console import cli
from minibert.errors import InputError
from minibert.files.conllu import SUFFIX
from minibert.files.tally import OnBadRow
from minibert.files.text import check_path, shown, suffix

DESCRIPTIONS = {
    "evaluate": """Score a fine-tuned model on a labelled file, or, with --predictions, score the answers of any system.

  python -m finetune evaluate runs/reviews --data test.csv --json figures.json
  python -m finetune evaluate --predictions answers.json --data dev.json
  python -m finetune evaluate --predictions answers.json --help             list the options for scoring answers""",
    "predict": """Write a fine-tuned model's answer to each text or example in a file, one JSON object per line, in
the same order.

  python -m finetune predict runs/reviews --input new.txt --output answers.jsonl
  echo "A fine place." | python -m finetune predict runs/reviews --input - --output -""",
}
# Command -> reading options that it does not use, and why.
NO_USE = {
    "evaluate": {
        "--n-best": "the figures are those of the best answer",
        "--layout": "only columns and .jsonl have tags",
    },
    "predict": dict.fromkeys(
        ("--label-column", "--label-separator", "--tag-column", "--scheme", "--fix-tags", "--no-fix-tags"),
        "labels are not read",
    ),
    "predict, CoNLL-U": dict.fromkeys(("--scheme", "--fix-tags", "--no-fix-tags"), "labels are not read"),
    "evaluate --predictions": dict.fromkeys(
        ("--max-length", "--stride", "--max-answer-length", "--n-best", "--no-answer-threshold", "--layout"),
        "the answers already exist",
    ),
}
LATER = "Files are read as in training. To list the options that change this, put --help after the model's directory."
LATER_BY_DATA = "To list the options for reading the data, give --data FILE or --task with --help."


@dataclass(frozen=True, kw_only=True)
class UseOptions:
    """The options that both commands share."""

    directory: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="DIR")]
    """the directory of a fine-tuned model; it comes first, before all options"""
    data_options: DataOptions
    """how files are read"""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """where to compute; auto: a GPU if there is one, or else the CPU"""
    dtype: Literal["auto", "float32", "bfloat16", "float64"] = "auto"
    """number format of matrix products; auto: bfloat16 if the hardware is fast with it, or else float32; float64 is for
    verification"""


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions(UseOptions):
    """The options of `evaluate`: a model's figures on labelled data."""

    directory: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="DIR")]
    """the directory of a fine-tuned model; it comes first, before all options; leave it out with --predictions"""
    data: Annotated[str, tyro.conf.arg(metavar="FILE")]
    """the labelled file to score on"""
    on_bad_row: OnBadRow = "stop"
    """what to do with a row that can't be used; stop: end the command; skip: leave it out of the figures, and
    report it"""
    json: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """also write the figures to this file, as JSON"""


@dataclass(frozen=True, kw_only=True)
class PredictOptions(UseOptions):
    """The options of `predict`: a model's answers to a file."""

    input: Annotated[str, tyro.conf.arg(metavar="FILE")]
    """the file to predict from: examples with or without labels, or one text per line; -: standard input, as lines of
    text, JSON objects or, with --delimiter, rows of a table"""
    output: Annotated[str, tyro.conf.arg(metavar="FILE.jsonl")]
    """the .jsonl file to write; -: standard output; .txt: words separated by spaces, from a model that splits text into
    words; .conllu, plain or .gz: a copy of --input, which must also be .conllu, with the predicted tags in one column
    (--tag-column)"""

    def written_column(self) -> str | None:
        """Return the column of the CoNLL-U input that the output has anew; None if the output is not CoNLL-U.

        Raises InputError if the input is not CoNLL-U, the model does not tag words, or there is no such column.
        """
        if suffix(self.output) != SUFFIX:
            return None
        if not isinstance(self.data_options, TagDataOptions):
            raise InputError(f"{self.output}: expected .jsonl, because {self.data_options.task} does not tag words")
        layout = self.data_options.layout
        if suffix(self.input) != SUFFIX or layout not in (None, "columns"):
            read = shown(self.input) if layout is None else f"{shown(self.input)} with --layout {layout}"
            raise InputError(
                f"{self.output}: needs a {SUFFIX} file as --input, not {read}, because it copies the input and changes "
                "one column; a .jsonl file can be written for any input"
            )
        if self.data_options.tag_column is None and self.data_options.scheme in PREFIXES:  # not parts of speech
            raise InputError(f"{self.output}: the tags mark entities; give the --tag-column that they go into")
        return conllu_columns(self.data_options, self.input, labelled=True)[1]


@dataclass(frozen=True, kw_only=True)
class ScoreOptions:
    """The options of `evaluate --predictions`: the figures of answers that already exist."""

    predictions: Annotated[str, tyro.conf.arg(metavar="FILE")]
    """the answers; for questions: a JSON object of ids and answers, {"id": "answer"}, as in SQuAD; for other tasks: one
    answer per line, in the order of the data: the class (several are separated by commas), the number, with
    --group-column the candidate's score, the index of the choice from 0, or the tag of each word"""
    data: Annotated[str, tyro.conf.arg(metavar="FILE")]
    """the labelled file to score on"""
    data_options: DataOptions
    """how it is read"""
    task: Annotated[
        Literal["text-classification", "token-classification", "question-answering", "multiple-choice"] | None,
        tyro.conf.arg(metavar="TASK"),
    ] = None
    """the task that the answers are for: text-classification, token-classification, question-answering or
    multiple-choice; if not given: question-answering for .json, text-classification for tables and .jsonl, otherwise
    token-classification"""
    json: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """also write the figures to this file, as JSON"""


# The task that the suffix of a labelled file implies; any other suffix implies tags.
TASK_OF_SUFFIX = {".json": "question-answering", **dict.fromkeys((".csv", ".tsv", ".jsonl"), "text-classification")}

Options = TypeVar("Options", EvaluateOptions, PredictOptions)


@dataclass(frozen=True)
class UnknownDataOptions:
    """A stand-in for the data options of a model that is not named yet."""


def parse_use(kind: type[Options], command: str, args: Sequence[str]) -> Options:
    """Return the options; files are read as in the model's training, unless the command line says otherwise.

    Raises InputError if an option is unknown or impossible, or the directory is not a fine-tuned model's.
    """
    prog = f"python -m finetune {command}"
    if not args or args[0].startswith("-"):
        if args and args[0] not in ("-h", "--help"):
            raise InputError(f"the model's directory is missing: it comes before {args[0]} (see {prog} --help)")
        described = f"{DESCRIPTIONS[command]}\n\n{LATER}"
        command_line.parse(kind, ["--help"], prog=prog, description=described, data_options=UnknownDataOptions())
    from finetune.tasks.registry import data_options_of
    from minibert.checkpoint import read_description

    check_path(args[0])
    saved = data_options_of(read_description(Path(args[0])), args[0])
    unused = NO_USE[command].keys() - {"--tag-column"}  # used if CoNLL-U is written
    options = command_line.parse(
        kind, args, prog=prog, description=DESCRIPTIONS[command], data_options=saved, unused=unused
    )
    path = options.input if isinstance(options, PredictOptions) else options.data
    if isinstance(options, PredictOptions) and options.written_column():
        command = "predict, CoNLL-U"
    _check(options.data_options, args, command, path)
    return options


def parse_score(args: Sequence[str]) -> ScoreOptions:
    """Return the options of `evaluate --predictions`.

    Raises InputError if an option is unknown or impossible, or a model's directory is given too.
    """
    prog = "python -m finetune evaluate"
    if not args[0].startswith("-"):
        raise InputError(f"{args[0]}: give either a model directory or --predictions, not both")
    given = cli.given_options(args)
    task = given.get("--task") or TASK_OF_SUFFIX.get(suffix(given.get("--data", "")), "token-classification")
    kind = DATA_OPTIONS.get(task, DATA_OPTIONS["token-classification"])  # the parser refuses any other
    command, described = "evaluate --predictions", DESCRIPTIONS["evaluate"]
    if command_line.asks_for_help(args) and given.keys().isdisjoint(("--task", "--data")):
        described = f"{described}\n\n{LATER_BY_DATA}"
        command_line.parse(ScoreOptions, args, prog=prog, description=described, data_options=UnknownDataOptions())
    options = command_line.parse(
        ScoreOptions, args, prog=prog, description=described, data_options=kind(), unused=NO_USE[command]
    )
    _check(options.data_options, args, command, options.data)
    return options


def _check(data_options: DataOptions, args: Sequence[str], command: str, path: str) -> None:
    given = cli.given_options(args)
    check_use(given, command)
    check_fields(given, data_options, [path])
    data_options.check()


def check_use(given: Container[str], command: str) -> None:
    """Raises InputError if the command does not use an option in `given`."""
    for name, because in NO_USE[command].items():
        cli.refuse(given, (name,), because)


def given_fields(args: Sequence[str], data_options: DataOptions) -> dict[str, Any]:
    """Return the fields of the data options that the command line gives: the others are as saved with the model."""
    given = cli.given_options(args)
    return {
        name: value
        for name, value in vars(data_options).items()
        if cli.option_name(name) in given or cli.option_name(f"no_{name}") in given
    }
