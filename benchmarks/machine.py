"""What a figure was measured on. Two machines' figures don't belong in one table."""

import os
import platform
from importlib.metadata import version
from typing import Any

from minibert.training.device import bfloat16_unit, choose_device, device_name, processor_name


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def describe_machine(*, threads: int, device: str, packages: tuple[str, ...]) -> dict[str, Any]:
    """Processor, cores, threads, device, and the versions of Python, torch and `packages`.

    Raises InputError: there is no such device.
    """
    return {
        "processor": processor_name(),
        "amx": bfloat16_unit() == "AMX",
        "cores": usable_cores(),
        "threads": threads,
        "device": device_name(choose_device(device)),
        "python": platform.python_version(),
        **{package: version(package) for package in ("torch", *packages)},
    }


def machine_line(machine: dict[str, Any]) -> str:
    """The same for people."""
    shown = {name: value for name, value in machine.items() if name not in ("processor", "amx", "cores", "device")}
    on = "" if machine["device"] == machine["processor"] else f"; {machine['device']}"
    amx = "with AMX" if machine["amx"] else "without AMX"
    versions = ", ".join(f"{name} {value}" for name, value in shown.items())
    return f"{machine['processor']} {amx}, {machine['cores']} cores{on}; {versions}"
