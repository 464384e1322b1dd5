"""The comparisons behind most tables of docs/performance.md. `benchmarks all` runs them and writes these tables."""

import json
import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import commands
from benchmarks.options import SuiteOptions
from benchmarks.tables import TABLES, put_tables
from minibert.errors import CheckFailed


@dataclass(frozen=True)
class Comparison:
    """One call of a benchmark."""

    name: str  # of its results file
    benchmark: str  # a key of `RUN`
    args: str  # {model}, {data} and {device} are filled in
    cells: tuple[str, ...]  # the first cells of its row in the table
    devices: tuple[str, ...] = ("cpu", "cuda")  # the devices that it runs on


RUN: dict[str, Callable[[Sequence[str]], None]] = {
    "pretrain": commands.pretrain,
    "quality": commands.quality,
    "finetune": commands.finetune,
    "encode": commands.encode,
    "prepare": commands.prepare,
}


def pretraining() -> list[Comparison]:
    """Return the comparisons of pretraining: each size in both number formats, with BERT's vocabulary and a small one;
    the losses of equal steps; and those on GPUs.
    """
    sizes = [("tiny", 64), ("mini", 32), ("base", 8)]
    vocabularies = [("30,522", "--tokenizer {model}", sizes), ("8,192", "--vocab-size 8192", sizes[:2])]
    formats = [("bfloat16", "transformers-autocast"), ("float32", "transformers")]
    common = "--device {device} --steps 24 --warm-up 4"
    found = [
        Comparison(
            f"pretrain-{size}-{vocabulary.replace(',', '')}-{dtype}",
            "pretrain",
            f"--model {size} --batch-size {batch} {choice} --dtype {dtype} --peer {peer} {common}",
            (f"{size}, {batch}", vocabulary, dtype),
            ("cpu",),
        )
        for vocabulary, choice, among in vocabularies
        for size, batch in among
        for dtype, peer in formats
    ]
    equal = "--dtype float32 --peer transformers --dropout 0 --steps 100 --warm-up 10 --repeats 1 --device {device}"
    return [
        *found,
        Comparison(
            "pretrain-mini-equal-steps",
            "pretrain",
            f"--model mini --batch-size 8 --tokenizer {{model}} {equal}",
            ("mini, 8", "30,522", "float32, no dropout"),
        ),
        *on_gpus(),
    ]


def on_gpus() -> list[Comparison]:
    """Return the comparisons on a GPU: large batches and a small one, with and without torch.compile."""
    common = "--tokenizer {model} --device cuda --steps 60 --warm-up 20"
    return [
        Comparison(
            f"pretrain-{size}-{batch}-compile-{compiled}",
            "pretrain",
            f"--model {size} --batch-size {batch} --compile {compiled} {common}",
            (f"{size}, {batch}", "30,522", "bfloat16, compiled" if compiled == "yes" else "bfloat16"),
            ("cuda",),
        )
        for size, batch, compiled in (
            ("mini", 32, "no"), ("mini", 256, "no"), ("mini", 256, "yes"), ("base", 256, "no"), ("base", 256, "yes"),
        )
    ]  # fmt: skip


def encoding() -> list[Comparison]:
    """Return the comparisons of encoding: each peer with minibert in bfloat16, and in float32 if the peer uses it."""
    pairs = [
        ("sentence-transformers", "bfloat16"),
        ("sentence-transformers", "float32"),
        ("onnxruntime", "bfloat16"),
        ("onnxruntime", "float32"),
        ("transformers-autocast", "bfloat16"),
        ("transformers-bfloat16", "bfloat16"),
    ]
    return [
        Comparison(
            f"encode-{peer}-{dtype}",
            "encode",
            f"--model {{model}} --data {{data}}/stsb/sts-test.csv --peer {peer} --dtype {dtype}",
            (peer, dtype),
        )
        for peer, dtype in pairs
    ]


SUITE = (
    *pretraining(),
    Comparison("quality-mini", "quality", "--model mini --repeats 3 --device {device}", ()),
    Comparison(
        "finetune-cola", "finetune", "--task cola --model {model} --data {data}/cola --device {device}", ("CoLA",)
    ),
    *encoding(),
    Comparison(
        "prepare-wikitext-2", "prepare", "--corpus {data}/wikitext-2/train.txt.gz --tokenizer {model}", ("WikiText-2",)
    ),
)


def compare(options: SuiteOptions) -> None:
    """Run the comparisons that have no results yet, and write the tables.

    Raises InputError or RunStopped if a file or a run is unusable; CheckFailed, after all others have run, if the two
    sides of a comparison did different work.
    """
    directory = Path(options.out) / options.device
    directory.mkdir(parents=True, exist_ok=True)
    chosen = [one for one in SUITE if one.benchmark in options.sections() and options.device in one.devices]
    failed = []
    for number, comparison in enumerate(chosen, start=1):
        path = directory / f"{comparison.name}.json"
        if options.tables_only:
            continue
        given = shlex.split(comparison.args.format(model=options.model, data=options.data, device=options.device))
        print(f"\n{time.strftime('%H:%M')}  {number} of {len(chosen)}: {comparison.benchmark} {shlex.join(given)}")
        try:
            RUN[comparison.benchmark]([*given, "--json", str(path)])
        except CheckFailed as error:
            failed.append(f"{comparison.name}: {error}")
    tables = {
        f"{section}, {options.device}": lines
        for section, make in TABLES.items()
        if (lines := make(results(directory, section, options.device)))
    }
    put_tables(Path(options.docs), tables)
    print(f"\nwritten to {options.docs}: {', '.join(tables) or 'nothing, because there are no results'}")
    if failed:
        raise CheckFailed("; ".join(failed))


def results(directory: Path, section: str, device: str) -> list[tuple[tuple[str, ...], dict[str, Any] | None]]:
    """Return, for each comparison of a section, the first cells of its row, and its results, or None if it has none."""
    found = []
    for comparison in (one for one in SUITE if one.benchmark == section and device in one.devices):
        path = directory / f"{comparison.name}.json"
        found.append((comparison.cells, json.loads(path.read_text(encoding="utf-8")) if path.exists() else None))
    return found
