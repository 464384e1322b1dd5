"""Token classification: CoNLL columns -> `TaggedExample`."""

from __future__ import annotations

from collections.abc import Iterator

from finetune.examples import TaggedExample


def read_conll(path: str, *, labelled: bool = True) -> Iterator[TaggedExample]:
    """Streams the sentences of a file, plain or .gz, or of standard input (`-`).

    A row is a word: the word is the first column, its tag the last, with tabs between them where the first row has a
    tab, else spaces. A line of white space ends a sentence; a row that begins with -DOCSTART- does too and is left out.
    Without labels the first column alone is read, and there need be no other.

    Raises:
        InputError, naming file and row: a row with another number of columns than the first, an empty word or tag, no
        sentence at all; and as `finetune.files.read_lines`.
    """
    raise NotImplementedError
