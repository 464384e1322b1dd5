"""How each task reads its files and cuts its texts: training options that are saved with the model.

`config.json` stores them as `trained_on`; `evaluate` and `predict` use them unless other options are given. Imports
nothing heavy, because the command line is built from these classes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, get_type_hints

import tyro

from finetune.data.tags import WORD_SCHEMES
from minibert.console import cli
from minibert.errors import InputError, plural
from minibert.files.tables import JSON_FILES, TableFormat
from minibert.files.text import suffix
from minibert.files.typed import typed

FileForm = Literal["columns", "text", "jsonl"]  # of sentences to tag


@dataclass(frozen=True)
class TextDataOptions:
    """How text classification reads files: tables (.csv, .tsv) or .jsonl, one example per row."""

    task: ClassVar[str] = "text-classification"

    text_column: Annotated[str, tyro.conf.arg(metavar="COLUMN")] = "text"
    """the column of the text, in .jsonl the field; with --no-header its number, from 1"""
    text_pair_column: Annotated[str | None, tyro.conf.arg(metavar="COLUMN")] = None
    """the column of the second text, given as for --text-column, if the examples are pairs"""
    label_column: Annotated[str, tyro.conf.arg(metavar="COLUMN")] = "label"
    """the column of the label, given as for --text-column"""
    delimiter: Annotated[str | None, tyro.conf.arg(metavar="CHARS")] = None
    """the character(s) between fields; if not given: a tab in .tsv, or else a comma"""
    header: bool = True
    """the first row names the columns"""
    quoting: tyro.conf.DisallowNone[bool | None] = None
    """fields may be enclosed in quotation marks; if not given: yes, unless tabs separate the fields"""
    regression: bool = False
    """labels are numbers to predict, not classes"""
    multi_label: bool = False
    """an example can have any number of labels, written with separators, as a list, or as a 1 or 0 for each class"""
    label_separator: Annotated[str | None, tyro.conf.arg(metavar="CHARS")] = None
    """the character(s) between the labels of an example; if not given: a comma"""
    group_column: Annotated[str | None, tyro.conf.arg(metavar="COLUMN")] = None
    """the column that says which rows are candidates for the same query; this adds ranking figures, and the labels are then grades: 1 for a relevant candidate and 0 for the others, or 0, 1, 2 and so on"""  # noqa: E501
    max_length: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    """maximum number of tokens per text or pair, including special tokens; longer texts are cut off (in a pair, the longer one first); if not given: 128, or the model's number of positions if that is smaller"""  # noqa: E501

    @property
    def problem_type(self) -> str:
        """What the model's outputs are, as in `minibert.heads.PROBLEM_TYPES`."""
        if self.regression:
            return "regression"
        return "multi_label_classification" if self.multi_label else "single_label_classification"

    @property
    def table(self) -> TableFormat:
        """How the file is read."""
        return TableFormat(delimiter=self.delimiter, header=self.header, quoting=self.quoting)

    def columns(self, *, labelled: bool) -> dict[str, str]:
        """Return option -> column name for the columns to read: text, second text, group and label, as far as they are
        used. The group's is left out if it is that of a text.

        Raises InputError if two others are the same.
        """
        columns = {"--text-column": self.text_column}
        if self.text_pair_column is not None:
            columns["--text-pair-column"] = self.text_pair_column
        if self.group_column is not None and self.group_column not in columns.values():
            columns["--group-column"] = self.group_column
        if labelled:
            columns["--label-column"] = self.label_column
        if len(set(columns.values())) < len(columns):
            told = ", ".join(f"{option} {column}" for option, column in columns.items())
            raise InputError(f"{told}: these must be different columns")
        return columns

    def check(self) -> None:
        """Raises InputError if an option is out of range, or two exclude each other."""
        if self.regression and self.multi_label:
            raise InputError("--regression and --multi-label are mutually exclusive")
        if self.label_separator is not None and not (self.multi_label and self.label_separator):
            raise InputError(
                "--label-separator: expected one or more characters that separate labels, and --multi-label"
            )
        if self.group_column is not None and self.multi_label:
            raise InputError("--group-column and --multi-label are mutually exclusive: a candidate has one grade")
        if self.group_column == self.text_column and self.text_pair_column is None:
            raise InputError(
                f"--group-column {self.group_column} is also the --text-column; this needs a --text-pair-column for "
                "the candidates"
            )
        cli.check_range(self, "max_length", low=3 if self.text_pair_column is None else 5)
        _ = self.table  # checks the delimiter

    def fitted(self, positions: int) -> TextDataOptions:
        """Return the options with lengths that fit the model; see `fitting_length`."""
        return dataclasses.replace(self, max_length=fitting_length(self.max_length, 128, positions))


@dataclass(frozen=True)
class TagDataOptions:
    """How token classification reads files: columns, one word per row, or .jsonl with lists of words and tags."""

    task: ClassVar[str] = "token-classification"

    word_column: Annotated[str | None, tyro.conf.arg(metavar="COLUMN")] = None
    """the column of the word: its number, from 1; in CoNLL-U its name; in .jsonl the field; if not given: the first that does not just number the words, in CoNLL-U 'form', in .jsonl 'tokens'"""  # noqa: E501
    tag_column: Annotated[str | None, tyro.conf.arg(metavar="COLUMN")] = None
    """the column of the tag, given as for --word-column; if not given: the last, in CoNLL-U 'upos', in GermEval the outer tags, in .jsonl 'ner_tags'"""  # noqa: E501
    layout: Annotated[FileForm | None, tyro.conf.arg(metavar="{columns,text,jsonl}")] = None
    """the form of the input; columns: one word per row; text: one text per line; jsonl: one JSON object per line; if not given: by the file's name or else its content; standard input and pipes are jsonl if the first line begins with {, or else text"""  # noqa: E501
    scheme: Literal["auto", "iob1", "iob2", "bioes", "none", "bmes", "bi"] = "auto"
    """what the tags mark; auto: entities, in the scheme that the training file follows, or classes if no tag has a prefix and a type, as B-PER has; iob1, iob2, bioes: entities, in this scheme; none: classes, such as parts of speech, one for each word; bmes, bi: the words of a text, whose characters are tagged"""  # noqa: E501
    fix_tags: bool = False
    """read impossible tag sequences as conlleval does, instead of refusing them"""
    max_length: Annotated[int | None, cli.Range(low=4), tyro.conf.arg(metavar="INT")] = None
    """maximum number of tokens per window, including special tokens; a longer sentence is read in several windows; if not given: 128, or the model's number of positions if that is smaller"""  # noqa: E501
    stride: Annotated[int | None, cli.Range(low=0), tyro.conf.arg(metavar="INT")] = None
    """number of tokens that consecutive windows share; if not given: a quarter of a window"""

    @property
    def cuts_words(self) -> bool:
        """Whether it is characters that are tagged, to cut a text into words."""
        return self.scheme in WORD_SCHEMES

    def check(self) -> None:
        """Raises InputError if an option is out of range or two exclude each other."""
        cli.check_ranges(self)
        if self.fix_tags and self.scheme == "none":
            raise InputError("--fix-tags contradicts --scheme none: without a scheme, no tag is impossible")

    def fitted(self, positions: int) -> TagDataOptions:
        """Return the options with lengths that fit the model; see `fitting_length` and `fitting_stride`."""
        length = fitting_length(self.max_length, 128, positions)
        stride = fitting_stride(self.stride, length // 4, room=length - 2)
        return dataclasses.replace(self, max_length=length, stride=stride)


@dataclass(frozen=True)
class QuestionDataOptions:
    """How question answering reads files: SQuAD's JSON, v1.1 or v2.0."""

    task: ClassVar[str] = "question-answering"

    max_length: Annotated[int | None, cli.Range(low=8), tyro.conf.arg(metavar="INT")] = None
    """maximum number of tokens per window, including the question and special tokens; a longer passage is read in several windows; if not given: 384, or the model's number of positions if that is smaller"""  # noqa: E501
    stride: Annotated[int | None, cli.Range(low=0), tyro.conf.arg(metavar="INT")] = None
    """number of tokens of the passage that consecutive windows share, at most half of the room that the question leaves in a window; if not given: a third of a window"""  # noqa: E501
    max_answer_length: cli.Count = 30
    """maximum number of tokens per answer"""
    n_best: cli.Count = 5
    """number of answers that `predict` writes for each question"""
    no_answer_threshold: Annotated[float | None, cli.Range(), tyro.conf.arg(metavar="FLOAT")] = None
    """leave a question unanswered if its no-answer score is above this; if not given: chosen on dev, if some questions there have no answer"""  # noqa: E501

    def check(self) -> None:
        """Raises InputError if an option is out of range."""
        cli.check_ranges(self)

    def fitted(self, positions: int) -> QuestionDataOptions:
        """Return the options with lengths that fit the model; see `fitting_length` and `fitting_stride`."""
        length = fitting_length(self.max_length, 384, positions)
        stride = fitting_stride(self.stride, length // 3, room=length - 4)  # a question has at least one token
        return dataclasses.replace(self, max_length=length, stride=stride)


@dataclass(frozen=True)
class ChoiceDataOptions:
    """How multiple choice reads files: .jsonl with the fields question, choices and answer."""

    task: ClassVar[str] = "multiple-choice"

    max_length: Annotated[int | None, cli.Range(low=5), tyro.conf.arg(metavar="INT")] = None
    """maximum number of tokens per question with one of its choices, including special tokens; longer ones are cut off, the longer part first; if not given: 128, or the model's number of positions if that is smaller"""  # noqa: E501

    def check(self) -> None:
        """Raises InputError if an option is out of range."""
        cli.check_ranges(self)

    def fitted(self, positions: int) -> ChoiceDataOptions:
        """Return the options with lengths that fit the model; see `fitting_length`."""
        return dataclasses.replace(self, max_length=fitting_length(self.max_length, 128, positions))


_TABLE = ("--delimiter", "--header", "--no-header", "--quoting", "--no-quoting")
# What is read, as `Tally.form` says it -> what that is, and the options that then have no effect.
NO_EFFECT: dict[str, tuple[str, tuple[str, ...]]] = {
    "jsonl": ("JSON lines have named fields", _TABLE),
    "rows": ("rows from Python have named values", (*_TABLE, "--layout")),
    "txt": (
        "the input is read as one text per line; a table needs an extension such as .csv, or, on standard input, "
        "--delimiter",
        ("--text-column", *_TABLE),
    ),
    "text": ("the input is read as running text", ("--word-column",)),
    "segmented": ("words are separated by spaces", ("--word-column", "--tag-column", "--fix-tags", "--no-fix-tags")),
}


def check_effect(given: Container[str], data_options: DataOptions, form: str) -> None:
    """Raises InputError if an option in `given` has no effect on what is read, as `NO_EFFECT` calls it."""
    what, names = NO_EFFECT.get(form, ("", ()))
    cli.refuse(given, names, what)
    if form in ("jsonl", "rows") and isinstance(data_options, TagDataOptions):
        numbers = {"--word-column": data_options.word_column, "--tag-column": data_options.tag_column}
        for name, value in numbers.items():
            if name in given and value is not None and value.isdecimal():
                raise InputError(f"{name} {value} has no effect here: {what}, so a name is expected")


def check_fields(given: Container[str], data_options: DataOptions, paths: Iterable[str]) -> None:
    """Raises InputError if all files are JSON lines by their names, and `check_effect` refuses an option for these."""
    if all(suffix(path) in JSON_FILES for path in paths):
        check_effect(given, data_options, "jsonl")


def fitting_length(asked: int | None, usual: int, positions: int) -> int:
    """Return the length asked for, or the usual one, but at most the model's positions.

    Raises InputError if the model has fewer positions than were asked for.
    """
    if asked is None:
        return min(usual, positions)
    if asked > positions:
        raise InputError(f"--max-length {asked} is more than the model's {positions} positions")
    return asked


def fitting_stride(asked: int | None, usual: int, *, room: int) -> int:
    """Return the stride asked for, or the usual one; room: how many tokens of the text fit in a window.

    Raises InputError if the stride leaves nothing new in a window.
    """
    stride = usual if asked is None else asked
    if stride >= room:
        raise InputError(
            f"--stride {stride} leaves no room for new tokens in a window, which holds {plural(room, 'token')}"
        )
    return stride


DataOptions = TextDataOptions | TagDataOptions | QuestionDataOptions | ChoiceDataOptions

DATA_OPTIONS: dict[str, type[DataOptions]] = {
    kind.task: kind for kind in (TextDataOptions, TagDataOptions, QuestionDataOptions, ChoiceDataOptions)
}


def to_trained_on(data_options: DataOptions) -> dict[str, Any]:
    """Return what `config.json` stores about the data that a model was trained on."""
    return {"task": data_options.task, **dataclasses.asdict(data_options)}


def from_trained_on(task: str, fields: Mapping[str, Any]) -> DataOptions:
    """Return the options that `to_trained_on` stored; fields that are missing have their defaults.

    Raises InputError if the task has no such field, or its value has another type.
    """
    known = {name: value for name, value in fields.items() if name != "task"}
    types = get_type_hints(DATA_OPTIONS[task])
    if unknown := sorted(known.keys() - types.keys()):
        raise InputError(f"trained_on: {task} has no option{'s' if unknown[1:] else ''} {', '.join(unknown)}")
    for name, value in known.items():
        typed(value, types[name], f"trained_on: {name}")
    return DATA_OPTIONS[task](**known)
