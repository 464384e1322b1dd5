"""What became of a file's lines and rows: how many were read, and which could not be."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from minibert.errors import InputError, plural

OnBadRow = Literal["stop", "skip"]

NAMED = 3  # bad rows quoted in a note

Row = TypeVar("Row")
Made = TypeVar("Made")


@dataclass
class Tally:
    """What is counted while a file is read."""

    on_bad_row: OnBadRow | None = None  # None: stop, without the remedy, for callers that have no such option
    place: str = ""  # the file, for messages
    form: str = ""  # what the file is read as, such as "jsonl" or "csv", as far as options of reading depend on it
    what: str = "row"  # or "sentence", for columns with one word per row
    rows: int = 0  # that became examples
    lines: int = 0  # below a header; 0 if the file is one JSON object
    blank: int = 0  # lines among these
    spanning: int = 0  # fields that span lines
    widths: set[int] = field(default_factory=set)  # numbers of fields in a row, if there is no header to say
    delimited: int = 0  # lines read as one text, though they contain a table's delimiter or a tab
    quoted: int = 0  # fields whose quotation marks were read as text, by default
    refused: int = 0  # bad rows
    bad: list[str] = field(default_factory=list)  # the reasons, in the order of the rows
    take: Callable[[str], None] | None = None  # gets the reasons as they come, in place of `bad`
    remedy: str = "--on-bad-row skip leaves such rows out"  # added to the message when a bad row stops the reading
    told: list[str] = field(default_factory=list)  # notes for the user on how the file was read

    def counted(self, lines: Iterable[Row]) -> Iterator[Row]:
        """Yield the lines, counting them."""
        for line in lines:
            self.lines += 1
            yield line

    def refuse(self, error: InputError) -> None:
        """Leave a bad row out. Raises InputError, which is `error` with its remedy, if bad rows stop the reading."""
        if self.on_bad_row is None:
            raise error
        if self.on_bad_row == "stop":
            raise InputError(f"{error}; {self.remedy}") from error
        self.refused += 1
        (self.take or self.bad.append)(str(error))

    def made(self, rows: Iterable[Row], make: Callable[[Row], Made]) -> Iterator[Made]:
        """Yield what `make` returns for each row; if it raises an InputError, the row is bad."""
        for row in rows:
            try:
                made = make(row)
            except InputError as error:
                self.refuse(error)
            else:
                yield made

    def nonempty(self, rows: Iterable[Row], otherwise: str) -> Iterator[Row]:
        """Yield the rows. Raises InputError with the message `otherwise` if there are none, not even bad ones."""
        empty = True
        for row in rows:
            empty = False
            yield row
        if empty and not self.refused:
            raise InputError(otherwise)

    def whole(self, examples: Iterable[Made]) -> list[Made]:
        """Return all examples of a file. Raises InputError if every row was bad."""
        found = list(examples)
        self.rows = len(found)
        self.check_left(found)
        return found

    def check_left(self, examples: Sequence[Any]) -> None:
        """Raises InputError if no example is left because all rows are bad."""
        if not examples and self.bad:
            raise InputError(f"{self.place}: no usable row is left: {first_of(self.bad)}")

    def interleaved(self, examples: Iterable[Made]) -> Iterator[Made | str]:
        """Yield the examples, and in the place of each bad row the reason, which is then removed from `bad`."""
        for example in examples:
            bad, self.bad = self.bad, []
            yield from bad
            self.rows += 1
            yield example
        yield from self.bad

    def notes(self, *, always: bool) -> list[str]:
        """Return notes for the user: rows read of lines seen, and bad rows. always: even if every line was a row."""
        counts = [
            (self.spanning, "field", "with line breaks inside"),
            (self.blank, "blank line", ""),
            (self.delimited, "line", "with a table's delimiter or a tab, read as part of the text"),
            (self.quoted, "field", "in quotation marks, read as part of the text; --quoting removes them"),
        ]
        told = [f"{plural(self.rows, self.what)} in {plural(self.lines, 'line')}"]
        told += [f"{plural(count, what)} {which}".rstrip() for count, what, which in counts if count]
        if len(self.widths) > 1:
            apart = f"rows have {min(self.widths)} to {max(self.widths)} fields"
            told.append(f"{apart}, so a text that contains the delimiter may be cut there")
        notes = [f"{self.place}: {'; '.join(told)}"] if self.lines and (always or len(told) > 1) else []
        return self.told + notes + ([f"{self.place}: {first_of(self.bad)} left out"] if self.bad else [])


def first_of(bad: Sequence[str], *, count: int | None = None) -> str:
    """Return how many rows are bad, and the first of them."""
    count = len(bad) if count is None else count
    return f"{plural(count, 'bad row')} ({'; '.join(bad[:NAMED])}{'; ...' if count > NAMED else ''})"
