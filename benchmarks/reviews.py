"""What pretraining gives where there are no pretrained weights: a small BERT that has seen nothing but the training
texts, beside the same model without pretraining, with its encoder frozen, and beside the usual baseline.

Each split's test texts are seen once, at the end, by each side; every model's epoch is chosen on a tenth of its
training texts. The vocabulary and the pretraining come from the training texts alone.
"""

from __future__ import annotations

import csv
import json
import shlex
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

import minibert
from benchmarks.machine import describe_machine, machine_line, usable_cores
from benchmarks.options import ReviewsOptions
from benchmarks.runner import Results, Run, alternate, checksum, run_python, settings_of, workplace
from finetune.data.data_options import TextDataOptions
from finetune.data.texts import read_texts
from minibert.checkpoint import write_whole
from minibert.errors import InputError
from minibert.heads import BertForMaskedLM

PRETRAINED, UNTRAINED, FROZEN, BASELINE = "pretrained", "not pretrained", "frozen", "TF-IDF"
TEST_SHARE = 0.2
LEAST_ACCURACY = 0.9
MARGIN = 0.01  # that a split may be below the baseline


@dataclass(frozen=True)
class Split:
    """One division of the texts, its files in a directory of its own."""

    directory: Path
    seed: int

    @property
    def train(self) -> Path:
        """Labelled, to train on."""
        return self.directory / "train.csv"

    @property
    def test(self) -> Path:
        """Labelled, to be scored on once."""
        return self.directory / "test.csv"

    @property
    def texts(self) -> Path:
        """Those of `train` without their labels, as a corpus: a document each."""
        return self.directory / "train.txt"


def compare(options: ReviewsOptions) -> None:
    """Runs what is not yet in the results, and prints the table.

    Raises:
        InputError, RunStopped: the file or a run is unusable.
    """
    threads = options.threads or usable_cores()
    machine = describe_machine(threads=threads, device=options.device, packages=("scikit-learn",))
    told = settings_of(options, "splits", "data")
    facts = {"benchmark": "reviews", "data": checksum([existing(options.data)]), "options": told, "machine": machine}
    results = Results(options.json, facts)
    with workplace(options.json, {"data": facts["data"], **told}) as scratch:
        print(f"{machine_line(machine)}\n", flush=True)
        study = Study(options, scratch, threads)
        sides = {
            BASELINE: study.baseline,
            UNTRAINED: study.untrained,
            FROZEN: study.frozen,
            PRETRAINED: study.pretrained,
        }
        alternate(sides, range(options.splits), results, lambda run: print(run_line(run), flush=True))
    asked = {side: results.of(side, seeds=options.splits) for side in sides}
    print("\n".join(report(asked)))


def existing(path: str) -> Path:
    """
    Raises:
        InputError: no such file.
    """
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file")
    return Path(path)


class Study:
    """What the sides share: the splits, and on each the one pretraining."""

    def __init__(self, options: ReviewsOptions, scratch: Path, threads: int) -> None:
        self.options = options
        self.scratch = scratch
        self.threads = threads

    def split(self, seed: int) -> Split:
        """The files of a split, written when it is first asked for; both parts have the classes' shares.

        Raises:
            InputError: the file is no table of texts and classes, or too small for both parts to have each class.
        """
        from sklearn.model_selection import train_test_split

        split = Split(self.scratch / f"split-{seed}", seed)
        if not split.texts.exists():
            reading = TextDataOptions(text_column=self.options.text_column, label_column=self.options.label_column)
            rows = [(one.label, one.text) for one in read_texts(self.options.data, reading)]
            labels = [label for label, _ in rows]
            if len(set(labels)) < 2:
                raise InputError(f"{self.options.data}: expected two classes or more, found {labels[0]!r} alone")
            try:
                train, test = train_test_split(rows, test_size=TEST_SHARE, random_state=seed, stratify=labels)
            except ValueError as error:
                raise InputError(f"{self.options.data}: too small to be split: {error}") from error
            split.directory.mkdir(exist_ok=True)
            write_table(split.train, train)
            write_table(split.test, test)
            documents = "\n\n".join(" ".join(text.split()) for _, text in train) + "\n"
            write_whole(split.texts, lambda path: path.write_text(documents, encoding="utf-8"))
        return split

    def encoder(self, seed: int) -> Path:
        """The model that was pretrained on a split's training texts."""
        split = self.split(seed)
        out = split.directory / "pretrained"
        if not (out / "summary.json").exists():
            run_python(
                ["pretrain", "--corpus", split.texts, "--out", out, "--seed", seed, "--device", self.options.device,
                 "--no-nsp", "--resume", *shlex.split(self.options.pretraining)],
                out.with_suffix(".log"), threads=self.threads,
            )  # fmt: skip
        return out

    def fresh_encoder(self, seed: int) -> Path:
        """The same model and vocabulary with weights drawn at random."""
        out = self.split(seed).directory / "untrained"
        if not out.exists():
            pretrained, tokenizer = minibert.load(self.encoder(seed))
            generator = torch.Generator().manual_seed(seed)
            minibert.save(BertForMaskedLM(pretrained.config, generator=generator), tokenizer, out)
        return out

    def baseline(self, seed: int) -> Run:
        """Logistic regression on the TF-IDF of characters, pairs and triples of them, as scikit-learn has it."""
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline

        split = self.split(seed)
        (train_texts, train_labels), (test_texts, test_labels) = map(read_table, (split.train, split.test))
        started = time.perf_counter()
        features = TfidfVectorizer(analyzer="char", ngram_range=(1, 3))
        classifier = make_pipeline(features, LogisticRegression(max_iter=1000)).fit(train_texts, train_labels)
        seconds = time.perf_counter() - started
        accuracy = float(classifier.score(test_texts, test_labels))
        return Run(BASELINE, seed, {"train": len(train_texts), "test": len(test_texts)}, {"accuracy": accuracy},
                   {"seconds": seconds})  # fmt: skip

    def untrained(self, seed: int) -> Run:
        """Fine-tuned from fresh weights."""
        return self.finetuned(UNTRAINED, seed, self.fresh_encoder(seed), self.options.finetuning)

    def frozen(self, seed: int) -> Run:
        """Pretrained; a head alone is trained."""
        return self.finetuned(FROZEN, seed, self.encoder(seed), self.options.frozen)

    def pretrained(self, seed: int) -> Run:
        """Pretrained and fine-tuned."""
        run = self.finetuned(PRETRAINED, seed, self.encoder(seed), self.options.finetuning)
        pretraining = json.loads((self.encoder(seed) / "summary.json").read_text(encoding="utf-8"))
        kept = ("seconds", "tokens", "parameters", "vocab_size", "mlm_loss", "mlm_accuracy", "unigram_loss")
        run.notes["pretraining"] = {name: pretraining[name] for name in kept}
        return run

    def finetuned(self, side: str, seed: int, model: Path, how: str) -> Run:
        """A run of `python -m finetune`, scored on the split's test texts."""
        split = self.split(seed)
        out = split.directory / f"{side.replace(' ', '-')}-finetuned"
        run_python(
            ["finetune", "text-classification", "--model", model, "--train", split.train, "--test", split.test,
             "--text-column", "text", "--label-column", "label", "--seed", seed, "--out", out,
             "--device", self.options.device, "--resume", *shlex.split(how)],
            out.with_suffix(".log"), threads=self.threads,
        )  # fmt: skip
        summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
        test = len(read_table(split.test)[0])
        return Run(
            side, seed,
            work={"train": summary["train_examples"] + summary["dev_examples"], "test": test},
            metrics={"accuracy": summary["test_metrics"]["accuracy"]},
            figures={"seconds": summary["seconds"]},
            notes={"dev": summary["metrics"], "best_epoch": summary["best_epoch"]},
        )  # fmt: skip


def write_table(path: Path, rows: Sequence[tuple[str, str]]) -> None:
    """Labels and texts, with a header."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("label", "text"), *rows])


def read_table(path: Path) -> tuple[list[str], list[str]]:
    """The texts and the labels of a file of `write_table`."""
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))[1:]
    return [text for _, text in rows], [label for label, _ in rows]


def run_line(run: Run) -> str:
    """A run that has just ended."""
    return f"{run.side}, split {run.seed}: accuracy {run.metrics['accuracy']:.4f}, {run.figures['seconds']:,.0f} s"


def report(sides: Mapping[str, Sequence[Run]]) -> list[str]:
    """A line for each side, a column for each split, and whether pretraining did what was hoped for."""
    accuracies = {side: [run.metrics["accuracy"] for run in runs] for side, runs in sides.items()}
    splits = range(len(accuracies[BASELINE]))
    lines = ["", f"{'test accuracy':16}" + "".join(f"{f'split {split}':>10}" for split in splits) + f"{'mean':>10}"]
    for side, found in accuracies.items():
        lines.append(f"{side:16}" + "".join(f"{value:10.4f}" for value in (*found, statistics.fmean(found))))
    mean = statistics.fmean(accuracies[PRETRAINED])
    least = min(a - b for a, b in zip(accuracies[PRETRAINED], accuracies[BASELINE], strict=True))
    lines += [
        "",
        f"pretrained: mean {mean:.4f}, {LEAST_ACCURACY:.3f} asked for: {holds(mean >= LEAST_ACCURACY)}",
        f"pretrained against {BASELINE}: {least:+.4f} at the least, {-MARGIN:+.4f} allowed: {holds(least >= -MARGIN)}",
    ]
    return lines


def holds(does: bool) -> str:
    """In words."""
    return "holds" if does else "DOES NOT HOLD"
