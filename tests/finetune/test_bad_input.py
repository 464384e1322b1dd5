"""What bad input gets by the real command line: exit code 2, one line with what and where, nothing left behind."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from finetune.data.data_options import DATA_OPTIONS
from tests.finetune.running import SHORT, TASKS, arguments, file_name, run_here, start, write_model
from tests.helpers import REPOSITORY
from tests.pretrain.running import finished, tree

pytestmark = pytest.mark.usefixtures("plain")

Refused = Callable[..., str]


@pytest.fixture
def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Refused:
    """Runs a command that must be refused; returns the one line."""

    def run(*args: object) -> str:
        before = tree(tmp_path)
        assert run_here(monkeypatch, *args) == 2
        shown = capsys.readouterr()
        assert len(shown.err.splitlines()) == 1 and shown.err.startswith("error: ")
        assert tree(tmp_path) == before
        return shown.err

    return run


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def train_on(task: str, train: Path, base: Path, tmp_path: Path, *more: object) -> tuple[object, ...]:
    return task, "--model", base, "--train", train, "--out", tmp_path / "run", *more


ROWS = "text,label\nthe cat,animal\nthe red,colour\nthe dog,animal\nthe blue,colour\n"


@pytest.mark.parametrize(
    ("text", "more", "said"),
    [
        ("review,label\na,b\n", (), "train.csv:1: column 'text' is missing; the header has 'review', 'label'"),
        (ROWS, ("--label-column", "stars"), "column 'stars' is missing; the header has 'text', 'label'"),
        (ROWS + " ,animal\n", (), "train.csv:6: column 'text' is empty"),
        (ROWS + "the cow,\n", (), "train.csv:6: label is empty"),
        (ROWS.replace("colour", "animal"), (), "train.csv: expected labels of at least two classes, found only"),
        (ROWS, ("--regression",), "train.csv:2: label is 'animal', expected a finite number"),
        ("text,label\na cat,1\nthe dog,inf\n", ("--regression",), "train.csv:3: label is 'inf', expected a finite"),
        (ROWS + "the cow,animal,more\n", (), "train.csv:6: the row has 3 fields, expected 2"),
        ("", (), "train.csv: no row found"),
    ],
)
def test_tables(text: str, more: tuple[object, ...], said: str, base: Path, tmp_path: Path, refused: Refused) -> None:
    train = write(tmp_path / "train.csv", text)
    assert said in refused(*train_on("text-classification", train, base, tmp_path, *more))


def test_a_label_in_dev_or_test_that_training_never_had(base: Path, tmp_path: Path, refused: Refused) -> None:
    train = write(tmp_path / "train.csv", ROWS)
    other = write(tmp_path / "other.csv", ROWS + "the sun,star\n")
    args = train_on("text-classification", train, base, tmp_path)
    for option in ("--dev", "--test"):
        said = refused(*args, option, other)
        assert "other.csv:6: label 'star' does not occur in the training data, which has 'animal', 'colour'" in said


@pytest.mark.parametrize("task", TASKS)
def test_files_that_are_no_utf_8_or_are_not_there(
    task: str, base: Path, files: Path, tmp_path: Path, refused: Refused
) -> None:
    train = tmp_path / file_name(task, "train")
    train.write_bytes((files / train.name).read_bytes() + b"\xff\n")
    assert "not UTF-8" in refused(*train_on(task, train, base, tmp_path))
    train.unlink()
    assert "No such file or directory" in refused(*train_on(task, train, base, tmp_path))


@pytest.mark.parametrize(
    ("text", "more", "said"),
    [
        ("the\tO\ncat\tB-ANI\tmore\n", (), "train.conll:2:"),
        ("a\tB-ANI\ncat\tX-ANI\n", (), "train.conll:2: 'X-ANI' is not a tag of any scheme (the file has X-ANI)"),
        ("1\tthe\tB-A\n2\tcat\tN\n", (), "use --tag-column to choose another column, or --scheme none to make"),
        (
            "".join(f"{n}\t{n}N\n" for n in range(201)),
            (),
            "train.conll: found 201 different tags, from '0N' to '9N', expected",
        ),
        (
            "很\tB\n好\tO\n",
            ("--scheme", "bmes"),
            "train.conll:2: 'O' is not a tag of --scheme bmes, expected B, M, E, S",
        ),
        ("很\tB\n好\tB\n", ("--scheme", "bmes"), "train.conll:1: the tag 'B' between the sentence's beginning and 'B'"),
        (
            "很好\tS\n",
            ("--scheme", "bmes"),
            "conll:1: expected one character per row with --scheme bmes, found '很好'",
        ),
        ("很\tB-A\n", ("--scheme", "bi"), "train.conll:1: 'B-A' is not a tag of --scheme bi, expected B, I"),
        ("the\tO\ncat\tB-ANI\n", ("--word-column", "words"), "--word-column (given, or saved with the model) is words"),
        ("the\tO\ncat\tB-ANI\n", ("--layout", "columns"), "--layout has no effect here: only columns and .jsonl"),
        ("the\tO\n", ("--fix-tags", "--scheme", "none"), "--fix-tags contradicts --scheme none"),
        ("the\tO\n", ("--tag-column", 7), "the file has 2 columns; --tag-column (given, or saved with the model) is 7"),
        ("the\tO\ncat\tI-ANI\ndog\tB-ANI\n\na\tB-ANI\n\na\tB-ANI\n\ncat\tI-ANI\n", ("--scheme", "iob2"), "--fix-tags"),
        ("the\tO\ncat\tO\n", (), "train.conll: expected tags of entities, found only the tag O"),
    ],
)
def test_tags(text: str, more: tuple[object, ...], said: str, base: Path, tmp_path: Path, refused: Refused) -> None:
    train = write(tmp_path / "train.conll", text)
    assert said in refused(*train_on("token-classification", train, base, tmp_path, *more))


@pytest.mark.parametrize("option", ["--word-column", "--tag-column"])
@pytest.mark.parametrize("name", ["train.jsonl", "train.json.gz"])
def test_a_columns_number_for_json_lines(option: str, name: str, base: Path, tmp_path: Path, refused: Refused) -> None:
    args = train_on("token-classification", tmp_path / name, base, tmp_path, option, 2)
    said = f"{option} 2 has no effect here: JSON lines have named fields, so a name is expected"
    assert said in refused(*args)
    args = ("evaluate", "--predictions", "p", "--data", tmp_path / name, "--task", "token-classification", option, 2)
    assert said in refused(*args)


def test_fix_tags_mends_them(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train = write(tmp_path / "train.conll", "the\tO\ncat\tI-ANI\n\n" * 8)
    args = train_on("token-classification", train, base, tmp_path, "--scheme", "iob2", *SHORT)
    assert run_here(monkeypatch, *args) == 2
    assert run_here(monkeypatch, *args, "--fix-tags") == 0


def squad(context: str, *questions: tuple[str, str, int]) -> str:
    qas = [{"id": str(number), "question": question, "answers": [{"text": text, "answer_start": start}]}
           for number, (question, text, start) in enumerate(questions)]  # fmt: skip
    return json.dumps({"version": "1.1", "data": [{"title": "t", "paragraphs": [{"context": context, "qas": qas}]}]})


def test_a_question_longer_than_the_window(base: Path, tmp_path: Path, refused: Refused) -> None:
    questions = (("who ran", "cat", 4), ("who ran " * 20, "cat", 4))
    train = write(tmp_path / "train.json", squad("the cat ran", *questions))
    args = train_on("question-answering", train, base, tmp_path, "--max-length", 32, "--dev", train)
    assert "the question has" in refused(*args)


def test_misplaced_answers_leave_training_but_not_scoring(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    questions = [("who ran", "cat", 4)] * 8 + [("who ran", "cat", 5), ("who saw", "cat", 0)]
    train = write(tmp_path / "train.json", squad("the cat ran", *questions))
    args = train_on("question-answering", train, base, tmp_path, *SHORT, "--dev", train, "--batch-size", 4)
    assert run_here(monkeypatch, *args) == 0
    out = capsys.readouterr().out
    assert "2 questions left out of training" in out and "'cat' should start at 5" in out
    found = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (found["train_examples"], found["dev_examples"]) == (8, 10)


@pytest.mark.parametrize("answer", [-1, 2, "0", None])
def test_a_choice_index_out_of_range(answer: object, base: Path, tmp_path: Path, refused: Refused) -> None:
    good = {"question": "who ran", "choices": ["cat", "red"], "answer": 0}
    train = write(tmp_path / "train.jsonl", f"{json.dumps(good)}\n{json.dumps(good | {'answer': answer})}\n")
    assert "train.jsonl:2: field 'answer' is" in refused(*train_on("multiple-choice", train, base, tmp_path))


# --- Models and options ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", TASKS)
def test_required_options(task: str, refused: Refused) -> None:
    assert "--model, --train and --out are missing" in refused(task, "--seed", 1)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--learning-rate", "nan"), "--learning-rate must be above 0 and at most 1, not nan"),
        (("--epochs", 0), "--epochs must be at least 1"),
        (("--warmup-share", 2), "--warmup-share must be"),
        (("--layer-decay", 0), "--layer-decay must be"),
        (("--lora-rank", 0), "--lora-rank must be at least 1"),
        (("--lora-rank", 1000), "--lora-rank must be at most 32, the model's hidden_size, not 1000"),
        (("--seed", 2**32), "--seed must be at least 0 and at most 4294967294, not 4294967296"),
        (("--seeds", 10**12), "--seeds must be at least 1 and at most 1000"),
        (("--text-column", "label"), "--text-column label, --label-column label: these must be different columns"),
        (("--lora-rank", 2, "--freeze-encoder"), "are mutually exclusive"),
        (("--lora-alpha", 2), "--lora-alpha has no effect here"),
        (("--lora-rank", 2, "--layer-decay", 0.5), "--layer-decay has no effect here"),
        (("--dev-share", 0.5), "--dev-share has no effect here"),
        (("--early-stop", 0), "--early-stop must be at least 1, not 0"),
        (
            ("--early-stop", 2),
            "with --epochs 3 it can't end the run before the last epoch; expected --epochs 4 or more",
        ),
        (("--label-smoothing", 1), "--label-smoothing must be at least 0 and below 1, not 1"),
        (("--label-smoothing", "nan"), "--label-smoothing must be at least 0 and below 1, not nan"),
        (("--multi-label", "--label-smoothing", 0.1), "no effect here: each label applies or not; none is chosen"),
        (("--regression", "--label-smoothing", 0.1), "no effect here: a number isn't chosen among several"),
        (("--regression", "--class-weights", "balanced"), "--class-weights has no effect here: a number has no class"),
        (("--class-weights", "none.json"), "none.json: No such file or directory; expected a JSON object"),
        (("--metric", "bleu"), "--metric: expected one of accuracy"),
        (("--max-length", 65), "--max-length 65 is more than the model's 64 positions"),
        (("--regression", "--multi-label"), "are mutually exclusive"),
        (("--group-column", "query"), "column 'query' is missing; the header has 'text', 'label'"),
        (("--group-column", "label"), "--group-column label, --label-column label: these must be different columns"),
        (("--train", "-"), "--train -: expected a file"),
        (("--dev", "-"), "--dev -: expected a file"),
        (("--delimiter", ""), "delimiter"),
        (("--label-separator", ";"), "--label-separator: expected one or more characters that separate labels,"),
        (("--on-bad-row", "keep"), "--on-bad-row"),
        (("--batch-size", 4, "--accumulate", 5), "too small for 1 process with 5 micro-batches"),
        (("--nonsense",), "nonsense"),
    ],
)
def test_options(
    more: tuple[object, ...], said: str, base: Path, files: Path, tmp_path: Path, refused: Refused
) -> None:
    assert said in refused(*arguments("text-classification", base, files, tmp_path / "run"), *more)


@pytest.mark.parametrize(
    ("task", "because"),
    [("question-answering", "a place in a passage has no class"), ("multiple-choice", "and have no class")],
)
def test_class_weights_without_classes(
    task: str, because: str, base: Path, files: Path, tmp_path: Path, refused: Refused
) -> None:
    said = refused(*arguments(task, base, files, tmp_path / "run"), "--class-weights", "balanced")
    assert "--class-weights has no effect here: " in said and because in said


@pytest.mark.parametrize("task", ["token-classification", "question-answering"])
def test_windows_that_share_all(task: str, base: Path, files: Path, tmp_path: Path, refused: Refused) -> None:
    args = arguments(task, base, files, tmp_path / "run")
    assert "leaves no room for new tokens in a window" in refused(*args, "--max-length", 20, "--stride", 18)


def test_a_model_directory_that_is_none_or_damaged(base: Path, files: Path, tmp_path: Path, refused: Refused) -> None:
    (tmp_path / "empty").mkdir()
    args = arguments("text-classification", tmp_path / "empty", files, tmp_path / "run")
    assert "not a model directory" in refused(*args)
    damaged = write_model(tmp_path / "damaged") / "model.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"!")
    args = arguments("text-classification", damaged.parent, files, tmp_path / "run")
    assert "model.safetensors is damaged" in refused(*args)


def test_other_labels_than_the_models_own(
    base: Path, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: Refused
) -> None:
    args = arguments("text-classification", base, files, tmp_path / "first")
    assert run_here(monkeypatch, *args, *SHORT) == 0
    train = write(tmp_path / "train.csv", ROWS.replace("animal", "beast") * 3)
    args = train_on("text-classification", train, tmp_path / "first", tmp_path)
    said = refused(*args)
    assert "labels animal, colour" in said and "beast, colour" in said and "use --new-head to replace it" in said


@pytest.mark.parametrize("option", ["--model", "--train", "--dev", "--test", "--out", "--label-column"])
def test_names_that_are_no_utf_8(option: str, base: Path, files: Path, tmp_path: Path, refused: Refused) -> None:
    """What Python makes of the bytes of another encoding in a file's name; run.toml could not be written."""
    args = arguments("text-classification", base, files, tmp_path / "run")
    assert f"{option}: '{tmp_path}/caf\\udce9' is not UTF-8" in refused(*args, option, f"{tmp_path}/caf\udce9")


def test_too_few_examples_to_hold_out_some(base: Path, tmp_path: Path, refused: Refused) -> None:
    train = write(tmp_path / "train.csv", "text,label\nthe cat,animal\nthe red,colour\n")
    said = refused(*train_on("text-classification", train, base, tmp_path))
    assert f"{train}: too few examples to hold some out (2), expected more, or a --dev file" in said


def test_every_answer_is_misplaced(base: Path, files: Path, tmp_path: Path, refused: Refused) -> None:
    dev = files / file_name("question-answering", "dev")
    content = json.loads(dev.read_text())
    for article in content["data"]:
        for paragraph in article["paragraphs"]:
            paragraph["qas"][0]["answers"][0]["answer_start"] += 1
    train = write(tmp_path / "train.json", json.dumps(content))
    said = refused(*train_on("question-answering", train, base, tmp_path, "--dev", dev))
    assert f"{train}: no example is left to train on; 40 questions left out of training: {train}: question q" in said


def test_an_output_that_holds_something_else(base: Path, files: Path, tmp_path: Path, refused: Refused) -> None:
    (tmp_path / "run").mkdir()
    write(tmp_path / "run" / "notes.txt", "mine")
    said = refused(*arguments("text-classification", base, files, tmp_path / "run"))
    assert "holds no fine-tuning run" in said


# --- Evaluating and predicting ---------------------------------------------------------------------------------------


def test_evaluate_and_predict(
    base: Path, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: Refused
) -> None:
    run, train = tmp_path / "run", files / "train.csv"
    assert run_here(monkeypatch, *arguments("text-classification", base, files, run), *SHORT) == 0
    assert "the model's directory is missing" in refused("evaluate", "--data", train)
    assert "--data is missing" in refused("evaluate", run)
    assert "--output is missing" in refused("predict", run, "--input", train)
    assert "expected a model for text-classification" in refused("evaluate", base, "--data", train)
    assert "column 'text' is missing" in refused("evaluate", run, "--data", write(tmp_path / "x.csv", "a,label\n1,2\n"))
    odd = write(tmp_path / "odd.csv", ROWS + "the sun,star\n")
    assert "odd.csv:6: label 'star'" in refused("evaluate", run, "--data", odd)
    empty = write(tmp_path / "empty.txt", "\n\n")
    assert "empty.txt:1" in refused("predict", run, "--input", empty, "--output", tmp_path / "answers.jsonl")
    assert "there is no directory" in refused(
        "predict", run, "--input", odd, "--output", tmp_path / "no" / "answers.jsonl"
    )
    assert f"{tmp_path} is a directory" in refused("predict", run, "--input", odd, "--output", tmp_path)
    assert "there is no directory" in refused(
        "evaluate", run, "--data", odd, "--json", tmp_path / "no" / "figures.json"
    )
    assert "--max-length 99 is more" in refused("evaluate", run, "--data", odd, "--max-length", 99)
    said = refused("evaluate", run, "--data", odd, "--multi-label")
    assert "its head is for single_label_classification, not multi_label_classification" in said


def test_one_line_from_a_process_of_its_own(tmp_path: Path) -> None:
    shown, err = finished(start("text-classification", "--model", tmp_path, "--train", "x", "--out", tmp_path / "y"), 2)
    assert shown == "" and len(err.splitlines()) == 1 and "not a model directory" in err
    assert not any(tmp_path.iterdir())


NO_TORCH = """
import sys
from finetune.__main__ import main
sys.argv = ["finetune", sys.argv[1], "--help"]
try:
    main()
except SystemExit as stop:
    assert not stop.code and "torch" not in sys.modules
"""


@pytest.mark.parametrize("command", [*DATA_OPTIONS, "evaluate", "predict"])
def test_help_needs_no_torch(command: str) -> None:
    done = subprocess.run([sys.executable, "-c", NO_TORCH, command], capture_output=True, text=True, cwd=REPOSITORY)
    assert done.returncode == 0, done.stderr
    assert "--device" in done.stdout and "default" in done.stdout
