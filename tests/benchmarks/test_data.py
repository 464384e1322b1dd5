"""The files that both sides get."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.data import choices_of, drawn, write_files
from benchmarks.tasks import BENCHMARK_TASKS, read_examples
from finetune.data.examples import Answer, QuestionExample
from finetune.data.squad import read_squad
from tests.benchmarks.conftest import FOLDERS
from tests.finetune.files import DATA, needs_data
from tests.helpers import refusal


def question(title: str, number: int, answer: str) -> QuestionExample:
    return QuestionExample(f"{title}{number}", f"what is {number}", answer, (Answer(answer, 0),), title, "")


@pytest.mark.parametrize(("task", "train", "dev"), [("cola", 14, 6), ("stsb", 14, 6), ("wnut17", 14, 6),
                                                    ("squad", 18, 18), ("choices", 12, 6)])  # fmt: skip
def test_all_of_a_file_or_as_much_as_is_asked_for(task: str, train: int, dev: int, data: Path, tmp_path: Path) -> None:
    def counted(**limits: int) -> tuple[int, ...]:
        paths = write_files(task, data / FOLDERS[task], tmp_path, **limits)
        return tuple(len(list(read_examples(task, str(path)))) for path in paths)

    assert counted() == (train, dev)
    assert counted(train_limit=5, dev_limit=1000) == (5, dev)


def test_what_is_drawn_keeps_its_order_and_is_the_same_every_time() -> None:
    chosen = drawn(range(100), 10)
    assert chosen == sorted(set(chosen)) == drawn(range(100), 10) and len(chosen) == 10
    assert chosen != list(range(10))
    assert drawn("abc", None) == drawn("abc", 3) == ["a", "b", "c"]


def test_files_that_are_not_there_are_named(tmp_path: Path) -> None:
    message = refusal(lambda: write_files("cola", tmp_path, tmp_path))
    assert "train.tsv: no such file; --task cola needs train.tsv and dev.tsv in --data" in message


def test_choices_come_from_other_questions_of_the_article_and_articles_stay_together() -> None:
    questions = [question(title, number, f"{title}{number % 5}") for title in "abcdefghij" for number in range(7)]
    questions += [question("k", number, "few") for number in range(9)]
    train, dev = ([json.loads(line) for line in lines] for lines in choices_of(questions))
    assert (len(train), len(dev)) == (63, 7)
    for made in train + dev:
        title = made["choices"][0][0]
        assert {choice[0] for choice in made["choices"]} == {title}
        assert len(set(made["choices"])) == 4
        assert made["choices"][made["answer"]] == f"{title}{int(made['question'].split()[-1]) % 5}"
    assert {made["choices"][0][0] for made in train}.isdisjoint({made["choices"][0][0] for made in dev})
    assert {made["answer"] for made in train} == {0, 1, 2, 3}
    assert choices_of(questions) == choices_of(questions)


def test_choices_of_one_article_are_refused() -> None:
    message = refusal(lambda: choices_of([question("a", number, f"a{number}") for number in range(9)]))
    assert message == "expected at least two articles with 4 answers or more, found 1"


@needs_data
def test_of_the_real_subset_nearly_every_question_has_choices() -> None:
    questions = read_squad(str(DATA / "squad" / BENCHMARK_TASKS["choices"].sources[0])).examples
    train, dev = choices_of(questions)
    assert len(train) + len(dev) == len(questions) == 11_877
    assert 0.05 < len(dev) / len(questions) < 0.2
