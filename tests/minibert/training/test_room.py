"""What a training is said to need, what there is, and what an allocation that failed comes to."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch

from minibert.architectures import ARCHITECTURES
from minibert.config import BertConfig
from minibert.errors import InputError, RunStopped
from minibert.fast import accelerate
from minibert.model import Bert
from minibert.training import room
from minibert.training.room import Passes, block_matrices, check_room, machine_memory, out_of_memory, parameter_count
from tests.helpers import FAMILY, HEADS, TINY, refusal

CPU = torch.device("cpu")


# --- What is needed --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("family", FAMILY)
def test_parameters_are_counted_exactly(architecture: str, family: str) -> None:
    with torch.device("meta"):
        model = ARCHITECTURES[architecture](FAMILY[family], **HEADS.get(architecture, {}))
    labels = len(HEADS.get(architecture, {}).get("labels", ()))
    counted = sum(parameter.numel() for parameter in model.parameters())
    assert parameter_count(FAMILY[family], architecture, labels=labels) == counted


@pytest.mark.parametrize("family", FAMILY)
def test_the_matrices_of_the_blocks_are_those_that_muon_takes(family: str) -> None:
    with torch.device("meta"):
        blocks = Bert(FAMILY[family]).blocks
    assert block_matrices(FAMILY[family]) == sum(p.numel() for p in blocks.parameters() if p.ndim == 2)


@pytest.mark.parametrize(
    ("dtype", "dropout"),
    [(torch.float32, 0.0), (torch.float32, 0.1), (torch.bfloat16, 0.0), (torch.float64, 0.0)],
)
@pytest.mark.parametrize(("length", "window"), [(48, None), (48, 16), (300, 32)])  # all tokens, one chunk, three
def test_activations_are_what_a_pass_keeps(length: int, window: int | None, dtype: torch.dtype, dropout: float) -> None:
    config = BertConfig(
        vocab_size=40, hidden_size=64, num_hidden_layers=4, num_attention_heads=4, intermediate_size=256,
        hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout,
        attention_window=None if window is None else (window,) * 4,
    )  # fmt: skip
    model = accelerate(Bert(config)).train().to(torch.float64 if dtype == torch.float64 else torch.float32)
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    found: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in weights:
            found[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    input_ids, positions = torch.ones(16, length, dtype=torch.long), torch.arange(0, 16 * length, 8)
    autocast = torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), autocast:
        model.states_at(input_ids, positions)
    truth = sum(tensor.untyped_storage().nbytes() for tensor in found.values())
    estimate = Passes(16, length, len(positions), dtype.itemsize, dropout=dropout > 0, on_gpu=False).activations(config)
    assert 0.75 < estimate / truth < 1.15


def test_sizes_beyond_what_a_machine_counts_are_counted() -> None:
    config = TINY.replace(vocab_size=2**62, max_position_embeddings=10**400)
    assert parameter_count(config, "Bert") > 24 * 10**400


# --- What there is ---------------------------------------------------------------------------------------------------


def test_the_machine_has_no_more_than_its_memory() -> None:
    assert 0 < machine_memory() <= psutil.virtual_memory().total


def test_the_least_of_all_limits_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_cgroup_limits", lambda: iter([3_000_000, 9_223_372_036_854_771_712]))
    monkeypatch.setattr(room, "_resource_limits", lambda: iter([2_000_000]))
    assert machine_memory() == 2_000_000


@pytest.mark.parametrize(
    ("membership", "file", "content", "limits"),
    [
        ("0::/app/one\n", "app/memory.max", "5000\n", [5000]),
        ("0::/app/one\n", "app/one/memory.max", "max\n", []),
        ("5:cpu:/x\n4:memory,hugetlb:/app\n", "memory/app/memory.limit_in_bytes", "7000\n", [7000]),
        ("4:memory:/host/path\n", "memory/memory.limit_in_bytes", "8000\n", [8000]),
    ],
)
def test_limits_of_containers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, membership: str, file: str, content: str, limits: list[int]
) -> None:
    (tmp_path / "cgroup").write_text(membership)
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text(content)
    monkeypatch.setattr(room, "CGROUPS", tmp_path)
    monkeypatch.setattr(room, "MEMBERSHIP", tmp_path / "cgroup")
    assert list(room._cgroup_limits()) == limits


# --- Whether it suffices ---------------------------------------------------------------------------------------------


@pytest.fixture
def ten_gigabytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "machine_memory", lambda: 10 * 10**9)


@pytest.mark.usefixtures("ten_gigabytes")
def test_what_fits_is_not_spoken_of() -> None:
    assert check_room({"weights": 7_900_000_000}, CPU, processes=1, smaller="a smaller one") is None


@pytest.mark.usefixtures("ten_gigabytes")
def test_what_nearly_fills_the_memory_is_told() -> None:
    note = check_room({"weights": 3 * 10**9, "optimizer": 6 * 10**9}, CPU, processes=1, smaller="a smaller one")
    assert note == ("at least 9.0 GB of memory is needed (weights 3.0, optimizer 6.0); this machine has 10.0 GB")


@pytest.mark.usefixtures("ten_gigabytes")
def test_what_does_not_fit_is_refused_with_the_figures() -> None:
    message = refusal(lambda: check_room({"weights": 11 * 10**9}, CPU, processes=1, smaller="a smaller --model"))
    assert message == (
        "at least 11.0 GB of memory is needed (weights 11.0); this machine has 10.0 GB: a smaller --model needs less"
    )


@pytest.mark.usefixtures("ten_gigabytes")
@pytest.mark.parametrize(("processes", "told"), [(4, "4"), (8, "4"), (4, "8"), (4, "no number")])
def test_every_process_of_a_machine_needs_its_own(monkeypatch: pytest.MonkeyPatch, processes: int, told: str) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", told)  # torchrun's; or of another program, whose run this is not
    message = refusal(lambda: check_room({"weights": 3 * 10**9}, CPU, processes=processes, smaller="it"))
    assert "at least 12.0 GB of memory is needed (for each of 4 processes: weights 3.0)" in message


@pytest.mark.usefixtures("ten_gigabytes")
@pytest.mark.parametrize(("digits", "shown"), [(17, "100,000,000.0"), (30, "10^21"), (9000, "10^8991")])
def test_figures_without_end(digits: int, shown: str) -> None:
    message = refusal(lambda: check_room({"weights": 10**digits, "the program": 10**7}, CPU, processes=1, smaller="it"))
    assert message.startswith(f"at least {shown} GB of memory is needed (weights {shown});")


# --- When it was not enough ------------------------------------------------------------------------------------------


def failing(allocate: Any) -> Exception:
    """What is raised by an allocation that no machine can do."""
    with pytest.raises(Exception) as raised:  # of several kinds, which is what is tried here
        allocate()
    return raised.value


@pytest.mark.parametrize(
    "allocate",
    [
        lambda: torch.empty(2**56),
        lambda: np.empty(2**56),
        lambda: np.empty(2**62),
        lambda: np.arange(10**30),
        lambda: bytearray(2**62),
    ],
)
def test_an_allocation_that_failed_stops_a_run(allocate: Any) -> None:
    ending = out_of_memory(failing(allocate))
    assert isinstance(ending, RunStopped) and ending.exit_code == 3
    assert "out of memory" in str(ending) and "\n" not in str(ending)


def test_a_gpu_that_is_full_stops_a_run() -> None:
    error = torch.OutOfMemoryError(
        "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 1 GiB"
    )
    assert "out of memory: 2.00 GiB could not be allocated" in str(out_of_memory(error))


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("shapes differ"),
        ValueError("x"),
        InputError("out of memory"),
        KeyError(),
        FileNotFoundError(errno.ENOENT, "No such file or directory", "out of memory.txt"),
    ],
)
def test_another_error_stays_what_it_is(error: Exception) -> None:
    assert out_of_memory(error) is None


def test_what_is_kept_of_a_training_is_said() -> None:
    message = str(out_of_memory(MemoryError(), step=12, last_good="run/state/step-00000010"))
    assert message == (
        "step 13: out of memory; last good state: run/state/step-00000010; continue with --resume when more memory is "
        "free, or start over with a smaller --batch-size or a larger --accumulate"
    )
