"""The tables of docs/performance.md as Markdown, made from the results files of the benchmarks."""

import re
import statistics
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import encode, pretrain
from benchmarks.machine import machine_line
from benchmarks.report import Figure
from benchmarks.runner import OURS, Run
from minibert.errors import InputError
from minibert.files.writing import write_whole

Found = Sequence[tuple[tuple[str, ...], dict[str, Any] | None]]  # for each row: its first cells; its results, or None
Row = Callable[[dict[str, Any]], list[str]]  # the content of a results file -> the other cells


def put_tables(path: Path, tables: dict[str, list[str]]) -> None:
    """Write each table between its marks, `<!-- table: NAME -->` and `<!-- end -->`.

    Raises InputError if the file lacks a table's marks, or has them more than once.
    """
    text = path.read_text(encoding="utf-8")
    for name, lines in tables.items():
        mark = f"<!-- table: {name} -->"
        place = re.compile(rf"({re.escape(mark)}\n).*?(<!-- end -->)", re.DOTALL)
        content = "\n".join(["", *lines, "", ""])
        text, times = place.subn(lambda found, content=content: f"{found[1]}{content}{found[2]}", text)  # type: ignore[misc]
        if times != 1:
            raise InputError(f"{path}: expected one {mark} with <!-- end --> after it, found {times}")
    write_whole(path, lambda target: target.write_text(text, encoding="utf-8"))


def markdown(head: Sequence[str], found: Found, row: Row) -> list[str]:
    """Return a table with a row for each comparison that was run, and the machine below it; empty if none was run.

    Raises InputError if the comparisons were run on several machines.
    """
    measured = [(cells, content) for cells, content in found if content is not None]
    if not measured:
        return []
    machines = {common_machine(content["machine"]) for _, content in measured}
    if len(machines) > 1:
        raise InputError(f"the results of one table are from several machines: {'; '.join(sorted(machines))}")
    lines = [list(head), ["---"] * len(head), *([*cells, *row(content)] for cells, content in measured)]
    return [*(f"| {' | '.join(line)} |" for line in lines), "", f"{machines.pop()}."]


def common_machine(machine: dict[str, Any]) -> str:
    """Return the machine as a line for people, without the peers' versions, which differ from row to row."""
    keep = ("processor", "amx", "cores", "threads", "device", "python", "torch")
    return machine_line({name: machine[name] for name in keep})


def sides(content: dict[str, Any]) -> tuple[list[Run], list[Run]]:
    """Return our runs and the peer's."""
    runs = [Run(**run) for run in content["runs"]]
    return [run for run in runs if run.side == OURS], [run for run in runs if run.side != OURS]


def spread(values: Iterable[float], form: str) -> str:
    """Return the median, with the lowest and the highest value in parentheses if they differ."""
    found = sorted(values)
    middle, low, high = (format(value, form) for value in (statistics.median(found), found[0], found[-1]))
    return middle if low == high else f"{middle} ({low} to {high})"


def speeds(ours: Sequence[Run], peer: Sequence[Run], figure: Figure) -> list[str]:
    """Return three cells: our speed, the peer's, and the ratio of the medians."""
    found = [list(map(figure, runs)) for runs in (ours, peer)]
    ratio = statistics.median(found[0]) / statistics.median(found[1])
    return [*(spread(values, ",.0f") for values in found), f"{ratio:.2f}"]


def medians(ours: Sequence[Run], peer: Sequence[Run], figure: Figure, form: str) -> str:
    """Return one cell: our median / the peer's."""
    return " / ".join(format(statistics.median(map(figure, runs)), form) for runs in (ours, peer))


def megabytes(run: Run) -> float:
    """The peak memory of a run, in megabytes."""
    return 1e-6 * run.figures["peak_memory"]


def pretrain_table(found: Found) -> list[str]:
    """Return the table of tokens per second, memory, the share of the ceiling, and how far losses are apart."""

    def row(content: dict[str, Any]) -> list[str]:
        ours, peer = sides(content)
        return [
            *speeds(ours, peer, pretrain.tokens_per_second),
            medians(ours, peer, megabytes, ",.0f"),
            medians(ours, peer, pretrain.share_of_ceiling, ".1%"),
            f"{pretrain.largest_difference(ours, peer):.1g}",
        ]

    head = (
        "model, batch", "vocabulary", "format", "tokens/s", "transformers", "ratio", "peak memory, MB",
        "of the ceiling", "difference in loss",
    )  # fmt: skip
    return markdown(head, found, row)


def quality_table(found: Found) -> list[str]:
    """Return the table with a row for minibert, and one for each learning rate of the loop."""
    rows: list[tuple[tuple[str, ...], dict[str, Any] | None]] = []
    for _, content in found:
        if content is None:
            continue
        ours, peers = sides(content)
        for runs in ([ours] if ours else []) + [[run] for run in peers]:
            rows.append(((runs[0].side,), {"machine": content["machine"], "runs": runs}))

    def row(content: dict[str, Any]) -> list[str]:
        runs = content["runs"]
        return [
            spread((run.figures["seconds"] for run in runs), ",.0f"),
            spread((run.work["tokens"] for run in runs), ","),
            spread((run.metrics["mlm_loss"] for run in runs), ".4f"),
            spread((run.metrics["mlm_accuracy"] for run in runs), ".4f"),
            spread((run.metrics["nsp_accuracy"] for run in runs), ".4f"),
        ]

    head = ("side", "seconds of training", "tokens", "held-out masked-LM loss", "accuracy", "next-sentence accuracy")
    return markdown(head, rows, row)


def finetune_table(found: Found) -> list[str]:
    """Return the table of examples per second, memory, and the task's first metric."""

    def row(content: dict[str, Any]) -> list[str]:
        ours, peer = sides(content)
        name = next(iter(ours[0].metrics))
        means = (100 * statistics.fmean(run.metrics[name] for run in runs) for runs in (ours, peer))
        return [
            *speeds(ours, peer, lambda run: run.figures["examples_per_second"]),
            medians(ours, peer, megabytes, ",.0f"),
            f"{name}: " + " / ".join(f"{mean:.2f}" for mean in means),
        ]

    head = ("task", "examples/s", "Trainer", "ratio", "peak memory, MB", "mean on dev")
    return markdown(head, found, row)


def encode_table(found: Found) -> list[str]:
    """Return the table of texts per second, a single text's latency, memory, the share of the ceiling, and Spearman."""

    def row(content: dict[str, Any]) -> list[str]:
        ours, peer = sides(content)
        return [
            *speeds(ours, peer, lambda run: run.figures["texts_per_second"]),
            medians(ours, peer, lambda run: 1000 * run.figures["single_seconds"], ".2f"),
            medians(ours, peer, megabytes, ",.0f"),
            medians(ours, peer, encode.share_of_ceiling, ".0%"),
            medians(ours, peer, lambda run: run.metrics["spearman"], ".6f"),
        ]

    head = (
        "peer", "our format", "texts/s", "peer's texts/s", "ratio", "one text, ms", "peak memory, MB", "of the ceiling",
        "Spearman",
    )  # fmt: skip
    return markdown(head, found, row)


def prepare_table(found: Found) -> list[str]:
    """Return the table of tokens per second, of preparing and of making batches."""

    def row(content: dict[str, Any]) -> list[str]:
        runs = [Run(**run) for run in content["runs"]]
        return [
            f"{runs[0].work['tokens']:,}",
            spread((run.figures["seconds"] for run in runs), ".2f"),
            spread((run.figures["tokens_per_second"] for run in runs), ",.0f"),
            spread((run.figures["batched_per_second"] for run in runs), ",.0f"),
        ]

    head = ("text", "tokens", "whole command, s", "tokens/s, preparing", "tokens/s, making batches")
    return markdown(head, found, row)


TABLES: dict[str, Callable[[Found], list[str]]] = {
    "pretrain": pretrain_table,
    "quality": quality_table,
    "finetune": finetune_table,
    "encode": encode_table,
    "prepare": prepare_table,
}
