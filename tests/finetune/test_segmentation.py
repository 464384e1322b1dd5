"""Cutting words out of texts, from the training file to segmented text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import finetune
from finetune.data.data_options import TagDataOptions
from finetune.data.sentences import read_sentences
from finetune.tasks.token_classification import TokenClassification
from minibert import checkpoint
from minibert.heads import BertWithPooler
from minibert.tokenizer import Tokenizer
from tests.finetune.running import SHAPE, run_here
from tests.helpers import refusal, seeded

SHORT = ("--batch-size", "8", "--epochs", "6", "--learning-rate", "0.01", "--dtype", "float32")
LINES = ["我 喜欢 北京", "北京 很 大", "你 喜欢 我", "大家 很 喜欢 你", "我 很 大"]


@pytest.fixture(scope="module")
def chinese(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("chinese") / "model"
    tokenizer = Tokenizer.train(["".join(line.split()) for line in LINES] * 3, vocab_size=SHAPE.vocab_size)
    model = BertWithPooler(SHAPE.replace(vocab_size=tokenizer.vocab_size), generator=seeded(1))
    checkpoint.save(model, tokenizer, directory)
    return directory


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize("scheme", ["bmes", "bi"])
def test_words_are_learned_from_segmented_lines_and_written_as_such(
    scheme: str, chinese: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    train, dev, run = tmp_path / "train.txt", tmp_path / "dev.txt", tmp_path / "run"
    train.write_text("".join(f"{line}\n" for line in LINES * 20) + "\n", encoding="utf-8")
    dev.write_text("北京  很  大\n你 喜欢 大 北\n", encoding="utf-8")  # the last two words are not known
    more = ("--scheme", scheme, "--train", train, "--dev", train, "--out", run, "--max-length", 6, *SHORT)
    assert run_here(monkeypatch, "token-classification", "--model", chinese, *more) == 0
    shown = capsys.readouterr().out
    tags = "S B E B E" if scheme == "bmes" else "B B I B I"
    how = "words separated by spaces, one sentence per line; first sentence: 我 喜 欢 北 京"
    assert f"note     {train}: {how} ({tags})\n" in shown
    assert f"note     {train}: 7 different words\n" in shown
    assert (run / "words.txt").read_text(encoding="utf-8").split() == sorted(
        {word for line in LINES for word in line.split()}
    )
    labels = {"bmes": ["B", "M", "E", "S"], "bi": ["B", "I"]}
    assert list(checkpoint.load(run)[0].labels) == labels[scheme]  # type: ignore[union-attr]

    figures = finetune.evaluate(run, train)
    assert figures["metrics"] == {"precision": 1.0, "recall": 1.0, "f1": 1.0, "oov_recall": 0.0}
    figures = finetune.evaluate(run, dev)
    assert {one["name"]: one["support"] for one in figures["by_class"]} == {"in training": 6, "new": 1}

    new, out = tmp_path / "new.txt", tmp_path / "out.txt"
    new.write_text("我喜欢北京\n\n大家很喜欢你我很大\n", encoding="utf-8")
    assert run_here(monkeypatch, "predict", run, "--input", new, "--output", out) == 0
    assert out.read_text(encoding="utf-8") == "我 喜欢 北京\n\n大家 很 喜欢 你 我 很 大\n"
    (answer,) = finetune.predict(run, ["我喜欢 北京"])
    assert answer == {"text": "我喜欢 北京", "words": ["我", "喜欢", "北京"], "offsets": [[0, 1], [1, 3], [4, 6]]}
    assert run_here(monkeypatch, "predict", run, "--input", new, "--output", tmp_path / "out.jsonl") == 0
    first = (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()[0]
    assert json.loads(first)["words"] == ["我", "喜欢", "北京"]
    (answer,) = finetune.predict(run, [{"tokens": ["我", "喜", "欢"]}])  # characters, with nothing between them
    assert (answer["text"], answer["words"]) == ("我喜欢", ["我", "喜欢"])
    new.write_text("我喜欢北京\n你喜欢我\n\n很大\n", encoding="utf-8")  # of one column, if it had any
    assert run_here(monkeypatch, "predict", run, "--input", new, "--output", out) == 0
    assert run_here(monkeypatch, "predict", run, "--input", new, "--output", run / "words.txt") == 2
    other = "bi" if scheme == "bmes" else "bmes"
    assert f"--scheme {other}: the model's labels are" in refusal(lambda: finetune.evaluate(run, dev, scheme=other))


@pytest.mark.usefixtures("plain")
def test_the_words_of_training_are_beside_the_model_of_several_seeds_and_of_a_resumed_run(
    chinese: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, run = tmp_path / "train.txt", tmp_path / "run"
    train.write_text("".join(f"{line}\n" for line in LINES * 4), encoding="utf-8")
    more = ("--scheme", "bmes", "--train", train, "--dev", train, "--out", run, "--seeds", 2, "--epochs", 1)
    args = ("token-classification", "--model", chinese, *more)
    assert run_here(monkeypatch, *args) == 0
    lists = [directory / "words.txt" for directory in (run, run / "seed-0", run / "seed-1")]
    assert [path.read_text(encoding="utf-8") for path in lists] == ["你\n北京\n喜欢\n大\n大家\n很\n我\n"] * 3
    expected = finetune.evaluate(run, train)["metrics"]
    assert "oov_recall" in expected
    for path in (*lists, run / "summary.json", run / "seed-0" / "summary.json", run / "seed-1" / "summary.json"):
        path.unlink()
    assert run_here(monkeypatch, *args, "--resume") == 0
    assert all(path.is_file() for path in lists)
    assert finetune.evaluate(run, train)["metrics"] == expected


def test_checking_examples_leaves_the_task_as_it_is(tokenizer: Tokenizer, tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text("我 喜欢 北京\n", encoding="utf-8")
    data_options = TagDataOptions(scheme="bmes")
    task = TokenClassification(data_options, tokenizer, ("B", "M", "E", "S"))
    checked, note = task.checked(list(read_sentences(str(path), data_options)), training=True)
    assert (note, task.known) == ("3 different words", frozenset())
    assert task.with_words(checked).known == {"我", "喜欢", "北京"}
    assert task.known == frozenset()


def test_columns_have_the_characters_and_their_tags(tmp_path: Path) -> None:
    path = tmp_path / "x.conll"
    path.write_text("我\tS\n喜\tB\n欢\tE\n\n大\tS\n", encoding="utf-8")
    first, _ = read_sentences(str(path), TagDataOptions(scheme="bmes"))
    assert (first.text, first.tags, first.offsets) == ("我喜欢", ("S", "B", "E"), ((0, 1), (1, 2), (2, 3)))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("x.txt", "", "x.txt: no sentence found, expected words separated by spaces"),
        ("x.txt", "\n \n", "x.txt: no sentence found, expected words separated by spaces"),
        (
            "x.jsonl",
            "{}",
            "x.jsonl: .jsonl is not supported with --scheme bmes, expected words separated by spaces, or",
        ),
        ("x.csv", "a,b", "x.csv: .csv is not supported, expected"),
        (
            "x.conllu",
            "1\ta",
            "x.conllu: expected texts for --scheme bmes, but .conllu files are already split into",
        ),
    ],
)
def test_files_without_words_between_spaces(name: str, content: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    assert said in refusal(lambda: list(read_sentences(str(path), TagDataOptions(scheme="bmes"))))


@pytest.mark.parametrize(
    ("scheme", "content"),
    [
        ("bmes", "我\tS\n喜\tB\n欢\tE\n\n大\tS\n"),
        ("bmes", "我 S\n喜 B\n欢 E\n"),
        ("bmes", "喜 B\n喜 I\n欢 E\n"),
        ("bi", "1 我 B\n2 喜 B\n3 欢 I\n"),
        ("bi", "字 tag\n" + "我 B\n" * 20),
    ],
)
@pytest.mark.parametrize("name", ["x.txt", "x.bmes"])
def test_columns_are_not_taken_for_words(scheme: str, content: str, name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    options = TagDataOptions(scheme=scheme)  # type: ignore[arg-type]
    assert refusal(lambda: list(read_sentences(str(path), options))) == (
        f"{path}: expected words separated by spaces, but lines end with tags of --scheme {scheme}; if each line is a "
        "character and its tag, give the file an extension such as .conll"
    )


@pytest.mark.parametrize("content", ["我 喜欢 B\n", "我 B\n他 很 B\n", "维生素 B\n血型 B\n", "我 很 大\n\n你 S\n"])
def test_words_are_not_taken_for_columns(content: str, tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text(content, encoding="utf-8")
    found = read_sentences(str(path), TagDataOptions(scheme="bmes"))
    assert [one.text for one in found] == ["".join(line.split()) for line in content.splitlines() if line]


def test_words_that_another_system_found_are_scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gold, found, out = (tmp_path / name for name in ("gold.txt", "found.txt", "figures.json"))
    gold.write_text("我 喜欢 北京\n很 大\n", encoding="utf-8")
    found.write_text("我 喜 欢 北京\n很 大\n", encoding="utf-8")
    args = ("evaluate", "--predictions", found, "--data", gold, "--scheme", "bmes", "--json", out)
    assert run_here(monkeypatch, *args, "--task", "token-classification") == 0
    assert json.loads(out.read_text())["metrics"] == {"precision": 4 / 6, "recall": 4 / 5, "f1": 8 / 11}
    assert json.loads(out.read_text())["by_class"][0]["name"] == "words"
    found.write_text("我 喜欢 北京\n很 小\n", encoding="utf-8")
    assert run_here(monkeypatch, *args, "--task", "token-classification") == 2
