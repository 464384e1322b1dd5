"""Which device a run uses, in which number format it multiplies, and what the machine is called in a report."""

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

from minibert.errors import InputError

# Compute capability of Ampere, the first NVIDIA generation whose tensor cores take bfloat16.
BFLOAT16_CAPABILITY = (8, 0)


def choose_device(name: str | torch.device, local_rank: int = 0) -> torch.device:
    """The device called `name` ("auto", "cpu" or "cuda"); with CUDA, the GPU number `local_rank` of this machine.

    A device comes back as it is. Raises InputError for another name, or where this process has not the GPU asked for.
    """
    if isinstance(name, torch.device):
        return name
    if name not in ("auto", "cpu", "cuda"):
        raise InputError(f"device: {name!r} is not one of auto, cpu, cuda")
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise InputError("device: cuda was asked for, but torch finds no CUDA GPU here; expected cpu or auto")
    gpus = torch.cuda.device_count()
    if local_rank >= gpus:
        raise InputError(f"device: process {local_rank} of this machine has no GPU of its own, there are only {gpus}")
    return torch.device("cuda", local_rank)


@dataclass(frozen=True)
class Precision:
    """The number format of the matrix products, and why it was chosen.

    Parameters stay float32 with bfloat16, which is used through autocast; with float64 they are float64.
    """

    dtype: torch.dtype
    reason: str  # one phrase for the user: "bfloat16: the processor has AMX"
    device_type: str  # "cpu" or "cuda"

    @property
    def parameter_dtype(self) -> torch.dtype:
        """The format in which parameters are kept and learn."""
        return torch.float64 if self.dtype == torch.float64 else torch.float32

    def autocast(self) -> AbstractContextManager[object]:
        """A context for the forward pass: bfloat16 autocast, or nothing at all for float32 and float64."""
        if self.dtype == torch.bfloat16:
            return torch.autocast(self.device_type, dtype=torch.bfloat16)
        return contextlib.nullcontext()


def choose_precision(name: str, device: torch.device) -> Precision:
    """The precision called `name` ("auto", "float32", "bfloat16" or "float64") on `device`.

    "auto" takes bfloat16 where it is the faster one: on a GPU from Ampere on, and on a processor with `bfloat16_unit`.

    Raises InputError for another name.
    """
    dtypes = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float64": torch.float64}
    if name in dtypes:
        return Precision(dtypes[name], f"{name}: as asked for", device.type)
    if name != "auto":
        raise InputError(f"dtype: {name!r} is not one of auto, {', '.join(dtypes)}")
    if device.type == "cuda":
        fast = torch.cuda.get_device_capability(device) >= BFLOAT16_CAPABILITY
        hardware = "the GPU has tensor cores for it" if fast else "the GPU has no tensor cores for bfloat16"
    else:
        unit = bfloat16_unit()
        fast = unit is not None
        hardware = f"the processor has {unit}" if fast else "the processor has no AMX to multiply bfloat16 fast"
    chosen = "bfloat16" if fast else "float32"
    return Precision(dtypes[chosen], f"{chosen}: {hardware}", device.type)


def bfloat16_unit() -> str | None:
    """What makes bfloat16 products faster than float32 ones on this processor; None where they are not.

    That is AMX, about eight times as fast, or the AVX-512 instructions of an AMD: on two cores of Zen 4 one large
    product runs at 430 GFLOP/s, in float32 at 178 (torch 2.13). Without AMX they are not known to pay on an Intel.
    """
    if torch.cpu._is_amx_tile_supported():
        return "AMX"
    facts = _processor_facts()
    if "AuthenticAMD" in facts and re.search(r"^flags\s*:.*\bavx512_bf16\b", facts, re.MULTILINE):
        return "AMD's bfloat16 instructions"
    return None


def missing_for_compiling(device: torch.device) -> str | None:
    """What `torch.compile` lacks here; None where it can be used. On a CPU it is not used."""
    if device.type != "cuda":
        return "a CUDA GPU"
    if importlib.util.find_spec("triton") is None:
        return "the package triton"
    compilers = os.environ.get("CC"), "cc", "gcc", "clang"
    return None if any(shutil.which(name) for name in compilers if name) else "a C compiler"


def device_name(device: torch.device) -> str:
    """What a run computes on, as its maker calls it."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else processor_name()


def processor_name() -> str:
    """The processor's name as its maker writes it, or its architecture where the system does not say."""
    model = re.search(r"^model name\s*:\s*(.+)$", _processor_facts(), re.MULTILINE)
    return model[1].strip() if model else platform.processor() or platform.machine()


def _processor_facts() -> str:
    facts = Path("/proc/cpuinfo")
    return facts.read_text(encoding="utf-8", errors="replace") if facts.exists() else ""
