"""Short runs of every command, spelled as its users spell it: all files that they leave, and what they print of models.

A case is some commands one after the other in an empty directory; `M/` stands for the material that all share.
"""

from __future__ import annotations

import csv
import itertools
import json
import shlex
import shutil
import signal
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tests.behaviour import internals, models
from tests.behaviour.records import of_content
from tests.endurance import forks, material
from tests.endurance.forks import Cut

PRINTED = {"info", "fill-mask", "add-tokens", "evaluate", "inspect"}  # whose result that is, or a part of it
TORCHRUN = "torch.distributed.run --standalone --nproc-per-node 2 -m "

PRETRAIN = (
    "pretrain --out run --model M/shape.json --steps 8 --seq-len 32 --batch-size 8 --log-every 1 --save-every 4 "
    "--evaluations 2"
)
ON_DATA = f"{PRETRAIN} --data M/data --dtype float32"
ON_TEXT = f"{PRETRAIN} --corpus M/text.txt --vocab-size 100 --dtype float32"
PRETRAINING = {
    "fast": [ON_DATA, "pretrain inspect --data M/data --seq-len 32", "minibert fill-mask run 'Red [MASK] blue.'"],
    "paper": [f"{ON_DATA} --recipe paper"],
    "bfloat16": [f"{PRETRAIN} --data M/data --dtype bfloat16 --dropout 0.1"],
    "sop": [f"{ON_DATA} --pair-objective sop --dropout 0.1", "pretrain inspect --data M/data --pair-objective sop"],
    "none": [f"{ON_DATA} --pair-objective none", "pretrain inspect --data M/data --no-nsp --whole-word-mask"],
    "accumulate 3": [f"{ON_DATA} --accumulate 3"],
    "phases": [f"{ON_DATA.replace('--seq-len 32', '--phases 16 0.5 32 0.5')} --recipe paper"],
    "whole words": [f"{ON_TEXT} --whole-word-mask --mask-rate 0.2"],
    "byte pairs": [f"{ON_TEXT.replace('shape', 'wide').replace('100', '300')} --tokenizer-kind bpe --no-nsp"],
    "unigram": [f"{ON_TEXT} --tokenizer-kind unigram --pair-objective sop --short-share 0.5"],
    "on from a model": [f"{ON_DATA.replace('--model M/shape.json --', '--init M/trained --')} --learning-rate 1e-3"],
    "resumed": [f"CUT {ON_DATA} --recipe paper", f"{ON_DATA} --recipe paper --resume"],
    "two processes": [f"{TORCHRUN}{ON_DATA} --dropout 0.1 --accumulate 2"],
    "prepared": [
        "pretrain prepare --corpus M/text.txt --vocab-size 100 --workers 1 --out wordpiece",
        "pretrain prepare --corpus M/text.txt --vocab-size 300 --workers 2 --out bpe --tokenizer-kind bpe",
        "pretrain prepare --corpus M/text.txt --vocab-size 90 --workers 1 --out unigram --tokenizer-kind unigram",
        "pretrain prepare --corpus M/text.txt --tokenizer M/trained --workers 1 --out known",
    ],
}  # fmt: skip

SUFFIXES = {"text-classification": "csv", "token-classification": "conll", "question-answering": "json",
            "multiple-choice": "jsonl"}  # fmt: skip
METHODS = {
    "full": "", "LoRA": "--lora-rank 2", "frozen": "--freeze-encoder", "layer decay": "--layer-decay 0.8",
    "accumulate 3": "--accumulate 3", "two seeds": "--seeds 2", "bfloat16": "--dtype bfloat16",
}  # fmt: skip
# Name, which begins with the task -> files, model, options.
OTHERS = {
    "text-classification/several labels": ("rows.jsonl", "model", "--multi-label --label-column labels"),
    "text-classification/regression": ("rows.jsonl", "model", "--regression --label-column score"),
    "text-classification/pairs": ("rows.jsonl", "model", "--text-pair-column other"),
    "text-classification/on from a run": ("csv", "trained", ""),
    "question-answering/unanswerable": ("unanswerable.json", "model", ""),
    "token-classification/windows": ("conll", "model", "--max-length 8 --stride 2"),
    **{f"{task}/{family}": (suffix, f"models/{family}/Bert", "")
       for task, suffix in SUFFIXES.items() for family in models.FAMILIES if family != "bert"},
}  # fmt: skip
ON_MODELS = {
    "info": ["minibert info M/trained", "minibert info M/models/albert/BertForMaskedLM"],
    "fill-mask": ["minibert fill-mask M/trained 'Red [MASK] blue [MASK].' --top-k 9"],
    "embed": [
        "minibert embed M/model --input M/lines.txt --output mean.npy",
        "minibert embed M/model --input M/lines.txt --output cls.npy --pooling cls --normalize",
        "minibert embed M/model --input M/lines.txt --output max.npy --pooling max --dtype bfloat16 --batch-tokens 20",
        "minibert embed M/models/roberta/Bert --input M/lines.txt --output roberta.npy --max-length 7",
    ],
    "add-tokens": [
        "minibert add-tokens M/trained mean --tokens zebra lion",
        "minibert add-tokens M/models/bert/BertForMaskedLM random --tokens M/words.txt --init random",
    ],
    "explore": ["minibert explore M/trained 'Red [MASK] blue.' --out page.html --json page.json"],
}


def make(place: Path) -> None:
    """The material: texts, labelled files, token arrays, an encoder, models of every class, and a pretrained one."""
    material.make(place)
    models.make(place / "models")
    wide = json.loads((place / "shape.json").read_text()) | {"vocab_size": 300}
    (place / "wide.json").write_text(json.dumps(wide))
    for stem in ("train", "test"):
        with (place / f"{stem}.csv").open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        for row, other in zip(rows, [*rows[3:], *rows[:3]], strict=True):
            words = row["text"].split()
            labels = [row["label"], *(word for word in ("the", "saw") if word in words)]
            row |= {"other": other["text"], "labels": labels, "score": len(words) / 9}
        (place / f"{stem}-rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        questions = json.loads((place / f"{stem}.json").read_text())
        for article in questions["data"][::2]:
            article["paragraphs"][0]["qas"][0] |= {"answers": [], "is_impossible": True}
        (place / f"{stem}-unanswerable.json").write_text(json.dumps(questions | {"version": "v2.0"}))
    _run([ON_DATA], place / "making")
    shutil.rmtree(place / "making" / "run" / "state")
    (place / "making" / "run").rename(place / "trained")


def cases(_: Path) -> dict[str, Callable[[Path], dict[str, Any]]]:
    """Name -> what makes the entries."""
    found = {f"pretrain/{name}": lines for name, lines in PRETRAINING.items()}
    found |= {f"minibert/{name}": lines for name, lines in ON_MODELS.items()}
    for task, suffix in SUFFIXES.items():
        for method, options in METHODS.items():
            found[f"finetune/{task}/{method}"] = _fine_tuning(task, suffix, "model", options)
    found |= {f"finetune/{name}": _fine_tuning(name.split("/")[0], *given) for name, given in OTHERS.items()}
    line = _fine_tuning("text-classification", "csv", "model", "")[0]
    found["finetune/text-classification/resumed"] = [f"CUT {line}", f"{line} --resume"]
    found["finetune/text-classification/two processes"] = [f"{TORCHRUN}{line}"]
    for family, architecture in itertools.product(models.FAMILIES, internals.ARCHITECTURES):
        found[f"weights_convert/{family}/{architecture}"] = [
            f"weights_convert to-hf M/models/{family}/{architecture} hf", "weights_convert from-hf hf back"
        ]  # fmt: skip
    return {name: partial(_run, lines, refusable=name.startswith("weights_convert")) for name, lines in found.items()}


def _fine_tuning(task: str, suffix: str, model: str, options: str) -> list[str]:
    """Fine-tuning, and the uses of what comes of it."""
    train, test = (f"M/{stem}{'.' if suffix in SUFFIXES.values() else '-'}{suffix}" for stem in ("train", "test"))
    options = options if "--dtype" in options else f"--dtype float32 {options}"
    return [
        f"finetune {task} --model M/{model} --train {train} --dev {test} --test {test} --out run --epochs 2 "
        f"--batch-size 8 --log-every 1 {options}",
        f"finetune evaluate run --data {test} --json figures.json --dtype float32",
        f"finetune predict run --input {test} --output answers.jsonl --dtype float32",
        "weights_convert to-hf run hf",
    ]


def _run(lines: Sequence[str], place: Path, *, refusable: bool = False) -> dict[str, Any]:
    """The files that are there at the end, and what was printed. A family may refuse a class that it does not have."""
    place.mkdir(parents=True)
    found: dict[str, Any] = {}
    for line in lines:
        words = [word.replace("M/", "../../material/") for word in shlex.split(line.removeprefix("CUT "))]
        if line.startswith("CUT "):
            _cut_off(words, place)
            continue
        ending = forks.run(words, place, fresh=line.startswith(TORCHRUN))
        if ending.code and refusable:
            found[f"refused: {line}"] = ending.err
        elif material.succeeded(ending) and words[1] in PRINTED:
            found[f"printed: {line}"] = of_content("", ending.out.encode())
    return found | {name: of_content(name, content) for name, content in material.tree(place).items()}


def _cut_off(words: Sequence[str], place: Path) -> None:
    """Kills a command on its way, when it has done most of what it does to the file system."""
    whole = place.with_name(f"{place.name}, whole")
    whole.mkdir()
    changes = material.succeeded(forks.run(words, whole)).changes
    assert forks.run(words, place, cut=Cut(change=changes * 6 // 10)).code == -signal.SIGKILL
    for lock in place.rglob(".lock"):  # which any run takes away at its end
        lock.unlink()
