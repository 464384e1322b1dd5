"""Fine-tuning: minibert and the transformers Trainer, with the same files, hyperparameters, seeds and threads."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from benchmarks.data import write_files
from benchmarks.machine import describe_machine, machine_line, usable_cores
from benchmarks.options import FinetuneOptions
from benchmarks.report import Figure, differences_in_work, table, verdict, verdict_line
from benchmarks.runner import OURS, Results, Run, alternate, checksum, settings_of, workplace
from benchmarks.sides import convert, run_ours, run_peer, weights_checksum
from benchmarks.tasks import BENCHMARK_TASKS, FinetuneWork
from minibert.errors import CheckFailed, plural

POINTS = 100


def compare(options: FinetuneOptions) -> None:
    """Run what is not yet in the results, and print the table.

    Raises InputError or RunStopped if a file or a run is unusable, CheckFailed if the two sides did different work.
    """
    threads = options.threads or usable_cores()
    machine = describe_machine(threads=threads, device=options.device, packages=(options.peer,))
    settings = settings_of(options, "seeds", "ours_only", "peer_only")
    with workplace(options.json, settings) as scratch:
        work = plan(options, scratch)
        results = Results(options.json, facts(options, work, machine))
        print(f"{headline(options, work)}\n{machine_line(machine)}\n", flush=True)
        sides = sides_of(options, work, scratch, threads)
        alternate(sides, range(options.seeds), results, lambda run: print(run_line(run), flush=True))
    there = {side: results.of(side, seeds=options.seeds) for side in (OURS, options.peer)}
    print("\n".join(report(options.task, {side: runs for side, runs in there.items() if runs})))


def plan(options: FinetuneOptions, scratch: Path) -> FinetuneWork:
    """Write the files, and return the work of both sides.

    Raises InputError if a file or the model does not exist.
    """
    weights_checksum(options.model)
    task = BENCHMARK_TASKS[options.task]
    train, dev = write_files(
        options.task, Path(options.data), scratch, train_limit=options.train_limit, dev_limit=options.dev_limit
    )
    return FinetuneWork(
        task=options.task,
        model=options.model,
        train=str(train),
        dev=str(dev),
        epochs=options.epochs or task.epochs,
        learning_rate=options.learning_rate or task.learning_rate,
        batch_size=options.batch_size or task.batch_size,
        device=options.device,
    )


def facts(options: FinetuneOptions, work: FinetuneWork, machine: dict[str, Any]) -> dict[str, Any]:
    """Return what all runs of a table must have in common; files are identified by their content, not by their path."""
    checksums = {"train": checksum([Path(work.train)]), "dev": checksum([Path(work.dev)])}
    checksums["model"] = weights_checksum(work.model)
    told = asdict(replace(work, **checksums))  # type: ignore[arg-type]  # all three are strings
    return {"benchmark": "finetune", "work": told, "dtype": options.dtype, "machine": machine}


def headline(options: FinetuneOptions, work: FinetuneWork) -> str:
    """Return the line that says what is about to be compared."""
    return (
        f"{work.task}: {plural(work.epochs, 'epoch')}, learning rate {work.learning_rate:g}, "
        f"batches of {work.batch_size}, {plural(options.seeds, 'seed')}"
    )


def sides_of(
    options: FinetuneOptions, work: FinetuneWork, scratch: Path, threads: int
) -> dict[str, Callable[[int], Run]]:
    """Return the sides that run: name -> the function that runs the side with a seed."""

    def ours(seed: int) -> Run:
        directory = scratch / "model"
        if not directory.exists():
            convert(work.model, directory, threads=threads)
        return run_ours(work, directory, seed, scratch / f"ours-{seed}", dtype=options.dtype, threads=threads)

    def peer(seed: int) -> Run:
        return run_peer(options.peer, work, seed, scratch / f"{options.peer}-{seed}", threads=threads)

    sides: dict[str, Callable[[int], Run]] = {}
    if not options.peer_only:
        sides[OURS] = ours
    if not options.ours_only:
        sides[options.peer] = peer
    return sides


def run_line(run: Run) -> str:
    """Return the line that reports a finished run."""
    figures = ", ".join(f"{name} {value:.4f}" for name, value in run.metrics.items())
    return f"{run.side}, seed {run.seed}: {figures}; {run.figures['examples_per_second']:,.1f} examples/s"


def report(task: str, sides: Mapping[str, Sequence[Run]]) -> list[str]:
    """Return the lines of the table, and of what follows from it.

    Raises CheckFailed if the two sides did not do the same work.
    """
    runs = [run for found in sides.values() for run in found]
    if different := differences_in_work(runs):
        raise CheckFailed(f"the runs did not do the same work, so they are not compared: {'; '.join(different)}")
    metrics = BENCHMARK_TASKS[task].metrics
    rows = {
        **{name: (metric(name), ",.2f") for name in metrics},
        "examples/s": (figure("examples_per_second"), ",.1f"),
        "training, s": (figure("seconds"), ",.1f"),
        "whole command, s": (figure("command_seconds"), ",.1f"),
        "peak memory, MB": (figure("peak_memory", 1e-6), ",.0f"),
    }
    done = ", ".join(f"{value:,} {name.replace('_', ' ')}" for name, value in runs[0].work.items())
    lines = ["", f"each run: {done}" + (", the same on both sides" if len(sides) == 2 else ""), ""]
    lines += [*table(sides, rows, ratio_of="examples/s"), ""]
    if len(sides) == 2:
        ours, peer = sides.values()
        for name in metrics:
            found = verdict([run.metrics[name] for run in ours], [run.metrics[name] for run in peer])
            lines.append(verdict_line(name, found))
    return lines + own_figures(runs) + versions(runs) + interrupted(runs)


def metric(name: str) -> Figure:
    """Return the function that gives a run's metric, in points."""
    return lambda run: POINTS * run.metrics[name]


def figure(name: str, factor: float = 1.0) -> Figure:
    """Return the function that gives a run's figure, multiplied by `factor`."""
    return lambda run: factor * run.figures[name]


def own_figures(runs: Sequence[Run]) -> list[str]:
    """Return a line on how far minibert's own figures are from those that the common scorer gives its answers."""
    distances = [
        abs(run.metrics[name] - value)
        for run in runs
        for name, value in run.notes.get("own_metrics", {}).items()
        if name in run.metrics
    ]
    if not distances:
        return []
    return [f"finetune's own figures differ from the scorer's by at most {POINTS * max(distances):.2f} points"]


def versions(runs: Sequence[Run]) -> list[str]:
    """Return a warning if our code was changed between the runs of a results file."""
    found = {run.notes["code"] for run in runs if "code" in run.notes}
    return [f"our runs come from {len(found)} versions of the code"] if len(found) > 1 else []


def interrupted(runs: Sequence[Run]) -> list[str]:
    """Return a warning if runs were resumed, since the seconds of their whole command are then too few."""
    found = [f"{run.side} {run.seed}" for run in runs if run.notes.get("resumed")]
    return (
        [f"resumed, so the seconds of the whole command are only those of the last part: {', '.join(found)}"]
        if found
        else []
    )
