"""The examples of any task, from a file or from Python: the class of the data options decides how they are read."""

from collections.abc import Iterable, Iterator
from typing import Any

from finetune.data import choices, squad
from finetune.data.data_options import (
    ChoiceDataOptions,
    DataOptions,
    QuestionDataOptions,
    TagDataOptions,
    TextDataOptions,
)
from finetune.data.sentences import given_sentences, read_sentences
from finetune.data.texts import read_texts, text_examples
from minibert.files.tables import given_rows
from minibert.files.tally import Tally


def read_examples(path: str, data_options: DataOptions, tally: Tally, *, labelled: bool = True) -> Iterator[Any]:
    """Return the examples of a file, plain or .gz, or of standard input (`-`); labels are ignored unless `labelled`.

    Raises InputError, naming file and row, if the file can't be read, or a row is bad and the `tally` does not skip it.
    """
    match data_options:
        case TextDataOptions():
            return read_texts(path, data_options, labelled=labelled, tally=tally)
        case TagDataOptions():
            return read_sentences(path, data_options, labelled=labelled, tally=tally)
        case QuestionDataOptions():
            return squad.read_questions(path, labelled=labelled, tally=tally)
        case ChoiceDataOptions():
            return choices.read_choices(path, labelled=labelled, tally=tally)


def given_examples(items: Iterable[Any], data_options: DataOptions, tally: Tally) -> Iterator[Any]:
    """Return examples to predict that come from Python, not from a file; see `minibert.files.tables.given_rows`.

    Raises InputError, naming the row, if a row is bad and the `tally` does not skip it.
    """
    match data_options:
        case TextDataOptions():
            rows = given_rows(items, [*data_options.columns(labelled=False).values()], tally)
            return text_examples(rows, data_options, tally, labelled=False)
        case TagDataOptions():
            return given_sentences(items, data_options, tally)
        case QuestionDataOptions():
            return tally.made(given_rows(items, squad.FIELDS, tally), squad.question_to_predict)
        case ChoiceDataOptions():
            return tally.made(given_rows(items, choices.FIELDS, tally), choices.choice_example)
