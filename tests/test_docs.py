"""The programs of examples/, run as docs/finetuning.md runs them, on a small file of SQuAD's form; what docs/family.md
names; and the files that any page names.
"""

from __future__ import annotations

import ast
import csv
import dataclasses
import gzip
import json
import re
import runpy
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from pkgutil import resolve_name

import pytest
import torch

import minibert
from finetune.data.choices import read_choices
from finetune.data.data_options import TagDataOptions
from finetune.data.sentences import read_sentences
from finetune.data.squad import read_squad
from minibert.config import BertConfig
from tests.helpers import REPOSITORY
from tests.pretrain.running import documents, run_here, write_text
from weights_convert.convert import from_hf, to_hf
from weights_convert.families import ALBERT, FAMILIES, LONGFORMER, ROBERTA, Family, family_of

EXAMPLES = sorted((REPOSITORY / "examples").glob("*.py"))
LETTERS = "abcdefghijklmnop"


def run(name: str, *args: str | Path) -> str:
    command = [sys.executable, str(REPOSITORY / "examples" / name), *map(str, args)]
    return subprocess.run(command, text=True, check=True, capture_output=True).stdout


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_says_how_to_call_it_and_the_page_does(path: Path) -> None:
    command = f".venv/bin/python examples/{path.name} "
    assert f"\n    {command}" in (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "")
    assert f"\n{command}" in (REPOSITORY / "docs" / "finetuning.md").read_text(encoding="utf-8")


def test_an_example_called_without_files_says_how_to_call_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for path in EXAMPLES:
        monkeypatch.setattr(sys, "argv", [str(path)])
        with pytest.raises(SystemExit, match=f"examples/{path.name} "):
            runpy.run_path(str(path), run_name="__main__")


@pytest.fixture
def squad(tmp_path: Path) -> Path:
    """Ten articles of four passages, each of eight words and with two questions on its first two and its last word."""
    articles = []
    for article in range(10):
        passages = []
        for passage in range(4):
            words = [f"{letter}{article}" for letter in (LETTERS * 2)[passage * 4 : passage * 4 + 8]]
            answers = {"first": (" ".join(words[:2]), 0), "last": (words[-1], len(" ".join(words[:-1])) + 1)}
            questions = [
                {
                    "id": f"{article}-{passage}-{which}",
                    "question": f"Which is the {which} of passage {passage} of {article}?",
                    "answers": [{"text": text, "answer_start": start}],
                }
                for which, (text, start) in answers.items()
            ]
            passages.append({"context": " ".join(words), "qas": questions})
        articles.append({"title": f"article {article}", "paragraphs": passages})
    path = tmp_path / "squad.json.gz"
    with gzip.open(path, "wt", encoding="utf-8") as file:
        json.dump({"version": "1.1", "data": articles}, file)
    return path


def test_questions_are_moved_to_passages_that_lack_their_answer(squad: Path, tmp_path: Path) -> None:
    run("unanswerable.py", squad, tmp_path / "v2.json")
    before = {question.id: question for question in read_squad(str(squad)).examples}
    found = read_squad(str(tmp_path / "v2.json"))
    assert found.version_2 and {question.id for question in found.examples} == set(before)
    moved = [question for question in found.examples if not question.answers]
    assert 10 <= len(moved) <= 45
    for question in moved:
        assert question.context != before[question.id].context and question.title == before[question.id].title
        assert all(answer.text not in question.context for answer in before[question.id].answers)


def test_flat_records_become_a_file_as_squads(tmp_path: Path) -> None:
    answered = {"text": ["ann", "Ann"], "answer_start": [4, 0]}
    records = [
        {"id": "q1", "title": "x", "context": "Ann ann.", "question": "Who?", "answers": answered},
        {"id": 2, "context": "Ann ran.", "question": "Why?", "answers": {"text": [], "answer_start": []}},
    ]
    for count, version_2 in ((1, False), (2, True)):
        (tmp_path / "flat.jsonl").write_text("".join(f"{json.dumps(record)}\n" for record in records[:count]))
        run("as_squad.py", tmp_path / "flat.jsonl", tmp_path / "squad.json")
        found = read_squad(str(tmp_path / "squad.json"))
        assert found.version_2 == version_2 and len(found.examples) == count
        first, last = found.examples[0], found.examples[-1]
        assert (first.id, first.title, first.context, first.answers) == (
            "q1",
            "x",
            "Ann ann.",
            (("ann", 4), ("Ann", 0)),
        )
    assert (last.id, last.question, last.answers) == (2, "Why?", ())


def test_published_choices_become_lines_with_the_index_of_the_right_one(tmp_path: Path) -> None:
    asked = [{"question": "Who?", "choice": ["Ann.", "Bob.", "Eve."], "answer": "Bob."}]
    asked.append({"question": "Where?", "choice": ["Oslo.", "Rome.", "York."], "answer": "Oslo."})
    (tmp_path / "train.json").write_text(json.dumps([[["M: I am Bob.", "W: I live in Oslo."], asked, "3-17"]]))
    (tmp_path / "full_data.tsv").write_text('o\tThe sky\tis "red".\t"sings\tis blue.\tis loud.\t2\n')
    found = {}
    for name in ("train.json", "full_data.tsv"):
        run("as_choices.py", tmp_path / name, tmp_path / "choices.jsonl")
        found[name] = [(x.id, x.question, x.choices, x.answer) for x in read_choices(str(tmp_path / "choices.jsonl"))]
    assert found == {
        "train.json": [
            ("3-17/0", "Who? M: I am Bob. W: I live in Oslo.", ("Ann.", "Bob.", "Eve."), 1),
            ("3-17/1", "Where? M: I am Bob. W: I live in Oslo.", ("Oslo.", "Rome.", "York."), 0),
        ],
        "full_data.tsv": [(None, "The sky", ('is "red".', '"sings', "is blue.", "is loud."), 2)],
    }


def test_answers_are_collected_by_id(tmp_path: Path) -> None:
    answers = [{"id": "q1", "answer": "Leeds"}, {"answer": "no id"}, {"id": 2, "answer": ""}]
    (tmp_path / "answers.jsonl").write_text("".join(f"{json.dumps(answer)}\n" for answer in answers))
    run("by_id.py", tmp_path / "answers.jsonl", tmp_path / "predictions.json")
    assert json.loads((tmp_path / "predictions.json").read_text()) == {"q1": "Leeds", "2": ""}


def test_ranking_makes_pairs(squad: Path, tmp_path: Path) -> None:
    run("ranking.py", squad, tmp_path)
    tables = {}
    for name in ("train", "rank"):
        with open(tmp_path / f"{name}.csv", encoding="utf-8", newline="") as file:
            tables[name] = list(csv.DictReader(file))
    assert {row["label"] for row in tables["train"]} == {"1", "0"}
    assert len(tables["train"]) == 8 * 4 * 2 * 2  # articles, passages, questions, the right passage and a wrong one
    assert len(tables["rank"]) == 2 * 4 * 2 * 4  # of the two articles held out, with all three other passages


def test_answers_become_keywords(squad: Path, tmp_path: Path) -> None:
    run("keywords.py", squad, tmp_path)
    sentences = list(read_sentences(str(tmp_path / "dev.conll"), TagDataOptions()))
    assert len(sentences) == 2 * 4
    assert all(sentence.tags == ("B-KEY", "I-KEY", "O", "O", "O", "O", "O", "B-KEY") for sentence in sentences)


def test_reviews_are_split_by_class_and_their_texts_are_the_corpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [("1", f"好吃 {number}") for number in range(60)] + [("0", f"慢,凉 {number}") for number in range(30)]
    with open(tmp_path / "reviews.csv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("label", "review"), *rows])
    monkeypatch.chdir(tmp_path)
    assert float(run("reviews.py", "reviews.csv", "0").removeprefix("TF-IDF: ")) > 0.9
    parts = {}
    for name in ("train", "test"):
        with open(f"{name}.csv", encoding="utf-8", newline="") as file:
            parts[name] = [(row["label"], row["text"]) for row in csv.DictReader(file)]
    assert sorted(parts["train"] + parts["test"]) == sorted(rows)
    assert [Counter(label for label, _ in part) for part in parts.values()] == [{"1": 48, "0": 24}, {"1": 12, "0": 6}]
    corpus = Path("train.txt").read_text(encoding="utf-8").rstrip("\n").split("\n\n")
    assert corpus == [text for _, text in parts["train"]]
    run("reviews.py", "reviews.csv", "1")
    assert Path("train.txt").read_text(encoding="utf-8").split() != " ".join(corpus).split()


@pytest.mark.parametrize("page", sorted((REPOSITORY / "docs").glob("*.md")), ids=lambda page: page.name)
def test_the_files_that_a_page_names_are_there(page: Path) -> None:
    """A name alone is of a file in the folder that was named last. Earlier files and a user's are said to be such."""
    folder = REPOSITORY
    for name in re.findall(r"`([\w/]+\.py)`(?! of commit | in that directory)", page.read_text(encoding="utf-8")):
        if "/" in name:
            folder = (REPOSITORY / name).parent
        assert (folder / Path(name).name).is_file(), f"{page.name} names {name}, which is not in {folder}"


FAMILY = REPOSITORY / "docs" / "family.md"


def named_in_family(pattern: str) -> list[str]:
    return sorted(set(re.findall(pattern, FAMILY.read_text(encoding="utf-8"))))


@pytest.mark.parametrize("name", named_in_family(r"`((?:minibert|pretrain|weights_convert)\.\w[\w.]*)`"))
def test_the_code_that_the_page_on_the_family_names_is_there(name: str) -> None:
    assert resolve_name(name) is not None  # or an error that says which part is not there


def test_the_fields_that_the_page_on_the_family_names_are_the_configs() -> None:
    rows = [line.split("|") for line in FAMILY.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    named = {field for row in rows if len(row) == 10 for field in re.findall(r"`(\w+)`", row[7])}
    in_config = {field.name for field in dataclasses.fields(BertConfig)}
    assert named - in_config == {"BertConfig", "pair_objective", "none", "sop"}
    assert {name for family in FAMILIES.values() for name in family.fixed} <= named


SHAPES = named_in_family(r"```json\n([^`]*)```")


@pytest.mark.parametrize(
    ("shape", "family", "longest", "options"),
    [
        (SHAPES[0], ALBERT, 512, ("--tokenizer-kind", "unigram", "--pair-objective", "sop")),
        (SHAPES[2], ROBERTA, 513, ("--tokenizer-kind", "bpe", "--no-nsp")),  # before its tokenizer names the padding
        (SHAPES[1], LONGFORMER, 4097, ("--tokenizer-kind", "bpe", "--no-nsp")),
    ],
)
def test_the_shapes_on_the_page_on_the_family_train_and_go_there_and_back(
    shape: str, family: Family, longest: int, options: Sequence[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = BertConfig.from_dict(json.loads(shape))
    assert (family_of(config), config.longest) == (family, longest)
    (tmp_path / "shape.json").write_text(shape, encoding="utf-8")
    write_text(tmp_path / "text.txt", documents(60))
    assert run_here(
        monkeypatch, "--corpus", tmp_path / "text.txt", "--model", tmp_path / "shape.json", "--out", tmp_path / "run",
        "--vocab-size", 300, "--seq-len", 32, "--batch-size", 4, "--steps", 2, *options,
    ) == 0  # fmt: skip
    to_hf(tmp_path / "run", tmp_path / "hf")
    from_hf(tmp_path / "hf", tmp_path / "back")
    trained, returned = (minibert.load(tmp_path / name)[0].state_dict() for name in ("run", "back"))
    assert trained.keys() == returned.keys()
    assert [name for name in trained if not torch.equal(trained[name], returned[name])] == []
