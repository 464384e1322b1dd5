"""Alone, and two real processes over gloo."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch.distributed as dist

from minibert.errors import InputError
from minibert.training.processes import Processes, decided_by_first, join_processes

VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR")


@pytest.fixture(autouse=True)
def no_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def test_a_lone_process_needs_no_group() -> None:
    with join_processes("cpu") as alone:
        assert (alone.rank, alone.world_size, alone.local_rank, alone.is_main) == (0, 1, 0, True)
        assert alone.sum([1, 2.5]) == [1.0, 2.5]
        assert alone.broadcast({"a": 1}) == {"a": 1}
        assert alone.agree(seconds=1.5, stop=True) == (1.5, True)
        alone.barrier()
        assert not dist.is_initialized()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (("0", None, "0", None), "WORLD_SIZE: expected a number in the environment"),
        ((None, "2", "0", None), "RANK: expected a number in the environment"),
        (("one", "2", "0", None), "RANK: expected a number in the environment, as torchrun sets it, found 'one'"),
        (("2", "2", "0", None), "RANK: expected 0 to 1 with WORLD_SIZE 2, found 2"),
        (("0", "2", "0", None), "start them with torchrun .*MASTER_ADDR"),
        (("0", "2", "0", "localhost"), "start them with torchrun .*MASTER_PORT"),
    ],
)
def test_variables_that_are_not_torchruns_are_refused(
    monkeypatch: pytest.MonkeyPatch, values: tuple[str | None, ...], message: str
) -> None:
    for name, value in zip(VARIABLES, values, strict=True):
        if value is not None:
            monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=message), join_processes("cpu"):
        pass


SCRIPT = """
    import os
    import sys
    import torch
    import torch.distributed as dist
    from pathlib import Path
    from minibert.training.processes import join_processes

    with join_processes("cpu") as processes:
        assert processes.rank == int(os.environ["RANK"])
        # A third in float64: float32 on the way would show.
        total = processes.sum([processes.rank + 1, 1 / 3])
        word = processes.broadcast(["from", 0] if processes.is_main else None)
        agreed = processes.agree(seconds=processes.rank + 0.5, stop=not processes.is_main)
        processes.barrier()
        model = torch.nn.Linear(2, 1)
        with torch.no_grad():
            model.weight.fill_(processes.rank + 5), model.bias.fill_(processes.rank + 7)
        processes.broadcast_parameters(model)
        first = model.weight.tolist(), model.bias.tolist()
        model(torch.tensor([1.0, 10.0]) * (processes.rank + 1)).sum().backward()
        processes.add_up_gradients(model.parameters())
        gradients = model.weight.grad.tolist(), model.bias.grad.tolist()
        torch.optim.AdamW(model.parameters()).step()  # imports parts of torch that keep hold of the group
        with open(f"{sys.argv[1]}/{processes.rank}", "w") as file:
            file.write(repr((processes.world_size, total, word, agreed, first, gradients)))
    assert not dist.is_initialized()
    # Left behind, they may abort the process when it ends.
    threads = [Path(f"/proc/self/task/{task}/comm").read_text() for task in os.listdir("/proc/self/task")]
    assert not any("gloo" in name for name in threads), threads
"""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are counted in Linux's /proc")
def test_two_processes_sum_and_hear_one_another(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]
    done = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True, timeout=60, env=os.environ)
    assert done.returncode == 0, done.stderr
    expected = repr((2, [3.0, 2 / 3], ["from", 0], (0.5, True), ([[5.0, 5.0]], [7.0]), ([[3.0, 30.0]], [2.0])))
    assert [(tmp_path / rank).read_text() for rank in "01"] == [expected, expected]


def test_the_first_process_decides() -> None:
    assert decided_by_first(Processes(), lambda: 7) == 7

    def refuse() -> None:
        raise InputError("bad")

    with pytest.raises(InputError, match="bad"):
        decided_by_first(Processes(), refuse)
