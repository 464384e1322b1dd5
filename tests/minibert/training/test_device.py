"""What is chosen on this machine, and on others that are only pretended."""

import pytest
import torch

from minibert.errors import InputError
from minibert.training import device as device_module
from minibert.training.device import (
    choose_device,
    choose_precision,
    missing_for_compiling,
    processor_name,
)

CPU = torch.device("cpu")


def test_cpu_is_cpu_and_auto_is_cuda_where_there_is_one() -> None:
    assert choose_device("cpu") == CPU
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_cuda_that_is_absent_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="no CUDA GPU here"):
        choose_device("cuda")


def test_each_process_gets_the_gpu_of_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("auto", local_rank=1) == torch.device("cuda", 1)
    with pytest.raises(InputError, match="process 2 has no GPU of its own; this machine has only 2 GPUs"):
        choose_device("cuda", local_rank=2)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(InputError, match="device: 'tpu' is not one of auto, cpu, cuda"):
        choose_device("tpu")
    with pytest.raises(InputError, match="dtype: 'float16' is not one of auto, float32, bfloat16, float64"):
        choose_precision("float16", CPU)


@pytest.mark.parametrize(
    ("amx", "facts", "reason"),
    [
        (True, "vendor_id\t: GenuineIntel\nflags\t\t: amx_bf16 amx_tile\n", "bfloat16: the processor has AMX"),
        (
            False,
            "vendor_id\t: AuthenticAMD\nflags\t\t: fpu avx512_bf16\n",
            "bfloat16: the processor has AMD's bfloat16 instructions",
        ),
        (
            False,
            "vendor_id\t: AuthenticAMD\nflags\t\t: fpu avx512f\n",
            "float32: the processor has no instructions for bfloat16 products",
        ),
        (
            False,
            "vendor_id\t: GenuineIntel\nflags\t\t: fpu avx512_bf16\n",
            "float32: the processor has no instructions for bfloat16 products",
        ),
    ],
)
def test_auto_on_a_processor_goes_by_its_unit(
    monkeypatch: pytest.MonkeyPatch, amx: bool, facts: str, reason: str
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(device_module, "_processor_facts", lambda: facts)
    precision = choose_precision("auto", CPU)
    assert precision.reason == reason
    assert precision.dtype == getattr(torch, reason.split(":")[0])


@pytest.mark.parametrize(("capability", "dtype"), [((8, 0), torch.bfloat16), ((7, 5), torch.float32)])
def test_auto_on_a_gpu_goes_by_its_generation(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], dtype: torch.dtype
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert choose_precision("auto", torch.device("cuda", 0)).dtype == dtype


def test_bfloat16_multiplies_in_bfloat16_and_leaves_parameters_in_float32() -> None:
    precision = choose_precision("bfloat16", CPU)
    layer = torch.nn.Linear(2, 2, dtype=precision.parameter_dtype)
    with precision.autocast():
        out = layer(torch.ones(1, 2))
    assert (out.dtype, layer.weight.dtype) == (torch.bfloat16, torch.float32)


@pytest.mark.parametrize("name", ["float32", "float64"])
def test_other_precisions_change_nothing_on_the_way(name: str) -> None:
    precision = choose_precision(name, CPU)
    assert precision.parameter_dtype == precision.dtype == getattr(torch, name)
    with precision.autocast():
        assert (
            torch.nn.Linear(2, 2, dtype=precision.dtype)(torch.ones(1, 2, dtype=precision.dtype)).dtype
            == precision.dtype
        )


def test_the_processor_has_a_name() -> None:
    assert len(processor_name()) > 2


def test_what_compiling_lacks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = torch.device("cuda", 0)
    assert missing_for_compiling(CPU) == "a CUDA GPU"
    monkeypatch.setattr(device_module.importlib.util, "find_spec", lambda name: None)
    assert missing_for_compiling(gpu) == "the package triton"
    monkeypatch.setattr(device_module.importlib.util, "find_spec", lambda name: name == "triton")
    monkeypatch.setattr(device_module.shutil, "which", lambda name: None)
    assert missing_for_compiling(gpu) == "a C compiler"
    monkeypatch.setattr(device_module.shutil, "which", lambda name: "/usr/bin/gcc" if name == "gcc" else None)
    assert missing_for_compiling(gpu) is None
