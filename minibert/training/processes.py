"""Data-parallel processes under torchrun: this process's rank, and the few operations that involve all of them."""

import importlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import nn

from minibert.console import cli, terminal
from minibert.errors import InputError, MinibertError, RunStopped
from minibert.files.text import reason

T = TypeVar("T")

# The others wait this long for rank 0, which may prepare a large corpus before the first step. If a process dies,
# torchrun notices at once, whatever this limit.
TIMEOUT = timedelta(hours=12)
# How gloo and nccl report it.
PEER_GONE = re.compile("connection (closed|reset) by peer|remote process exited", re.IGNORECASE)


@dataclass(frozen=True)
class Processes:
    """This process among those of the run. A single process needs no group, and each method is then trivial."""

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    device_type: str = "cpu"

    @property
    def is_main(self) -> bool:
        """Whether this process writes the files and reports to the user."""
        return self.rank == 0

    def sum(self, values: Sequence[float]) -> list[float]:
        """Sum each of `values` over all processes, in float64; every process gets the same result."""
        if self.world_size == 1:
            return [float(value) for value in values]
        total = torch.tensor(values, dtype=torch.float64, device=self._device)
        dist.all_reduce(total)
        return total.tolist()

    def agree(self, *, seconds: float, stop: bool) -> tuple[float, bool]:
        """Make clocks and signals the same in all: return rank 0's `seconds`, and whether any process is to `stop`."""
        total, stopping = self.sum((seconds if self.is_main else 0.0, float(stop)))
        return total, stopping > 0

    def broadcast(self, value: T) -> T:
        """Return rank 0's `value` in every process. What the other ranks pass is ignored."""
        if self.world_size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0, device=self._device)
        return box[0]

    def broadcast_parameters(self, model: nn.Module) -> None:
        """Copy rank 0's parameters and buffers into every process's model."""
        if self.world_size > 1:
            for tensor in model.state_dict().values():
                dist.broadcast(tensor, src=0)

    def add_up_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Sum each gradient over all processes, in one message; the result is the same in each, bit for bit.

        `DistributedDataParallel` isn't used: it keeps the process group alive to the end (see `join_processes`).
        """
        if self.world_size == 1:
            return
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        message = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(message)
        totals = message.split([gradient.numel() for gradient in gradients])
        for gradient, total in zip(gradients, totals, strict=True):
            gradient.copy_(total.view_as(gradient))

    def barrier(self) -> None:
        """Return once every process has called this."""
        if self.world_size > 1:
            dist.barrier(device_ids=[self.local_rank] if self.device_type == "cuda" else None)

    @property
    def _device(self) -> torch.device:
        """The device on which tensors must be to be sent: nccl sends only from the GPU."""
        return torch.device("cuda", self.local_rank) if self.device_type == "cuda" else torch.device("cpu")


@contextmanager
def join_processes(device_type: str) -> Iterator[Processes]:
    """Join the other processes of a torchrun (gloo on "cpu", nccl on "cuda") and leave them at the end.

    Without torchrun's variables, or with one process, there is no group to join.

    Raises InputError if only some of the variables are set or one is not a number; RunStopped if another process ends,
    say because its memory is full, while this one waits for it.
    """
    if "RANK" not in os.environ and "WORLD_SIZE" not in os.environ:
        yield Processes(device_type=device_type)
        return
    rank, world_size, local_rank = (_environment_number(name) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    if not 0 <= rank < world_size:
        raise InputError(f"RANK: expected 0 to {world_size - 1} with WORLD_SIZE {world_size}, found {rank}")
    processes = Processes(rank=rank, world_size=world_size, local_rank=local_rank, device_type=device_type)
    if world_size == 1:
        yield processes
        return
    # Many of its functions take the group that exists at import as their default. If an optimizer imported it later, it
    # would keep our group alive to the end of the process: gloo's threads would outlive Python and sometimes abort it
    # (pytorch issue 190489).
    importlib.import_module("torch.distributed.nn.functional")
    if device_type == "cuda":
        torch.cuda.set_device(local_rank)  # otherwise nccl opens every process's context on the first GPU
    try:
        dist.init_process_group("nccl" if device_type == "cuda" else "gloo", timeout=TIMEOUT)
    except ValueError as error:  # MASTER_ADDR or MASTER_PORT
        raise InputError(f"the processes can't connect; start them with torchrun ({reason(error)})") from error
    try:
        yield processes
    except RuntimeError as error:
        if not PEER_GONE.search(str(error)):
            raise
        raise RunStopped("another process of this run has ended; its own message says why") from error
    finally:
        dist.destroy_process_group()


def _environment_number(name: str) -> int:
    text = os.environ.get(name, "")
    if not text.isdecimal():
        raise InputError(f"{name}: expected a number in the environment, as torchrun sets it, found {text!r}")
    return int(text)


def decided_by_first(processes: Processes, decide: Callable[[], T]) -> T:
    """Call `decide` in the first process; return its result, or raise its error, in every process."""
    outcome: T | MinibertError | None = None
    if processes.is_main:
        try:
            outcome = decide()
        except (MinibertError, OSError) as error:
            outcome = cli.as_ending(error) if isinstance(error, OSError) else error  # as `cli.run` would have
    outcome = processes.broadcast(outcome)
    if isinstance(outcome, MinibertError):
        raise outcome
    return outcome  # type: ignore[return-value]  # None only where `decide` returned it


def say(processes: Processes, line: str) -> None:
    """Show the user a line, from the first process only. A run continues even if nobody reads its output."""
    if processes.is_main:
        terminal.say(line)


def seed_dropout(seed: int, step: int, processes: Processes) -> None:
    """Seed dropout for one step in one process, so that no generator's state needs to be saved."""
    number = int(np.random.SeedSequence([seed, step, processes.rank]).generate_state(1, np.uint64)[0]) >> 1
    # Like `torch.manual_seed`, but that records a stack trace for every kind of device not yet in use.
    torch.default_generator.manual_seed(number)
    if processes.device_type == "cuda":
        torch.cuda.manual_seed(number)
