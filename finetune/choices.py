"""Multiple choice: .jsonl with the fields question, choices and answer -> `ChoiceExample`."""

from __future__ import annotations

from collections.abc import Iterator

from finetune.examples import ChoiceExample


def read_choices(path: str, *, labelled: bool = True) -> Iterator[ChoiceExample]:
    """Streams the questions of a .jsonl file, plain or .gz, or of standard input (`-`). Each may have its own number of
    choices, two at least; answer is the right one's index, from 0.

    Raises:
        InputError, naming file and row: as `finetune.tables.read_rows`; an empty question or choice, fewer than two
        choices, an answer that is no index of them.
    """
    raise NotImplementedError
