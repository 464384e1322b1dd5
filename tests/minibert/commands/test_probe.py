"""python -m minibert probe: tagged words and labelled texts, the table, JSON, pictures, and what is refused."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

import minibert
from minibert import checkpoint
from minibert.commands.probe import notes, table
from minibert.model import Bert
from minibert.probing import Block, Probes, probe
from minibert.probing_picture import draw_blocks
from minibert.tokenizer import Tokenizer
from tests.finetune.files import write
from tests.helpers import TINY, contents, randomize
from tests.minibert.running import error_line, run

SENTENCES = [
    (("the", "cats", "sat"), ("DET", "NOUN", "VERB")),
    (("a", "dog", "ran", "home"), ("DET", "NOUN", "VERB", "ADV")),
    (("he", "bought", "bread"), ("PRON", "VERB", "NOUN")),
] * 5
FOUND = Probes(
    blocks=[Block("embeddings", 0.875, 0.7501, 0.1), Block("blocks.0", 0.9012, 0.95, 0.0001)],
    majority=0.2,
    labels=("A", "B"),
    counts={"train": 1000, "dev": 1, "test": 100},
    unseen_labels=3,
    seen_types=0.625,
    unknown=700,
    left_out={"beyond the model's positions": 2, "no piece": 0},
)


def conllu(tags: str | None = None, number: int = 15) -> str:
    """Sentences in CoNLL-U, with their tags in UPOS, or all with the same."""
    return "".join(
        "".join(
            f"{i}\t{word}\t_\t{tags or tag}\t_\t_\t0\troot\t_\t_\n"
            for i, (word, tag) in enumerate(zip(*sentence, strict=True), start=1)
        )
        + "\n"
        for sentence in SENTENCES[:number]
    )


@pytest.fixture
def directory(tokenizer: Tokenizer, tmp_path: Path) -> Path:
    model = Bert(TINY.replace(vocab_size=80))
    randomize(model, seed=5)
    checkpoint.save(model, tokenizer, tmp_path / "model")
    return tmp_path / "model"


def test_words_are_probed_and_the_figures_written_and_drawn(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("train.conllu.gz"), conllu())
    write(Path("test.conllu"), conllu(number=3))
    assert run(
        monkeypatch, "probe", "model", "--data", "train.conllu.gz", "--dev", "train.conllu.gz", "--test", "test.conllu",
        "--seed", "7", "--json", "probe.json", "--picture", "probe.png",
    ) == 0  # fmt: skip
    model, tokenizer = minibert.load(directory)
    expected = probe(model, tokenizer, SENTENCES, dev=SENTENCES, test=SENTENCES[:3], seed=7)
    shown = capsys.readouterr().out.splitlines()
    assert shown == [*notes(expected, "word"), *table(expected), "probe.png: drawn"]
    written = json.loads(Path("probe.json").read_text())
    assert (written["model"], written["data"]["test"]) == ("model", "test.conllu")
    assert written["labels"] == ["ADV", "DET", "NOUN", "PRON", "VERB"]
    assert [block["accuracy"] for block in written["blocks"]] == [block.accuracy for block in expected.blocks]
    assert [block["selectivity"] for block in written["blocks"]] == [block.selectivity for block in expected.blocks]
    assert Path("probe.png").read_bytes().startswith(b"\x89PNG")


def test_texts_are_probed_with_columns_named_or_numbered(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [("cat" if i % 3 else "dog", f"the {'cat' if i % 3 else 'dog'}, {'sat ' * (i % 4)}") for i in range(60)]
    lines = [f'{kind},"{text}"' for kind, text in rows]
    named, numbered = tmp_path / "a.csv.gz", tmp_path / "b.csv"
    named.write_bytes(gzip.compress("\n".join(["kind,said", *lines]).encode()))
    numbered.write_text("\n".join(lines))
    args = ["probe", str(directory), "--seed", "1", "--data"]
    found = []
    for options in (
        [str(named), "--text-column", "said", "--label-column", "kind"],
        [str(numbered), "--no-header", "--text-column", "2", "--label-column", "1"],
    ):
        assert run(monkeypatch, *args, *options) == 0
        found.append(capsys.readouterr().out)
    assert found[0] == found[1]
    assert found[0].splitlines()[:3] == [
        "43 texts in train, 5 texts in dev, 12 texts in test; 2 labels",
        "block         accuracy   control  selectivity   penalty",
        "embeddings     100.00%         -            -       0.1",
    ]


def test_the_table_and_the_notes_say_what_was_found() -> None:
    assert table(FOUND) == [
        "block         accuracy   control  selectivity   penalty",
        "embeddings      87.50%    75.01%        12.49       0.1",
        "blocks.0        90.12%    95.00%        -4.88    0.0001",
        "majority        20.00%",
    ]
    assert notes(FOUND, "word") == [
        "1,000 words in train, 1 word in dev, 100 words in test; 2 labels",
        "beyond the model's positions: 2 words",
        "the vocabulary does not fit: 700 words with an unknown token",
        "counted as wrong: 3 of 100 words in test, with a label that is not in train",
        "62.50% of the words in test are of types in train; the control task can't know the others",
    ]


def test_a_picture_of_texts_has_no_selectivity(tmp_path: Path) -> None:
    blocks = [block._replace(control=None) for block in FOUND.blocks]
    for name, found in (("words", FOUND), ("texts", FOUND._replace(blocks=blocks))):
        draw_blocks(tmp_path / f"{name}.png", "a $model_, data", found)
    assert (tmp_path / "words.png").read_bytes() != (tmp_path / "texts.png").read_bytes()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("--data a.txt", "a.txt: expected .conllu, .csv or .tsv, plain or .gz"),
        ("--data -", "standard input: expected .conllu, .csv or .tsv, plain or .gz"),
        ("--data a.conllu --test a.csv", "a.csv: expected .conllu, plain or .gz, like a.conllu"),
        ("--data a.csv --dev a.conllu", "a.conllu: expected .csv or .tsv, plain or .gz, like a.csv"),
        ("--data a.conllu --text-column b", "--text-column has no effect here: it belongs to .csv and .tsv"),
        ("--data a.csv --tag-column b", "--tag-column has no effect here: it belongs to .conllu"),
        (
            "--data a.csv --text-column label",
            "--text-column and --label-column are both label, expected two columns",
        ),
        (
            "--data a.conllu --tag-column upso",
            "--tag-column upso: no column with tags has this name: did you mean upos?",
        ),
        (
            "--data a.conllu --tag-column form",
            "--tag-column form: no column with tags has this name, expected one of lemma, upos, xpos, feats, head, "
            "deprel, deps, misc",
        ),
        (
            "--data a.conllu --tag-column XPOS",
            "a.conllu: expected words with tags, but every word has _ in column xpos; see --tag-column",
        ),
        ("--data empty.conllu", "empty.conllu: expected words with tags, but found no sentence"),
        ("--data a.conllu --test empty.conllu", "empty.conllu: expected words with tags, but found no sentence"),
        (
            "--data one.conllu",
            "one.conllu: expected from 2 to 1,000 different labels to train on, found only 'X'",
        ),
        ("--data short.conllu", "short.conllu: the train part has no word with a label, expected at least one"),
        ("--data none.conllu", "none.conllu cannot be read (No such file or directory)"),
        ("--data empty.csv", "empty.csv: no row found, expected at least one"),
        (
            "--data a.csv",
            "a.csv:1: column 'text' is missing; the header has 'label', 'review'; see --text-column and "
            "--label-column, or use --no-header if there is no header",
        ),
        ("--data a.csv --text-column review", "a.csv:3: column 'label' is empty, expected text"),
        ("--data a.conllu --batch-tokens 0", "--batch-tokens must be at least 1, not 0"),
        ("--data a.conllu --picture a.jpg", "a.jpg: expected a name that ends in .png"),
        ("--data a.conllu --picture b.png --json b.png", "b.png: --json and --picture name the same file"),
        (
            "--data a.conllu --json a.conllu",
            "a.conllu would overwrite what this command reads (a.conllu); give it another name",
        ),
    ],
)  # fmt: skip
def test_the_command_refuses_in_one_line_and_leaves_nothing(
    args: str, message: str, directory: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    write(Path("a.conllu"), conllu())
    write(Path("one.conllu"), conllu("X"))
    write(Path("short.conllu"), conllu(number=1))
    write(Path("a.csv"), "label,review\ngood,yes\n,no\n")
    for name in ("empty.conllu", "empty.csv"):
        Path(name).touch()
    before = contents(tmp_path)
    assert run(monkeypatch, "probe", "model", *args.split()) == 2
    assert error_line(capsys) == f"error: {message}"
    assert contents(tmp_path) == before
