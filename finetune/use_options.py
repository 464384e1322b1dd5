"""The options of `evaluate` and `predict`: the model, the files, and how they are read, by default as it says."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

import tyro

from finetune.readings import READINGS, Reading
from finetune.tally import OnBadRow
from minibert import cli
from minibert.errors import InputError

DESCRIPTIONS = {
    "evaluate": """Give the figures of a fine-tuned model on a file.

  python -m finetune evaluate runs/reviews --data test.csv --json figures.json""",
    "predict": """Give the answers of a fine-tuned model, one JSON object a line, in the order of the input.

  python -m finetune predict runs/reviews --input new.txt --output answers.jsonl
  echo "A fine place." | python -m finetune predict runs/reviews --input - --output -""",
}
# Command -> options of reading that it has no use for, and why.
NO_USE = {
    "evaluate": (("--n-best",), "figures are of the best answer"),
    "predict": (
        ("--label-column", "--label-separator", "--scheme", "--fix-tags", "--no-fix-tags"),
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


Options = TypeVar("Options", bound=UseOptions)


def parse_use(kind: type[Options], command: str, args: Sequence[str]) -> tuple[Options, str, Reading]:
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
    fields: list[Any] = [("reading", READINGS[task], dataclasses.field(default=saved))]
    both = dataclasses.make_dataclass("both", fields, bases=(kind,), frozen=True, kw_only=True)
    options: Any = cli.parse(both, args, prog=prog, description=DESCRIPTIONS[command])
    cli.refuse(cli.given_options(args), *NO_USE[command])
    reading: Reading = options.reading
    reading.check()
    return options, task, reading


def _said_by_model(directory: str) -> tuple[str, Reading]:
    from pathlib import Path

    from finetune.tasks import task_of_model
    from minibert.checkpoint import read_description
    from minibert.text_files import check_path

    check_path(directory)
    return task_of_model(read_description(Path(directory)), directory)
