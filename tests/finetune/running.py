"""How tests run `python -m finetune`, and the little tasks that they give it: each is told from its words alone."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import finetune.__main__
from minibert import checkpoint
from minibert.config import BertConfig
from minibert.heads import BertWithPooler
from minibert.tokenizer import Tokenizer
from tests.helpers import REPOSITORY, seeded

# A shape that trains a hundred steps a second.
SHAPE = BertConfig(
    vocab_size=200,
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=64,
    max_position_embeddings=64,
)

ANIMALS = ("cat", "dog", "cow", "pig", "hen", "fox")
COLOURS = ("red", "green", "blue", "pink", "grey", "gold")
FILLERS = ("the", "a", "saw", "ran", "to", "and", "with", "by", "on", "one", "two", "who", "what")

TASKS = ("text-classification", "token-classification", "question-answering", "multiple-choice")


def write_model(directory: Path, config: BertConfig = SHAPE) -> Path:
    """An encoder that knows nothing, with a vocabulary of those words."""
    words = [*ANIMALS, *COLOURS, *FILLERS]
    tokenizer = Tokenizer.train([" ".join(words), " ".join(reversed(words))] * 3, vocab_size=config.vocab_size)
    model = BertWithPooler(config.replace(vocab_size=tokenizer.vocab_size), generator=seeded(1))
    checkpoint.save(model, tokenizer, directory)
    return directory


def sentence(rng: random.Random, words: Sequence[str]) -> list[str]:
    """Some fillers, with words put among them."""
    found = [rng.choice(FILLERS) for _ in range(rng.randint(3, 9))]
    for word in words:
        found.insert(rng.randint(0, len(found)), word)
    return found


def write_task(task: str, path: Path, count: int, seed: int = 0) -> Path:
    """A file of `count` examples, which take no more than a few epochs to learn."""
    rng = random.Random(seed)
    content = {
        "text-classification": _texts,
        "token-classification": _tags,
        "question-answering": _questions,
        "multiple-choice": _choices,
    }[task](rng, count)
    path.write_text(content, encoding="utf-8")
    return path


def file_name(task: str, stem: str) -> str:
    """A name with the suffix of the task's files."""
    suffix = {"text-classification": "csv", "token-classification": "conll", "question-answering": "json"}
    return f"{stem}.{suffix.get(task, 'jsonl')}"


def _texts(rng: random.Random, count: int) -> str:
    """Does it tell of an animal or of a colour?"""
    rows = []
    for number in range(count):
        label, words = (("animal", ANIMALS), ("colour", COLOURS))[number % 2]
        rows.append(f"{' '.join(sentence(rng, [rng.choice(words)]))},{label}\n")
    return "text,label\n" + "".join(rows)


def _tags(rng: random.Random, count: int) -> str:
    """Animals are of one type, colours of another."""
    tag = dict.fromkeys(ANIMALS, "B-ANI") | dict.fromkeys(COLOURS, "B-COL")
    sentences = [sentence(rng, [rng.choice(ANIMALS), rng.choice(COLOURS)]) for _ in range(count)]
    return "".join("".join(f"{word}\t{tag.get(word, 'O')}\n" for word in words) + "\n" for words in sentences)


def _questions(rng: random.Random, count: int) -> str:
    """What animal is it? The only one in the passage."""
    articles: dict[str, list[Any]] = {}
    for number in range(count):
        animal = rng.choice(ANIMALS)
        context = " ".join(sentence(rng, [animal]))
        answer = {"text": animal, "answer_start": context.index(animal)}
        paragraph = {"context": context, "qas": [{"id": f"q{number}", "question": "who ran", "answers": [answer]}]}
        articles.setdefault(f"article {number % 5}", []).append(paragraph)
    data = [{"title": title, "paragraphs": paragraphs} for title, paragraphs in articles.items()]
    return json.dumps({"version": "1.1", "data": data})


def _choices(rng: random.Random, count: int) -> str:
    """Who ran: two to four choices, of which one is an animal."""
    lines = []
    for _ in range(count):
        choices = rng.sample(COLOURS, rng.randint(1, 3))
        answer = rng.randint(0, len(choices))
        choices.insert(answer, rng.choice(ANIMALS))
        lines.append(json.dumps({"question": "who ran", "choices": choices, "answer": answer}) + "\n")
    return "".join(lines)


def run_here(monkeypatch: pytest.MonkeyPatch, *args: object) -> int:
    """The exit code of `python -m finetune ARGS`, run in this process."""
    monkeypatch.setattr(sys, "argv", ["finetune", *map(str, args)])
    try:
        finetune.__main__.main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def start(*args: object, processes: int = 1, **options: Any) -> subprocess.Popen[str]:
    """`python -m finetune ARGS` in a session of its own."""
    module = ["-m", "finetune", *map(str, args)]
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    return subprocess.Popen(
        [sys.executable, *(module if processes == 1 else [*torchrun, *module])],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        start_new_session=True,
        **options,
    )


def lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a .jsonl file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


# --- Runs, and what their models are asked ----------------------------------------------------------------------------

SHORT = ("--epochs", 2, "--batch-size", 16, "--dtype", "float32")


def arguments(task: str, base: Path, files: Path, out: Path) -> tuple[object, ...]:
    return (
        task, "--model", base, "--train", files / file_name(task, "train"), "--dev", files / file_name(task, "dev"),
        "--out", out,
    )  # fmt: skip


TEXTS = ("the cat saw", "a red", "who ran to the dog and the pig")
INPUTS = {
    "text-classification": [{"text": text} for text in TEXTS],
    "token-classification": [*TEXTS],
    "question-answering": [{"question": "who ran", "context": text} for text in TEXTS],
    "multiple-choice": [{"question": "who ran", "choices": ["cat", "red", "to"]} for _ in TEXTS],
}


def write_inputs(task: str, directory: Path) -> Path:
    """As JSON lines; sentences as lines of text."""
    rows = INPUTS[task]
    path = directory / ("x.txt" if task == "token-classification" else "x.jsonl")
    path.write_text(
        "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows), encoding="utf-8"
    )
    return path
