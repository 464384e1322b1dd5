"""What became of a file's lines and rows: how many were read, and those that could not be."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from minibert.errors import InputError

OnBadRow = Literal["stop", "skip"]

NAMED = 3  # bad rows in a note

Row = TypeVar("Row")
Made = TypeVar("Made")


@dataclass
class Tally:
    """Counted while a file is read, by whatever reads it."""

    on_bad_row: OnBadRow | None = None  # None: stop too, but without the remedy, as there is no such option
    place: str = ""  # the file, for messages
    what: str = "rows"  # or sentences, of columns with a word a row
    rows: int = 0  # that became examples
    lines: int = 0  # below a header; 0 where the file is one JSON object
    blank: int = 0  # of these
    spanning: int = 0  # fields that span lines
    widths: set[int] = field(default_factory=set)  # fields of a row, where there is no header to say how many
    delimited: int = 0  # lines that are one text, though they have a table's delimiter, or a tab
    quoted: int = 0  # fields in quotation marks that were taken for text, as nobody said otherwise
    bad: list[str] = field(default_factory=list)  # why, in the order of the rows
    remedy: str = "--on-bad-row skip leaves such rows out"  # where a bad row ends the reading
    told: list[str] = field(default_factory=list)  # what the user should know of how the file was taken

    def counted(self, lines: Iterable[Row]) -> Iterator[Row]:
        """The same lines."""
        for line in lines:
            self.lines += 1
            yield line

    def refuse(self, error: InputError) -> None:
        """Leaves a bad row out. Raises InputError: `error`, with its remedy, where a bad row ends the reading."""
        if self.on_bad_row is None:
            raise error
        if self.on_bad_row == "stop":
            raise InputError(f"{error}; {self.remedy}") from error
        self.bad.append(str(error))

    def made(self, rows: Iterable[Row], make: Callable[[Row], Made]) -> Iterator[Made]:
        """What `make` makes of each row; where it raises an InputError, the row is a bad one."""
        for row in rows:
            try:
                made = make(row)
            except InputError as error:
                self.refuse(error)
            else:
                yield made

    def nonempty(self, rows: Iterable[Row], otherwise: str) -> Iterator[Row]:
        """The same rows. Raises InputError: `otherwise`, where there is none, and not one that is bad."""
        empty = True
        for row in rows:
            empty = False
            yield row
        if empty and not self.bad:
            raise InputError(otherwise)

    def whole(self, examples: Iterable[Made]) -> list[Made]:
        """All examples of a file. Raises InputError: every row was bad."""
        found = list(examples)
        self.rows = len(found)
        self.check_left(found)
        return found

    def check_left(self, examples: Sequence[Any]) -> None:
        """Raises InputError: there is none, and bad rows are why."""
        if not examples and self.bad:
            raise InputError(f"{self.place}: no row is left, {len(self.bad):,} are bad: {self.bad[0]}")

    def interleaved(self, examples: Iterable[Made]) -> Iterator[Made | str]:
        """The examples, and in the place of each bad row why it is one. Those told are forgotten."""
        for example in examples:
            bad, self.bad = self.bad, []
            yield from bad
            self.rows += 1
            yield example
        yield from self.bad

    def notes(self, *, always: bool) -> list[str]:
        """For the user: rows read against lines seen, and the bad rows. always: also where every line was a row."""
        counts = {
            "field(s) span lines": self.spanning,
            "line(s) are blank": self.blank,
            "line(s) have a table's delimiter or a tab, read as part of the text": self.delimited,
            "field(s) are in quotation marks, read as part of the text; --quoting removes them": self.quoted,
        }
        told = [f"{self.rows:,} {self.what} in {self.lines:,} lines"]
        told += [f"{count:,} {what}" for what, count in counts.items() if count]
        if len(self.widths) > 1:
            apart = f"rows have {min(self.widths)} to {max(self.widths)} fields"
            told.append(f"{apart}, so that a text with the delimiter in it may be cut there")
        notes = [f"{self.place}: {'; '.join(told)}"] if self.lines and (always or len(told) > 1) else []
        return self.told + notes + ([f"{self.place}: {first_of(self.bad)} left out"] if self.bad else [])


def first_of(bad: Sequence[str], *, count: int | None = None) -> str:
    """How many rows are bad, and the first of them."""
    count = len(bad) if count is None else count
    return f"{count:,} bad row(s) ({'; '.join(bad[:NAMED])}{'; ...' if count > NAMED else ''})"
