"""Other programs on the processor are noticed and named, once."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from minibert.fast import threads
from minibert.fast.threads import ProcessorTimes
from minibert.training import contention
from minibert.training.contention import Contention

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads.psutil, "cpu_count", lambda: 2)
    monkeypatch.setattr(contention.torch, "get_num_threads", lambda: 2)


def notes(
    monkeypatch: pytest.MonkeyPatch, readings: Sequence[tuple[float, float, float]], speeds: Sequence[float],
    device: torch.device = CPU, processes: int = 1,
) -> list[str | None]:  # fmt: skip
    """What is said at each reading (now, machine, own) after the first."""
    taken = iter([ProcessorTimes(*reading) for reading in readings])
    monkeypatch.setattr(ProcessorTimes, "take", lambda: next(taken))
    watch = Contention(device, processes=processes)
    return [watch.note(speed, "tokens/s") for speed in speeds]


LINE = "slower   another program is using the processor (1.0 of 2 cores): 4,000 tokens/s"


def test_another_program_is_named_with_the_speed_before(monkeypatch: pytest.MonkeyPatch) -> None:
    quiet, busy = (10.0, 20.0, 20.0), (20.0, 40.0, 30.0)  # alone on two cores, and then on one of them
    assert notes(monkeypatch, [(0, 0, 0), quiet, busy], [8000, 4000]) == [None, f"{LINE}, 8,000 before"]


def test_it_is_named_from_the_first_steps_on_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert notes(monkeypatch, [(0, 0, 0), (10, 20, 10), (20, 40, 20)], [4000, 4000]) == [LINE, None]


def test_cores_that_the_run_does_not_want_may_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contention.torch, "get_num_threads", lambda: 1)
    assert notes(monkeypatch, [(0, 0, 0), (10, 20, 10)], [4000]) == [None]


def test_but_not_where_the_speed_has_fallen_by_more_than_half(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contention.torch, "get_num_threads", lambda: 1)
    found = notes(monkeypatch, [(0, 0, 0), (10, 10, 10), (20, 30, 20)], [8001, 4000])
    assert found == [None, f"{LINE}, 8,001 before"]


def test_the_runs_own_processes_are_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contention.torch, "get_num_threads", lambda: 1)
    assert notes(monkeypatch, [(0, 0, 0), (10, 20, 10)], [4000], processes=2) == [None]


def test_a_gpus_run_is_not_slowed_by_them(monkeypatch: pytest.MonkeyPatch) -> None:
    assert notes(monkeypatch, [(0, 0, 0), (10, 20, 10)], [4000], device=torch.device("cuda")) == [None]


def test_a_moment_is_too_short_to_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    assert notes(monkeypatch, [(0, 0, 0), (1, 2, 1), (10, 20, 20)], [4000, 8000]) == [None, None]
