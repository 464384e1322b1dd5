"""Micro-batches and processes: however a global batch is shared out, its gradient is the same."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from minibert.training.processes import Processes
from pretrain.options import parse_options
from pretrain.run_directory import PretrainDirectory
from pretrain.setup import set_up
from pretrain.train import Pretraining, PretrainSums
from tests.helpers import REPOSITORY
from tests.pretrain.running import finished, metrics, start, states, summary
from tests.pretrain.test_resume import run_until

# What float32 and float64 leave of the difference, as a share of the largest gradient entry.
TOLERANCE = {"float32": 1e-5, "float64": 1e-12}


def options(arrays: Path, shape: Path, out: Path, *args: object) -> list[str]:
    # First weights made of the text would differ in the last digit with the number of threads that a process has.
    common = ("--data", arrays, "--model", shape, "--out", out, "--seq-len", 32, "--batch-size", 16, "--steps", 5,
              "--first-weights", "random")  # fmt: skip
    return [*map(str, (*common, *args))]


def gradients(args: list[str]) -> tuple[dict[str, Tensor], PretrainSums]:
    """Those of a run's second global batch, before clipping."""
    parsed = parse_options(args)
    directory = PretrainDirectory(Path(parsed.out))
    set_up(directory, parsed, None, processes=1)
    run = Pretraining(directory, parsed, None, Processes())
    sums = run.gradient(run.micro_batches(16))
    return {name: parameter.grad for name, parameter in run.model.named_parameters()}, sums  # type: ignore[misc]


def largest_difference(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> float:
    """As a share of the largest entry."""
    assert ours.keys() == theirs.keys()
    largest = max(float(gradient.abs().max()) for gradient in theirs.values())
    assert largest > 1e-3
    return max(float((ours[name] - theirs[name]).abs().max()) for name in theirs) / largest


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("objective", ["nsp", "sop", "none"])
@pytest.mark.parametrize("parts", [3, 4, 16])
def test_micro_batches_add_up_to_the_whole_batch(
    arrays: Path, shape: Path, tmp_path: Path, dtype: str, objective: str, parts: int
) -> None:
    more = ("--dtype", dtype, "--pair-objective", objective)
    whole, whole_sums = gradients(options(arrays, shape, tmp_path / "whole", *more))
    split, split_sums = gradients(options(arrays, shape, tmp_path / "split", *more, "--accumulate", parts))
    assert largest_difference(split, whole) <= TOLERANCE[dtype]
    assert (split_sums.masked, split_sums.pairs, split_sums.tokens) == (
        whole_sums.masked, whole_sums.pairs, whole_sums.tokens,
    )  # fmt: skip
    assert split_sums.mlm == pytest.approx(whole_sums.mlm, rel=1e-6)
    assert split_sums.nsp == pytest.approx(whole_sums.nsp, rel=1e-6)


SCRIPT = """
    import sys
    from pathlib import Path
    from safetensors.torch import save_file
    from minibert.training.processes import decided_by_first, join_processes
    from pretrain.options import parse_options
    from pretrain.run_directory import PretrainDirectory
    from pretrain.setup import set_up
    from pretrain.train import Pretraining

    with join_processes("cpu") as processes:
        for dtype in ("float32", "float64"):
            options = parse_options([*sys.argv[1:], "--dtype", dtype])
            object.__setattr__(options, "out", options.out + dtype)
            run = PretrainDirectory(Path(options.out))
            decided_by_first(processes, lambda: set_up(run, options, None, processes=processes.world_size))
            training = Pretraining(run, options, None, processes)
            sums = training.gradient(training.micro_batches(16))
            save_file({name: parameter.grad for name, parameter in training.model.named_parameters()},
                      run.path / f"gradients-{processes.rank}.safetensors")
            if processes.is_main:
                (run.path / "sums").write_text(repr((sums.masked, sums.pairs, sums.tokens, sums.operations)))
"""


@pytest.mark.parametrize("accumulate", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_two_processes_make_the_gradient_of_one(arrays: Path, shape: Path, tmp_path: Path, accumulate: int) -> None:
    (tmp_path / "script.py").write_text(textwrap.dedent(SCRIPT))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    args = options(arrays, shape, tmp_path / "two", "--batch-size", 15, "--accumulate", accumulate)
    done = subprocess.run(
        [*torchrun, str(tmp_path / "script.py"), *args],
        capture_output=True, text=True, timeout=120, cwd=REPOSITORY,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for dtype, tolerance in TOLERANCE.items():
        one, sums = gradients(options(arrays, shape, tmp_path / f"one{dtype}", "--dtype", dtype, "--batch-size", 15))
        out = tmp_path / f"two{dtype}"
        first, second = (load_file(out / f"gradients-{rank}.safetensors") for rank in range(2))
        assert all(torch.equal(first[name], second[name]) for name in first)
        assert largest_difference(first, one) <= tolerance
        assert (out / "sums").read_text() == repr((sums.masked, sums.pairs, sums.tokens, sums.operations))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("optimizer", "dtype", "tolerance", "heldout"),
    [("adamw", "float64", 1e-9, 1e-9), ("adamw", "float32", 1e-4, 0.02), ("muon", "float32", 1e-4, 0.02)],
)
def test_a_run_goes_on_with_another_number_of_processes(
    arrays: Path, shape: Path, tmp_path: Path, optimizer: str, dtype: str, tolerance: float, heldout: float
) -> None:
    common = ("--data", arrays, "--model", shape, "--seq-len", 32, "--batch-size", 16, "--steps", 30, "--dtype", dtype,
              "--optimizer", optimizer, "--learning-rate", 3e-3, "--log-every", 1, "--save-every", 10,
              "--first-weights", "random")  # fmt: skip  # see `options`
    finished(start(*common, "--out", tmp_path / "one"))
    assert run_until(10, *common, "--out", tmp_path / "two") == -9
    assert states(tmp_path / "two") == ["step-00000010"]
    finished(start(*common, "--out", tmp_path / "two", "--resume", processes=2))
    assert summary(tmp_path / "two")["processes"] == 2
    one, two = (
        [(line["step"], line["mlm_loss"], line["nsp_loss"]) for line in metrics(tmp_path / name) if "mlm_loss" in line]
        for name in ("one", "two")
    )
    assert [step for step, *_ in two] == [step for step, *_ in one] == list(range(1, 31))
    assert two == [pytest.approx(line, abs=tolerance) for line in one]
    for figure in ("mlm_loss", "nsp_loss"):
        assert summary(tmp_path / "two")[figure] == pytest.approx(summary(tmp_path / "one")[figure], abs=heldout)


@pytest.mark.slow
def test_two_processes_train_with_dropout_and_phases(arrays: Path, shape: Path, tmp_path: Path) -> None:
    """A whole run under torchrun: evaluation, saving and figures by the first process, batches shared unevenly."""
    recipe = tmp_path / "phases.toml"
    recipe.write_text("phases = [[16, 0.5], [32, 0.5]]\nbatch_size = 7\ndropout = 0.1\n")
    out, err = finished(start("--data", arrays, "--model", shape, "--recipe", recipe, "--steps", 20, "--accumulate", 3,
                              "--out", tmp_path / "run", processes=2))  # fmt: skip
    assert "error" not in err
    assert out.count("mlm_accuracy") == 1 and "2 processes" in out
    assert summary(tmp_path / "run")["steps"] == 20
