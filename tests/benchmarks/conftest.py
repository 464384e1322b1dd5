"""What the benchmarks' tests share: a tiny model of the reference, and small files for each task. Tests don't change
them."""

from __future__ import annotations

import gzip
import json
import random
import string
from pathlib import Path

import pytest
import transformers

WORDS = ("cat", "dog", "cow", "red", "green", "the", "saw", "ran", "to", "and")
VOCABULARY = (
    "the", "cat", "sat", "on", "a", "mat", "and", "saw", "one", "dog", "run", "to", "her", "house", "with", "milk",
)  # fmt: skip
FOLDERS = {"cola": "cola", "stsb": "stsb", "wnut17": "wnut17", "squad": "squad", "choices": "squad"}  # by task


@pytest.fixture(scope="session")
def hf_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Hugging Face directory with an untrained encoder; each letter is a token."""
    directory = tmp_path_factory.mktemp("hf") / "model"
    signs = [*string.ascii_lowercase, *string.digits, *string.punctuation]
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *signs, *(f"##{sign}" for sign in signs)]
    transformers.set_seed(1)
    config = transformers.BertConfig(
        vocab_size=len(tokens), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64
    )
    transformers.BertModel(config).save_pretrained(directory)
    (directory / "vocab.txt").write_text("".join(f"{token}\n" for token in tokens), encoding="utf-8")
    return directory


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a folder of files for each task, in the format of the public data set."""
    directory = tmp_path_factory.mktemp("data")
    rng = random.Random(0)
    for name, count in (("train", 14), ("dev", 6)):
        _write(directory / "cola" / f"{name}.tsv", "".join(_cola(rng, i) for i in range(count)))
        _write(directory / "stsb" / f"sts-{name}.csv", "".join(_sts(rng, i) for i in range(count)))
        _write(directory / "wnut17" / f"{name}.conll", "".join(_tagged(rng) + "\t\n" for _ in range(count)))
    for name, first in (("train-v1.1-subset44", 0), ("dev-v1.1", 100)):
        content = {"version": "1.1", "data": [_article(rng, first + number) for number in range(3)]}
        (directory / "squad").mkdir(exist_ok=True)
        (directory / "squad" / f"{name}.json.gz").write_bytes(gzip.compress(json.dumps(content).encode()))
    return directory


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text file of 40 documents with six sentences each."""
    path = tmp_path_factory.mktemp("corpus") / "text.txt"
    sentences = [
        f"{VOCABULARY[i % 16]} {VOCABULARY[i * 5 % 16]} {VOCABULARY[i * 7 % 16]} {VOCABULARY[i * 3 % 16]}."
        for i in range(240)
    ]
    documents = ["\n".join(sentences[start : start + 6]) for start in range(0, 240, 6)]
    path.write_text("\n\n".join(documents) + "\n", encoding="utf-8")
    return path


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _words(rng: random.Random, count: int) -> list[str]:
    return [rng.choice(WORDS) for _ in range(count)]


def _cola(rng: random.Random, number: int) -> str:
    return f'gj04\t{number % 2}\t*\tThe "{" ".join(_words(rng, rng.randint(2, 9)))}.\n'


def _sts(rng: random.Random, number: int) -> str:
    first, second = (" ".join(_words(rng, rng.randint(2, 6))) for _ in range(2))
    return f"captions\tx\t2012\t{number}\t{rng.random() * 5:.3f}\t{first}\t{second}\n"


def _tagged(rng: random.Random) -> str:
    """Return a sentence: animals are one type, colours another; a lone variation selector is a word without a piece."""
    tags = {"cat": "B-animal", "dog": "B-animal", "cow": "I-animal", "red": "B-colour", "green": "B-colour"}
    words = [*_words(rng, 4), "dog", "cow", "\ufe0f", "red"]
    found = [tags.get(word, "O") for word in words]
    for place, tag in enumerate(found):
        if tag == "I-animal" and (place == 0 or not found[place - 1].endswith("-animal")):
            found[place] = "B-animal"
    return "".join(f"{word}\t{tag}\n" for word, tag in zip(words, found, strict=True))


def _article(rng: random.Random, number: int) -> dict[str, object]:
    """Return an article with six questions; its second passage is longer than a window."""
    paragraphs = []
    for count in range(2):
        words = [
            "cat",  # not "the", which scoring leaves out: the answer would be empty
            *_words(rng, 8 + 150 * count),
            f"x{number}y{count}",
            f"z{number}",
            *_words(rng, 8),
            f"q{number}p{count}",
        ]
        context = " ".join(words)
        questions = []
        for place, text in enumerate((words[0], words[-1], f"{words[-10]} {words[-9]}")):
            start = context.index(text) if place == 0 else context.rindex(text)
            answer = {"text": text, "answer_start": start}
            questions.append({"id": f"{number}-{count}-{place}", "question": " what ran", "answers": [answer]})
        paragraphs.append({"context": context, "qas": questions})
    return {"title": f"article {number}", "paragraphs": paragraphs}
