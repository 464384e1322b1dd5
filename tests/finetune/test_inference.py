"""`evaluate` and `predict`: the columns of training by default, others when asked for, in order."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import finetune
from finetune import inference
from finetune.data.data_options import TagDataOptions, from_trained_on
from finetune.options import TrainingOptions
from tests.finetune.files import standard_input, write
from tests.finetune.running import INPUTS, SHORT, TASKS, TEXTS, file_name, lines, run_here, write_inputs
from tests.helpers import refusal


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("at_once", [1, 2, 1000])
def test_answers_come_in_order_however_many_are_asked_at_once(
    task: str, at_once: int, runs: Path, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inference, "EXAMPLES_AT_ONCE", at_once)
    out = tmp_path / "answers.jsonl"
    for path in (write_inputs(task, tmp_path), files / file_name(task, "test")):
        args = ("predict", runs / task, "--input", path, "--output", out, "--dtype", "float32")
        assert run_here(monkeypatch, *args) == 0
        found = lines(out)
        asked = [str(answer.get("text") or answer["question"]) for answer in found]
        if path.stem == "x":
            assert len(found) == len(TEXTS)
            assert asked == ["who ran"] * 3 if task in TASKS[2:] else asked == [*TEXTS]
        else:
            assert len(found) == 40
            texts = path.read_text(encoding="utf-8")
            if task == "text-classification":
                assert asked == [line.split(",")[0] for line in texts.splitlines()[1:]]
    assert list(tmp_path.glob(".*")) == []


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("id", ["q-77", 630])
def test_an_answer_has_the_id_of_what_was_asked(
    task: str, id: str | int, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {"text": "the cat saw"} if task == "token-classification" else INPUTS[task][0]
    path, out = tmp_path / "x.jsonl", tmp_path / "y.jsonl"
    path.write_text(json.dumps({"id": id, **asked}) + "\n" + json.dumps(asked) + "\n")
    assert run_here(monkeypatch, "predict", runs / task, "--input", path, "--output", out) == 0
    first, second = lines(out)
    assert first["id"] == id and type(first["id"]) is type(id)
    assert second.get("id") == ("2" if task == "question-answering" else None)
    assert finetune.predict(runs / task, [{"id": id, **asked}])[0]["id"] == id


def test_a_model_of_columns_is_asked_in_json_lines(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model, out = tmp_path / "model", tmp_path / "y.jsonl"
    shutil.copytree(runs / "token-classification", model)
    fields = json.loads((model / "config.json").read_text())
    fields["trained_on"] |= {"word_column": "2", "tag_column": "3"}
    (model / "config.json").write_text(json.dumps(fields))
    path = tmp_path / "x.jsonl"
    path.write_text('{"tokens": ["the", "cat"], "ner_tags": ["O", "B-ANI"]}\n')
    assert run_here(monkeypatch, "predict", model, "--input", path, "--output", out) == 0
    assert lines(out)[0]["words"] == ["the", "cat"]
    assert run_here(monkeypatch, "evaluate", model, "--data", path) == 0
    assert run_here(monkeypatch, "predict", model, "--input", path, "--output", out, "--word-column", 2) == 2
    assert "--word-column 2 has no effect here: JSON lines have named fields" in capsys.readouterr().err


def test_a_model_of_columns_is_asked_in_conllu(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model, path, out = tmp_path / "model", tmp_path / "x.conllu", tmp_path / "y.conllu"
    shutil.copytree(runs / "token-classification", model)
    fields = json.loads((model / "config.json").read_text())
    fields["trained_on"] |= {"tag_column": "4"}
    (model / "config.json").write_text(json.dumps(fields))
    path.write_text("1\tthe\t_\tX\tO\t_\t0\tx\t_\t_\n2\tcat\t_\tX\tB-ANI\t_\t0\tx\t_\t_\n")
    said = f"{path}: --tag-column 4 was saved with the model, for files that are not CoNLL-U; give the --tag-column of"
    assert refusal(lambda: finetune.evaluate(model, path)).startswith(said)
    assert run_here(monkeypatch, "evaluate", model, "--data", path) == 2
    assert run_here(monkeypatch, "predict", model, "--input", path, "--output", out) == 2
    assert capsys.readouterr().err.count(said) == 2
    assert finetune.evaluate(model, path, tag_column="5")["examples"] == 1
    assert run_here(monkeypatch, "evaluate", model, "--data", path, "--tag-column", "xpos") == 0
    assert run_here(monkeypatch, "predict", model, "--input", path, "--output", out, "--tag-column", "4") == 0
    assert run_here(monkeypatch, "predict", model, "--input", path, "--output", tmp_path / "y.jsonl") == 0  # no tags

    fields["trained_on"] |= {"word_column": "3"}
    (model / "config.json").write_text(json.dumps(fields))
    assert run_here(monkeypatch, "predict", model, "--input", path, "--output", tmp_path / "y.jsonl") == 2
    assert "--word-column 3 was saved with the model" in capsys.readouterr().err


@pytest.mark.usefixtures("plain")
def test_parts_of_speech_are_learned_and_scored(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = {"the": "DET", "cat": "NOUN", "ran": "VERB"}
    rows = [f"{n}\t{word}\t_\t{tag}\t_\t_\t0\t_\t_\t_\n" for n, (word, tag) in enumerate(words.items(), start=1)]
    train, run = tmp_path / "train.conllu", tmp_path / "run"
    train.write_text(("# text = the cat ran\n" + "".join(rows) + "\n") * 24)
    args = ("token-classification", "--model", base, "--train", train, "--out", run, "--tag-column", 4, *SHORT)
    assert run_here(monkeypatch, *args) == 0
    shown = capsys.readouterr().out
    assert f"note     {train}: words: form, tags: upos; first sentence: the cat ran (DET NOUN VERB)\n" in shown
    assert f"note     {train}: tags are 3 classes, as none has a prefix such as B- before a type\n" in shown
    fields = json.loads((run / "config.json").read_text())
    trained_on = fields.pop("trained_on")
    assert (trained_on["scheme"], trained_on["tag_column"], trained_on["word_column"]) == ("none", "upos", None)
    figures = finetune.evaluate(run, train)
    (run / "config.json").write_text(json.dumps(fields))  # as of a model that transformers trained
    assert finetune.evaluate(run, train) == figures
    assert set(figures["metrics"]) == {"accuracy", "macro_f1"} and {one["name"] for one in figures["by_class"]} == {
        *words.values()
    }


CONLL_U = (
    "\ufeff# text = thecat\r\n1-2\tthecat\t_\t_\t_\t_\t_\t_\t_\t_\r\n1\tthe\t_\tX\t_\t_\t0\tx\t_\tSpaceAfter=No\r\n"
    "2\tcat\t_\tX\t_\t_\t0\tx\t_\t_\r\n2.1\tran\t_\tX\t_\t_\t_\t_\t0:x\t_\r\n\r\n"
    "1\tthe\tbad\trow\n\n\n1\ta\t_\tX\t_\t_\t0\tx\t_\tSpaceAfter=No\n2\tred\t_\tX\t_\t_\t0\tx\t_\t_"
)


@pytest.mark.parametrize(
    ("name", "given", "column"),
    [("y.conllu", ("--tag-column", "upos"), 3), ("y.conllu.gz", ("--tag-column", "misc"), 9)],
)
def test_conllu_comes_back_with_one_column_changed(
    name: str, given: tuple[str, ...], column: int, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    model, path, out = runs / "token-classification", tmp_path / "x.conllu", tmp_path / name
    path.write_bytes(CONLL_U.encode())
    assert run_here(monkeypatch, "predict", model, "--input", path, "--output", tmp_path / "y.jsonl") == 0
    first, bad, second = lines(tmp_path / "y.jsonl")
    assert (first["text"], second["text"]) == ("the cat", "ared")
    assert bad == {"error": f"{path}:7: 4 columns, expected the 10 of CoNLL-U, separated by tabs; files with other "
                            "columns need an extension other than .conllu, such as .conll"}  # fmt: skip
    capsys.readouterr()
    assert run_here(monkeypatch, "predict", model, "--input", path, "--output", out, *given) == 0
    said = capsys.readouterr().err
    assert f"note     {out}: a copy of {path} with the tags in column {['upos', 'misc'][column > 3]}\n" in said
    assert f"note     {path}: no answer to 1 bad row ({path}:7: 4 columns" in said
    expected = [line.split("\t") for line in CONLL_U.split("\n")]
    for row, tag in zip((3, 4, 10, 11), [*first["tags"], *second["tags"]], strict=True):
        expected[row - 1][column] = tag + "\r" * (row < 5 and column == 9)
    written = gzip.decompress(out.read_bytes()) if name.endswith(".gz") else out.read_bytes()
    assert written.decode() == "\n".join("\t".join(cells) for cells in expected)


@pytest.mark.parametrize(
    ("task", "source", "given", "said"),
    [
        ("token-classification", "-", (), "not standard input, because it copies the input and changes one column; a"),
        ("token-classification", "x.conll", (), "y.conllu: needs a .conllu file as --input, not "),
        ("token-classification", "x.conllu", ("--layout", "text"), "not x.conllu with --layout text, because"),
        ("token-classification", "x.conllu", ("--tag-column", "form"), "column form has the words, expected a differ"),
        ("token-classification", "x.conllu", ("--tag-column", 11), "the file has 10 columns; --tag-column (given,"),
        ("token-classification", "x.conllu", ("--scheme", "none"), "--scheme has no effect here: labels are not read"),
        ("token-classification", "x.conllu", (), "y.conllu: the tags mark entities; give the --tag-column"),
        ("token-classification", "x.conllu", ("--tag-column", "xpos"), "x.conllu cannot be read (No such file or dir"),
        (
            "text-classification",
            "x.conllu",
            (),
            "y.conllu: expected .jsonl, because text-classification does not tag",
        ),
    ],
)
def test_conllu_that_cannot_be_written(
    task: str, source: str, given: tuple[object, ...], said: str, runs: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert run_here(monkeypatch, "predict", runs / task, "--input", source, "--output", "y.conllu", *given) == 2
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_tag_column_is_refused_where_none_is_written(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    args = ("predict", runs / "token-classification", "--input", "x.conllu", "--output", "-", "--tag-column", "upos")
    assert run_here(monkeypatch, *args) == 2
    assert capsys.readouterr().err == "error: --tag-column has no effect here: labels are not read\n"


def test_models_and_runs_of_earlier_versions_are_understood() -> None:
    said = {"task": "token-classification", "scheme": "iob2", "fix_tags": False, "max_length": 64, "stride": 15}
    expected = TagDataOptions(scheme="iob2", max_length=64, stride=15)
    assert from_trained_on("token-classification", said) == expected
    run = TrainingOptions(model="model", train="train.conll", out="run", data_options=TagDataOptions()).decisive()
    assert {name for name in ("word_column", "tag_column", "layout") if run[name] is not None} == set()


def test_lists_of_words_are_tagged_word_by_word(runs: Path) -> None:
    (answer,) = finetune.predict(runs / "token-classification", [{"tokens": ["New York", "#", "red"]}])
    assert (answer["words"], answer["text"], len(answer["tags"])) == (["New York", "#", "red"], "New York # red", 3)


def test_one_text_a_line(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.txt").write_text("\n".join(TEXTS), encoding="utf-8")
    args = ("predict", runs / "text-classification", "--input", tmp_path / "x.txt", "--output", tmp_path / "y.jsonl")
    assert run_here(monkeypatch, *args) == 0
    found = lines(tmp_path / "y.jsonl")
    assert [answer["text"] for answer in found] == [*TEXTS]
    assert all(sum(answer["probabilities"].values()) == pytest.approx(1, abs=1e-5) for answer in found)


def test_columns_are_those_of_training_unless_others_are_asked_for(
    base: Path, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = (files / "train.csv").read_text(encoding="utf-8").splitlines()[1:]
    (tmp_path / "train.tsv").write_text("".join(";".join(reversed(row.split(","))) + "\n" for row in rows))
    columns = ("--no-header", "--delimiter", ";", "--text-column", 2, "--label-column", 1)
    args = ("text-classification", "--model", base, "--train", tmp_path / "train.tsv", "--out", tmp_path / "run")
    assert run_here(monkeypatch, *args, *columns, *SHORT) == 0
    capsys.readouterr()
    assert run_here(monkeypatch, "evaluate", tmp_path / "run", "--data", tmp_path / "train.tsv") == 0
    first = capsys.readouterr().out
    other = ("--header", "--delimiter", ",", "--text-column", "text", "--label-column", "label")
    assert run_here(monkeypatch, "evaluate", tmp_path / "run", "--data", files / "train.csv", *other) == 0
    assert capsys.readouterr().out == first
    (tmp_path / "new.tsv").write_text("the cat ran\n")  # where the labels stood
    args = ("predict", tmp_path / "run", "--input", tmp_path / "new.tsv", "--text-column", 1, "--output", "-")
    assert run_here(monkeypatch, *args) == 0
    assert json.loads(capsys.readouterr().out)["text"] == "the cat ran"


def test_options_without_effect_are_refused(
    runs: Path, files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    args = ("predict", runs / "token-classification", "--input", "-", "--output", "-", "--fix-tags")
    assert run_here(monkeypatch, *args) == 2
    assert capsys.readouterr().err == "error: --fix-tags has no effect here: labels are not read\n"
    args = ("evaluate", runs / "question-answering", "--data", files / "dev.json", "--n-best", 3)
    assert run_here(monkeypatch, *args) == 2
    assert capsys.readouterr().err == "error: --n-best has no effect here: the figures are those of the best answer\n"


@pytest.mark.parametrize(
    ("task", "content", "options", "why"),
    [
        ("text-classification", '{"text": "red"}\n', ("--delimiter", ";"), "JSON lines have named fields"),
        ("text-classification", '{"text": "red"}\n', ("--no-header",), "JSON lines have named fields"),
        ("text-classification", "red\n", ("--quoting",), "the input is read as one text per line; a table needs a"),
        (
            "text-classification",
            "red\n",
            ("--text-column", "b"),
            "the input is read as one text per line; a table needs",
        ),
        ("token-classification", "red\n", ("--word-column", 2), "the input is read as running text"),
        ("token-classification", '{"text": "red"}\n', ("--word-column", 2), "JSON lines have named fields, so a"),
    ],
)
def test_options_without_effect_on_what_is_read_are_refused(
    task: str, content: str, options: tuple[object, ...], why: str, runs: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    file = write(tmp_path / ("x.jsonl" if content.startswith("{") else "x.txt"), content)
    for path in (standard_input(monkeypatch, content), file):
        assert run_here(monkeypatch, "predict", runs / task, "--input", path, "--output", "-", *options) == 2
        said = capsys.readouterr().err
        assert said.startswith(f"error: {options[0]} ") and f" has no effect here: {why}" in said


def test_options_of_tables_are_refused_where_no_file_is_a_table(
    base: Path, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "x.json", '{"text": "the cat", "label": "animal"}\n{"text": "red", "label": "colour"}\n')
    args = ("text-classification", "--model", base, "--train", path, "--out", tmp_path / "run", "--no-quoting")
    evaluation = ("evaluate", runs / "text-classification", "--no-quoting", "--data")
    for command in (args, (*args, "--dev", path), (*evaluation, path), (*evaluation, "-")):
        standard_input(monkeypatch, Path(path).read_text())
        assert run_here(monkeypatch, *command) == 2
        assert capsys.readouterr().err == "error: --no-quoting has no effect here: JSON lines have named fields\n"


def test_it_is_said_where_texts_are_cut(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.txt").write_text("the cat ran\n" + "the cat " * 50 + "\n")
    args = ("predict", runs / "text-classification", "--input", tmp_path / "x.txt", "--output", tmp_path / "y.jsonl")
    assert run_here(monkeypatch, *args) == 0
    assert "note     1 example with 64 tokens or more; anything beyond that is cut off\n" in capsys.readouterr().err
    (tmp_path / "x.csv").write_text("text,label\n" + "the cat " * 50 + ",animal\nthe cat,animal\n")
    assert run_here(monkeypatch, "evaluate", runs / "text-classification", "--data", tmp_path / "x.csv") == 0
    assert "note     1 example with 64 tokens" in capsys.readouterr().err
    args = ("predict", runs / "token-classification", "--input", tmp_path / "x.txt", "--output", tmp_path / "y.jsonl")
    assert run_here(monkeypatch, *args) == 0
    assert "cut" not in capsys.readouterr().err


def test_the_help_shows_the_models_own_columns(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_here(monkeypatch, "predict", runs / "question-answering", "--help") == 0
    shown = " ".join(capsys.readouterr().out.split())  # a line may end within a default
    assert "--max-answer-length" in shown and "default: 64" in shown


@pytest.mark.parametrize(
    ("task", "said", "message"),
    [
        ("text-classification", {"max_length": "64"}, "max_length must be of type int | None, not '64'"),
        ("text-classification", {"max_length": 12.5}, "max_length must be of type int | None, not 12.5"),
        ("text-classification", {"header": "no"}, "header must be of type bool, not 'no'"),
        ("text-classification", {"text_column": 1}, "text_column must be of type str, not 1"),
        (
            "token-classification",
            {"scheme": "bilou"},
            "scheme must be of type Literal['auto', 'iob1', 'iob2', 'bioes', 'none', 'bmes', 'bi'], not 'bilou'",
        ),
        (
            "token-classification",
            {"layout": "csv"},
            "layout must be of type Optional[Literal['columns', 'text', 'jsonl']], not 'csv'",
        ),
        ("question-answering", {"no_answer_threshold": []}, "no_answer_threshold must be of type float | None, not []"),
        ("question-answering", {"n_best": True}, "n_best must be of type int, not True"),
        ("multiple-choice", {"text_column": "text"}, "multiple-choice has no option text_column"),
    ],
)
def test_what_a_model_says_of_its_data_is_checked(
    task: str, said: dict[str, Any], message: str, runs: Path, files: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    model = tmp_path / "model"
    shutil.copytree(runs / task, model)
    fields = json.loads((model / "config.json").read_text())
    fields["trained_on"] |= said
    (model / "config.json").write_text(json.dumps(fields))
    capsys.readouterr()
    for args in (("evaluate", model, "--data"), ("predict", model, "--output", "-", "--input")):
        assert run_here(monkeypatch, *args, files / file_name(task, "dev")) == 2
        assert capsys.readouterr().err == f"error: {model}/config.json: trained_on: {message}\n"


def test_a_threshold_may_be_a_whole_number(
    runs: Path, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(runs / "question-answering", tmp_path / "model")
    fields = json.loads((tmp_path / "model" / "config.json").read_text())
    fields["trained_on"] |= {"no_answer_threshold": -100}
    (tmp_path / "model" / "config.json").write_text(json.dumps(fields))
    args = ("predict", tmp_path / "model", "--input", files / "dev.json", "--output", tmp_path / "answers.jsonl")
    assert run_here(monkeypatch, *args) == 0
    assert {answer["answer"] for answer in lines(tmp_path / "answers.jsonl")} == {""}


# A file for each task, in which the second row is bad and the third good; and of the note what is said of the bad one.
BAD_ROWS = {
    "text-classification": ("x.csv", "text\nthe cat\n \na red\n", "x.csv:3: column 'text' is empty, expected text"),
    "token-classification": ("x.txt", "the cat saw\n\na red\n", "x.txt:2: the text is empty, expected text"),
    "question-answering": (
        "x.jsonl",
        "".join(
            f"{json.dumps({'question': question, 'context': 'the cat'})}\n" for question in ("who", "the " * 80, "who")
        ),
        "x.jsonl:2: the question has 80 tokens, which leaves no room for the passage in a window of 64; expected a "
        "shorter question or a larger --max-length",
    ),
    "multiple-choice": (
        "x.jsonl",
        '{"question": "who", "choices": ["a", "b"]}\n{"question": "who"}\n{"question": "to", "choices": ["a", "b"]}\n',
        "x.jsonl:2: field 'choices' is missing; the object has 'question'",
    ),
}


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("at_once", [1, 1000])
def test_the_answer_to_a_bad_row_is_why_it_is_bad(
    task: str, at_once: int, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(inference, "EXAMPLES_AT_ONCE", at_once)
    name, content, why = BAD_ROWS[task]
    (tmp_path / name).write_text(content, encoding="utf-8")
    args = ("predict", runs / task, "--input", tmp_path / name, "--output", tmp_path / "y.jsonl", "--dtype", "float32")
    assert run_here(monkeypatch, *args) == 0
    shown = capsys.readouterr().err
    taken = f"note     {tmp_path / name}: running text, one sentence per line; first sentence: the cat saw\n"
    assert shown.startswith(taken) == (task == "token-classification")
    assert shown.endswith(f"note     {tmp_path / name}: no answer to 1 bad row ({tmp_path}/{why})\n")
    first, bad, last = lines(tmp_path / "y.jsonl")
    assert bad == {"error": f"{tmp_path}/{why}"}
    assert set(first) == set(last) and "error" not in first


def test_where_no_row_can_be_answered_nothing_is_written(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"txt": "the cat"}\n{"txt": "a red"}\n')
    args = ("predict", runs / "text-classification", "--input", path, "--output", tmp_path / "y.jsonl")
    assert run_here(monkeypatch, *args) == 2
    reason = f"{path}:1: field 'text' is missing; the object has 'txt'; see --text-column"
    assert capsys.readouterr().err == f"error: {path}: no row can be answered: {reason}\n"
    assert not (tmp_path / "y.jsonl").exists()


def test_rows_are_told_against_lines_where_they_differ(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.tsv"
    path.write_text('text\n"the cat\nran"\n\nto\n')
    args = ("predict", runs / "text-classification", "--input", path, "--output", tmp_path / "y.jsonl")
    for more, count, note in (
        ((), 3, "3 rows in 4 lines; 1 blank line"),
        (("--quoting",), 2, "2 rows in 4 lines; 1 field with line breaks inside; 1 blank line"),
    ):
        assert run_here(monkeypatch, *args, *more) == 0
        assert len(lines(tmp_path / "y.jsonl")) == count
        assert capsys.readouterr().err == f"note     {path}: {note}\n"


def test_figures_say_how_many_rows_were_skipped(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.csv").write_text("text,label\nthe cat,animal\n,animal\na red,colour\na pig,\n")
    args = ("evaluate", runs / "text-classification", "--data", tmp_path / "x.csv", "--json", tmp_path / "figures.json")
    assert run_here(monkeypatch, *args) == 2
    assert capsys.readouterr().err == (
        f"error: {tmp_path}/x.csv:3: column 'text' is empty, expected text; --on-bad-row skip leaves such rows out\n"
    )
    assert run_here(monkeypatch, *args, "--on-bad-row", "skip") == 0
    shown = capsys.readouterr()
    assert shown.err == (
        f"note     {tmp_path}/x.csv: 2 bad rows ({tmp_path}/x.csv:3: column 'text' is empty, expected text; "
        f"{tmp_path}/x.csv:5: label is empty, expected text) left out\n"
    )
    assert shown.out.endswith("examples             2\nskipped              2\n")
    figures = json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))
    assert (figures["examples"], figures["skipped"]) == (2, 2)
    found = finetune.evaluate(runs / "text-classification", tmp_path / "x.csv", on_bad_row="skip")
    assert (found["examples"], found["skipped"]) == (2, 2)
    message = refusal(lambda: finetune.evaluate(runs / "text-classification", "x.csv", on_bad_row="keep"))  # type: ignore[arg-type]
    assert message == "on_bad_row: 'keep' is not one of stop, skip"


def test_an_earlier_file_stays_when_the_input_is_bad(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inference, "EXAMPLES_AT_ONCE", 1)
    (tmp_path / "x.jsonl").write_bytes(b'{"text": "the cat"}\n{"text": "\xff"}\n')
    (tmp_path / "y.jsonl").write_text("earlier")
    args = ("predict", runs / "text-classification", "--input", tmp_path / "x.jsonl", "--output", tmp_path / "y.jsonl")
    assert run_here(monkeypatch, *args) == 2
    assert (tmp_path / "y.jsonl").read_text() == "earlier"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.jsonl", "y.jsonl"]
