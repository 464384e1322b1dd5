"""python -m minibert score: lines and pairs, tables, JSON, pictures, and what is refused."""

from __future__ import annotations

import gzip
import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minibert
from minibert import checkpoint, scoring
from minibert.heads import BertForMaskedLM
from minibert.model import Bert
from minibert.preferences import Accuracy, preferences, table
from minibert.preferences_picture import draw_bars, draw_lines
from minibert.scoring import Scorer
from minibert.tokenizer import Tokenizer
from tests.helpers import TINY, contents, randomize
from tests.minibert.running import error_line, run

PAIRS = [
    {"sentence_good": "the cat sat", "sentence_bad": "the sat cat", "kind": "order"},
    {"sentence_good": "a dog ran", "sentence_bad": "a dog rans", "kind": "form"},
    {"sentence_good": "the dog", "sentence_bad": "the dog", "kind": "order"},  # a tie, as BLiMP has some
]


def write_model(directory: Path, tokenizer: Tokenizer, *, seed: int = 5, scale: float = 1.0) -> Path:
    model = BertForMaskedLM(TINY.replace(vocab_size=80))
    randomize(model, seed=seed)
    model.encoder.embeddings.token.weight.data *= scale
    checkpoint.save(model, tokenizer, directory)
    return directory


@pytest.fixture
def directory(tokenizer: Tokenizer, tmp_path: Path) -> Path:
    return write_model(tmp_path / "model", tokenizer)


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    path = tmp_path / "pairs.jsonl.gz"
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, PAIRS)).encode() + b"\n\n"))
    return path


# --- Accuracies ------------------------------------------------------------------------------------------------------


def test_a_tie_counts_half_and_groups_have_equal_weight() -> None:
    good, bad = np.array([-1.0, -2.0, -3.0, -4.0]), np.array([-2.0, -2.0, -2.0, -5.0])
    found = preferences(good, bad, ["b", "b", "b", "a"])
    assert found == (0.75, {"b": Accuracy(0.5, 3), "a": Accuracy(1.0, 1)})
    assert list(table({"one": found, "two": found})) == [
        "                       one       two      pairs",
        "b                   50.00%    50.00%          3",
        "a                  100.00%   100.00%          1",
        "mean of 2 groups    75.00%    75.00%          4",
    ]
    assert list(table({"one": preferences(good, bad, ["all"] * 4)}))[1:] == ["all    62.50%          4"]
    assert list(table({"one": preferences(good, bad, ["b"] * 4)}))[1:] == ["b    62.50%          4"]


# --- Lines -----------------------------------------------------------------------------------------------------------


def test_each_line_has_its_score(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = ["the cat sat", "", "🦠 and"]
    (tmp_path / "texts.txt").write_text("\n".join(texts) + "\n", encoding="utf-8")
    args = ["score", str(directory), "--input", str(tmp_path / "texts.txt")]
    assert run(monkeypatch, *args) == 0
    printed = capsys.readouterr().out
    lines = [json.loads(line) for line in printed.splitlines()]
    model, tokenizer = minibert.load(directory)
    assert [line["text"] for line in lines] == texts
    assert [line["score"] for line in lines] == minibert.score(model, tokenizer, texts).tolist()
    assert [line["tokens"] for line in lines] == [3, 0, 3]
    assert run(monkeypatch, *args, "--output", str(tmp_path / "scores.jsonl")) == 0
    assert (tmp_path / "scores.jsonl").read_text(encoding="utf-8") == printed
    assert run(monkeypatch, *args, "--whole-words") == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["score"] != lines[-1]["score"]


def test_lines_come_as_blocks_are_done_and_a_file_is_whole(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    texts, scores, answered = ["the cat", "a dog", "🦠", "", "the cat"], Scorer.scores, [""]

    def interrupted(self: Scorer, *args: Any) -> Any:
        answered[0] += capsys.readouterr().out
        if len(answered[0].splitlines()) == 4:
            raise KeyboardInterrupt
        return scores(self, *args)

    (tmp_path / "texts.txt").write_text("\n".join(texts) + "\n", encoding="utf-8")
    args = ["score", str(directory), "--input", str(tmp_path / "texts.txt")]
    monkeypatch.setattr(scoring, "TEXTS_AT_ONCE", 2)
    assert run(monkeypatch, *args, "--output", str(tmp_path / "scores.jsonl.gz")) == 0
    whole = gzip.decompress((tmp_path / "scores.jsonl.gz").read_bytes()).decode()
    assert [json.loads(line)["text"] for line in whole.splitlines()] == texts
    capsys.readouterr()
    monkeypatch.setattr(Scorer, "scores", interrupted)
    assert run(monkeypatch, *args) == 130
    assert answered[0].splitlines() == whole.splitlines()[:4]


def test_a_closed_standard_output_is_told_first(
    directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdout", None)  # as Python has it where the shell closed it: >&-
    for option in ("--input", "--pairs"):
        assert run(monkeypatch, "score", str(directory), option, "nowhere") == 2
    assert capsys.readouterr().err == 2 * "error: standard output: closed, expected somewhere to write to\n"


def test_bfloat16_is_near(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "texts.txt").write_text("the cat sat\n")
    found = []
    for dtype in ("float32", "bfloat16"):
        run(monkeypatch, "score", str(directory), "--input", str(tmp_path / "texts.txt"), "--dtype", dtype)
        found.append(json.loads(capsys.readouterr().out)["score"])
    assert 1e-5 < abs(found[1] - found[0]) < 0.3


# --- Pairs -----------------------------------------------------------------------------------------------------------


def test_pairs_give_accuracies_by_group(
    directory: Path, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = ["--json", str(tmp_path / "found.json"), "--picture", str(tmp_path / "found.png")]
    assert run(monkeypatch, "score", str(directory), "--pairs", str(pairs), "--group", "kind", *wanted) == 0
    model, tokenizer = minibert.load(directory)
    order, form = (
        np.diff(minibert.score(model, tokenizer, [PAIRS[i]["sentence_bad"], PAIRS[i]["sentence_good"]]))[0] > 0
        for i in (0, 1)
    )
    found = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    expected = {
        "order": {"accuracy": (order + 0.5) / 2, "pairs": 2},
        "form": {"accuracy": float(form), "pairs": 1},
    }
    assert found == {"mean": ((order + 0.5) / 2 + form) / 2, "groups": expected}
    shown = capsys.readouterr()
    assert shown.err == "" and shown.out.splitlines()[2].split() == ["model", "pairs"]
    tie = "in 1 of 3 pairs, both sentences are the same, which counts as a tie (the first is on line 3)"
    assert shown.out.splitlines()[0] == f"{pairs}: {tie}"
    assert (tmp_path / "found.png").read_bytes()[:4] == b"\x89PNG"


def test_several_models_stand_side_by_side_with_the_words_they_have_seen(
    directory: Path, pairs: Path, tokenizer: Tokenizer, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    later = write_model(tmp_path / "later", tokenizer, seed=6)
    (directory / "summary.json").write_text('{"step": 1, "words": 1200}')
    wanted = ["--json", str(tmp_path / "found.json"), "--picture", str(tmp_path / "found.png")]
    assert run(monkeypatch, "score", str(directory), str(later), "--pairs", str(pairs), *wanted) == 0
    found = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))["models"]
    assert {name: (each["words"], list(each["groups"])) for name, each in found.items()} == {
        str(directory): (1200, ["all"]),
        str(later): (None, ["all"]),
    }
    lines = capsys.readouterr().out.splitlines()
    assert lines[3].split() == ["model", "later", "pairs"] and lines[4].startswith("all")
    assert lines[5] == f"{later}: summary.json has no count of words, so the models are drawn in the given order"
    assert (tmp_path / "found.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("groups", "words"), [(1, None), (13, [10_000, 5_000]), (40, [0, 10])])
def test_any_number_of_groups_is_drawn(groups: int, words: list[int] | None, tmp_path: Path) -> None:
    names = [f"_{i}$x$" for i in range(groups)]
    one, two = (preferences(np.full(groups, 1.0), np.arange(groups) - shift, names) for shift in (0, 5))
    draw_bars(tmp_path / "bars.png", "one", one)
    draw_lines(tmp_path / "lines.png", "two", {"a": one, "b": two}, words)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bars.png", "lines.png"]


# --- What is refused -------------------------------------------------------------------------------------------------


TOO_LONG = "more than 16 tokens, the model's positions, counting [CLS] and [SEP]; split the text"
WORDS = "the number of words seen is read from this file; without it, the number counts as unknown"
GOOD = '{"sentence_good": "a", "sentence_bad": "b", "n": 1}\n'


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"sentence_good": "a"}', "field 'sentence_bad' is missing; the object has sentence_good"),
        ('{"sentence_good": "a", "sentence_bad": 3, "n": 1}', "field 'sentence_bad' is a number, expected a string"),
        ('{"sentence_good": "a", "sentence_bad": " ", "n": 1}', "field 'sentence_bad' is empty, expected text"),
        (
            '{"sentence_good": "a", "sentence_bad": "b"}',
            "field 'n' is missing; the object has sentence_good, sentence_bad",
        ),
        ("[1]", "expected a JSON object, found an array; jq -c '.[]' writes its elements one per line"),
    ],
)
def test_a_line_that_is_no_pair_is_named(
    line: str, message: str, directory: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    path = tmp_path / "pairs.jsonl"
    path.write_text(GOOD + line)
    assert run(monkeypatch, "score", str(directory), "--pairs", str(path), "--group", "n") == 2
    assert error_line(capsys) == f"error: {path}:2: {message}"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("model", "expected either --input (texts to score) or --pairs (sentences to compare)"),
        ("model --input a --pairs b", "expected either --input (texts to score) or --pairs (sentences to compare)"),
        ("model --input texts --group n", "--group has no effect here: it belongs to --pairs"),
        (
            "model --pairs pairs.jsonl --output a",
            "--output has no effect here: it belongs to --input; --json FILE writes the accuracies",
        ),
        ("model other --input texts", "other: --input takes only one model directory; --pairs takes several"),
        ("model model --pairs pairs.jsonl", "model and model are the same directory, expected different models"),
        ("model ./model --pairs a", "model and ./model are the same directory, expected different models"),
        ("model --pairs pairs.jsonl --batch-tokens 0", "--batch-tokens must be at least 1, not 0"),
        ("model nan nope --pairs pairs.jsonl", "nope is not a model directory: it has no config.json"),
        ("model encoder --pairs pairs.jsonl", "encoder: a Bert has no masked-LM head, which scoring needs"),
        ("nan later --pairs long.jsonl", f"later: long.jsonl:3: sentence_bad: {TOO_LONG}"),
        ("nan --pairs pairs.jsonl", "nan: the model's outputs are not finite numbers, so it can't score any text"),
        ("nan --input texts --output a", "nan: the model's outputs are not finite numbers, so it can't score any text"),
        ("model --pairs pairs.jsonl --json -", "- is a directory, expected a file to write"),
        ("model --pairs pairs.jsonl --picture a.jpg", "a.jpg: expected a name that ends in .png"),
        ("model --pairs pairs.jsonl --picture a.png --json a.png", "a.png: --json and --picture name the same file"),
        (
            "model --pairs pairs.jsonl --json pairs.jsonl",
            "pairs.jsonl would overwrite what this command reads (pairs.jsonl); give it another name",
        ),
        (
            "model --pairs pairs.csv",
            "pairs.csv: expected one JSON object per line, in a file whose name ends in .jsonl or .jsonl.gz",
        ),
        ("model --pairs empty.jsonl", "empty.jsonl: expected one pair per line, found nothing"),
        ("model --input long.txt", f"model: long.txt:2: {TOO_LONG}"),
        ("model --pairs long.jsonl", f"model: long.jsonl:3: sentence_bad: {TOO_LONG}"),
        ("encoder --input texts", "encoder: a Bert has no masked-LM head, which scoring needs"),
        (
            "odd model --pairs pairs.jsonl --json a",
            f"odd/summary.json: field 'words' is 'many', expected a count; {WORDS}",
        ),
        (
            "list model --pairs pairs.jsonl --picture a.png",
            f"list/summary.json: expected a JSON object, found an array; {WORDS}",
        ),
    ],
)  # fmt: skip
def test_the_command_refuses_in_one_line_and_leaves_nothing(
    args: str, message: str, directory: Path, tokenizer: Tokenizer, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    checkpoint.save(Bert(TINY.replace(vocab_size=80)), tokenizer, tmp_path / "encoder")
    write_model(tmp_path / "odd", tokenizer)
    (tmp_path / "odd" / "summary.json").write_text('{"words": "many"}')
    write_model(tmp_path / "list", tokenizer)
    (tmp_path / "list" / "summary.json").write_text("[]")
    write_model(tmp_path / "later", tokenizer)
    write_model(tmp_path / "nan", tokenizer, scale=math.nan)
    (tmp_path / "-").mkdir()
    (tmp_path / "texts").write_text("the cat\n")
    (tmp_path / "long.txt").write_text(f"a\n{'the ' * 15}\n")
    long = {"sentence_good": "a", "sentence_bad": "the " * 15}
    (tmp_path / "long.jsonl").write_text(f"{GOOD}\n{json.dumps(long)}\n")
    (tmp_path / "pairs.jsonl").write_text(GOOD)
    (tmp_path / "empty.jsonl").touch()
    before = contents(tmp_path)
    assert run(monkeypatch, "score", *args.split()) == 2
    assert error_line(capsys) == f"error: {message}"
    assert contents(tmp_path) == before


def test_a_damaged_summary_matters_only_where_words_are_shown(
    directory: Path, pairs: Path, tokenizer: Tokenizer, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    later = write_model(tmp_path / "later", tokenizer, seed=6)
    (later / "summary.json").write_text("{")
    args = ["--pairs", str(pairs)]
    assert run(monkeypatch, "score", str(later), *args, "--json", str(tmp_path / "one.json")) == 0
    assert run(monkeypatch, "score", str(directory), str(later), *args) == 0
    capsys.readouterr()
    assert run(monkeypatch, "score", str(directory), str(later), *args, "--json", str(tmp_path / "two.json")) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {later}/summary.json: not readable as JSON (Expecting property name")


def test_more_groups_than_bars_are_refused_before_the_work(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(PAIRS[0] | {"kind": str(i)}) + "\n" for i in range(201)))
    args = ["--pairs", str(path), "--group", "kind", "--picture", str(tmp_path / "a.png")]
    assert run(monkeypatch, "score", str(directory), *args) == 2
    assert error_line(capsys).startswith("error: --picture: 201 groups, expected at most 200; ")
