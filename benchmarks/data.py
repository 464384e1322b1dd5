"""The data files that both sides are given: in the task's own format, with as many examples as asked for."""

import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from benchmarks.tasks import BENCHMARK_TASKS
from finetune.data.examples import QuestionExample
from finetune.data.squad import read_squad, without_misplaced
from minibert.errors import InputError
from minibert.files.text import read_lines

Unit = TypeVar("Unit")

SEED = 0  # of every draw here, so that all runs get the same files
WRONG_CHOICES = 3
DEV_ARTICLES = 0.1


def write_files(
    task: str, data: Path, out: Path, *, train_limit: int | None = None, dev_limit: int | None = None
) -> tuple[Path, Path]:
    """Write the training and dev files to `out`, and return their paths. A limit draws that many examples, in order.

    Raises InputError if a source file does not exist or is not in the task's format.
    """
    names, suffix = BENCHMARK_TASKS[task].sources, BENCHMARK_TASKS[task].suffix
    sources = [data / name for name in names]
    for source in sources:
        if not source.is_file():
            raise InputError(f"{source}: no such file; --task {task} needs {' and '.join(names)} in --data")
    if task == "choices":
        parts = choices_of(read_squad(str(sources[0])).examples)
    elif task == "squad":
        train, dev = (read_squad(str(source)).examples for source in sources)
        parts = [squad_unit(question) for question in without_misplaced(train)[0]], [*map(squad_unit, dev)]
    else:
        cut = sentences if task == "wnut17" else rows
        parts = list(cut(sources[0])), list(cut(sources[1]))
    paths = out / f"train{suffix}", out / f"dev{suffix}"
    for path, units, limit in zip(paths, parts, (train_limit, dev_limit), strict=True):
        chosen = drawn(units, limit)
        text = "".join(chosen) if task != "squad" else f'{{"version": "1.1", "data": [{",".join(chosen)}]}}'
        path.write_text(text, encoding="utf-8", newline="")
    return paths


def drawn(units: Sequence[Unit], limit: int | None) -> list[Unit]:
    """Draw `limit` of the units, keeping their order; return all if there are no more, or if `limit` is None."""
    if limit is None or limit >= len(units):
        return list(units)
    return [units[number] for number in sorted(random.Random(SEED).sample(range(len(units)), limit))]


def rows(path: Path) -> Iterator[str]:
    """Yield the lines of a table without a header, except blank ones."""
    for _, line in read_lines(str(path)):
        if line.strip():
            yield line.rstrip("\r\n") + "\n"


def sentences(path: Path) -> Iterator[str]:
    """Yield the sentences of a CoNLL file, each with a blank line after it."""
    words = ""
    for _, line in read_lines(str(path)):
        if line.strip():
            words += line.rstrip("\r\n") + "\n"
        elif words:
            yield words + "\n"
            words = ""
    if words:
        yield words + "\n"


def squad_unit(question: QuestionExample) -> str:
    """Return a question as an article of its own, in SQuAD's JSON."""
    answers = [{"text": answer.text, "answer_start": answer.start} for answer in question.answers]
    asked = {"id": question.id, "question": question.question, "answers": answers}
    return json.dumps({"title": question.title, "paragraphs": [{"context": question.context, "qas": [asked]}]})


def choices_of(questions: Sequence[QuestionExample]) -> tuple[list[str], list[str]]:
    """Make multiple choice out of SQuAD: a question, its answer, and three answers to other questions on the article.

    Returns the lines of train and of dev. A tenth of the articles go to dev, whole, so that no article is in both.
    Answers that differ only in case count as one; articles with too few answers are left out.

    Raises InputError if fewer than two articles are left.
    """
    rng = random.Random(SEED)
    articles: dict[str, list[QuestionExample]] = {}
    for question in questions:
        if question.answers:
            articles.setdefault(question.title, []).append(question)
    made = [lines for article in articles.values() if (lines := _choices_of_article(article, rng))]
    if len(made) < 2:
        raise InputError(f"expected at least two articles with {WRONG_CHOICES + 1} answers or more, found {len(made)}")
    dev = set(rng.sample(range(len(made)), max(1, round(DEV_ARTICLES * len(made)))))
    train_lines = [line for number, lines in enumerate(made) if number not in dev for line in lines]
    return train_lines, [line for number, lines in enumerate(made) if number in dev for line in lines]


def _choices_of_article(article: Sequence[QuestionExample], rng: random.Random) -> list[str]:
    answers = {question.answers[0].text.lower(): question.answers[0].text for question in article}
    if len(answers) <= WRONG_CHOICES:
        return []
    lines = []
    for question in article:
        right = question.answers[0].text
        others = [text for key, text in answers.items() if key != right.lower()]
        choices = rng.sample(others, WRONG_CHOICES)
        place = rng.randrange(WRONG_CHOICES + 1)
        choices.insert(place, right)
        lines.append(json.dumps({"question": question.question, "choices": choices, "answer": place}) + "\n")
    return lines
