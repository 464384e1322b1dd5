"""Rows of tables: names and numbers of columns, delimiters, quotation marks, and every row that is refused."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibert.errors import plural
from minibert.files.tables import TableFormat, given_rows, read_rows
from minibert.files.tally import Tally
from tests.finetune.files import standard_input, write
from tests.helpers import refusal

NO_HEADER = TableFormat(header=False)
NO_QUOTING = TableFormat(quoting=False)


def rows(path: str, columns: tuple[str, ...], table: TableFormat | None = None) -> list[tuple[int, tuple[Any, ...]]]:
    found = list(read_rows(path, columns, table))
    assert all(row.where == f"{'standard input' if path == '-' else path}:{row.row}" for row in found)
    return [(row.row, row.cells) for row in found]


def refused(path: str, columns: tuple[str, ...], table: TableFormat | None = None) -> str:
    return refusal(lambda: list(read_rows(path, columns, table)))


# --- What is read ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "A.CSV"])
def test_columns_are_chosen_by_name_in_any_order(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, "\ufefflabel,id,review\r\n1,7,good\r\n0,8,bad\r\n")
    assert rows(path, ("review", "label")) == [(2, ("good", "1")), (3, ("bad", "0"))]


def test_columns_of_a_file_without_header_are_numbered_from_1(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", "gj04\t1\t\tThe weights made the rope stretch.\ngj04\t0\t*\tThem like him.")
    assert rows(path, ("4", "2"), NO_HEADER) == [
        (1, ("The weights made the rope stretch.", "1")), (2, ("Them like him.", "0")),
    ]  # fmt: skip


def test_surplus_columns_are_allowed_where_columns_have_numbers(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "a,b\nc,d,e,f\n")
    assert rows(path, ("2",), NO_HEADER) == [(1, ("b",)), (2, ("d",))]


@pytest.mark.parametrize("delimiter", [";", "|", "\t", "\\t", " ", "ß", "\x01"])
def test_any_delimiter(tmp_path: Path, delimiter: str) -> None:
    written = delimiter.replace("\\t", "\t")
    path = write(tmp_path / "a.data", f'a{written}b\n1{written}"2{written}3"\n')
    assert rows(path, ("b",), TableFormat(delimiter=delimiter, quoting=True)) == [(2, (f"2{written}3",))]
    path = write(tmp_path / "b.csv", f'a{written}b\n1{written}"2"\n')
    assert rows(path, ("b",), TableFormat(delimiter=delimiter, quoting=False)) == [(2, ('"2"',))]


def test_delimiters_of_several_characters_go_without_quoting(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "a||b\n1||2|3\n")
    assert rows(path, ("b",), TableFormat(delimiter="||", quoting=False)) == [(2, ("2|3",))]


def test_fields_span_lines_and_rows_are_numbered_by_the_line_they_begin_at(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", 'text,label\n"one\ntwo\r\n\n""three"", four",1\n\nfive,0\n')
    assert rows(path, ("text", "label")) == [(2, ('one\ntwo\r\n\n"three", four', "1")), (7, ("five", "0"))]


def test_without_quoting_quotation_marks_are_text(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", 'text\tlabel\n"Hello" he said\t1\n"\t0\r\n')
    assert rows(path, ("text", "label"), NO_QUOTING) == [(2, ('"Hello" he said', "1")), (3, ('"', "0"))]


# Quotation marks around what two people say: with quoting they make one row of two, whose label is "a".
SAID = 'text\tlabel\n"We will win.\ta\nAnd that is final."\ta\nYes.\tb\n'
MERGED = [(2, ("We will win.\ta\nAnd that is final.", "a")), (4, ("Yes.", "b"))]
APART = [(2, ('"We will win.', "a")), (3, ('And that is final."', "a")), (4, ("Yes.", "b"))]


@pytest.mark.parametrize(
    ("name", "table", "expected"),
    [
        ("a.tsv", TableFormat(), APART),
        ("a.csv", TableFormat(delimiter="\t"), APART),
        ("a.data", TableFormat(delimiter="\\t"), APART),
        ("a.tsv", TableFormat(quoting=True), MERGED),
        ("a.csv", TableFormat(delimiter=";"), MERGED),
        ("a.tsv", TableFormat(delimiter=";"), MERGED),
        ("a.csv", TableFormat(delimiter=";", quoting=False), APART),
    ],
)
def test_between_tabs_quotation_marks_are_text_unless_asked(
    tmp_path: Path, name: str, table: TableFormat, expected: list[Any]
) -> None:
    mark = ";" if table.delimiter == ";" else "\t"
    found = rows(write(tmp_path / name, SAID.replace("\t", mark)), ("text", "label"), table)
    assert [(row, tuple(cell.replace(mark, "\t") for cell in cells)) for row, cells in found] == expected


@pytest.mark.parametrize(
    ("name", "content", "table", "lines", "blank", "spanning", "quoted"),
    [
        ("a.tsv", SAID, TableFormat(), 3, 0, 0, 0),
        ("a.tsv", SAID, TableFormat(quoting=True), 3, 0, 1, 0),
        ("a.csv", 'text,label\n"one\ntwo","a\nb"\n\r\nthree,"c"\n\n', TableFormat(), 6, 2, 2, 0),
        ("a.csv", 'text,label\none,a\n\nthree,"c"', TableFormat(quoting=False), 3, 1, 0, 0),
        ("a.tsv", 'text\tlabel\tmore\n"a"\t"\t"x"\n"b" c\t""\td\n', TableFormat(), 2, 0, 0, 2),
        ("a.tsv", 'text\tlabel\n"a"\tb\n', TableFormat(quoting=False), 1, 0, 0, 0),
        ("a.jsonl", '{"text": "a\\nb", "label": 1}\n\n \n{"text": "b", "label": 1}', TableFormat(), 4, 2, 0, 0),
    ],
)
def test_lines_are_counted_and_what_is_no_row_of_its_own(
    tmp_path: Path, name: str, content: str, table: TableFormat, lines: int, blank: int, spanning: int, quoted: int
) -> None:
    tally = Tally()
    list(read_rows(write(tmp_path / name, content), ("text", "label"), table, tally=tally))
    form = name.removeprefix("a.")
    assert tally == Tally(form=form, lines=lines, blank=blank, spanning=spanning, quoted=quoted)


def test_jsonl_fields_come_as_they_are(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl.gz", '{"t": "a", "l": 1}\n\n{"l": [true, null], "more": 0, "t": {"x": 1.5}}\n')
    assert rows(path, ("t", "l")) == [(1, ("a", 1)), (3, ({"x": 1.5}, [True, None]))]


def test_one_text_a_line(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", 'One, "two".\r\n\n三\n')
    assert rows(path, ("review",)) == [(1, ('One, "two".',)), (2, ("",)), (3, ("三",))]


@pytest.mark.parametrize(
    ("content", "table", "cells"),
    [
        ('{"text": "a"}\n{"text": "b"}\n', TableFormat(), ["a", "b"]),
        ("a, b\nc\n", TableFormat(), ["a, b", "c"]),
        ("text;x\na;1\n", TableFormat(delimiter=";"), ["a"]),
    ],
)
def test_standard_input_shows_what_it_is(
    monkeypatch: pytest.MonkeyPatch, content: str, table: TableFormat, cells: list[str]
) -> None:
    assert [cell for _, (cell,) in rows(standard_input(monkeypatch, content), ("text",), table)] == cells


def test_standard_input_may_be_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    assert refused(standard_input(monkeypatch, ""), ("text",)) == "standard input: no row found, expected at least one"


def test_rows_are_streamed_in_bounded_memory(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "label,text\n" + f"1,{'word ' * 200}\n" * 20_000)  # 20 MB
    tracemalloc.start()
    try:
        assert sum(1 for _ in read_rows(path, ("text",))) == 20_000
        assert tracemalloc.get_traced_memory()[1] < 500_000
    finally:
        tracemalloc.stop()


@given(st.lists(st.lists(st.text(st.characters(exclude_characters="\0", codec="utf-8")), min_size=2, max_size=2)))
def test_what_a_csv_writer_writes_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, written: list[list[str]]
) -> None:
    import csv
    import io

    buffer = io.StringIO()
    csv.writer(buffer).writerows([["0", "0"], *written])
    path = write(tmp_path_factory.mktemp("csv") / "a.csv", buffer.getvalue())
    assert [list(row.cells) for row in read_rows(path, ("1", "2"), NO_HEADER)] == [["0", "0"], *written]


@pytest.mark.parametrize(
    ("content", "command"),
    [
        ('[\n {"text": "a"},\n {"text": "b"}\n]\n', "jq -c '.[]'"),
        ('[{"text": "a"}, {"text": "b"}]', "jq -c '.[]'"),
        ('{\n "text": "a"\n}\n{\n "text": "b"\n}\n', "jq -c ."),
    ],
)
def test_json_that_is_not_in_lines_is_told_what_puts_it_there(tmp_path: Path, content: str, command: str) -> None:
    said = refused(write(tmp_path / "a.json", content), ("text",))
    assert "a.json:1: expected " in said and f"; {command} writes " in said


@pytest.mark.parametrize(
    ("table", "columns", "cells", "delimited"),
    [
        (TableFormat(), ("a",), [("a\tb",), ("1\t2",)], 2),
        (TableFormat(delimiter=";"), ("a",), [("a\tb",), ("1\t2",)], 0),
        (TableFormat(delimiter="\t"), ("a",), [("1",)], 0),
        (TableFormat(delimiter="\t"), ("b", "a"), [("2", "1")], 0),
        (TableFormat(delimiter="\\t", header=False), ("2",), [("b",), ("2",)], 0),
    ],
)
def test_tabs_in_lines_of_text(
    tmp_path: Path, table: TableFormat, columns: tuple[str, ...], cells: list[Any], delimited: int
) -> None:
    path, tally = write(tmp_path / "a.txt", "a\tb\n1\t2\n"), Tally()
    assert [row.cells for row in read_rows(path, columns, table, tally=tally)] == cells
    assert tally.delimited == delimited


def test_a_delimiter_that_text_is_full_of_does_not_make_it_a_table(tmp_path: Path) -> None:
    path, tally = write(tmp_path / "a.txt", "a,b\n1\n"), Tally()
    table = TableFormat(delimiter=",")
    assert [row.cells for row in read_rows(path, ("a",), table, tally=tally)] == [("a,b",), ("1",)]
    assert tally.delimited == 1
    assert rows(write(tmp_path / "b.txt", "a,b\n1,2\n"), ("b", "a"), table) == [(2, ("2", "1"))]


@pytest.mark.parametrize(
    ("content", "widths"), [("a,b\nc,d,e,f\n", {2, 4}), ("a,b\nc,d\n", {2}), ('"a,b",1\n\n"c",2\n', {2})]
)
def test_without_a_header_it_is_known_how_many_fields_rows_have(tmp_path: Path, content: str, widths: set[int]) -> None:
    tally = Tally()
    list(read_rows(write(tmp_path / "a.csv", content), ("1",), NO_HEADER, tally=tally))
    assert tally.widths == widths


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", "a;b\n1;2\n", "; use --delimiter ';' to split it into columns"),
        ("a.csv", "a\tb\n1\t2\n", "; use --delimiter '\\t' to split it into columns"),
        ("a.tsv", "a,b\n1,2\n", "; use --delimiter ',' to split it into columns"),
        ("a.csv", "a,b;c\n1,2\n", "; see --some-option, or use --no-header if there is no header"),
        ("a.jsonl", '{"a": 1}\n', "; see --some-option"),
    ],
)
def test_a_column_that_is_not_there_is_told_how_to_be_found(tmp_path: Path, name: str, content: str, said: str) -> None:
    path = write(tmp_path / name, content)
    assert refusal(lambda: list(read_rows(path, ("text",), see="see --some-option"))).endswith(said)


# --- What is left out where bad rows are skipped ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "table", "good", "bad"),
    [
        ("a.csv", "label,text\n1,good\n1\n2,fine\n1,a,b\n", TableFormat(), ["good", "fine"],
         ["3: the row has 1 field, expected 2, as in the header",
          "5: the row has 3 fields, expected 2, as in the header"]),
        ("a.tsv", 'label\ttext\n1\t"a\nb"\n2\tfine\n', TableFormat(), ['"a', "fine"],
         ["3: the row has 1 field, expected 2, as in the header; if quotation marks are not part of the text, use "
          "--quoting"]),
        ("a.jsonl", '{"text": "a"}\n{"text"\n[]\n{"txt": 1}\n{"text": "b", "x": NaN}\n{"text": "c"}\n', TableFormat(),
         ["a", "c"],
         ["2: expected one JSON object per line (Expecting ':' delimiter: line 2 column 1 (char 8))",
          "3: expected a JSON object, found an array; jq -c '.[]' writes its elements one per line",
          "4: field 'text' is missing; the object has 'txt'",
          "5: expected one JSON object per line (NaN is not JSON; null can stand for an unknown value)"]),
    ],
)  # fmt: skip
def test_bad_rows_are_left_out_and_named(
    tmp_path: Path, name: str, content: str, table: TableFormat, good: list[str], bad: list[str]
) -> None:
    path, tally = write(tmp_path / name, content), Tally("skip")
    assert [row.cells[0] for row in read_rows(path, ("text",), table, tally=tally)] == good
    assert tally.bad == [f"{path}:{message}" for message in bad]


def test_a_row_without_the_chosen_column_is_a_bad_one(tmp_path: Path) -> None:
    path, tally = write(tmp_path / "a.csv", "a,b\nc\nd,e\n"), Tally("skip")
    assert [row.cells for row in read_rows(path, ("2",), NO_HEADER, tally=tally)] == [("b",), ("e",)]
    assert tally.bad == [f"{path}:2: there is no column 2; the row has 1 field"]


def test_rows_of_python_are_left_out_too() -> None:
    tally = Tally("skip")
    found = list(given_rows([("a", 1), "b", {"text": "c"}, {"x": 1, "text": "d"}], ("text", "x"), tally))
    assert [row.cells for row in found] == [("a", 1), ("d", 1)]
    assert tally.bad == [
        "row 2: 1 value, expected 2: 'text', 'x'", "row 3: field 'x' is missing; the object has 'text'",
    ]  # fmt: skip


@pytest.mark.parametrize("content", ["label,review\n1,good\n", 'text\n"a" b\n', "text\rx\r"])
def test_a_table_of_another_shape_is_refused_where_rows_are_skipped(tmp_path: Path, content: str) -> None:
    path = write(tmp_path / "a.csv", content)
    assert f"{path}:" in refusal(lambda: list(read_rows(path, ("text",), tally=Tally("skip"))))


# --- What is refused -------------------------------------------------------------------------------------------------


def test_a_column_that_is_not_there(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "label,review\n1,good\n")
    message = refused(path, ("text", "label"))
    assert message == f"{path}:1: column 'text' is missing; the header has 'label', 'review'"
    message = refused(write(tmp_path / "a.tsv", '"text"\t"label"\n"a"\t"x"\n'), ("text",))
    assert message.endswith("; the header has '\"text\"', '\"label\"'; --quoting removes the quotation marks")


def test_a_delimiter_that_is_another_shows_in_the_header(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "label;review\n1;good\n")
    assert "column 'review' is missing; the header has 'label;review'" in refused(path, ("review",))


def test_a_column_that_stands_there_twice(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "text,text\na,b\n")
    assert "column 'text' appears more than once" in refused(path, ("text",))


def test_very_many_columns_are_not_all_listed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", ",".join(map(str, range(100))) + "\n")
    assert refused(path, ("text",)).endswith("'18', '19', ...")


@pytest.mark.parametrize("column", ["0", "-1", "text", "1.5", "", "²", "٣", "9" * 5000])
def test_without_a_header_columns_are_numbers_from_1(tmp_path: Path, column: str) -> None:
    path = write(tmp_path / "a.csv", "a,b,c,d\n")
    message = f"{path}: column {column!r}: expected a number, counted from 1, since there is no header"
    assert refusal(lambda: list(read_rows(path, (column,), NO_HEADER))) == message
    assert refusal(lambda: list(read_rows(path, (column,), NO_HEADER, see="see --x"))) == f"{message}; see --x"


def test_a_row_without_the_chosen_column(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "a,b\nc\n")
    assert "a.csv:2: there is no column 2; the row has 1 field" in refused(path, ("1", "2"), NO_HEADER)


@pytest.mark.parametrize("table", [TableFormat(), NO_QUOTING])
@pytest.mark.parametrize("row", ["1", "1,good,more"])
def test_rows_are_not_ragged_where_there_is_a_header(tmp_path: Path, table: TableFormat, row: str) -> None:
    path = write(tmp_path / "a.csv", f"label,review\n1,good\n{row}\n")
    count = row.count(",") + 1
    message = f"a.csv:3: the row has {plural(count, 'field')}, expected 2, as in the header"
    assert message in refused(path, ("review",), table)


@pytest.mark.parametrize(
    ("content", "row"),
    [
        ('a,b\n1,2\n"Hello" he said,3\n', 3),  # text in quotation marks, and more
        ('a,b\n1,"2\n3,4\n5,6\n', 2),  # does not close
    ],
)
def test_quotation_marks_that_do_not_close(tmp_path: Path, content: str, row: int) -> None:
    path = write(tmp_path / "a.csv", content)
    message = refused(path, ("a",))
    assert f"a.csv:{row}: not readable as a row" in message and "--no-quoting" in message
    assert len(rows(path, ("a",), NO_QUOTING)) >= 1


def test_a_carriage_return_alone_ends_no_line(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "a,b\n1,2\r3,4\n")
    assert "a.csv:2: not readable as a row (new-line character seen in unquoted field); it has a carriage" in refused(
        path, ("a",)
    )


@pytest.mark.parametrize(("content", "count"), [("a,b\r1,2\r3,4\r", 2), ("a,b\r1,2", 1), ('{"a":\r"b"}', 1)])
@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.txt", "a.csv.gz", "-"])
def test_carriage_returns_alone_end_no_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: str, count: int
) -> None:
    path = standard_input(monkeypatch, content) if name == "-" else write(tmp_path / name, content)
    shown = "standard input" if name == "-" else path
    assert refused(path, ("a",)).startswith(
        f"{shown}: {plural(count, 'carriage return')} and no line feed, expected lines that end with a line feed; "
    )


def test_a_quotation_mark_that_does_not_close_does_not_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.csv", 'a,b\n"1,' + "2\n" * 200_000)
    assert rows(write(tmp_path / "b.csv", f'a\n"{"2" * 200_000}"'), ("a",))  # more than csv's own limit is well
    monkeypatch.setattr("minibert.files.tables.LONGEST_ROW", 150_000)
    assert "a.csv:2: the row exceeds 150,000 characters; if quotation marks are part of the text, use" in refused(
        path, ("a",)
    )


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.txt", "a.csv.gz"])
@pytest.mark.parametrize("content", ["", "\ufeff"])
def test_a_file_without_rows(tmp_path: Path, name: str, content: str) -> None:
    path = write(tmp_path / name, content)
    if not (name == "a.txt" and content):
        assert f"{name}: no row found" in refused(path, ("text",))


def test_a_header_without_rows(tmp_path: Path) -> None:
    assert "a.csv: no row found" in refused(write(tmp_path / "a.csv", "text,label\n\n"), ("text",))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "a.jsonl:2: expected one JSON object per line (Expecting property name"),
        ("[1]", "a.jsonl:2: expected a JSON object, found an array"),
        ("3", "a.jsonl:2: expected a JSON object, found a number"),
        ('{"body": "x", "label": 1}', "a.jsonl:2: field 'text' is missing; the object has 'body', 'label'"),
        ("{}", "a.jsonl:2: field 'text' is missing; the object has none"),
        ("[" * 100_000, "a.jsonl:2: expected one JSON object per line"),
        ('{"text": ' + "1" * 5000 + "}", "a.jsonl:2: expected one JSON object per line"),
    ],
)
def test_jsonl_lines_that_are_bad(tmp_path: Path, line: str, message: str) -> None:
    path = write(tmp_path / "a.jsonl", f"{json.dumps({'text': 'a'})}\n{line}\n")
    assert message in refused(path, ("text",))


def test_one_text_a_line_has_one_column(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "One.\n")
    assert "a.txt: a file with one text per line has a single column, but 'text', 'label' are needed" in refused(
        path, ("text", "label")
    )


def test_a_name_that_tells_no_format(tmp_path: Path) -> None:
    path = write(tmp_path / "a.xlsx", "PK")
    assert "a.xlsx: expected .csv, .tsv, .jsonl or .txt, plain or .gz" in refused(path, ("text",))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"delimiter": ""}, "delimiter: expected one or more characters that separate fields"),
        ({"delimiter": "\n"}, "delimiter: expected one or more characters that separate fields"),
        ({"delimiter": '"'}, "delimiter: expected a single character"),
        ({"delimiter": "||"}, "--no-quoting"),
    ],
)
def test_formats_that_there_are_not(options: dict[str, Any], message: str) -> None:
    assert message in refusal(lambda: TableFormat(**options))
