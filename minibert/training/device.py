"""The device that a run uses, the number format of its products, and the name of the machine for reports."""

import contextlib
import importlib.util
import os
import platform
import re
import shutil
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import torch

from minibert.errors import InputError, plural

# Compute capability of Ampere, the first NVIDIA generation whose tensor cores take bfloat16.
BFLOAT16_CAPABILITY = (8, 0)


def choose_device(name: str | torch.device, local_rank: int = 0) -> torch.device:
    """Return the device called `name` ("auto", "cpu" or "cuda"); with CUDA, the GPU `local_rank` of this machine.

    A torch.device is returned as it is. Raises InputError if the name is another one or this process has no such GPU.
    """
    if isinstance(name, torch.device):
        return name
    if name not in ("auto", "cpu", "cuda"):
        raise InputError(f"device: {name!r} is not one of auto, cpu, cuda")
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise InputError("device: cuda was requested, but torch finds no CUDA GPU here; expected cpu or auto")
    gpus = torch.cuda.device_count()
    if local_rank >= gpus:
        raise InputError(
            f"device: process {local_rank} has no GPU of its own; this machine has only {plural(gpus, 'GPU')}"
        )
    return torch.device("cuda", local_rank)


@dataclass(frozen=True)
class Precision:
    """The number format of the matrix products, and why it was chosen.

    With bfloat16, which is used through autocast, parameters stay float32; with float64 they are float64.
    """

    dtype: torch.dtype
    reason: str  # one phrase for the user: "bfloat16: the processor has AMX"
    device_type: str  # "cpu" or "cuda"

    @property
    def parameter_dtype(self) -> torch.dtype:
        """The format in which parameters are stored and updated."""
        return torch.float64 if self.dtype == torch.float64 else torch.float32

    def autocast(self) -> AbstractContextManager[object]:
        """Return a context for the forward pass: bfloat16 autocast, or for float32 and float64 one without effect."""
        if self.dtype == torch.bfloat16:
            return torch.autocast(self.device_type, dtype=torch.bfloat16)
        return contextlib.nullcontext()


def choose_precision(name: str, device: torch.device) -> Precision:
    """Return the precision called `name` ("auto", "float32", "bfloat16" or "float64") on `device`.

    "auto" means bfloat16 if it is faster, on a GPU from Ampere on or a processor with a `bfloat16_unit`; else float32.

    Raises InputError if the name is another one.
    """
    dtypes = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float64": torch.float64}
    if name in dtypes:
        return Precision(dtypes[name], f"{name}: as requested", device.type)
    if name != "auto":
        raise InputError(f"dtype: {name!r} is not one of auto, {', '.join(dtypes)}")
    if device.type == "cuda":
        fast = torch.cuda.get_device_capability(device) >= BFLOAT16_CAPABILITY
        hardware = "the GPU has tensor cores for it" if fast else "the GPU has no tensor cores for bfloat16"
    else:
        unit = bfloat16_unit()
        fast = unit is not None
        hardware = f"the processor has {unit}" if fast else "the processor has no instructions for bfloat16 products"
    chosen = "bfloat16" if fast else "float32"
    return Precision(dtypes[chosen], f"{chosen}: {hardware}", device.type)


def bfloat16_unit() -> str | None:
    """Return what makes bfloat16 products faster than float32 ones on this processor; None if nothing does.

    It is AMX, about eight times as fast, or the AVX-512 instructions of an AMD processor: on two cores of Zen 4 one
    large product runs at 430 GFLOP/s, in float32 at 178 (torch 2.13). On Intel without AMX no gain is known.
    """
    if torch.cpu._is_amx_tile_supported():
        return "AMX"
    facts = _processor_facts()
    if "AuthenticAMD" in facts and re.search(r"^flags\s*:.*\bavx512_bf16\b", facts, re.MULTILINE):
        return "AMD's bfloat16 instructions"
    return None


def missing_for_compiling(device: torch.device) -> str | None:
    """Return what `torch.compile` lacks here; None if it can be used. On a CPU it is never used."""
    if device.type != "cuda":
        return "a CUDA GPU"
    if importlib.util.find_spec("triton") is None:
        return "the package triton"
    compilers = os.environ.get("CC"), "cc", "gcc", "clang"
    return None if any(shutil.which(name) for name in compilers if name) else "a C compiler"


def device_name(device: torch.device) -> str:
    """Return the product name of the GPU or processor that a run computes on."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else processor_name()


def processor_name() -> str:
    """Return the processor's product name, or its architecture if the system does not know the name."""
    model = re.search(r"^model name\s*:\s*(.+)$", _processor_facts(), re.MULTILINE)
    return model[1].strip() if model else platform.processor() or platform.machine()


def _processor_facts() -> str:
    facts = Path("/proc/cpuinfo")
    return facts.read_text(encoding="utf-8", errors="replace") if facts.exists() else ""
