"""What is said of lines and rows, and what becomes of bad ones."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from minibert.errors import InputError
from minibert.files.tally import OnBadRow, Tally
from tests.helpers import refusal


def read(numbers: list[int], tally: Tally) -> Iterator[int]:
    """Those that are even; the others are bad rows."""

    def make(number: int) -> int:
        if number % 2:
            raise InputError(f"a:{number}: is odd")
        return number

    return tally.made(numbers, make)


@pytest.mark.parametrize(
    ("on_bad_row", "message"),
    [(None, "a:1: is odd"), ("stop", "a:1: is odd; --on-bad-row skip leaves such rows out")],
)
def test_a_bad_row_ends_the_reading_and_says_what_helps(on_bad_row: OnBadRow | None, message: str) -> None:
    numbers = read([0, 1, 2], Tally(on_bad_row, "a"))
    assert next(numbers) == 0
    assert refusal(lambda: next(numbers)) == message


def test_bad_rows_are_left_out_counted_and_named() -> None:
    tally = Tally("skip", "a")
    assert tally.whole(read([1, 2, 3, 4, 5, 7], tally)) == [2, 4]
    assert tally.notes(always=True) == ["a: 4 bad rows (a:1: is odd; a:3: is odd; a:5: is odd; ...) left out"]


def test_where_every_row_is_bad_there_is_nothing_to_go_on_with() -> None:
    tally = Tally("skip", "a")
    message = "a: no usable row is left: 2 bad rows (a:1: is odd; a:3: is odd)"
    assert refusal(lambda: tally.whole(read([1, 3], tally))) == message


def test_nothing_at_all_is_refused_unless_bad_rows_are_why() -> None:
    assert list(Tally("skip").nonempty([1, 2], "a: no row")) == [1, 2]
    assert refusal(lambda: list(Tally("skip").nonempty([], "a: no row"))) == "a: no row"
    tally = Tally("skip")
    assert list(tally.nonempty(read([1, 3], tally), "a: no row")) == [] and len(tally.bad) == 2


def test_reasons_stand_where_the_rows_stood() -> None:
    tally = Tally("skip", "a")
    assert list(tally.interleaved(read([1, 2, 3, 5, 6, 8, 9], tally))) == [
        "a:1: is odd", 2, "a:3: is odd", "a:5: is odd", 6, 8, "a:9: is odd",
    ]  # fmt: skip
    assert tally.rows == 3


@pytest.mark.parametrize(
    ("tally", "always", "notes"),
    [
        (Tally(place="a", rows=1000, lines=1000), True, ["a: 1,000 rows in 1,000 lines"]),
        (Tally(place="a", rows=1000, lines=1000), False, []),
        (Tally(place="a", rows=1000), True, []),
        (Tally(place="a", rows=2, lines=2, widths={3}), False, []),
        (
            Tally(place="a", rows=2, lines=2, delimited=1),
            False,
            ["a: 2 rows in 2 lines; 1 line with a table's delimiter or a tab, read as part of the text"],
        ),
        (
            Tally(place="a", rows=2, lines=2, widths={3, 5, 4}),
            False,
            ["a: 2 rows in 2 lines; rows have 3 to 5 fields, so a text that contains the delimiter may be cut there"],
        ),
        (Tally(place="a", what="sentence", rows=2, lines=8), True, ["a: 2 sentences in 8 lines"]),
        (
            Tally(place="a", rows=2, lines=5, spanning=1, blank=2, quoted=3),
            False,
            [
                "a: 2 rows in 5 lines; 1 field with line breaks inside; 2 blank lines; 3 fields in quotation "
                "marks, read as part of the text; --quoting removes them"
            ],
        ),
    ],
)
def test_rows_are_told_against_lines(tally: Tally, always: bool, notes: list[str]) -> None:
    assert tally.notes(always=always) == notes
