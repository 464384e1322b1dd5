"""Texts, pairs, labels and targets out of tables, and what of them is refused."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from finetune.data.data_options import TextDataOptions, from_trained_on
from finetune.data.examples import TextExample
from finetune.data.labels import find_labels
from finetune.data.texts import read_texts
from finetune.options import parse_options
from minibert.files.tally import Tally
from tests.finetune.files import DATA, needs_data, standard_input, write
from tests.helpers import refusal


def read(
    path: str,
    *,
    problem_type: str = "single_label_classification",
    labelled: bool = True,
    tally: Tally | None = None,
    **options: Any,
) -> list[TextExample]:
    kinds = {"regression": problem_type == "regression", "multi_label": problem_type == "multi_label_classification"}
    return list(read_texts(path, TextDataOptions(**kinds, **options), labelled=labelled, tally=tally))


def test_a_text_with_its_label_knows_its_row(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "label,text\n good ,Very nice. \n")
    assert read(path) == [TextExample("Very nice. ", None, "good", where=f"{path}:2")]


def test_pairs_and_texts_without_labels(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "a,b\nOne.,Two.\n")
    found = read(path, text_column="a", text_pair_column="b", labelled=False)
    assert [(x.text, x.pair, x.label) for x in found] == [("One.", "Two.", None)]


def test_the_same_column_is_not_both_texts(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "a\nOne.\n")
    assert refusal(lambda: read(path, text_column="a", text_pair_column="a", labelled=False)) == (
        "--text-column a, --text-pair-column a: these must be different columns"
    )


def test_texts_from_standard_input_come_as_they_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    path = standard_input(monkeypatch, "One, two.\nThree.\n")
    assert [(x.text, x.where) for x in read(path, text_column="review", labelled=False)] == [
        ("One, two.", "standard input:1"), ("Three.", "standard input:2"),
    ]  # fmt: skip


def test_labels_of_jsonl_are_words(tmp_path: Path) -> None:
    lines = [f'{{"text": "a", "label": {label}}}' for label in ('"1"', "1", "-2", "true", '"Ja"', "1.5")]
    path = write(tmp_path / "a.jsonl", "\n".join(lines))
    assert [x.label for x in read(path)] == ["1", "1", "-2", "true", "Ja", "1.5"]


def test_targets_are_numbers(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "text,label\na,3\nb, -1.5e2 \n")
    assert [x.label for x in read(path, problem_type="regression")] == [3.0, -150.0]
    path = write(tmp_path / "a.jsonl", '{"text": "a", "label": 2}\n{"text": "a", "label": "0.5"}\n')
    assert [x.label for x in read(path, problem_type="regression")] == [2.0, 0.5]


def test_several_labels(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", 'text,label\na,"x, y,x"\nb,\nc,z\n')
    assert [x.label for x in read(path, problem_type="multi_label_classification")] == [("x", "y"), (), ("z",)]
    path = write(tmp_path / "b.csv", "text,label\na,x|y\n")
    labels = [x.label for x in read(path, problem_type="multi_label_classification", label_separator="|")]
    assert labels == [("x", "y")]
    path = write(tmp_path / "a.jsonl", '{"text": "a", "label": [1, "x,y"]}\n{"text": "b", "label": []}\n')
    assert [x.label for x in read(path, problem_type="multi_label_classification")] == [("1", "x,y"), ()]


@pytest.mark.parametrize(
    ("line", "problem_type", "message"),
    [
        (',"good"', "single_label_classification", "a.csv:3: column 'text' is empty, expected text"),
        (' ,"good"', "single_label_classification", "a.csv:3: column 'text' is empty"),
        ("a,", "single_label_classification", "a.csv:3: label is empty"),
        ('a," "', "single_label_classification", "a.csv:3: label is empty"),
        ("a,good", "regression", "a.csv:3: label is 'good', expected a finite number"),
        ("a,nan", "regression", "a.csv:3: label is 'nan', expected a finite number"),
        ("a,1_000", "regression", "a.csv:3: label is '1_000', expected a finite number"),
        ("a,-inf", "regression", "a.csv:3: label is '-inf', expected a finite number"),
        ("a,1e999", "regression", "a.csv:3: label is '1e999', expected a finite number"),
        ("a,1e300", "regression", "a.csv:3: label is '1e300', expected a finite number"),  # infinite in float32
        ("a,", "regression", "a.csv:3: label is '', expected a finite number"),
        ('a,"x,,y"', "multi_label_classification", "a.csv:3: label is empty"),
        (
            "a,[0]",
            "single_label_classification",
            "a.csv:3: label is a list ('[0]'), expected a word or a number; use --m",
        ),
        (
            "a,x|y",
            "multi_label_classification",
            "a.csv:3: label is 'x|y', expected commas between classes; if '|' separ",
        ),
        ("a,x;y", "multi_label_classification", "use --label-separator ';'; if it is part of a class, use"),
        ("a,['x' 'y']", "multi_label_classification", "a.csv:3: label is \"['x' 'y']\", expected classes sep"),
        ("a,[x y]", "multi_label_classification", "a.csv:3: label is '[x y]', expected classes separated by commas"),
        (
            "a,[1 0 1]",
            "multi_label_classification",
            "a.csv:3: label is '[1 0 1]', expected classes separated by commas",
        ),
        ("a,[1", "multi_label_classification", "a.csv:3: label is '[1', expected classes separated by commas, or"),
        ("a,[1 0 1]", "single_label_classification", "a.csv:3: label is a list ('[1 0 1]'), expected a word"),
        ("a,['x' 'y']", "single_label_classification", "a.csv:3: label is a list (\"['x' 'y']\"), expected a word"),
        ("a,{'x': 1}", "single_label_classification", "a.csv:3: label is an object (\"{'x': 1}\"), expected a word"),
        ("a,1 0 1", "multi_label_classification", "a.csv:3: label is '1 0 1', expected commas between 1s and 0s"),
        ('a,"[0.9, 0.1]"', "multi_label_classification", "a.csv:3: label has 0.9 in its list, expected names of"),
    ],
)
def test_rows_that_are_refused(tmp_path: Path, line: str, problem_type: str, message: str) -> None:
    path = write(tmp_path / "a.csv", f"text,label\na,1\n{line}\n")
    assert message in refusal(lambda: read(path, problem_type=problem_type))


@pytest.mark.parametrize(
    ("fields", "problem_type", "message"),
    [
        ('"text": 5, "label": 1', "single_label_classification", "a.jsonl:1: column 'text' is a number, expected a"),
        ('"text": "\\ud83d", "label": 1', "single_label_classification", "column 'text' contains an unpaired"),
        ('"text": "a", "label": null', "single_label_classification", "a.jsonl:1: label is null, expected a word or"),
        ('"text": "a", "label": ["x"]', "single_label_classification", "is an array, expected a word or a number; use"),
        ('"text": "a", "label": true', "regression", "a.jsonl:1: label is True, expected a finite number"),
        ('"text": "a", "label": NaN', "regression", "a.jsonl:1: expected one JSON object per line (NaN is not JSON"),
        (
            '"text": "a", "label": -Infinity',
            "regression",
            "a.jsonl:1: expected one JSON object per line (-Infinity is",
        ),
        ('"text": "a", "label": null', "regression", "a.jsonl:1: label is None"),
        ('"text": "a", "label": ' + "9" * 400, "regression", "a.jsonl:1: label is 9999"),
        ('"text": "a", "label": 5', "multi_label_classification", "a.jsonl:1: label is a number, expected a list"),
        ('"text": "a", "label": [[]]', "multi_label_classification", "a.jsonl:1: label is an array"),
        ('"text": "a", "label": [0, 0.5, 1]', "multi_label_classification", "a.jsonl:1: label has 0.5 in its list, ex"),
        (
            '"text": "a", "label": {"x": 2}',
            "multi_label_classification",
            "a.jsonl:1: label has 2 for 'x', expected a",
        ),
        ('"text": "a", "label": {"x": null}', "multi_label_classification", "a.jsonl:1: label has None for 'x'"),
        (
            '"text": "a", "label": "[\'x\']"',
            "single_label_classification",
            "a.jsonl:1: label is a list (\"['x']\"), ex",
        ),
    ],
)
def test_jsonl_fields_that_are_refused(tmp_path: Path, fields: str, problem_type: str, message: str) -> None:
    path = write(tmp_path / "a.jsonl", f"{{{fields}}}\n")
    assert message in refusal(lambda: read(path, problem_type=problem_type))


@pytest.mark.parametrize("label", ["[[1]]", '["[1]"]', '[{"x": 1}]'])
def test_multi_label_is_no_remedy_where_it_is_given(tmp_path: Path, label: str) -> None:
    path = write(tmp_path / "a.jsonl", f'{{"text": "a", "label": {label}}}\n')
    message = refusal(lambda: read(path, problem_type="multi_label_classification"))
    assert message.endswith("expected a word or a number")


@pytest.mark.parametrize(
    ("cells", "labels"),
    [
        # Lists as Python and JSON write them, in a table's cell.
        (["['joy', 'anger']", "['joy']", "[]"], [("joy", "anger"), ("joy",), ()]),
        (['["joy", "a, b"]', '["\\u00e4"]'], [("joy", "a, b"), ("ä",)]),
        (["('joy',)", "{'joy'}", "['it\\'s', \"x\"]", "[5, 0]"], [("joy",), ("joy",), ("it's", "x"), ("5", "0")]),
        (["(joy), x", "{}"], [("(joy)", "x"), ()]),
        # A 1 or 0 for each class.
        (["[1, 0, 1]", "[0, 0, 0]", "[0, 1, 0]"], [("0", "2"), (), ("1",)]),
        (["1,0,1", "0, 0, 1"], [("0", "2"), ("2",)]),
        (["[1.0, 0.0, 0.0]"], [("0",)]),
        (["[True, False, True, True]"], [("0", "2", "3")]),
        (['{"joy": 1, "anger": 0, "fear": true}', '{"joy": 0}'], [("joy", "fear"), ()]),
        # Numbers of classes: of three ones and zeros one would stand there twice.
        (["[0]", "[1]", "[0, 1]", "[1, 2, 3]", "[27]"], [("0",), ("1",), ("0", "1"), ("1", "2", "3"), ("27",)]),
    ],
)
def test_well_known_notations_of_several_labels(tmp_path: Path, cells: list[str], labels: list[Any]) -> None:
    with open(tmp_path / "a.csv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *(("a", cell) for cell in cells)])
    assert [x.label for x in read(str(tmp_path / "a.csv"), problem_type="multi_label_classification")] == labels


def test_lists_of_ones_and_zeros_in_json_lines(tmp_path: Path) -> None:
    lines = ('{"text": "a", "label": [1, 0, 1]}', '{"text": "a", "label": [true, false, false]}')
    path = write(tmp_path / "a.jsonl", "\n".join(lines))
    assert [x.label for x in read(path, problem_type="multi_label_classification")] == [("0", "2"), ("0",)]
    path = write(tmp_path / "b.jsonl", '{"text": "a", "label": {"joy": 1, "anger": 0}}')
    assert [x.label for x in read(path, problem_type="multi_label_classification")] == [("joy",)]


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (["[1, 0, 1]", "[1, 0, 1, 0]"], "a.csv:3: label has a 1 or 0 for each of 4 classes, but {path}:2: label has a "
                                        "1 or 0 for each of 3 classes; expected the same notation in every row"),
        (["[5]", "[1, 0, 1]"], "a.csv:3: label has a 1 or 0 for each of 3 classes, but {path}:2: label has names of"),
        (["[1, 0, 1]", "[]", "['joy']"], "a.csv:4: label has names of classes, but {path}:2: label h"),
        (["[0, 0]"], "a.csv:2: label is 0, 0, which may mean a 1 or 0 for each of two classes, or the class 0 twice;"),
    ],
)  # fmt: skip
def test_a_file_keeps_to_one_notation(tmp_path: Path, cells: list[str], message: str) -> None:
    path = write(tmp_path / "a.csv", "text,label\n" + "".join(f'a,"{cell}"\n' for cell in cells))
    said = refusal(lambda: read(path, problem_type="multi_label_classification"))
    assert message.format(path=path) in said


def test_bad_rows_are_left_out_and_named(tmp_path: Path) -> None:
    path, tally = write(tmp_path / "a.csv", "label,text\n0,\n1,good\n,bad\n"), Tally("skip")
    assert [x.text for x in read(path, tally=tally)] == ["good"]
    assert tally.bad == [
        f"{path}:2: column 'text' is empty, expected text", f"{path}:4: label is empty, expected text",
    ]  # fmt: skip


# --- How the options say so ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("more", "quoting"), [((), None), (("--quoting",), True), (("--no-quoting",), False)])
def test_quoting_is_as_the_delimiter_has_it_unless_asked_for(more: tuple[str, ...], quoting: bool | None) -> None:
    args = ("--model", "m", "--train", "t.tsv", "--out", "o", *more)
    assert parse_options("text-classification", args).data_options.table.quoting is quoting  # type: ignore[union-attr]


def test_a_model_of_an_earlier_version_reads_as_it_was_trained(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", 'text\tlabel\n"a\nb"\tx\n')
    data_options = from_trained_on("text-classification", {"task": "text-classification", "quoting": True})
    assert isinstance(data_options, TextDataOptions)
    assert [x.text for x in read_texts(path, data_options)] == ["a\nb"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label_separator": "|"}, "--label-separator: expected one or more characters that separate labels,"),
        ({"label_separator": "", "multi_label": True}, "--label-separator: expected one or more characters that"),
    ],
)
def test_a_separator_of_labels_goes_with_several(options: dict[str, Any], message: str) -> None:
    assert message in refusal(TextDataOptions(**options).check)


@pytest.mark.parametrize(("text", "pair"), [("a", "b"), ("b", "a")])
def test_a_text_may_be_the_query_or_another_column(text: str, pair: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", '{"a": "Why?", "b": "So.", "label": 1, "qid": 7}\n')
    (found,) = read(path, text_column=text, text_pair_column=pair, group_column="a")
    assert {found.text, found.pair} == {"Why?", "So."} and found.group == "Why?"
    (found,) = read(path, text_column=text, text_pair_column=pair, group_column="qid", labelled=False)
    assert (found.group, found.label) == ("7", None)


@pytest.mark.parametrize(
    ("cells", "problem_type", "message"),
    [
        (
            "q,yes",
            "single_label_classification",
            "a.csv:2: label is 'yes', expected a grade because of --group-column: 1 for",
        ),
        ("q,-1", "single_label_classification", "a.csv:2: label is '-1', expected a grade"),
        ("q,0.5", "single_label_classification", "a.csv:2: label is '0.5', expected a grade"),
        ("q,-0.5", "regression", "a.csv:2: label is -0.5, expected a grade"),
        (" ,1", "single_label_classification", "a.csv:2: column 'query' is empty"),
    ],
)
def test_candidates_have_a_query_and_a_grade(cells: str, problem_type: str, message: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", f"text,query,label\nOne.,{cells}\n")
    assert message in refusal(lambda: read(path, problem_type=problem_type, group_column="query"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"group_column": "q", "multi_label": True}, "--group-column and --multi-label are mutually exclusive"),
        ({"group_column": "text"}, "--group-column text is also the --text-column; this needs a --text-pair"),
    ],
)
def test_groups_that_cannot_be_ranked(options: dict[str, Any], message: str) -> None:
    assert message in refusal(TextDataOptions(**options).check)


# --- Real files ------------------------------------------------------------------------------------------------------


@needs_data
def test_waimai() -> None:
    examples = read(str(DATA / "waimai_10k.csv"), text_column="review")
    assert Counter(x.label for x in examples) == {"1": 4000, "0": 7987}
    assert find_labels(examples, "waimai_10k.csv") == ("0", "1")


@needs_data
@pytest.mark.parametrize("quoting", [False, True])
@pytest.mark.parametrize(("name", "bad", "good"), [("train", 2528, 6023), ("dev", 322, 721)])
def test_cola(name: str, bad: int, good: int, quoting: bool) -> None:
    columns = {"text_column": "4", "label_column": "2"}
    examples = read(str(DATA / "cola" / f"{name}.tsv"), header=False, quoting=quoting, **columns)
    assert Counter(x.label for x in examples) == {"0": bad, "1": good}


@needs_data
@pytest.mark.parametrize(("name", "count"), [("train", 5749), ("dev", 1500), ("test", 1379)])
def test_stsb(name: str, count: int) -> None:
    columns = {"text_column": "6", "text_pair_column": "7", "label_column": "5"}

    def scores(quoting: bool | None) -> list[Any]:
        more = {"delimiter": "\t", "header": False, "quoting": quoting, "problem_type": "regression"}
        return [x.label for x in read(str(DATA / "stsb" / f"sts-{name}.csv"), **columns, **more)]  # type: ignore[arg-type]

    targets = scores(quoting=False)
    assert (len(targets), min(targets), max(targets)) == (count, 0.0, 5.0)
    assert scores(quoting=None) == targets
    assert "--no-quoting" in refusal(lambda: scores(quoting=True))
